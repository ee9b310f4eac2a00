"""What a report says of lesions."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.answers.rounding import written
from tasks.answers.tumour.changes import Change
from tasks.answers.tumour.measure import Measurement
from tasks.answers.tumour.response import Response
from tasks.answers.tumour.series import FollowUp, Study
from tasks.reports.blocks import Block, Paragraph, Section, Table

_MOST_ROWS = 50
_NONE = "\u2013"
NO_DIAGNOSIS = (
    "Measurements of a mask, not a diagnosis. swathe is no medical device; a response category is a proposal from "
    "the numbers shown with it, for a reader to confirm or to reject."
)
_NOTE = (
    "Volume is the voxel volume; the mesh volume is that of PyRadiomics. The longest diameter is taken in one axial "
    "slice of the grid and the short axis square to it in the same slice; lines end a quarter of a voxel beyond the "
    "centres of outer voxels. The interval leaves out, and takes in, voxels whose winning class is uncertain; it "
    "is no confidence interval. Notes: a lesion at the edge of the volume, or of what was observed, may go on beyond "
    "it; a line that runs outside the lesion crosses a gap of it."
)


def lesion_sections(found: Study, names: Sequence[str], connectivity: int, *, is_baseline: bool) -> tuple[Section, ...]:
    """Return the sections about one date; a later one is followed by the baseline's targets, not by its own."""
    lesions = Section("Lesions", (Paragraph(NO_DIAGNOSIS, "note"), *_lesions(found, names, connectivity)))
    if not is_baseline:
        return (lesions,)
    return (
        lesions,
        Section("Target lesions", _targets(found)),
    )


def follow_up_sections(found: FollowUp) -> tuple[Section, ...]:
    """Return the sections about change and response."""
    blocks: list[Block] = [
        Paragraph(
            "Dates are compared through the coordinates that their files state. Nothing is registered beyond that and "
            "nothing is deformed: where a patient lies differently, lesions may be missed or joined wrongly.",
            "note",
        ),
        _changes(f"What became of lesions since baseline ({found.ids[0]})", found.since_baseline),
    ]
    if found.since_previous is not None:
        blocks.append(_changes(f"What became of lesions since {found.ids[-2]}", found.since_previous))
    responses = _responses(found)
    return Section("Follow-up", tuple(blocks)), Section("Proposed response", responses)


def _lesions(found: Study, names: Sequence[str], connectivity: int) -> tuple[Block, ...]:
    if not found.measured:
        return (Paragraph("The mask holds no lesion. That is a result: nothing was segmented."),)
    rows = [_row(item) for item in found.measured[:_MOST_ROWS]]
    shown = [name for name in rows[0] if any(row[name] != _NONE for row in rows)]
    left = len(found.measured) - len(rows)
    more = f" {left} smaller lesions are in lesions.csv." if left > 0 else ""
    name = names[found.measured[0].lesion.label]
    caption = f"Lesions of class {name!r}: components by {connectivity}-connectivity, largest first"
    return (Table(caption, tuple(shown), tuple(tuple(row[key] for key in shown) for row in rows), _NOTE + more),)


def _row(found: Measurement) -> dict[str, str]:
    lesion, shape, interval = found.lesion, found.shape, found.interval
    notes = ["edge"] if lesion.touches_border else []
    if any(line is not None and line.leaves_lesion for line in (found.long, found.short)):
        notes.append("outside")
    return {
        "Lesion": str(lesion.id),
        "Volume (mL)": written(lesion.volume_ml, 2),
        "Interval (mL)": _NONE if interval is None else _between(interval.low_ml, interval.high_ml),
        "Mesh (mL)": _text(getattr(shape, "mesh_volume_ml", None), 2),
        "Longest (mm)": _text(getattr(found.long, "length_mm", None), 1),
        "Short axis (mm)": _text(getattr(found.short, "length_mm", None), 1),
        "Product (mm²)": _text(found.product_mm2, 0),
        "Slice": _NONE if found.slice_index is None else str(found.slice_index + 1),
        "3-D (mm)": _text(getattr(shape, "diameter_3d_mm", None), 1),
        "Sphericity": _text(getattr(shape, "sphericity", None), 3),
        "Probability": _text(found.mean_probability, 2),
        "Notes": ", ".join(notes) or _NONE,
    }


