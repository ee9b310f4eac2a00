"""Bands of Sentinel-2 products as the ground segment delivers them: folders called SAFE."""

from __future__ import annotations

from pathlib import Path

from tasks.drafts.roles import Roles
from tasks.inputs.naming import Pattern

# What looks at the ground; those for the atmosphere (B01, B09, B10), of 60 m, are left out. SCL says what was seen.
_BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "SCL")
# From stored numbers to reflectance; what has to be added is in the metadata, which are read with each band.
SCALE = 1.0e-4
# L2A has a folder for each resolution, L1C none. The finest of a band first.
_PLACES = ("R10m/*_{band}_10m.jp2", "R20m/*_{band}_20m.jp2", "*_{band}.jp2")


def safe_roles(folder: Path) -> Roles | None:
    """Find bands in a folder of SAFE products, or in one product.

    Products of Level-2A, where there are any, go before others.

    Args:
        folder: The input folder.

    Returns:
        A role per band that every product of the level has; None where there is no such product.
    """
    scene = "GRANULE/{scene}" if folder.suffix.upper() == ".SAFE" else "{scene}.SAFE/GRANULE/*"
    found = {
        band: [(text, files) for place in _PLACES if (files := _files(folder, text := _pattern(scene, place, band)))]
        for band in _BANDS
    }
    levels = [text.count("/R") > 0 for places in found.values() for text, _ in places]
    if not levels:
        return None
    is_l2a = any(levels)
    first = {band: next((one for one in places if ("/R" in one[0]) == is_l2a), None) for band, places in found.items()}
    there = {band: one for band, one in first.items() if one is not None}
    most = max(len(files) for _, files in there.values())
    whole = {band: one for band, one in there.items() if len(one[1]) == most}
    complete = set.intersection(*(set(files) for _, files in whole.values()))
    if not complete:
        return None
    example = min(complete)
    return Roles(
        patterns={band: text for band, (text, _) in whole.items()},
        labels=(),
        example={band: files[example] for band, (_, files) in whole.items()},
        n_scenes=most,
        n_whole=len(complete),
    )


def _pattern(scene: str, place: str, band: str) -> str:
    return f"{scene}/IMG_DATA/{place.format(band=band)}"


def _files(folder: Path, text: str) -> dict[str, Path]:
    """Return the one file of each scene."""
    return {scene: paths[0] for scene, paths in Pattern(text).find_all(folder).items() if len(paths) == 1}
