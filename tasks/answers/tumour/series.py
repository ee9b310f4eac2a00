"""One patient's lesions over several dates."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.answers.tumour.burden import Burden, Sizes, burden, first_burden
from tasks.answers.tumour.changes import WHOLE, Change, changes
from tasks.answers.tumour.components import Components
from tasks.answers.tumour.field import Field, fields_meet, seen_shares
from tasks.answers.tumour.matching import match
from tasks.answers.tumour.measure import Measurement
from tasks.answers.tumour.response import RANO, RECIST, Response, propose
from tasks.answers.tumour.targets import Products, Targets, diameter_of, rano_targets, recist_targets
from tasks.errors import GridError
from tasks.jobs.tumour import TumourAnalysis

# RECIST 1.1, section 4.3.1: a lymph node with a shorter short axis is normal.
_NORMAL_NODE_MM = 10.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """The lesions of one date.

    Attributes:
        id: Of the scene.
        shape: Of the mask.
        components: Its lesions, and which voxel belongs to which.
        measured: What they measure.
        targets: By RECIST.
        products: By RANO.
        other_classes: What the mask holds beside the background where it has no voxel of the class that was asked for.
    """

    id: str
    shape: tuple[int, ...]
    components: Components
    measured: list[Measurement]
    targets: Targets
    products: Products
    other_classes: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class History:
    """What is kept of earlier dates.

    Attributes:
        baseline: The first date.
        previous: The last date so far.
        ids: Of all scenes so far.
        recist: Burdens so far, baseline first.
        rano: The same by RANO.
    """

    baseline: Study
    previous: Study
    ids: tuple[str, ...]
    recist: tuple[Burden, ...]
    rano: tuple[Burden, ...]


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """What became of lesions up to one date.

    Attributes:
        ids: Of the scenes, this one included; ``Response.nadir_date`` counts in them.
        since_baseline: From the first date to this one.
        since_previous: From the date before to this one; None where that is the first.
        targets: Chosen at baseline.
        recist: Proposed.
        rano: Proposed.
    """

    ids: tuple[str, ...]
    since_baseline: list[Change]
    since_previous: list[Change] | None
    targets: Targets
    recist: Response
    rano: Response


def study(
    scene: str,
    shape: tuple[int, ...],
    components: Components,
    measured: list[Measurement],
    slice_mm: float,
    settings: TumourAnalysis,
) -> Study:
    """Choose targets among measured lesions.

    Args:
        scene: Id of the scene.
        shape: Of the mask.
        components: Its lesions.
        measured: What they measure.
        slice_mm: Distance of axial slices.
        settings: Of the job.
    """
    targets = recist_targets(measured, slice_mm, settings.organ, settings.nodal)
    return Study(
        id=scene,
        shape=shape,
        components=components,
        measured=measured,
        targets=targets,
        products=rano_targets(measured),
    )


def begin(first: Study, settings: TumourAnalysis) -> History:
    """Begin a history with its baseline.

    Args:
        first: The baseline.
        settings: Of the job.
    """
    normal = _normal(first.measured, settings)
    targets, products = first.targets.lesions, first.products.lesions
    lesions = first.components.lesions
    recist = first_burden(targets, first.targets.sum_mm, lesions, _others(first, {*targets, *normal}))
    rano = first_burden(products, first.products.sum_mm2, lesions, _others(first, {*products, *normal}))
    return History(baseline=first, previous=first, ids=(first.id,), recist=(recist,), rano=(rano,))


def follow(history: History, current: Study, settings: TumourAnalysis) -> tuple[FollowUp, History]:
    """Compare a date with the baseline and with the one before, and propose responses.

    Args:
        history: Up to the date before.
        current: This date.
        settings: Of the job.

    Raises:
        GridError: When two of the scans do not meet in space.
    """
    base = history.baseline
    for earlier in (base, history.previous):
        _require_meeting(earlier, current)
    since_baseline = _changes(base, current, settings)
    is_second = len(history.ids) == 1
    since_previous = None if is_second else _changes(history.previous, current, settings)
    large = {item.lesion.id for item in current.measured if _counts(item, settings)}
    diameters = {
        item.lesion.id: size for item in current.measured if (size := diameter_of(item, settings.nodal)) is not None
    }
    areas = {item.lesion.id: item.product_mm2 for item in current.measured if item.product_mm2 is not None}
    normal, unseen = _normal(current.measured, settings), _unseen_before(base, current)
    by_diameter, by_area = (Sizes(of, large, normal, unseen) for of in (diameters, areas))
    recist = (*history.recist, burden(base.targets.lesions, since_baseline, by_diameter))
    rano = (*history.rano, burden(base.products.lesions, since_baseline, by_area))
    ids = (*history.ids, current.id)
    found = FollowUp(
        ids=ids,
        since_baseline=since_baseline,
        since_previous=since_previous,
        targets=base.targets,
        recist=propose(RECIST, recist, bool(base.targets.lesions)),
        rano=propose(RANO, rano, bool(base.products.lesions)),
    )
    return found, History(baseline=base, previous=current, ids=ids, recist=recist, rano=rano)


def _require_meeting(earlier: Study, current: Study) -> None:
    if not fields_meet(_field(earlier), _field(current)):
        raise GridError(
            f"{earlier.id} and {current.id} do not meet in space: by the coordinates of their files they show "
            "different places, and nothing can be followed from one to the other. Give scans of one patient in one "
            "frame of reference, or register them first"
        )


def _field(found: Study) -> Field:
    return Field(found.shape, found.components.affine_mm)


def _unseen_before(base: Study, current: Study) -> set[int]:
    """Return the lesions of a date whose place the baseline did not observe whole."""
    shares = seen_shares(current.components, base.components, base.shape)
    return {lesion.id for lesion, share in zip(current.components.lesions, shares, strict=True) if share < WHOLE}


def _changes(prior: Study, current: Study, settings: TumourAnalysis) -> list[Change]:
    matching = match(prior.components, current.components, current.shape, settings.match_mm)
    return changes(prior.components.lesions, current.components.lesions, matching, settings.change_percent)


def _counts(found: Measurement, settings: TumourAnalysis) -> bool:
    is_large = found.long is not None and found.long.length_mm >= settings.new_mm
    return is_large and not _is_normal(found, settings)


def _is_normal(found: Measurement, settings: TumourAnalysis) -> bool:
    """Tell whether it is a lymph node of normal size, which is no lesion."""
    return settings.nodal and found.short is not None and found.short.length_mm < _NORMAL_NODE_MM


def _normal(measured: list[Measurement], settings: TumourAnalysis) -> set[int]:
    return {item.lesion.id for item in measured if _is_normal(item, settings)}


def _others(first: Study, left_out: set[int]) -> set[int]:
    return {lesion.id for lesion in first.components.lesions} - left_out
