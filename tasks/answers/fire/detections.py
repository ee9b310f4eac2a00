"""The fires of one observation, as every later step reads them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from tasks.answers.fire.geodesy import Earth
from tasks.answers.fire.measures import FireSums
from tasks.answers.fire.severity import UNRATED
from tasks.geometry.raster_grid import RasterGrid
from tasks.jobs.severity import SeverityTable

_ID_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One fire in one observation; None is not known.

    Attributes:
        id: Made from its scene, its date and its outline: the same fire in the same picture has the same id.
        geometry: Multipolygon in the CRS of the mask.
        area_ha: Sum of its pixels' areas.
        perimeter_km: Of its outer rings, along the edges of pixels.
        islands_km: Of the rings round unburned islands.
        longitude: Of its centre, in degrees.
        latitude: Of its centre, in degrees.
        severity_ha: By class, severity that is not known last; None without severity.
        mean_dnbr: The offset taken off.
        max_dnbr: The offset taken off.
        mean_confidence_percent: Of the mask.
        observed_percent: Of its surroundings; see ``measures.observed_share``.
        touches_edge: Whether it reaches the edge of the raster.
    """

    id: str
    geometry: shapely.MultiPolygon
    pixels: int
    area_ha: float | None
    perimeter_km: float | None
    islands_km: float | None
    longitude: float | None
    latitude: float | None
    severity_ha: dict[str, float] | None
    mean_dnbr: float | None
    max_dnbr: float | None
    mean_confidence_percent: float | None
    observed_percent: float
    touches_edge: bool


def severity_keys(table: SeverityTable) -> dict[str, str]:
    """Return a column's name by class of severity: ``severity_moderate_low_ha``; not known comes last."""
    names = [*(entry.name for entry in table.classes), UNRATED]
    words = {name: re.sub("[^a-z0-9]+", "_", name.lower()).strip("_").removeprefix("severity_") for name in names}
    return {name: f"severity_{word}_ha" for name, word in words.items()}


def fire_ids(key: str, scene: str, geometries: NDArray[np.object_], grid: RasterGrid) -> list[str]:
    """Return the ids of the fires of a scene: its key and a hash of the outline in the pixels of its grid.

    Pixels are whole numbers, and do not tell of how longitudes are counted.

    Args:
        key: The date of the observation, or the scene's id where it has none.
        scene: Its id: scenes of one date may have fires of one shape.
        geometries: Outlines along the edges of pixels.
        grid: Of the scene.
    """

    def in_pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
        rows, cols = grid.plane_to_pixel(points[:, 0], points[:, 1])
        return np.rint(np.column_stack([cols, rows]))

    shapes = shapely.to_wkb(shapely.normalize(shapely.transform(geometries, in_pixels)), byte_order=1)
    digests = [hashlib.sha256(scene.encode() + b"\0" + shape).hexdigest() for shape in shapes]
    return [f"{key}-{digest[:_ID_DIGITS]}" for digest in digests]


def detections(
    sums: FireSums,
    geometries: NDArray[np.object_],
    observed: NDArray[np.float64],
    earth: Earth | None,
    table: SeverityTable | None,
    ids: Sequence[str],
) -> list[Detection]:
    """Put together what is known of each fire, the largest first.

    Args:
        sums: Of the pixels.
        geometries: Outlines, in the same order.
        observed: Share of each fire's surroundings.
        earth: Below the CRS; None where the raster is not tied to the Earth.
        table: Of severity; None without it.
        ids: See ``fire_ids``.
    """
    edge = sums.touches_edge
    found = []
    for number, geometry in enumerate(geometries.tolist()):
        outer, inner = (None, None) if earth is None else earth.outline_km(geometry)
        place = (None, None) if earth is None else earth.lon_lat(geometry.centroid)
        found.append(
            Detection(
                id=ids[number],
                geometry=geometry,
                pixels=int(sums.pixels[number]),
                area_ha=_rounded(sums.areas_ha, number, 6),
                perimeter_km=None if outer is None else round(outer, 6),
                islands_km=None if inner is None else round(inner, 6),
                longitude=None if place[0] is None else round(place[0], 6),
                latitude=None if place[1] is None else round(place[1], 6),
                severity_ha=_severity(sums, number, table),
                mean_dnbr=_rounded(sums.mean_dnbr, number, 4),
                max_dnbr=_rounded(sums.max_dnbr, number, 4),
                mean_confidence_percent=_rounded(sums.mean_confidence, number, 2),
                observed_percent=round(100 * float(observed[number]), 3),
                touches_edge=bool(edge[number]),
            )
        )
    return sorted(found, key=lambda fire: (-(fire.area_ha or fire.pixels), fire.id))


def detection_columns(fires: Sequence[Detection], table: SeverityTable | None) -> dict[str, list[Any] | NDArray[Any]]:
    """Return the columns of a table of fires, units in their names."""
    columns: dict[str, list[Any] | NDArray[Any]] = {
        "id": [fire.id for fire in fires],
        "pixels": np.array([fire.pixels for fire in fires], np.int64),
        "observed_percent": np.array([fire.observed_percent for fire in fires], np.float64),
        "touches_edge": np.array([fire.touches_edge for fire in fires], np.bool_),
    }
    for name in (
        "area_ha", "perimeter_km", "islands_km", "longitude", "latitude", "mean_dnbr", "max_dnbr",
        "mean_confidence_percent",
    ):  # fmt: skip
        columns[name] = _floats([getattr(fire, name) for fire in fires])
    for label, key in severity_keys(table).items() if table else ():
        columns[key] = _floats([None if fire.severity_ha is None else fire.severity_ha[label] for fire in fires])
    return columns


def _floats(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _rounded(values: NDArray[np.float64] | None, number: int, digits: int) -> float | None:
    if values is None or not np.isfinite(values[number]):
        return None
    return round(float(values[number]), digits)


def _severity(sums: FireSums, number: int, table: SeverityTable | None) -> dict[str, float] | None:
    if table is None or sums.severity_ha is None:
        return None
    names = [*(entry.name for entry in table.classes), UNRATED]
    return {name: round(float(area), 6) for name, area in zip(names, sums.severity_ha[number], strict=True)}
