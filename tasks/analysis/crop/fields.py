"""Fields of a map one by one: what grows there, as far as was seen, against what was declared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from tasks.analysis.crop.field_polygons import FieldPolygons, read_fields
from tasks.analysis.crop.samples import class_number, class_numbers
from tasks.analysis.subject import RasterMask
from tasks.answers.area import M2_PER_HA
from tasks.answers.crop.fields import FieldRow, FieldRules, FieldShapes, count_fields, field_rows, pixels_anywhere
from tasks.answers.crop.placement import metres_per_pixel, shrunk
from tasks.answers.crop.weed import DECISIONS, SPRAY, UNDECIDED, SprayRule, SprayTotals, decide, weed_pressure
from tasks.errors import PolygonError
from tasks.jobs.crop import CropAnalysis


@dataclass(frozen=True)
class FieldWeed:
    """Weed in one field.

    Attributes:
        pressure: ``weed / (weed + crop)``; None where neither was seen.
        decision: A key of ``DECISIONS``.
    """

    pressure: float | None
    decision: int

    @property
    def spray(self) -> bool | None:
        """Whether to spray; None where too little was observed."""
        return None if self.decision == UNDECIDED else self.decision == SPRAY


@dataclass(frozen=True, kw_only=True)
class MeasuredFields:
    """Fields of a map.

    Attributes:
        fields: Where they lie.
        rows: One per field.
        class_pixels: Observed pixels per field and class.
        pixel_areas_m2: Of a pixel at each field's place.
        declared: Class number that was declared, per field; None where none was or the map has none such.
        weed: Per field; None where the job does not ask.
        warnings: What to doubt.
    """

    fields: FieldPolygons
    rows: tuple[FieldRow, ...]
    class_pixels: tuple[tuple[int, ...], ...]
    pixel_areas_m2: tuple[float, ...]
    declared: tuple[int | None, ...] | None
    weed: tuple[FieldWeed, ...] | None
    warnings: tuple[str, ...]

    def flags(self, field: int) -> tuple[str, ...]:
        """Return what to doubt of a field; ``conflict`` where its majority is not what was declared."""
        row = self.rows[field]
        declared = None if self.declared is None else self.declared[field]
        conflict = declared is not None and row.majority is not None and declared != row.majority
        return (*row.flags, "conflict") if conflict else row.flags

    @property
    def spray_totals(self) -> SprayTotals | None:
        """What the decisions mean on the ground; None where the job does not ask."""
        if self.weed is None:
            return None
        areas = self.fields.placed.areas_m2 / M2_PER_HA
        chosen = {kind: [found.decision == kind for found in self.weed] for kind in DECISIONS}
        return SprayTotals(
            {kind: sum(here) for kind, here in chosen.items()},
            {kind: float(areas[here].sum()) for kind, here in chosen.items()},
        )


def spray_rule(settings: CropAnalysis, names: list[str]) -> SprayRule | None:
    """Return when to spray; None where the job does not ask.

    Raises:
        JobError: When the map has no such class.
    """
    if not settings.weed:
        return None
    weed, crop = (class_numbers(getattr(settings, key), names, key) for key in ("weed", "crop"))
    return SprayRule(weed, crop, settings.spray_above, settings.min_observed)


def measure_fields(subject: RasterMask, settings: CropAnalysis, path: str) -> MeasuredFields:
    """Read fields and measure each, the mask window by window.

    Raises:
        PolygonError: When the polygons cannot be laid over the map.
        JobError: When a setting names a class that the map does not have.
    """
    fields = read_fields(path, subject.grid, settings.fields_crs, settings.fields_id)
    names, shapes = subject.names, fields.placed.pixels
    inner = shrunk(shapes, subject.grid, settings.inner_buffer_m)
    counts = count_fields(
        FieldShapes(shapes, inner),
        subject.grid.shape,
        n_classes=len(names),
        read=subject.read,
        read_confidence=subject.confidence,
    )
    whole = pixels_anywhere(shapes, subject.grid.shape, counts.pixels)
    rules = FieldRules(settings.min_pixels, settings.mixed_below, settings.min_observed)
    rows = tuple(field_rows(counts, whole, rules))
    declared, warnings = _declared(fields, settings, names, path)
    rule = spray_rule(settings, names)
    return MeasuredFields(
        fields=fields,
        rows=rows,
        class_pixels=tuple(tuple(int(n) for n in line) for line in counts.classes),
        pixel_areas_m2=_pixel_areas(subject, fields),
        declared=declared,
        weed=None if rule is None else _weed(counts.classes, counts.pixels, rule),
        warnings=(*fields.remarks, *warnings, *_field_warnings(rows, path)),
    )


def _pixel_areas(subject: RasterMask, fields: FieldPolygons) -> tuple[float, ...]:
    bounds = np.nan_to_num(shapely.bounds(fields.placed.pixels))
    steps = metres_per_pixel(subject.grid, (bounds[:, 1] + bounds[:, 3]) / 2, (bounds[:, 0] + bounds[:, 2]) / 2)
    return tuple(float(area) for area in np.abs(np.linalg.det(steps)))


def _weed(classes: NDArray[np.int64], pixels: NDArray[np.int64], rule: SprayRule) -> tuple[FieldWeed, ...]:
    pressures = weed_pressure(classes[:, list(rule.weed)].sum(axis=1), classes[:, list(rule.crop)].sum(axis=1))
    decided = decide(classes, pixels, rule)
    return tuple(
        FieldWeed(None if np.isnan(pressure) else float(pressure), int(kind))
        for pressure, kind in zip(pressures, decided, strict=True)
    )


def _declared(
    fields: FieldPolygons, settings: CropAnalysis, names: list[str], path: str
) -> tuple[tuple[int | None, ...] | None, list[str]]:
    """Return the declared class of each field, and what could not be told."""
    column = settings.declared
    if column is None:
        return None, []
    if column not in fields.columns:
        raise PolygonError(f"{path}: has no column '{column}'. It has: {', '.join(fields.columns) or 'none'}")
    meanings = {str(value).casefold(): name for value, name in settings.declared_as.items()}
    class_numbers(tuple(settings.declared_as.values()), names, "declared_as")
    texts = ["" if value is None else str(value) for value in fields.columns[column]]
    found = tuple(class_number(meanings.get(text.casefold(), text), names) for text in texts)
    if all(number is None for number in found):
        raise PolygonError(
            f"{path}: column '{column}' names no class of the map ({', '.join(names)}). It says: "
            f"{', '.join(sorted(set(texts))[:5])}. Say what its values mean with declared_as"
        )
    unknown = sorted({text for text, number in zip(texts, found, strict=True) if number is None and text})
    if not unknown:
        return found, []
    missing = sum(number is None for number in found)
    return found, [
        f"{Path(path).name}: {missing} fields declare what the map has no class for: {', '.join(unknown[:5])}"
    ]


def _field_warnings(rows: tuple[FieldRow, ...], path: str) -> list[str]:
    missing = sum("not on the map" in row.flags for row in rows)
    return [f"{Path(path).name}: {missing} of {len(rows)} fields hold no pixel of the map"] if missing else []
