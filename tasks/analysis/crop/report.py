"""What a report says of crops: the map, areas with intervals, the error matrix, fields, weed."""

from __future__ import annotations

import numpy as np

from tasks.analysis.crop.fields import MeasuredFields
from tasks.analysis.crop.samples import AreaEstimates
from tasks.analysis.subject import RasterMask
from tasks.answers.area import M2_PER_HA, ClassAreas, pixel_sides_m
from tasks.answers.crop.estimate import Estimate
from tasks.answers.crop.weed import DECISIONS, SprayTotals
from tasks.reports.blocks import Block, Paragraph, Picture, Section, Table
from tasks.reports.legend import LegendEntry
from tasks.reports.pictures.charts import Bar, bar_chart
from tasks.reports.pictures.maps import map_picture
from tasks.reports.pictures.product_preview import attempt
from tasks.reports.pictures.raster_picture import sparse_mask, steps_of

_MOST_FIELDS = 100
_NONE = "-"


def crop_sections(
    subject: RasterMask,
    areas: ClassAreas,
    estimates: AreaEstimates | None,
    fields: MeasuredFields | None,
    totals: SprayTotals | None,
    undrawn: list[str],
) -> tuple[Section, ...]:
    """Return the sections of a crop report; ``undrawn`` gets a warning where the map cannot be drawn."""
    drawn = attempt("map", lambda: class_map(subject, areas), undrawn)
    sections = [Section("Map", (drawn,))] if drawn is not None else []
    sections.append(Section("Areas", _area_blocks(subject, areas, estimates)))
    if estimates is not None:
        sections.append(Section("Accuracy", _accuracy_blocks(estimates)))
    if fields is not None:
        sections.append(Section("Fields", _field_blocks(fields, subject.names)))
    if totals is not None:
        sections.append(Section("Weed", (_decision_table("zones", totals),)))
    return tuple(sections)


def class_map(subject: RasterMask, areas: ClassAreas) -> Picture:
    """Draw every class in its colour, what was not observed hatched."""
    labels, steps = sparse_mask(subject.grid.shape, subject.read), steps_of(subject.grid.shape)
    down, right = pixel_sides_m(subject.grid) or (0.0, 0.0)
    present = [number for number, pixels in enumerate(areas.pixels) if pixels]
    legend = {n: LegendEntry(subject.classes[n].name, subject.classes[n].colour, _mapped(areas, n)) for n in present}
    shown = "; ".join(f"{entry.name} {entry.text}" for entry in legend.values())
    return map_picture(
        None, labels, legend=legend, pixel_m=(down * steps[0], right * steps[1]), alt=f"Map of classes: {shown}"
    )


def _mapped(areas: ClassAreas, number: int) -> str:
    return f"{areas.pixels[number]:,} pixels" if areas.areas_ha is None else f"{areas.areas_ha[number]:,.1f} ha"


def _area_blocks(subject: RasterMask, areas: ClassAreas, estimates: AreaEstimates | None) -> tuple[Block, ...]:
    if estimates is None:
        mapped = tuple(
            (name, _mapped(areas, n), f"{areas.pixels[n]:,}") for n, name in enumerate(subject.names) if areas.pixels[n]
        )
        warning = Paragraph(
            "These are areas of the map. Counted pixels carry the map's errors: give reference samples for estimates "
            "with intervals.",
            "warning",
        )
        return warning, Table("Mapped area by class", ("class", "mapped", "pixels"), mapped)
    found = estimates.accuracy.areas_ha
    there = [n for n in range(len(found)) if areas.pixels[n] or found[n].value > 0]
    rows = tuple(
        (
            subject.names[n],
            _mapped(areas, n),
            f"{found[n].value:,.1f}",
            f"{found[n].standard_error:,.1f}",
            _interval(found[n]),
        )
        for n in there
    )
    table = Table(
        "Estimated area by class",
        ("class", "mapped", "estimated (ha)", "standard error (ha)", "95 % interval (ha)"),
        rows,
        "Estimated from the reference samples: Olofsson et al. 2014; where strata are not the map's classes, Stehman "
        "2014. Intervals are estimate ± 1.96 standard errors.",
    )
    classes = subject.classes
    bars = [Bar(classes[n].name, found[n].value, classes[n].colour, found[n].interval) for n in there]
    return table, bar_chart("Estimated area with 95 % interval", "ha", bars)


def _interval(estimate: Estimate, digits: int = 1) -> str:
    low, high = estimate.interval
    return f"{low:,.{digits}f} to {high:,.{digits}f}"


