"""Mosaics of Siemens: all slices of a volume in one picture. Runs in the child process only."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom import DataElement, Dataset

from tasks.dicom.instance import PixelLayout, Slice

_CSA_CREATOR = "SIEMENS CSA HEADER"


def tiles(
    dataset: Dataset, whole: Slice, layout: PixelLayout, image_type: tuple[str, ...]
) -> tuple[int, int, list[Slice]] | None:
    """Return the slices of a mosaic in the order of its tiles.

    The position in the header is that of a picture as large as the mosaic with the same centre as the first slice, so
    the first slice begins half the difference further in.

    Args:
        dataset: The header.
        whole: The mosaic as if it were a slice.
        layout: Of the mosaic.
        image_type: Says whether it is one.

    Returns:
        Rows and columns of a tile, and the slices; None where the file is no mosaic.

    Raises:
        ValueError: When it is a mosaic that says too little of its slices.
    """
    if "MOSAIC" not in image_type:
        return None
    tags = _csa_tags(dataset)
    n_slices = int(_items(tags, "NumberOfImagesInMosaic")[0])
    normal = np.array([float(value) for value in _items(tags, "SliceNormalVector")])
    side = math.ceil(math.sqrt(n_slices))
    rows, cols = layout.rows // side, layout.cols // side
    placed = (whole.position_mm, whole.orientation, whole.pixel_spacing_mm)
    if n_slices < 1 or not rows or not cols or normal.shape != (3,) or None in placed:
        raise ValueError(f"a mosaic of {n_slices} slices in {layout.rows} x {layout.cols} pixels that are not placed")
    position, orientation, spacing = (np.array(value, np.float64) for value in placed)
    gap = float(dataset.get("SpacingBetweenSlices") or whole.thickness_mm or 0.0)
    along_row, along_col = orientation[:3] * spacing[1], orientation[3:] * spacing[0]
    first = position + along_row * (layout.cols - cols) / 2 + along_col * (layout.rows - rows) / 2
    planes = []
    for k in range(n_slices):
        x, y, z = (float(value) for value in first + k * gap * normal)
        corner = (k // side * rows, k % side * cols)
        planes.append(replace(whole, corner=corner, position_mm=(x, y, z)))
    return rows, cols, planes


def _csa_tags(dataset: Dataset) -> dict[str, Any]:
    with warnings.catch_warnings():
        # nibabel warns of all its readers of DICOM when they are imported; only the header's layout is its affair here.
        warnings.simplefilter("ignore", UserWarning)
        from nibabel.nicom import csareader

    for block in (0x10, 0x11):
        creator: DataElement | None = dataset.get((0x0029, block))
        raw: DataElement | None = dataset.get((0x0029, block << 8 | 0x10))
        if creator is not None and raw is not None and str(creator.value).strip() == _CSA_CREATOR:
            return dict(csareader.read(raw.value)["tags"])
    raise ValueError("a mosaic without the header of Siemens that says how many slices it has")


def _items(tags: dict[str, Any], name: str) -> list[Any]:
    items = tags.get(name, {}).get("items") or []
    if not items:
        raise ValueError(f"a mosaic whose header lacks {name}")
    return list(items)
