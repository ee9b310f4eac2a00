"""Class names as a raster attribute table, in the sidecar that GDAL and QGIS read."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from models.card import ClassEntry

# GDAL's numbers: GFT_Integer, GFT_String; GFU_MinMax, GFU_Name, GFU_Red, GFU_Green, GFU_Blue.
_COLUMNS = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))


def sidecar_of(raster: Path) -> Path:
    """Return where GDAL looks for what a raster cannot hold."""
    return raster.with_name(f"{raster.name}.aux.xml")


def write_attributes(raster: Path, classes: tuple[ClassEntry, ...], crs_wkt: str | None) -> None:
    """Add to ``<raster>.aux.xml``, or remove it when there is nothing to say.

    Args:
        raster: The raster beside which the sidecar lies.
        classes: One row per class: value, name, red, green, blue.
        crs_wkt: A CRS that the raster itself cannot hold.
    """
    sidecar = sidecar_of(raster)
    if not classes and crs_wkt is None:
        sidecar.unlink(missing_ok=True)
        return
    root = ElementTree.Element("PAMDataset")
    if crs_wkt is not None:
        ElementTree.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2").text = crs_wkt
    if classes:
        band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
        names = ElementTree.SubElement(band, "CategoryNames")
        for entry in classes:
            ElementTree.SubElement(names, "Category").text = entry.name
        _append_table(band, classes)
    ElementTree.indent(root)
    sidecar.write_bytes(ElementTree.tostring(root, encoding="utf-8") + b"\n")


def _append_table(band: ElementTree.Element, classes: tuple[ClassEntry, ...]) -> None:
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for number, (name, kind, usage) in enumerate(_COLUMNS):
        column = ElementTree.SubElement(table, "FieldDefn", index=str(number))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            ElementTree.SubElement(column, tag).text = str(value)
    for value, entry in enumerate(classes):
        row = ElementTree.SubElement(table, "Row", index=str(value))
        for cell in (value, entry.name, *bytes.fromhex(entry.colour[1:])):
            ElementTree.SubElement(row, "F").text = str(cell)