def _between(low: float, high: float) -> str:
    return f"{written(low, 2)} to {written(high, 2)}"


def _targets(found: Study) -> tuple[Block, ...]:
    targets, products = found.targets, found.products
    rows = (
        ("RECIST 1.1", _ids(targets.lesions), _sum(targets.sum_mm, 1, "mm"), targets.rule),
        ("RANO", _ids(products.lesions), _sum(products.sum_mm2, 0, "mm²"), products.rule),
    )
    table = Table("Target lesions by size alone", ("Criterion", "Lesions", "Sum", "Rule"), rows)
    return table, Paragraph(targets.note, "note")


def _changes(caption: str, found: Sequence[Change]) -> Block:
    if not found:
        return Paragraph(f"{caption}: no lesion on either date.")
    header = ("Change", "Before", "Now", "Volume before (mL)", "Volume now (mL)", "Change (%)", "Overlap (mL)", "Notes")
    return Table(caption, header, tuple(_change_row(change) for change in found[:_MOST_ROWS]))


def _change_row(change: Change) -> tuple[str, ...]:
    notes = []
    if change.kind == "not seen":
        notes.append(f"the later scan observed {100 * (change.seen_share or 0.0):.0f} % of where it was")
    if change.distance_mm is not None:
        notes.append(f"matched over {change.distance_mm:.1f} mm without overlap")
    if not change.is_whole:
        notes.append("reaches the edge of a scan or of what was observed")
    return (
        change.kind,
        _ids(change.prior),
        _ids(change.current),
        _text(change.prior_ml, 2),
        _text(change.current_ml, 2),
        _NONE if change.change_percent is None else f"{change.change_percent:+.1f}",
        written(change.overlap_ml, 2),
        "; ".join(notes),
    )


def _responses(found: FollowUp) -> tuple[Block, ...]:
    header = ("Criterion", "Proposed", "Because", "Baseline", "Nadir", "Now", "From baseline", "From nadir", "New")
    rows = tuple(_response_row(response, found.ids) for response in (found.recist, found.rano))
    lacking = (
        f"{response.criterion} also asks for what a mask cannot answer: {'; '.join(response.not_assessed)}."
        for response in (found.recist, found.rano)
    )
    table = Table("Response categories proposed from the numbers", header, rows)
    return Paragraph(NO_DIAGNOSIS, "note"), table, *(Paragraph(text, "note") for text in lacking)


def _response_row(response: Response, ids: Sequence[str]) -> tuple[str, ...]:
    unit = "mm²" if response.unit == "mm2" else response.unit

    def amount(value: float | None) -> str:
        return _NONE if value is None else f"{written(value, 1)} {unit}"

    def percent(value: float | None) -> str:
        return _NONE if value is None else f"{value:+.1f} %"

    nadir = amount(response.nadir)
    if response.nadir_date is not None:
        nadir += f" ({ids[response.nadir_date]})"
    growth = "" if response.from_nadir is None else f" ({response.from_nadir:+.1f} {unit})"
    return (
        response.criterion,
        response.category or "none",
        response.reason,
        amount(response.baseline),
        nadir,
        amount(response.current),
        percent(response.from_baseline_percent),
        percent(response.from_nadir_percent) + growth,
        _ids(response.new),
    )


def _sum(value: float | None, digits: int, unit: str) -> str:
    return _NONE if value is None else f"{written(value, digits)} {unit}"


def _ids(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or _NONE


def _text(value: float | None, digits: int) -> str:
    return _NONE if value is None else written(value, digits)
