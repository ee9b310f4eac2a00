"""All measurements of one lesion."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tasks.answers.tumour.axial import Line, axial_diameters
from tasks.answers.tumour.components import Components, Lesion
from tasks.answers.tumour.outline import outline
from tasks.answers.tumour.shape import Shape, shape_of
from tasks.answers.tumour.values import (
    Intensity,
    ReadImage,
    ReadPercent,
    Uncertainty,
    VolumeInterval,
    intensity,
    mean_probability,
    volume_interval,
)
from tasks.jobs.tumour import TumourAnalysis

Point = tuple[float, float, float]
_NO_IMAGE = "no image was given beside the mask"
_NOT_FINITE = "no voxel of the lesion has a finite value in the image"
_NO_CONFIDENCE = "no confidence was kept: output.confidence, or confidence.nii.gz beside the mask"
_NOT_OBSERVED = "no voxel of the lesion has a confidence"


@dataclass(frozen=True)
class PlacedLine:
    """A diameter in the patient.

    Attributes:
        length_mm: Its length.
        ends_ras_mm: Both ends, right-anterior-superior.
        ends_voxel: Both ends in voxels of the mask; voxel centres are whole.
        leaves_lesion: Whether it passes outside the lesion.
    """

    length_mm: float
    ends_ras_mm: tuple[Point, Point]
    ends_voxel: tuple[Point, Point]
    leaves_lesion: bool

    @property
    def ends_lps_mm(self) -> tuple[Point, Point]:
        """Both ends as DICOM writes them, left-posterior-superior."""
        one, other = (to_lps(end) for end in self.ends_ras_mm)
        return one, other


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is known of one lesion; null values have their reason in ``reasons``, by attribute.

    Attributes:
        lesion: Volume, place, border.
        slice_index: The slice of the mask in which both diameters lie, along the axis nearest to the patient's.
        n_slices: Slices that the lesion is seen on.
        long: RECIST's longest axial diameter.
        short: The longest line square to it in the same slice.
        product_mm2: Of both, RANO's.
        shape: PyRadiomics' features.
        intensity: Of the image.
        mean_probability: Of the winning class.
        interval: Volume without and with what is uncertain.
        reasons: Why something is null.
    """

    lesion: Lesion
    slice_index: int | None = None
    n_slices: int | None = None
    long: PlacedLine | None = None
    short: PlacedLine | None = None
    product_mm2: float | None = None
    shape: Shape | None = None
    intensity: Intensity | None = None
    mean_probability: float | None = None
    interval: VolumeInterval | None = None
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """What lies beside a mask, on its grid.

    Attributes:
        shape: Of the mask.
        axial_axis: Its axis nearest to the patient's long one.
        image: Reads the image; None where there is none.
        percent: Reads the confidence; None where none was kept.
    """

    shape: tuple[int, ...]
    axial_axis: int = 0
    image: ReadImage | None = None
    percent: ReadPercent | None = None


def measure(components: Components, sources: Sources, settings: TumourAnalysis) -> list[Measurement]:
    """Measure lesions, largest first; those beyond ``settings.measured`` get their volume and place alone."""
    found = [_measured(components, lesion, sources, settings) for lesion in components.lesions[: settings.measured]]
    why = f"only the {settings.measured} largest lesions are measured in full (analysis.measured)"
    names = ("long", "shape", "intensity", "mean_probability", "interval")
    rest = components.lesions[settings.measured :]
    return found + [Measurement(lesion=lesion, reasons=dict.fromkeys(names, why)) for lesion in rest]


def to_lps(point: Point) -> Point:
    """Turn a point from right-anterior-superior to left-posterior-superior."""
    return -point[0], -point[1], point[2]


def _measured(components: Components, lesion: Lesion, sources: Sources, settings: TumourAnalysis) -> Measurement:
    part = components.part(lesion)
    points = outline(part)
    diameters = axial_diameters(part.turned(sources.axial_axis))
    reasons: dict[str, str] = {}
    values = probability = interval = None
    if sources.image is None:
        reasons["intensity"] = _NO_IMAGE
    elif (values := intensity(part, lesion.box, sources.image)) is None:
        reasons["intensity"] = _NOT_FINITE
    if sources.percent is None:
        reasons |= dict.fromkeys(("mean_probability", "interval"), _NO_CONFIDENCE)
    elif (probability := mean_probability(part, lesion.box, sources.percent)) is None:
        reasons |= dict.fromkeys(("mean_probability", "interval"), _NOT_OBSERVED)
    else:
        rule = Uncertainty(settings.uncertain_percent, settings.uncertain_mm)
        interval = volume_interval(components, lesion, shape=sources.shape, read=sources.percent, rule=rule)
    long, short = (
        _placed(line, components.affine_mm, lesion, sources.axial_axis) for line in (diameters.long, diameters.short)
    )
    return Measurement(
        lesion=lesion,
        slice_index=lesion.box.start[sources.axial_axis] + diameters.plane,
        n_slices=lesion.box.shape[sources.axial_axis],
        long=long,
        short=short,
        product_mm2=diameters.product_mm2,
        shape=shape_of(part, points),
        intensity=values,
        mean_probability=probability,
        interval=interval,
        reasons=reasons,
    )


def _placed(line: Line, affine_mm: NDArray[np.float64], lesion: Lesion, axial_axis: int) -> PlacedLine:
    order = [axial_axis, *(axis for axis in range(3) if axis != axial_axis)]
    voxels, places = [], []
    for end in (line.start, line.stop):
        voxel = np.empty(3)
        voxel[order] = end
        voxel += lesion.box.start
        place = affine_mm[:3, :3] @ voxel + affine_mm[:3, 3]
        voxels.append(_point(voxel))
        places.append(_point(place))
    return PlacedLine(line.length_mm, (places[0], places[1]), (voxels[0], voxels[1]), line.leaves_lesion)


def _point(values: NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z
