"""Which lesions count, and for how much: RECIST 1.1 and RANO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.answers.tumour.measure import Measurement

_MOST_TARGETS = 5
_MOST_PER_ORGAN = 2
_MEASURABLE_MM = 10.0
_MEASURABLE_NODE_MM = 15.0
_THICK_SLICE_MM = 5.0
_RANO_MM = 10.0
_RANO_SLICES = 2


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The lesions that a follow-up is measured by, and their sum.

    Attributes:
        lesions: Ids, largest diameter first.
        sum_mm: RECIST's sum of diameters; None where no lesion is measurable.
        measurable: Ids of all that could have been chosen.
        rule: How they were chosen, with its numbers.
        note: What a reader has to check.
    """

    lesions: tuple[int, ...]
    sum_mm: float | None
    measurable: tuple[int, ...]
    rule: str
    note: str


@dataclass(frozen=True)
class Products:
    """RANO's measurable lesions, and the sum of the products of their diameters.

    Attributes:
        lesions: Ids, largest product first.
        sum_mm2: Their products added up; None where no lesion is measurable.
        measurable: Ids of all that could have been chosen.
        rule: How they were chosen, with its numbers.
    """

    lesions: tuple[int, ...]
    sum_mm2: float | None
    measurable: tuple[int, ...]
    rule: str


def diameter_of(found: Measurement, nodal: bool) -> float | None:
    """Return what RECIST adds up: the longest diameter, of lymph nodes the short axis."""
    line = found.short if nodal else found.long
    return None if line is None else line.length_mm


def recist_targets(
    found: Sequence[Measurement], slice_mm: float, organ: str | None = None, nodal: bool = False
) -> Targets:
    """Choose target lesions by RECIST 1.1 (Eisenhauer et al., Eur J Cancer 2009;45:228, sections 3 and 4).

    Measurable is a longest axial diameter of at least 10 mm, or twice the slice thickness where that is more than
    5 mm; of a lymph node a short axis of at least 15 mm. At most five are targets, two per organ, the largest
    first. A mask does not tell organs: without ``organ`` the limit of two cannot be applied.

    Args:
        found: Lesions of one date.
        slice_mm: Distance of slices.
        organ: Where all of them lie.
        nodal: Whether they are lymph nodes.
    """
    least = _MEASURABLE_NODE_MM if nodal else _MEASURABLE_MM
    if slice_mm > _THICK_SLICE_MM:
        least = max(least, 2 * slice_mm)
    sizes = {item.lesion.id: size for item in found if (size := diameter_of(item, nodal)) is not None}
    measurable = sorted((key for key, size in sizes.items() if size >= least), key=lambda key: (-sizes[key], key))
    most = _MOST_TARGETS if organ is None else _MOST_PER_ORGAN
    chosen = measurable[:most]
    what = "short axis" if nodal else "longest axial diameter"
    where = f"all in one organ ({organ}): at most {most}" if organ else f"at most {most}"
    note = "Which of them can be measured again reliably is for a reader to say."
    if organ is None:
        note = (
            "The organs are not known from the mask, so that the limit of two lesions per organ was not applied: "
            "check it, or name the organ under analysis.organ. " + note
        )
    rule = f"RECIST 1.1: {what} of at least {least:g} mm; {where}, largest first"
    total = sum(sizes[key] for key in chosen) if chosen else None
    return Targets(lesions=tuple(chosen), sum_mm=total, measurable=tuple(measurable), rule=rule, note=note)


def rano_targets(found: Sequence[Measurement]) -> Products:
    """Choose lesions by RANO (Wen et al., J Clin Oncol 2010;28:1963): at most five, the largest product first.

    Measurable is a lesion seen on at least two slices, both of whose diameters are at least 10 mm. That the mask
    is of enhancing tumour, without cysts and cavities, is not known here.
    """
    products = {
        item.lesion.id: item.product_mm2 for item in found if item.product_mm2 is not None and is_rano_measurable(item)
    }
    measurable = sorted(products, key=lambda key: (-products[key], key))
    chosen = measurable[:_MOST_TARGETS]
    rule = f"RANO: both diameters at least {_RANO_MM:g} mm, on at least {_RANO_SLICES} slices; at most {_MOST_TARGETS}"
    total = sum(products[key] for key in chosen) if chosen else None
    return Products(tuple(chosen), total, tuple(measurable), rule)


def is_rano_measurable(found: Measurement) -> bool:
    """Tell whether a lesion is measurable by RANO."""
    if found.long is None or found.short is None or found.n_slices is None:
        return False
    return min(found.long.length_mm, found.short.length_mm) >= _RANO_MM and found.n_slices >= _RANO_SLICES
