"""Reading one file of a scene on the scene's grid: directly where it lies on it, else by interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window

from tasks.errors import UnreadableSceneError
from tasks.geometry.box import Box, split
from tasks.geometry.raster_grid import RasterGrid
from tasks.scenes.raster.header import GDAL_ERRORS, all_observed, gdal_env

Bands: TypeAlias = NDArray[Any]
Observed: TypeAlias = NDArray[np.bool_]
# Pieces in which pixels are interpolated, and how many source pixels one of them may touch; a piece that
# touches more (it spans the antimeridian, say) is quartered.
_PIECE = (512, 512)
_MAX_SOURCE_PIXELS = 4 << 20


@dataclass(frozen=True)
class Accepted:
    """Which stored values of a band are observations, beside what its file says.

    Attributes:
        nodata: None of them; None for no such value.
        lowest: Values below are none.
        highest: Values above are none.
    """

    nodata: float | None = None
    lowest: float = -np.inf
    highest: float = np.inf

    @property
    def is_everything(self) -> bool:
        """Whether it leaves nothing out."""
        return self == Accepted()

    def narrow(self, values: Bands, observed: Observed) -> None:
        """Take from ``observed`` what is no observation."""
        if self.nodata is not None:
            observed &= values != self.nodata
        if np.isfinite(self.lowest):
            observed &= values >= self.lowest
        if np.isfinite(self.highest):
            observed &= values <= self.highest


def read_window(
    dataset: Any,  # noqa: ANN401 - rasterio has no types
    indexes: list[int],
    box: Box,
    accepted: Mapping[int, Accepted] = MappingProxyType({}),
    *,
    alpha_is_band: bool = False,
) -> tuple[Bands, Observed]:
    """Read bands of a dataset as stored.

    Args:
        dataset: Opened.
        indexes: Of the bands.
        box: The window.
        accepted: By band, which values are observations beside what the dataset itself says.
        alpha_is_band: Whether alpha is a band like the others, and no mask of them.

    Returns:
        Values ``(bands, rows, cols)`` in the file's dtype, and which of them nodata, mask and alpha let pass,
        ``(bands, rows, cols)``. NaN is the caller's.

    Raises:
        UnreadableSceneError: When the file's tiles do not decode.
    """
    window = Window.from_slices(*box.slices)
    try:
        with gdal_env():
            values = dataset.read(indexes, window=window)
            observed = np.ones(values.shape, dtype=np.bool_)
            masked = [k for k, index in enumerate(indexes) if not all_observed(dataset, index, alpha_is_band)]
            if masked:
                observed[masked] = dataset.read_masks([indexes[k] for k in masked], window=window) != 0
            for k, index in enumerate(indexes):
                if index in accepted:
                    accepted[index].narrow(values[k], observed[k])
    except GDAL_ERRORS as error:
        rows, cols = box.slices
        raise UnreadableSceneError(
            f"{dataset.name}: rows {rows.start}-{rows.stop}, cols {cols.start}-{cols.stop} cannot be decoded "
            f"({error.__cause__ or error}). Copy the file again from its source"
        ) from error
    return values, observed


class DirectFile:
    """A file that lies on the scene's grid."""

    def __init__(
        self,
        dataset: Any,  # noqa: ANN401 - rasterio has no types
        accepted: Mapping[int, Accepted] = MappingProxyType({}),
        *,
        alpha_is_band: bool = False,
    ) -> None:
        self._dataset = dataset
        self._accepted = accepted
        self._alpha_is_band = alpha_is_band

    def read(self, indexes: list[int], box: Box, *, nearest: bool) -> tuple[Bands, Observed]:
        """Read ``box`` as stored; see ``read_window``."""
        return read_window(self._dataset, indexes, box, self._accepted, alpha_is_band=self._alpha_is_band)


@dataclass(frozen=True)
class _Points:
    """Pixel coordinates in the file, corner-based, of the pixel centres of a piece of the scene's grid."""

    rows: NDArray[np.float64]
    cols: NDArray[np.float64]
    inside: Observed

    def source_box(self, shape: tuple[int, int]) -> Box | None:
        """Return the source pixels that the points touch, or None where no point lies inside."""
        if not self.inside.any():
            return None
        starts, stops = [], []
        for coordinate, length in zip((self.rows, self.cols), shape, strict=True):
            used = coordinate[self.inside]
            starts.append(max(0, int(np.floor(used.min() - 0.5))))
            stops.append(min(length, int(np.floor(used.max() - 0.5)) + 2))
        return Box(tuple(starts), tuple(stops))