def _accuracy_blocks(estimates: AreaEstimates) -> tuple[Block, ...]:
    accuracy, names = estimates.accuracy, estimates.sample.class_names
    there = np.flatnonzero(accuracy.counts.sum(axis=0) + accuracy.counts.sum(axis=1))
    overall = Paragraph(f"Overall accuracy {_share(accuracy.overall)} (standard error).")
    rows = tuple((names[k], _share(accuracy.users[k]), _share(accuracy.producers[k])) for k in there)
    table = Table("Accuracy by class", ("class", "user's", "producer's"), rows, "Each ± its standard error.")
    header = ("map \\ reference", *(names[k] for k in there))
    counts = tuple((names[k], *(f"{n:,}" for n in accuracy.counts[k, there])) for k in there)
    areas = accuracy.shares * accuracy.total_ha
    hectares = tuple((names[k], *(f"{area:,.1f}" for area in areas[k, there])) for k in there)
    strata = tuple(
        (name, f"{size:,}", f"{area:,.1f}")
        for name, size, area in zip(
            estimates.sample.stratum_names, accuracy.sizes, estimates.sample.areas_ha, strict=True
        )
        if area > 0
    )
    return (
        overall,
        table,
        Table("Error matrix in samples", header, counts),
        Table("Error matrix in hectares", header, hectares),
        Table("Strata", ("stratum", "samples", "area (ha)"), strata),
    )


def _share(estimate: Estimate | None) -> str:
    return _NONE if estimate is None else f"{estimate.value:.3f} ± {estimate.standard_error:.3f}"


def _field_blocks(fields: MeasuredFields, names: list[str]) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if fields.declared is not None:
        blocks.append(_declared_table(fields, names))
    if fields.spray_totals is not None:
        blocks.append(_decision_table("fields", fields.spray_totals))
    doubtful = sorted(range(len(fields.rows)), key=lambda field: (-len(fields.flags(field)), field))
    shown = doubtful[:_MOST_FIELDS]
    note = "Most doubtful first." + (
        f" {len(fields.rows) - len(shown)} more are in fields.gpkg." if len(shown) < len(fields.rows) else ""
    )
    columns = _field_columns(fields, names)
    rows = tuple(tuple(cells[field] for cells in columns.values()) for field in shown)
    blocks.append(Table("Fields", tuple(columns), rows, note))
    return tuple(blocks)


def _field_columns(fields: MeasuredFields, names: list[str]) -> dict[str, list[str]]:
    """Return the cells of every field by column; what no field has is left out."""
    rows, areas = fields.rows, fields.fields.placed.areas_m2 / M2_PER_HA
    columns = {
        "field": list(fields.fields.ids),
        "area (ha)": [f"{area:,.2f}" for area in areas],
        "majority": [_class(row.majority, names) for row in rows],
        "purity": [_percent(row.purity) for row in rows],
        "second": [_class(row.second, names) for row in rows],
        "observed": [_percent(row.valid_share) for row in rows],
        "pixels": [f"{row.pixels:,}" for row in rows],
        "inner pixels": [f"{row.inner_pixels:,}" for row in rows],
    }
    if any(row.probability_mean is not None for row in rows):
        columns["probability"] = [_percent(row.probability_mean) for row in rows]
    if fields.weed is not None:
        columns["weed pressure"] = [_percent(weed.pressure) for weed in fields.weed]
        columns["spray"] = [DECISIONS[weed.decision] for weed in fields.weed]
    return columns | {"doubts": [", ".join(fields.flags(field)) for field in range(len(rows))]}


def _declared_table(fields: MeasuredFields, names: list[str]) -> Table:
    n = len(names)
    matrix = np.zeros((n, n + 1), np.int64)  # The last column: nothing observed.
    for declared, row in zip(fields.declared or (), fields.rows, strict=True):
        if declared is not None:
            matrix[declared, n if row.majority is None else row.majority] += 1
    there = [k for k in range(n) if matrix[k].any() or matrix[:, k].any()]
    rows = tuple(
        (names[k], *(f"{count:,}" for count in matrix[k, [*there, n]]), _agreement(matrix[k], k))
        for k in there
        if matrix[k].any()
    )
    header = ("declared", *(names[k] for k in there), "not observed", "agree")
    return Table("Declared crop against the map's majority", header, rows, "Numbers of fields.")


def _agreement(line: np.ndarray[tuple[int], np.dtype[np.int64]], own: int) -> str:
    seen = int(line[:-1].sum())
    return _NONE if seen == 0 else f"{int(line[own]) / seen:.1%}"


def _decision_table(what: str, totals: SprayTotals) -> Table:
    areas = totals.areas_ha
    rows = tuple(
        (name, f"{totals.zones[kind]:,}", _NONE if areas is None else f"{areas[kind]:,.2f}")
        for kind, name in DECISIONS.items()
    )
    saved = totals.saved_share
    note = "" if saved is None else f"Saved against spraying all that bears weed or crop: {saved:.1%} of its area."
    return Table(f"{what.capitalize()} by decision", ("decision", what, "area (ha)"), rows, note)


def _class(number: int | None, names: list[str]) -> str:
    return _NONE if number is None else names[number]


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.0f} %"
