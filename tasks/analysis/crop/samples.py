"""From reference samples to areas with intervals: which stratum each sample stands for, and what to doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.analysis.crop.reference_samples import ReferenceSamples, read_samples
from tasks.analysis.subject import RasterMask
from tasks.answers.area import ClassAreas, PixelAreas
from tasks.answers.crop.estimate import Accuracy, StratifiedSample, estimate_accuracy
from tasks.errors import JobError, SampleError
from tasks.geometry.box import Box
from tasks.jobs.crop import CropAnalysis

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]
# Samples are looked up in whole pieces of the mask, not pixel by pixel.
_PIECE = 512
_UNEQUAL = 0.05
_UNCOVERED = 0.01
_NO_DESIGN = (
    "the samples carry no inclusion probabilities and no design is stated. Intervals hold only for a probability "
    "sample: set design to 'stratified' or 'simple' if it is one. Points picked by hand, or where it was easy to go, "
    "give no honest interval"
)


@dataclass(frozen=True)
class AreaEstimates:
    """What reference samples say.

    Attributes:
        accuracy: Areas and accuracies.
        sample: What they were estimated from.
        warnings: What to doubt.
    """

    accuracy: Accuracy
    sample: StratifiedSample
    warnings: tuple[str, ...]


def class_number(text: str, names: list[str]) -> int | None:
    """Return the class that a text names, by name or number; None where there is none."""
    wanted = text.strip().casefold()
    for number, name in enumerate(names):
        if name.casefold() == wanted:
            return number
    digits = wanted.removesuffix(".0")
    return int(digits) if digits.isdecimal() and int(digits) < len(names) else None


def class_numbers(wanted: tuple[str, ...], names: list[str], key: str) -> tuple[int, ...]:
    """Return the classes that a setting names.

    Raises:
        JobError: When the map has no such class.
    """
    found = [class_number(name, names) for name in wanted]
    unknown = [name for name, number in zip(wanted, found, strict=True) if number is None]
    if unknown:
        raise JobError(f"analysis.{key}: the map has no class {', '.join(unknown)}. It has: {', '.join(names)}")
    return tuple(number for number in found if number is not None)


def estimate_areas(subject: RasterMask, settings: CropAnalysis, path: str, areas: ClassAreas) -> AreaEstimates:
    """Read reference samples and estimate class areas from them.

    Args:
        subject: The mask, with areas.
        settings: Of the job.
        path: Of the samples.
        areas: Of the mask's classes.

    Raises:
        SampleError: When a class is unknown, a point lies outside the map, a stratum has fewer than two samples, or the
            areas of strata are not known.
    """
    samples = read_samples(path, subject.grid, settings.samples_crs)
    names = subject.names
    reference = _reference_classes(path, samples, names)
    mapped = _looked_up(subject.read, samples, subject.grid.shape).astype(np.intp)
    outside = class_numbers(settings.leave_out, names, "leave_out")
    kept = (mapped < len(names)) & ~np.isin(mapped, outside)
    warnings = list(samples.remarks) + _left_out(path, mapped, kept, len(names))
    if not kept.any():
        raise SampleError(f"{path}: no sample lies on an observed pixel of a class that is asked about")
    strata, stratum_names, strata_ha = _strata(
        path, samples, settings=settings, mapped=mapped, legend=(names, areas, outside)
    )
    sample = StratifiedSample(
        strata=strata[kept],
        mapped=mapped[kept],
        reference=reference[kept],
        areas_ha=strata_ha,
        stratum_names=stratum_names,
        class_names=tuple(names),
    )
    accuracy = estimate_accuracy(sample)
    warnings += _design_warnings(
        path, samples, settings=settings, sample=sample, kept=kept, areas_m2=_areas_at(subject, samples)[kept]
    )
    warnings += _cover_warnings(accuracy, sample, areas, outside)
    return AreaEstimates(accuracy, sample, tuple(warnings))


def _reference_classes(path: str, samples: ReferenceSamples, names: list[str]) -> Numbers:
    found = [class_number(text, names) for text in samples.reference]
    unknown = sorted({text for text, number in zip(samples.reference, found, strict=True) if number is None})
    if unknown:
        raise SampleError(
            f"{path}: reference classes that the map does not have: {', '.join(unknown)}. The map has: "
            f"{', '.join(names)}. Name them alike, by name or number"
        )
    return np.array(found, np.intp)


def _looked_up(
    read: Callable[[Box], NDArray[Any]], samples: ReferenceSamples, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return what a windowed layer holds at the samples, read in whole pieces."""
    pieces = np.stack([samples.rows // _PIECE, samples.cols // _PIECE])
    found = np.empty(len(samples))
    for piece in np.unique(pieces, axis=1).T:
        here = np.flatnonzero((pieces == piece[:, None]).all(axis=0))
        start = (int(piece[0]) * _PIECE, int(piece[1]) * _PIECE)
        stop = (min(start[0] + _PIECE, shape[0]), min(start[1] + _PIECE, shape[1]))
        values = read(Box(start, stop))
        found[here] = values[samples.rows[here] - start[0], samples.cols[here] - start[1]]
    return found


def _areas_at(subject: RasterMask, samples: ReferenceSamples) -> Floats:
    areas = PixelAreas(subject.grid)
    return _looked_up(lambda box: np.broadcast_to(areas.window(box), box.shape), samples, subject.grid.shape)


def _left_out(path: str, mapped: Numbers, kept: NDArray[np.bool_], n_classes: int) -> list[str]:
    unseen = int((mapped >= n_classes).sum())
    outside = int((~kept).sum()) - unseen
    notes = []
    if unseen:
        notes.append(f"{Path(path).name}: {unseen} samples lie where the map was not observed and are left out")
    if outside:
        notes.append(f"{Path(path).name}: {outside} samples lie in classes that are left out")
    return notes


def _strata(
    path: str,
    samples: ReferenceSamples,
    settings: CropAnalysis,
    mapped: Numbers,
    legend: tuple[list[str], ClassAreas, tuple[int, ...]],
) -> tuple[Numbers, tuple[str, ...], tuple[float, ...]]:
    """Return each sample's stratum, the strata's names and their areas."""
    names, areas, outside = legend
    mapped_ha = tuple(0.0 if k in outside else area for k, area in enumerate(areas.areas_ha or ()))
    if samples.strata is None:
        return mapped, tuple(names), mapped_ha
    stated = dict(settings.strata_ha) or _stated_areas(path, samples)
    if not stated:
        as_classes = np.array([-1 if (k := class_number(s, names)) is None else k for s in samples.strata], np.intp)
        if np.array_equal(as_classes, mapped):
            return mapped, tuple(names), mapped_ha
        raise SampleError(
            f"{path}: strata are not the classes of this map, and their areas are not given. Add a column "
            "stratum_area_ha, or set strata_ha"
        )
    missing = sorted(set(samples.strata) - set(stated))
    if missing:
        raise SampleError(f"{path}: no area is given for strata {', '.join(missing)}. Add them to strata_ha")
    order = list(stated)
    return np.array([order.index(name) for name in samples.strata], np.intp), tuple(order), tuple(stated.values())


def _stated_areas(path: str, samples: ReferenceSamples) -> dict[str, float]:
    if samples.strata_ha is None or samples.strata is None:
        return {}
    stated: dict[str, float] = {}
    for name, area in sorted(zip(samples.strata, samples.strata_ha.tolist(), strict=True)):
        if not np.isclose(stated.setdefault(name, area), area, rtol=1e-6):
            raise SampleError(f"{path}: stratum '{name}' has more than one stratum_area_ha. Give it one")
    return stated


def _design_warnings(
    path: str,
    samples: ReferenceSamples,
    settings: CropAnalysis,
    sample: StratifiedSample,
    kept: NDArray[np.bool_],
    areas_m2: Floats,
) -> list[str]:
    notes = []
    if samples.inclusion is None and settings.design == "unknown":
        notes.append(f"{Path(path).name}: {_NO_DESIGN}")
    pixels = {*zip(samples.rows[kept].tolist(), samples.cols[kept].tolist(), strict=True)}
    if len(pixels) < len(sample.strata):
        shared = len(sample.strata) - len(pixels)
        notes.append(f"{Path(path).name}: {shared} samples lie in a pixel that another has; each is counted")
    # Means over samples are shares of the area where a pixel was drawn in proportion to its area.
    chances = np.ones(len(areas_m2)) if samples.inclusion is None else samples.inclusion[kept]
    per_area = chances / areas_m2
    for number, name in enumerate(sample.stratum_names):
        own = per_area[sample.strata == number]
        if len(own) and float(own.max() - own.min()) > _UNEQUAL * float(own.max()):
            notes.append(
                f"{Path(path).name}: in stratum '{name}' pixels were not drawn in proportion to their area, as the "
                f"estimate takes it: chance per area differs by {1 - own.min() / own.max():.0%}"
            )
    return notes


def _cover_warnings(
    accuracy: Accuracy, sample: StratifiedSample, areas: ClassAreas, outside: tuple[int, ...]
) -> list[str]:
    notes = []
    mapped_ha = sum(area for k, area in enumerate(areas.areas_ha or ()) if k not in outside)
    if mapped_ha > 0 and abs(accuracy.total_ha - mapped_ha) > _UNCOVERED * mapped_ha:
        notes.append(
            f"the strata cover {accuracy.total_ha:,.1f} ha and the map {mapped_ha:,.1f} ha: estimates are of the strata"
        )
    wide = [
        name
        for name, area in zip(sample.class_names, accuracy.areas_ha, strict=True)
        if area.value > 0 and area.interval[0] < 0
    ]
    if wide:
        notes.append(f"too few samples for {', '.join(wide)}: the 95 % interval reaches below 0")
    if accuracy.overall.standard_error == 0.0:
        notes.append(
            "no sample contradicts the map, so the standard errors are 0: that is the sample's limit, not proof"
        )
    return notes
