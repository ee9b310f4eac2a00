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
from tasks.jobs.source import VoxelSize
from tasks.reports.legend import Caption
from tasks.scenes.class_numbers import class_numbers, label_type
from tasks.scenes.volume.scene import SAME_VOXELS, VolumeScene, apart_voxels, describe_volume

# Towards superior, anterior, right: axial slices come first.
_ORIENTATION = "SAR"
_SLAB = 16


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


def open_volume_mask(
    files: VolumeFiles, scene: str, job: Job | None, label: int, spool: Path, *, voxel_size: VoxelSize | None = None
) -> VolumeMask:
    """Open a class map of a volume, turned to slices, rows towards anterior, columns towards right.

    Class names come from the job's model where the mask holds no other classes, else they are numbers. What is not
    finite is not observed, nor is the value that a product of swathe names; in any other mask 255 is a class. A mask
    without any lesion is one.

    Args:
        files: Of one date.
        scene: Its id.
        job: Names the model's classes.
        label: The class that is asked about, whether the mask holds it or not.
        spool: Where compressed files are unpacked; must stay while the mask is read.
        voxel_size: Which to believe where sform and pixdim of a header differ; None refuses.

    Raises:
        GeometryError: When they do and nothing says which.
        UnreadableSceneError: When a file cannot be read.
        UnsupportedSceneError: When the mask is no class map, or a file beside it lies on another grid.
    """
    describe = partial(_described, scene=scene, spool=spool, voxel_size=voxel_size)
    image = None if files.image is None else describe(files.image, role="image")
    mask = describe(files.mask, role="mask", like=image)
    if image is not None:
        _require_one_grid(image, mask, "image")
    highest = _highest(mask)
    dtype = label_type(highest)
    confidence = None
    if files.confidence is not None:
        percent = describe(files.confidence, role="confidence", like=mask)
        _require_one_grid(percent, mask, "confidence")
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
        notes=tuple(dict.fromkeys((*mask.header.notes, *(image.header.notes if image else ())))),
    )


def _described(
    path: Path, *, scene: str, spool: Path, voxel_size: VoxelSize | None, role: str, like: VolumeScene | None = None
) -> VolumeScene:
    return describe_volume(
        scene,
        path,
        card_orientation=_ORIENTATION,
        card_spacing_mm=None,
        spool_dir=spool / role,
        voxel_size=voxel_size,
        like=like,
    )


def _require_one_grid(found: VolumeScene, mask: VolumeScene, role: str) -> None:
    shapes = found.frame.native_shape, mask.frame.native_shape
    if shapes[0] != shapes[1]:
        raise UnsupportedSceneError(
            f"{mask.id}: the {role} has {shapes[0]} voxels, the mask {shapes[1]}. Resample one onto the other's grid"
        )
    apart = apart_voxels(found, mask) or 0.0
    if apart > SAME_VOXELS:
        raise UnsupportedSceneError(
            f"{mask.id}: {role} and mask lie {apart:.4g} voxels apart. Give both on one grid, with one affine"
        )


def _highest(mask: VolumeScene) -> int:
    """Return the highest class number."""
    highest, depth = 0, mask.frame.native_shape[0]
    for start in range(0, depth, _SLAB):
        stop = min(depth, start + _SLAB)
        numbers, _ = _class_numbers(mask, Box((start, 0, 0), (stop, *mask.frame.native_shape[1:])))
        highest = max(highest, int(numbers.max(initial=0)))
    return highest


def _class_numbers(mask: VolumeScene, box: Box) -> tuple[NDArray[np.integer[Any]], NDArray[np.bool_]]:
    """Return the classes of a window, 0 where not observed, and what was: of a product, what it says of itself."""
    with mask.open() as reader:
        values, observed = reader.native(box)
    if mask.header.not_observed is not None:
        observed &= values != np.float32(mask.header.not_observed)
    return class_numbers(mask.header.path.name, values, observed), observed


def _read_labels(volume: VolumeScene, dtype: str, box: Box) -> NDArray[np.unsignedinteger[Any]]:
    # Slab by slab: values are read as float32, and a whole volume of those is more than the mask may cost.
    labels = np.empty(box.shape, dtype)
    for start in range(box.start[0], box.stop[0], _SLAB):
        stop = min(box.stop[0], start + _SLAB)
        numbers, observed = _class_numbers(volume, Box((start, *box.start[1:]), (stop, *box.stop[1:])))
        part = labels[start - box.start[0] : stop - box.start[0]]
        part[...] = numbers
        part[~observed] = np.iinfo(dtype).max
    return labels


def _classes(highest: int, card: Card | None) -> tuple[ClassEntry, ...]:
    if card is not None and highest < len(card.classes):
        return card.classes
    return (ClassEntry(name="background", colour="#000000"), *map(numbered_class, range(1, highest + 1)))
