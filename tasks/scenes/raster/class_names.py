"""Names and colours that a class map brings along."""

from __future__ import annotations

from os.path import isfile
from pathlib import Path
from xml.etree import ElementTree

from models.card import ClassEntry
from tasks.errors import UnreadableSceneError
from tasks.scenes.raster.header import opened_raster
from tasks.scenes.raster.undeclared import refuse_undeclared_names

# GDAL's numbers of what a column is for: GFU_MinMax, GFU_Name, GFU_Min, GFU_Red, GFU_Green, GFU_Blue.
_VALUE, _NAME, _LOWEST, _RED, _GREEN, _BLUE = "5", "2", "3", "6", "7", "8"
_LARGEST_SIDECAR = 8 << 20


def class_names(path: Path) -> dict[int, ClassEntry] | None:
    """Return classes by number from the attribute table beside a raster, else from its colour table.

    Args:
        path: Of the raster.

    Returns:
        None where it has neither.

    Raises:
        UnreadableSceneError: When there is a sidecar that is no XML.
        UndeclaredError: When the raster, or what lies beside it, leads elsewhere.
    """
    refuse_undeclared_names(str(path))
    sidecar = path.with_name(f"{path.name}.aux.xml")
    # A raster's name may leave no room for the ending.
    if isfile(sidecar) and sidecar.stat().st_size <= _LARGEST_SIDECAR:  # noqa: PTH113 - Path.is_file raises there
        try:
            root = ElementTree.parse(sidecar).getroot()
        except ElementTree.ParseError as error:
            raise UnreadableSceneError(f"{sidecar}: not XML ({error}). Remove it, or write it again") from error
        table = root.find(".//GDALRasterAttributeTable")
        found = None if table is None else _from_table(table)
        if found:
            return found
    return _from_colours(path)


def _from_table(table: ElementTree.Element) -> dict[int, ClassEntry]:
    usage = {field.findtext("Usage"): number for number, field in enumerate(table.iter("FieldDefn"))}
    value, name = usage.get(_VALUE, usage.get(_LOWEST)), usage.get(_NAME)
    if value is None or name is None:
        return {}
    found = {}
    for row in table.iter("Row"):
        cells = [cell.text or "" for cell in row.iter("F")]
        try:
            number = int(float(cells[value]))
            rgb = [int(cells[usage[part]]) for part in (_RED, _GREEN, _BLUE)] if _RED in usage else [128, 128, 128]
        except (ValueError, IndexError, KeyError):
            continue
        found[number] = ClassEntry(name=cells[name] or f"class {number}", colour=_hex(*rgb))
    return found


def _from_colours(path: Path) -> dict[int, ClassEntry] | None:
    with opened_raster(str(path)) as dataset:
        try:
            table = dataset.colormap(1)
        except ValueError:
            return None
    # GDAL fills the table up with black to the end of the type.
    used = {number: rgba for number, rgba in table.items() if number == 0 or (rgba[3] > 0 and any(rgba[:3]))}
    return {number: ClassEntry(name=f"class {number}", colour=_hex(*rgba[:3])) for number, rgba in used.items()}


def _hex(red: int, green: int, blue: int) -> str:
    return "#" + "".join(f"{min(max(part, 0), 255):02x}" for part in (red, green, blue))
