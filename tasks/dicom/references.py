"""RTSTRUCT and SEG as references: laid on the grid of a volume, for comparison and for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.dicom.reader import Reader


@dataclass(frozen=True)
class Structure:
    """One structure of an RTSTRUCT, or segment of a SEG.

    Attributes:
        number: Its own.
        name: As the file calls it.
        class_number: In the class map.
        n_voxels: Voxels that it claims.
    """

    number: int
    name: str
    class_number: int
    n_voxels: int


@dataclass(frozen=True)
class Reference:
    """A class map that was written.

    Attributes:
        path: An uncompressed NIfTI file of uint16.
        structures: That were wanted, in the order of their numbers.
        notes: What was odd: contours of two points, outside the picture, smaller than a pixel.
    """

    path: Path
    structures: tuple[Structure, ...]
    notes: tuple[str, ...]


def write_reference(
    source: Path, shape: tuple[int, int, int], affine_mm: NDArray[np.float64], destination: Path, wanted: str | None
) -> Reference:
    """Write an RTSTRUCT or a SEG as a class map on the grid of a NIfTI file.

    Contours are filled by pixel centres, and by exclusive or where one lies in another.

    Args:
        source: The file.
        shape: Of the grid, in the order of the NIfTI file.
        affine_mm: 4 x 4, from its voxels to right-anterior-superior; of a series, ``Series.affine_mm``.
        destination: A ``.nii`` file.
        wanted: Regular expression that the name of a structure has to match somewhere; all that do are class 1.
            None keeps all, each with its number as class.

    Raises:
        UnreadableSceneError: When the file is damaged.
        UnsupportedSceneError: When it is neither, none of its structures is wanted, or structures overlap.
        GridError: When it was drawn on another grid.
    """
    with Reader() as reader:
        answer = reader.labels(str(source), shape, affine_mm.tolist(), wanted, destination)
    return Reference(destination, tuple(map(_structure, answer["structures"])), tuple(answer["notes"]))


def _structure(facts: Mapping[str, Any]) -> Structure:
    return Structure(facts["number"], facts["name"], facts["class"], facts["voxels"])
