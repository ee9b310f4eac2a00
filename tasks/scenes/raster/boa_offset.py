"""The radiometric offset of Sentinel-2, taken from metadata alone."""

from __future__ import annotations

import re
from pathlib import Path

from tasks.files.declared import is_local, lies_below
from tasks.scenes.raster.header import Header

# What the metadata of a level calls its quantity, and the file beside the bands: reflectance at the bottom of the
# atmosphere (Level-2A), radiometry (Level-1C).
_METADATA = {"BOA": "MTD_MSIL2A.xml", "RADIO": "MTD_MSIL1C.xml"}
# The band_id numbers of both, in order.
_SENTINEL2_BANDS = ("b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b8a", "b9", "b10", "b11", "b12")
_BAND_IN_FILE_NAME = re.compile(r"_(B\d\w)(?:_\d0m)?\.", re.IGNORECASE)
_BASELINE_IN_PATH = re.compile(r"S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{4})_")
_FIRST_WITH_OFFSET = 400
# GRANULE/<granule>/IMG_DATA/R10m/<band>.jp2
_GRANULE_DEPTH = 5
_MAX_XML_CHARACTERS = 4 << 20


def band_key(name: str) -> str:
    """Return a band's name as it is compared: ``B08``, ``B8`` and ``b8`` are one band."""
    return re.sub(r"^([a-z]+)0+(?=\d)", r"\1", name.strip().casefold())


def is_offset_by_name(path: str) -> bool:
    """Tell whether a path names a product of baseline 04.00 or later, whose numbers carry an offset as ESA makes it."""
    found = _BASELINE_IN_PATH.search(path)
    return found is not None and int(found[1]) >= _FIRST_WITH_OFFSET


def add_offset(header: Header, index: int, name: str) -> float | None:
    """Return what has to be added to the digital numbers of a Sentinel-2 band; None where nothing tells.

    From processing baseline 04.00 on, products carry an offset of -1000. Archives differ in whether they have
    already applied it, so a date or baseline says nothing about a file. In this order:

    1. a tag ``BOA_OFFSET_APPLIED`` or ``RADIO_OFFSET_APPLIED`` that says yes: nothing;
    2. a tag ``BOA_ADD_OFFSET``, or ``BOA_ADD_OFFSET_VALUES_LIST`` with a value per band; ``RADIO`` for Level-1C;
    3. for JPEG 2000 bands, ``MTD_MSIL2A.xml`` or ``MTD_MSIL1C.xml`` in the granule or the product above it.

    (A GDAL offset on the band is the caller's business and comes before all of these.)

    Args:
        header: The header of the band's file.
        index: The band's number from 1.
        name: The band's name in the job or model card.
    """
    position = _sentinel2_position(header, index, name)
    if position is None:
        return None
    tags = {key.upper(): value for key, value in header.tags[index - 1].items()}
    for quantity in _METADATA:
        if tags.get(f"{quantity}_OFFSET_APPLIED", "").strip().casefold() in ("1", "true", "yes"):
            return 0.0
        if f"{quantity}_ADD_OFFSET" in tags:
            return _number(tags[f"{quantity}_ADD_OFFSET"])
        values = re.split(r"[,\s]+", tags.get(f"{quantity}_ADD_OFFSET_VALUES_LIST", "").strip())
        if len(values) > position:
            return _number(values[position])
    return _offset_from_product(header.path, position) if header.driver == "JP2OpenJPEG" else None


def _sentinel2_position(header: Header, index: int, name: str) -> int | None:
    in_name = _BAND_IN_FILE_NAME.search(Path(header.path).name) if len(header.dtypes) == 1 else None
    for candidate in (header.descriptions[index - 1], in_name[1] if in_name else "", name):
        if band_key(candidate) in _SENTINEL2_BANDS:
            return _SENTINEL2_BANDS.index(band_key(candidate))
    return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _offset_from_product(path: str, position: int) -> float | None:
    if not is_local(path):
        return None
    for folder in list(Path(path).resolve().parents)[:_GRANULE_DEPTH]:
        for quantity, name in _METADATA.items():
            metadata = folder / name
            if metadata.is_file() and lies_below(metadata, [folder]):
                pattern = rf'<{quantity}_ADD_OFFSET\s+band_id="(\d+)"\s*>\s*(-?\d+(?:\.\d+)?)\s*<'
                with metadata.open(encoding="utf-8", errors="replace") as file:
                    found = dict(re.findall(pattern, file.read(_MAX_XML_CHARACTERS)))
                return float(found.get(str(position), 0.0))
    return None
