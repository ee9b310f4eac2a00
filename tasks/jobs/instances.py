"""What a job may say of instances, and what follows from it for a model's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.card import ClassEntry
from models.errors import CardError
from tasks.errors import JobError
from tasks.jobs.section import Section

# What joins the pixels of an instance: 4 and 8 in rasters, 6, 18 and 26 in volumes.
Connectivity: TypeAlias = Literal[4, 8, 6, 18, 26]
_CONNECTIVITIES: dict[str, tuple[Connectivity, ...]] = {"raster": (4, 8), "volume": (6, 18, 26)}
_RANKS = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}
_MOST_CLASSES = 1 << 16


class InstanceSettings(Section):
    """Single objects from the class map.

    Attributes:
        classes: Names or numbers of the classes whose objects are told apart; all but class 0 and ``border`` where
            left out.
        split: ``none`` leaves connected parts whole; ``distance`` cuts them at their necks; ``border`` along a class
            that the model draws between objects.
        border: That class, for ``split: border``.
        min_distance_px: How far apart the middles of two objects are at least, along rows or cols of a raster, for
            ``split: distance``.
        min_distance_mm: The same for volumes, along any axis.
        min_pixels: Objects of fewer pixels or voxels are left out; borders do not count.
        connectivity: Neighbours of a pixel that belong to it: 4 or 8 in rasters, 6, 18 or 26 in volumes; the most
            where left out.
    """

    classes: tuple[int | str, ...] = ()
    split: Literal["none", "distance", "border"] = "none"
    border: int | str | None = None
    min_distance_px: Annotated[float, Field(gt=0)] = 10.0
    min_distance_mm: Annotated[float, Field(gt=0)] = 5.0
    min_pixels: Annotated[int, Field(ge=1)] = 1
    connectivity: Connectivity | None = None


@dataclass(frozen=True, kw_only=True)
class InstanceRules:
    """The settings, for one model's classes.

    Attributes:
        classes: Numbers of the classes whose objects are told apart.
        connectivity: Neighbours of a pixel that belong to it.
        border: Number of the class between objects; None where nothing is split by it.
        min_distance: In pixels or mm; None where nothing is split by distance.
        min_pixels: Smaller objects are left out.
        spacing: Size of a pixel along each axis, in the unit of ``min_distance``.
    """

    classes: tuple[int, ...]
    connectivity: Connectivity
    border: int | None = None
    min_distance: float | None = None
    min_pixels: int = 1
    spacing: tuple[float, ...] = (1.0, 1.0)

    @property
    def rank(self) -> int:
        """Along how many axes neighbours may differ: what scipy and scikit-image call connectivity."""
        return _RANKS[self.connectivity]

    @property
    def kinds(self) -> NDArray[np.uint32]:
        """What to join, by class: areas of different numbers are never joined, 0 is outside."""
        table = np.zeros(_MOST_CLASSES, np.uint32)
        for number in self.classes:
            table[number] = number + 1
        return table


def instance_rules(
    settings: InstanceSettings, names: list[str], spacing_mm: tuple[float, ...] | None = None
) -> InstanceRules:
    """Return the settings for a model's classes.

    Args:
        settings: Of the job.
        names: Of the classes, by number.
        spacing_mm: Of a volume; None for rasters.

    Raises:
        JobError: When a class is not there, the border is missing or in the way, or the connectivity is of another
            kind of scene.
    """
    border = None if settings.border is None else _number(settings.border, names)
    if (settings.split == "border") != (border is not None):
        raise JobError("output.instances.border names a class where output.instances.split is 'border', and only there")
    chosen = [_number(entry, names) for entry in settings.classes]
    if border is not None and border in chosen:
        raise JobError("output.instances.border is among output.instances.classes; objects lie between borders")
    kind = "raster" if spacing_mm is None else "volume"
    possible = _CONNECTIVITIES[kind]
    connectivity = possible[-1] if settings.connectivity is None else settings.connectivity
    if connectivity not in possible:
        raise JobError(
            f"output.instances.connectivity: the job's scenes are of kind '{kind}'; it is one of "
            f"{', '.join(map(str, possible))} there"
        )
    distance = settings.min_distance_px if spacing_mm is None else settings.min_distance_mm
    return InstanceRules(
        classes=tuple(sorted(set(chosen or [number for number in range(1, len(names)) if number != border]))),
        connectivity=connectivity,
        border=border,
        min_distance=distance if settings.split == "distance" else None,
        min_pixels=settings.min_pixels,
        spacing=spacing_mm or (1.0, 1.0),
    )


class PanopticSettings(Section):
    """How a panoptic model's objects and classes become one.

    Attributes:
        overlap: An object of which more than this share is hidden by more certain ones is dropped.
        stuff_min_pixels: Connected areas of stuff with fewer pixels become class 0.
    """

    overlap: Annotated[float, Field(ge=0, le=1)] = 0.5
    stuff_min_pixels: Annotated[int, Field(ge=1)] = 64


@dataclass(frozen=True)
class PanopticRules:
    """The settings, for one model's classes.

    Attributes:
        things: Numbers of the classes whose objects are told apart; every other class but 0 is stuff.
        overlap: As of the settings.
        stuff_min_pixels: As of the settings.
    """

    things: tuple[int, ...]
    overlap: float = 0.5
    stuff_min_pixels: int = 64


def panoptic_rules(settings: PanopticSettings, classes: tuple[ClassEntry, ...]) -> PanopticRules:
    """Return the settings for a model's classes.

    Raises:
        CardError: When none of them is a thing, or the background is one.
    """
    things = tuple(number for number, entry in enumerate(classes) if entry.thing)
    if not things or 0 in things:
        raise CardError(
            "a panoptic model's card says of its classes, but of the first, which are things: 'thing': true"
        )
    return PanopticRules(things, settings.overlap, settings.stuff_min_pixels)


def _number(entry: int | str, names: list[str]) -> int:
    if isinstance(entry, str) and entry in names:
        return names.index(entry)
    if isinstance(entry, int) and 0 <= entry < len(names):
        return entry
    known = ", ".join(f"{number} {name}" for number, name in enumerate(names))
    raise JobError(f"output.instances: there is no class {entry!r}. The model's classes: {known}")
