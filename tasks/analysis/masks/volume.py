"""Volume masks made elsewhere: their classes, and the image and the confidence beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import Card, ClassEntry
from tasks.analysis.masks.names import card_of, numbered_class
from tasks.analysis.subject import VolumeMask
from tasks.errors import UnsupportedSceneError
from tasks.geometry.box import Box
from tasks.jobs.job import Job
from tasks.reports.legend import Caption
from tasks.scenes.volume.scene import VolumeScene, describe_volume

# Towards superior, anterior, right: axial slices come first.
_ORIENTATION = "SAR"
_SLAB = 16
_NOT_A_BYTE = 255
_MOST_CLASSES = 65_535
# Corners of two grids that are further apart are two grids; float32 headers round.
_SAME_PLACE_MM = 0.01


@dataclass(frozen=True)
class VolumeFiles:
    """The files of one date.

    Attributes:
        mask: Class numbers.
        image: The picture that was segmented, on the same grid; None where there is none.
        confidence: Percent of the winning class, on the same grid; None where there is none.
    """

    mask: Path
    image: Path | None = None
    confidence: Path | None = None


def volume_files(mask: Path, image: Path | None = None) -> VolumeFiles:
    """Return the files of a mask: beside one that is called ``mask`` lies its confidence, where that was kept."""
    is_ours = mask.name in ("mask.nii.gz", "mask.nii")
    confidence = mask.with_name("confidence.nii.gz")
    return VolumeFiles(mask, image, confidence if is_ours and confidence.is_file() else None)


def open_volume_mask(files: VolumeFiles, scene: str, job: Job | None, label: int, spool: Path) -> VolumeMask:
    """Open a class map of a volume, turned to slices, rows towards anterior, columns towards right.

    Class names come from the job's model where the mask holds no other classes, else they are numbers. What is not
    finite, and 255 (65535 where there are more classes) is not observed. A mask without any lesion is one.

    Args:
        files: Of one date.
        scene: Its id.
        job: Names the model's classes.
        label: The class that is asked about, whether the mask holds it or not.
        spool: Where compressed files are unpacked; must stay while the mask is read.

    Raises:
        UnreadableSceneError: When a file cannot be read.
        UnsupportedSceneError: When the mask is no class map, or a file beside it lies on another grid.
    """
    mask = _described(files.mask, scene, spool, "mask")
    highest = _highest(mask, scene)
    dtype = "uint8" if highest < _NOT_A_BYTE else "uint16"
    image = None if files.image is None else _beside(files.image, mask, scene, spool, "image")
    confidence = None
    if files.confidence is not None:
        percent = _beside(files.confidence, mask, scene, spool, "confidence")
        confidence = partial(_read_labels, percent, "uint8")
    card = card_of(job, "volume")
    return VolumeMask(
        id=scene,
        scene=mask if image is None else image,
        classes=_classes(max(highest, label), card),
        read=partial(_read_labels, mask, dtype),
        caption=Caption(f"{job.title or job.job} · {scene}" if job else scene, ("a mask made elsewhere",)),
        has_image=image is not None,
        confidence=confidence,
    )


def _described(path: Path, scene: str, spool: Path, role: str) -> VolumeScene:
    return describe_volume(scene, path, _ORIENTATION, None, spool / role)


def _beside(path: Path, mask: VolumeScene, scene: str, spool: Path, role: str) -> VolumeScene:
    found = _described(path, scene, spool, role)
    shapes = found.frame.native_shape, mask.frame.native_shape
    if shapes[0] != shapes[1]:
        raise UnsupportedSceneError(
            f"{scene}: the {role} has {shapes[0]} voxels, the mask {shapes[1]}. Resample one onto the other's grid"
        )
    corners = np.array([(z, y, x, 1) for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * (*shapes[0], 1)
    apart = float(np.linalg.norm(corners @ (found.affine_mm - mask.affine_mm).T, axis=1).max())
    if apart > _SAME_PLACE_MM:
        raise UnsupportedSceneError(
            f"{scene}: {role} and mask lie {apart:.2f} mm apart. Give both on one grid, with one affine"
        )
    return found


def _highest(mask: VolumeScene, scene: str) -> int:
    """Return the highest class number but those that stand for not observed."""
    highest, depth = 0, mask.frame.native_shape[0]
    for start in range(0, depth, _SLAB):
        stop = min(depth, start + _SLAB)
        with mask.open() as reader:
            values, finite = reader.native(Box((start, 0, 0), (stop, *mask.frame.native_shape[1:])))
        known = values[finite]
        if known.size and (known.min() < 0 or known.max() > _MOST_CLASSES or (known != np.rint(known)).any()):
            raise UnsupportedSceneError(
                f"{scene}: a mask holds whole class numbers from 0 to {_MOST_CLASSES - 1}; found {known.min():g} to "
                f"{known.max():g}. Give a class map, not scores or an image"
            )
        for unseen in (_MOST_CLASSES, _NOT_A_BYTE):
            known = known[known != unseen]
        highest = max(highest, int(known.max(initial=0)))
    return highest


def _read_labels(volume: VolumeScene, dtype: str, box: Box) -> NDArray[np.unsignedinteger[Any]]:
    # Slab by slab: values are read as float32, and a whole volume of those is more than the mask may cost.
    labels = np.empty(box.shape, dtype)
    unseen = np.iinfo(dtype).max
    with volume.open() as reader:
        for start in range(box.start[0], box.stop[0], _SLAB):
            stop = min(box.stop[0], start + _SLAB)
            values, finite = reader.native(Box((start, *box.start[1:]), (stop, *box.stop[1:])))
            part = labels[start - box.start[0] : stop - box.start[0]]
            part[...] = np.where(finite & (values <= unseen), values, unseen)
    return labels


def _classes(highest: int, card: Card | None) -> tuple[ClassEntry, ...]:
    if card is not None and highest < len(card.classes):
        return card.classes
    return (ClassEntry(name="background", colour="#000000"), *map(numbered_class, range(1, highest + 1)))
