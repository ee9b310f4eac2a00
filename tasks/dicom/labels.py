"""RTSTRUCT and SEG as a class map on a given grid. Runs in the child process of ``tasks.dicom.reader`` only."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import iter_pixels

from tasks.dicom.contours import FEWEST_POINTS, area_of, filled
from tasks.dicom.header import DAMAGED, reason
from tasks.errors import GridError, UnreadableSceneError, UnsupportedSceneError

_FRACTIONAL, _LABELMAP = "FRACTIONAL", "LABELMAP"
# Coordinates in voxels of the grid that are not nearer to a whole number lie between its voxels.
_ON_VOXEL = 0.05
_ON_SLICE = 0.1
_MOST_CLASSES = 65_534
# Points on one line, as decimal strings of millimetres round them, go round less of a pixel than this.
_NO_AREA = 1e-3


@dataclass(frozen=True)
class Target:
    """The grid that labels are laid on.

    Attributes:
        shape: Voxels in the order of a NIfTI file.
        affine: 4 x 4, from these voxels to right-anterior-superior, in millimetres.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def voxels(self, lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where points ``(points, 3)`` of DICOM lie, in voxels of the grid."""
        world = lps_mm * [-1.0, -1.0, 1.0]
        placed = np.linalg.solve(self.affine[:3, :3], (world - self.affine[:3, 3]).T).T
        return np.asarray(placed, np.float64)


@dataclass(kw_only=True)
class _Map:
    """Labels as they are filled in.

    Attributes:
        labels: Of the voxels; in the order of the file.
        names: Of the structures that are wanted, by their own numbers.
        classes: Of each of these, its class.
        counts: Voxels of each structure, those that another one takes included.
        doubled: Voxels that two structures of different classes claim.
        noticed: What was odd, and how often.
    """

    labels: NDArray[np.uint16]
    names: dict[int, str]
    classes: dict[int, int]
    counts: Counter[int] = field(default_factory=Counter)
    doubled: int = 0
    noticed: Counter[str] = field(default_factory=Counter)

    def put(self, number: int, where: tuple[Any, ...], mask: NDArray[np.bool_]) -> None:
        """Enter a structure in a window."""
        before = self.labels[where]
        wanted = self.classes[number]
        self.doubled += int(((before != 0) & (before != wanted) & mask).sum())
        self.counts[number] += int(mask.sum())
        self.labels[where] = np.where(mask, wanted, before)


def write_labels(path: str, target: Target, structures: str | None, destination: Path) -> dict[str, Any]:
    """Write the structures of an RTSTRUCT or the segments of a SEG as a class map on a grid.

    Each has the class of its number; where some are chosen by name, all of these are class 1.

    Args:
        path: The file.
        target: The grid.
        structures: Regular expression that a name has to match somewhere; None for all of them.
        destination: A ``.nii`` file.

    Returns:
        ``structures``, each with number, name, class and voxels, and ``notes`` on what was odd.

    Raises:
        UnreadableSceneError: When the file is damaged.
        UnsupportedSceneError: When it is neither, none of its structures is wanted, or structures overlap.
        GridError: When it lies on another grid.
    """
    try:
        dataset = dcmread(path, force=True)
        filled_in = _filled_in(dataset, target, structures)
    except DAMAGED as error:
        raise UnreadableSceneError(f"not readable as a segmentation ({reason(error, path)})") from error
    if filled_in.doubled:
        raise UnsupportedSceneError(
            f"structures overlap in {filled_in.doubled} voxels, and a class map has one class per voxel. Choose some "
            "by name: --reference-structures"
        )
    image = nib.Nifti1Image(filled_in.labels, target.affine)
    image.header.set_sform(target.affine, 1)
    image.header.set_xyzt_units("mm")
    nib.save(image, destination)
    names, counts = filled_in.names, filled_in.counts
    return {
        "structures": [
            {"number": number, "name": name, "class": filled_in.classes[number], "voxels": counts[number]}
            for number, name in names.items()
        ],
        "notes": [text.format(count) for text, count in filled_in.noticed.items()],
    }


def read_labels(dataset: Dataset, target: Target) -> NDArray[np.uint16]:
    """Return all segments of a SEG as a class map on a grid, in the order of a NIfTI file; errors as above."""
    return _filled_in(dataset, target, None).labels


def _filled_in(dataset: Dataset, target: Target, structures: str | None) -> _Map:
    modality = str(dataset.get("Modality", ""))
    if modality == "RTSTRUCT":
        names = {int(roi.ROINumber): str(roi.get("ROIName", "")) for roi in dataset.StructureSetROISequence}
    elif modality == "SEG":
        names = {int(item.SegmentNumber): str(item.get("SegmentLabel", "")) for item in dataset.SegmentSequence}
    else:
        raise UnsupportedSceneError(f"{modality or 'a file without a modality'}: neither RTSTRUCT nor SEG")
    wanted = {n: name for n, name in sorted(names.items()) if structures is None or re.search(structures, name)}
    wanted.pop(0, None)
    if not wanted or max(wanted) > _MOST_CLASSES:
        raise UnsupportedSceneError(f"none of {len(names)} structures matches '{structures}'")
    classes = {number: number if structures is None else 1 for number in wanted}
    filled_in = _Map(labels=np.zeros(target.shape, np.uint16), names=wanted, classes=classes)
    if modality == "RTSTRUCT":
        _fill_structures(dataset, target, filled_in)
    else:
        _fill_segments(dataset, target, filled_in)
    return filled_in


def _fill_structures(dataset: Dataset, target: Target, filled_in: _Map) -> None:
    for roi in dataset.get("ROIContourSequence", []):
        number = int(roi.ReferencedROINumber)
        if number not in filled_in.names:
            continue
        for index, contours in _planes(roi, target, filled_in.noticed).items():
            cols, rows, slices = target.shape
            mask = filled(contours, rows, cols)
            _notice(contours, mask, filled_in.noticed)
            if 0 <= index < slices:
                filled_in.put(number, (slice(None), slice(None), index), mask.T)
            else:
                filled_in.noticed["{} plane(s) lie above or below the grid"] += 1


def _planes(roi: Dataset, target: Target, noticed: Counter[str]) -> dict[int, list[NDArray[np.float64]]]:
    """Return the contours of a structure by slice of the grid, each as rows and columns."""
    planes: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    depths: dict[int, set[float]] = defaultdict(set)
    for contour in roi.get("ContourSequence", []):
        points = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
        kind = str(contour.get("ContourGeometricType", "CLOSED_PLANAR"))
        if len(points) < FEWEST_POINTS or not kind.startswith("CLOSED"):
            noticed["{} contour(s) of one or two points, or not closed, were left out"] += 1
            continue
        placed = target.voxels(points)
        index = int(np.rint(placed[:, 2].mean()))
        if float(np.abs(placed[:, 2] - placed[0, 2]).max()) > _ON_SLICE:
            raise GridError("contours do not lie in the slices of the grid: they were drawn on another series")
        if abs(float(placed[0, 2]) - index) > _ON_SLICE:
            noticed["{} contour(s) lie between slices, and count for the nearest"] += 1
        planes[index].append(placed[:, [1, 0]])
        depths[index].add(round(float(placed[0, 2]), 2))
    if any(max(found) - min(found) > _ON_SLICE for found in depths.values()):
        raise GridError("contours of several planes fall into one slice of the grid: they were drawn on thinner slices")
    return planes


def _notice(contours: list[NDArray[np.float64]], mask: NDArray[np.bool_], noticed: Counter[str]) -> None:
    rows, cols = mask.shape
    for contour in contours:
        low, high = contour.min(axis=0), contour.max(axis=0)
        if (high < 0).any() or (low > (rows - 1, cols - 1)).any():
            noticed["{} contour(s) lie outside the picture"] += 1
        elif (low < 0).any() or (high > (rows - 1, cols - 1)).any():
            noticed["{} contour(s) reach beyond the picture, and were clipped"] += 1
        elif not filled([contour], rows, cols).any():
            what = "no area" if area_of(contour) < _NO_AREA else "less than a pixel"
            noticed[f"{{}} contour(s) of {what} go round no pixel's centre"] += 1


def _fill_segments(dataset: Dataset, target: Target, filled_in: _Map) -> None:
    shared = dataset.get("SharedFunctionalGroupsSequence", [Dataset()])[0]
    kind = str(dataset.get("SegmentationType", "BINARY"))
    half = float(dataset.get("MaximumFractionalValue", 1)) / 2
    frames = iter_pixels(dataset, raw=True)
    for group, frame in zip(dataset.PerFrameFunctionalGroupsSequence, frames, strict=True):
        placed = _placed(group, shared, target)
        for number, pixels in _segments(group, shared, frame=frame, kind=kind, half=half):
            if number in filled_in.names:
                _put_frame(filled_in, number, pixels, placed)


def _segments(
    group: Dataset, shared: Dataset, frame: NDArray[Any], kind: str, half: float
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield the segments of a frame, each with the rows and columns ``(2, pixels)`` that are set."""
    if kind == _LABELMAP:
        pixels = np.array(np.nonzero(frame))
        numbers = frame[pixels[0], pixels[1]]
        # Once over the frame, whatever the number of segments.
        order = np.argsort(numbers, kind="stable")
        found, begins = np.unique(numbers[order], return_index=True)
        parts = np.split(order, begins[1:]) if found.size else []
        yield from ((int(number), pixels[:, part]) for number, part in zip(found, parts, strict=True))
        return
    named = _item(group, shared, "SegmentIdentificationSequence")
    is_set = frame >= half if kind == _FRACTIONAL else frame > 0
    yield int(named.ReferencedSegmentNumber), np.array(np.nonzero(is_set))


def _placed(group: Dataset, shared: Dataset, target: Target) -> NDArray[np.float64]:
    """Return where a frame lies in voxels of the grid: its first pixel, and the steps along a column and a row."""
    position = np.array(_item(group, shared, "PlanePositionSequence").ImagePositionPatient, np.float64)
    along = np.array(_item(group, shared, "PlaneOrientationSequence").ImageOrientationPatient, np.float64)
    spacing = np.array(_item(group, shared, "PixelMeasuresSequence").PixelSpacing, np.float64)
    corners = np.array([position, position + along[3:] * spacing[0], position + along[:3] * spacing[1]])
    voxels = target.voxels(corners)
    return np.array([voxels[0], voxels[1] - voxels[0], voxels[2] - voxels[0]])


def _item(group: Dataset, shared: Dataset, sequence: str) -> Dataset:
    found = group.get(sequence) or shared.get(sequence)
    if not found:
        raise ValueError(f"{sequence} is missing")
    item: Dataset = found[0]
    return item


def _put_frame(filled_in: _Map, number: int, pixels: NDArray[np.intp], placed: NDArray[np.float64]) -> None:
    """Enter the set pixels of a frame, ``(2, pixels)``, whichever way it is turned against the grid."""
    if pixels.size == 0:
        return
    rows, cols = pixels
    points = placed[0] + rows[:, np.newaxis] * placed[1] + cols[:, np.newaxis] * placed[2]
    voxels = np.rint(points).astype(np.int64)
    if float(np.abs(points - voxels).max()) > _ON_VOXEL:
        raise GridError("the segmentation lies on another grid: its pixels fall between the grid's voxels")
    inside = ((voxels >= 0) & (voxels < filled_in.labels.shape)).all(axis=1)
    if not inside.all():
        filled_in.noticed["{} frame(s) reach beyond the grid, and were clipped"] += 1
    where = tuple(voxels[inside].T)
    filled_in.put(number, where, np.ones(int(inside.sum()), np.bool_))
