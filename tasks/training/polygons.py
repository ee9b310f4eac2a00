"""Polygons as labels: the class of a pixel is that of the polygon which holds its centre."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio import Affine
from rasterio.features import rasterize

from tasks.answers.crop.placement import place_polygons
from tasks.errors import PolygonError
from tasks.geometry.box import Box
from tasks.geometry.longitudes import turn_of, unrolled
from tasks.jobs.training import TrainingSource
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.vectors import Column, read_vectors

VECTORS = frozenset({".geojson", ".json", ".gpkg", ".parquet", ".geoparquet", ".shp", ".fgb"})
_POLYGONS = (3, 6)
_SHOWN = 5


@dataclass(frozen=True)
class PolygonLabels:
    """Polygons on the pixels of a scene.

    Attributes:
        shapes: In pixels of the scene, x being columns and y rows; later ones lie over earlier ones.
        classes: The number of each.
        unmarked: What is in none of them; -1 for no label.
    """

    shapes: tuple[shapely.Geometry, ...]
    classes: tuple[int, ...]
    unmarked: int

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)

    def read(self, box: Box) -> NDArray[np.int32]:
        """Return the class numbers of a window, -1 where there is none."""
        (top, left), (bottom, right) = box.start, box.stop
        found = np.full(box.shape, self.unmarked, np.int32)
        near = sorted(int(number) for number in self._tree.query(shapely.box(left, top, right, bottom)))
        if near:
            marked = [(self.shapes[number], self.classes[number]) for number in near]
            found = rasterize(marked, out=found, transform=Affine.translation(left, top))
        return found


def place_labels(path: Path, scene: RasterScene, source: TrainingSource) -> PolygonLabels:
    """Lay the polygons of a vector file on the grid of a scene, whatever their CRS.

    Args:
        path: Of the file, of this scene alone or of all.
        scene: With a CRS.
        source: Says which column names the classes, and their numbers.

    Raises:
        PolygonError: When scene or file have no CRS, the file holds no polygons or none on this scene though it is the
            scene's own, or a polygon says no class that the job knows.
    """
    if scene.grid.crs_wkt is None:
        raise PolygonError(
            f"{scene.id}: has no CRS, so the polygons of {path} have no place on it. Give the scene its CRS"
        )
    table = read_vectors(path)
    if table.crs_wkt is None:
        raise PolygonError(f"{path}: names no CRS, so its polygons have no place. Write it into the file")
    geometries = shapely.force_2d(np.asarray(table.geometries, object))
    kept = np.flatnonzero(np.isin(shapely.get_type_id(geometries), _POLYGONS) & ~shapely.is_empty(geometries))
    if not len(kept):
        raise PolygonError(f"{path}: holds no polygons. Give a file of labelled polygons")
    _refuse_if_not_degrees(path, table.crs_wkt, geometries[kept])
    # Over the antimeridian sound polygons cross themselves in a plane, so they are unrolled before they are repaired.
    sound = shapely.buffer(shapely.make_valid(unrolled(geometries[kept], turn_of(table.crs_wkt))), 0)
    pixels = place_polygons(sound, table.crs_wkt, scene.grid).pixels
    meets = shapely.intersects(pixels, shapely.box(0, 0, scene.grid.cols, scene.grid.rows))
    if not meets.any() and "{scene}" in source.labels:
        raise PolygonError(
            f"{path}: none of its {len(kept)} polygons lies on {scene.id}: they belong to another scene, or their CRS "
            "is not what the file says"
        )
    numbers = _numbers(path, table.columns, len(table), source)
    return PolygonLabels(
        shapes=tuple(pixels[meets]),
        classes=tuple(numbers[number] for number in kept[meets]),
        unmarked=-1 if source.unmarked is None else source.unmarked,
    )


def _refuse_if_not_degrees(path: Path, crs_wkt: str, geometries: NDArray[Any]) -> None:
    if not CRS.from_wkt(crs_wkt).is_geographic:
        return
    points = shapely.get_coordinates(geometries)
    beyond = points[(np.abs(points) > (360.0, 90.0)).any(axis=1)]
    if len(beyond):
        east, north = beyond[0]
        raise PolygonError(
            f"{path}: coordinates such as {east:.1f}, {north:.1f} are no degrees, though it says or implies that they "
            "are (GeoJSON without a CRS does). Write its CRS into the file"
        )


def _numbers(path: Path, columns: dict[str, Column], n_features: int, source: TrainingSource) -> list[int]:
    """Return the class number of every feature."""
    if source.attribute is None:
        return [1] * n_features
    if source.attribute not in columns:
        raise PolygonError(
            f"{path}: has no column '{source.attribute}', which training.attribute names. It has: "
            f"{', '.join(columns) or 'none'}"
        )
    values = [value.item() if isinstance(value, np.generic) else value for value in columns[source.attribute]]
    known = [source.classes.get(str(value)) if source.classes else _whole(value) for value in values]
    unknown = list(dict.fromkeys(str(value) for value, number in zip(values, known, strict=True) if number is None))
    if unknown:
        shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
        raise PolygonError(
            f"{path}: column '{source.attribute}' holds {shown}, of which training.classes says no number. It knows: "
            f"{', '.join(source.classes) or 'whole numbers'}"
        )
    return [-1 if number == source.ignore else number for number in known if number is not None]


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value >= 0 and float(value).is_integer() else None