class WarpedFile:
    """A file on another grid, interpolated at the pixel centres of the scene's.

    Every pixel is computed from its own coordinates alone, so no read depends on the window; GDAL's own warp,
    which approximates coordinates per window, does not have that property. Bilinear; neighbours that are not
    observed have no weight; a pixel is observed where it lies in the file and the nearest pixel there is.
    """

    def __init__(
        self,
        dataset: Any,  # noqa: ANN401 - rasterio has no types
        source: RasterGrid,
        target: RasterGrid,
        accepted: Mapping[int, Accepted] = MappingProxyType({}),
        *,
        alpha_is_band: bool = False,
    ) -> None:
        self._dataset = dataset
        self._accepted = accepted
        self._alpha_is_band = alpha_is_band
        self._source = source
        self._target = target
        self._transformer = None
        if source.crs_wkt != target.crs_wkt:
            self._transformer = Transformer.from_crs(target.crs_wkt, source.crs_wkt, always_xy=True)

    def read(self, indexes: list[int], box: Box, *, nearest: bool) -> tuple[Bands, Observed]:
        """Read ``box`` of the scene's grid.

        Returns:
            Values ``(bands, *box.shape)``, float64, or as stored for ``nearest``; and which are observed.
        """
        dtype = self._dataset.dtypes[indexes[0] - 1] if nearest else np.float64
        values = np.zeros((len(indexes), *box.shape), dtype=dtype)
        observed = np.zeros(values.shape, dtype=np.bool_)
        for piece in split(box.shape, _PIECE):
            self._fill(indexes, piece.shifted(box.start), out=(values, observed), box=box, nearest=nearest)
        return values, observed

    def _fill(self, indexes: list[int], piece: Box, out: tuple[Bands, Observed], box: Box, nearest: bool) -> None:
        points = self._locate(piece)
        source_box = points.source_box(self._source.shape)
        if source_box is None:
            return
        rows, cols = source_box.shape
        if rows * cols > _MAX_SOURCE_PIXELS and max(piece.shape) > 1:
            half = tuple(max(1, length // 2) for length in piece.shape)
            for part in split(piece.shape, half):
                self._fill(indexes, part.shifted(piece.start), out=out, box=box, nearest=nearest)
            return
        stored, observed = read_window(
            self._dataset, indexes, source_box, self._accepted, alpha_is_band=self._alpha_is_band
        )
        if np.issubdtype(stored.dtype, np.floating):
            observed &= np.isfinite(stored)
        target = (slice(None), *piece.relative_to(box.start).slices)
        interpolate = _nearest if nearest else _bilinear
        out[0][target], out[1][target] = interpolate(stored, observed, points, source_box.start)

    def _locate(self, piece: Box) -> _Points:
        rows, cols = np.meshgrid(
            *(np.arange(a, b) + 0.5 for a, b in zip(piece.start, piece.stop, strict=True)), indexing="ij"
        )
        x, y = self._target.pixel_to_world(rows, cols)
        if self._transformer is not None:
            x, y = self._transformer.transform(x, y)
        rows, cols = self._source.world_to_pixel(np.asarray(x), np.asarray(y))
        height, width = self._source.shape
        inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
        return _Points(rows, cols, inside)


def _nearest(stored: Bands, observed: Observed, points: _Points, origin: tuple[int, ...]) -> tuple[Bands, Observed]:
    rows = np.where(points.inside, np.floor(points.rows) - origin[0], 0).astype(np.intp)
    cols = np.where(points.inside, np.floor(points.cols) - origin[1], 0).astype(np.intp)
    valid = observed[:, rows, cols] & points.inside
    return np.where(valid, stored[:, rows, cols], 0), valid


def _bilinear(stored: Bands, observed: Observed, points: _Points, origin: tuple[int, ...]) -> tuple[Bands, Observed]:
    clean = np.where(observed, stored, 0).astype(np.float64)
    total = np.zeros((stored.shape[0], *points.rows.shape))
    weights = np.zeros_like(total)
    row0, row_weight = _neighbour(points.rows, points.inside)
    col0, col_weight = _neighbour(points.cols, points.inside)
    for row_step in (0, 1):
        for col_step in (0, 1):
            rows = np.clip(row0 + row_step - origin[0], 0, stored.shape[1] - 1)
            cols = np.clip(col0 + col_step - origin[1], 0, stored.shape[2] - 1)
            share = np.abs(1 - row_step - row_weight) * np.abs(1 - col_step - col_weight)
            weight = share * observed[:, rows, cols]
            total += weight * clean[:, rows, cols]
            weights += weight
    _, valid = _nearest(stored, observed, points, origin)
    return np.divide(total, weights, out=np.zeros_like(total), where=valid & (weights > 0)), valid


def _neighbour(coordinate: NDArray[np.float64], inside: Observed) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    centred = np.where(inside, coordinate - 0.5, 0.0)
    first = np.floor(centred)
    return first.astype(np.intp), centred - first
