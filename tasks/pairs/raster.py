"""Two raster masks, read on the reference's grid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from pyproj import CRS

from tasks.answers.area import PixelAreas
from tasks.answers.metrics.pair import MaskPair, Window
from tasks.errors import GridError, UnsupportedSceneError
from tasks.geometry.box import Box
from tasks.geometry.geodetic import Geodetic
from tasks.geometry.raster_grid import RasterGrid
from tasks.pairs.labels import LabelRules
from tasks.scenes.class_numbers import rescaled
from tasks.scenes.raster.align import DirectFile, WarpedFile
from tasks.scenes.raster.class_names import class_names
from tasks.scenes.raster.header import Header, gdal_env, open_raster, read_header

# Pixels over which the size of one is measured: coordinates are rounded, and the Earth is round.
_MEASURED_PX = 100.0


@contextmanager
def opened_raster_pair(
    pair_id: str, paths: tuple[Path, Path], rules: tuple[LabelRules, LabelRules], *, resample: bool
) -> Iterator[MaskPair]:
    """Open a prediction and its reference.

    Args:
        pair_id: What the pair is called.
        paths: Of prediction and reference.
        rules: How the values of each are read.
        resample: Whether a prediction on another grid is taken at the centres of the reference's pixels.

    Raises:
        GridError: When the grids differ and ``resample`` is not set, or nothing says how they lie to each other.
        UnsupportedSceneError: When a file has several bands.
    """
    predicted, reference = (_header(path) for path in paths)
    notes = _placed(pair_id, predicted.grid, reference.grid, resample=resample)
    with ExitStack() as stack:
        stack.enter_context(gdal_env())
        datasets = [stack.enter_context(open_raster(str(path))) for path in paths]
        aligned = not resample or coincide(predicted.grid, reference.grid)
        ours = DirectFile(datasets[0]) if aligned else WarpedFile(datasets[0], predicted.grid, reference.grid)
        theirs = DirectFile(datasets[1])

        def read(box: Box) -> Window:
            values, seen = ours.read([1], box, nearest=True)
            mine, observed = rules[0].read(rescaled(values[0], predicted.scales[0], predicted.offsets[0]), seen[0])
            values, seen = theirs.read([1], box, nearest=True)
            other, also = rules[1].read(rescaled(values[0], reference.scales[0], reference.offsets[0]), seen[0])
            return Window(
                predicted=mine, reference=other, observed=observed & also, predicted_seen=observed, reference_seen=also
            )

        names = _names(paths[1]) | _names(paths[0])
        yield MaskPair(
            id=pair_id,
            shape=reference.grid.shape,
            read=read,
            spacings=spacings_of(reference.grid),
            names=names,
            notes=notes,
        )


def coincide(ours: RasterGrid, theirs: RasterGrid) -> bool:
    """Tell whether two rasters have the same pixels; where one alone has a CRS it counts for both."""
    if ours.crs_wkt is not None and theirs.crs_wkt is not None and ours.crs_wkt != theirs.crs_wkt:
        same_crs = bool(CRS.from_wkt(ours.crs_wkt) == CRS.from_wkt(theirs.crs_wkt))
    else:
        same_crs = True
    return same_crs and ours.lies_on(theirs)


def spacings_of(grid: RasterGrid) -> dict[str, tuple[float, ...]]:
    """Return the size of a pixel, ``rows, cols``: 1 in ``px``; in ``m`` on the ellipsoid, at the raster's middle.

    Metres are left out where the raster has no place on the Earth.
    """
    if PixelAreas(grid).reason is not None or grid.pixel_area == 0.0:
        return {"px": (1.0, 1.0)}
    earth = Geodetic(grid.crs_wkt or "")
    sizes = tuple(_metres(grid, earth, axis) for axis in (0, 1))
    return {"px": (1.0, 1.0)} | ({"m": sizes} if np.isfinite(sizes).all() and min(sizes) > 0 else {})


def _metres(grid: RasterGrid, earth: Geodetic, axis: int) -> float:
    length = min(_MEASURED_PX, float(grid.shape[axis]))
    step = np.array([-length / 2.0, length / 2.0])
    rows = grid.rows / 2.0 + (step if axis == 0 else 0.0 * step)
    cols = grid.cols / 2.0 + (step if axis == 1 else 0.0 * step)
    lon, lat = earth.degrees(*grid.pixel_to_world(rows, cols))
    return float(earth.geod.inv(lon[0], lat[0], lon[1], lat[1])[2]) / length


def _names(path: Path) -> dict[int, str]:
    """Return names that a file gives its classes; a colour table of 256 entries names none."""
    entries = (class_names(path) or {}).items()
    return {label: entry.name for label, entry in entries if entry.name != f"class {label}"}


def _header(path: Path) -> Header:
    header = read_header(str(path))
    if len(header.spectral) != 1:
        raise UnsupportedSceneError(
            f"{path}: has {len(header.spectral)} bands, and a mask has one, of class numbers. Give the mask, not a "
            "picture"
        )
    return header


def _placed(pair_id: str, ours: RasterGrid, theirs: RasterGrid, *, resample: bool) -> tuple[str, ...]:
    """Say what is done with grids that differ, or refuse them."""
    if coincide(ours, theirs):
        if (ours.crs_wkt is None) != (theirs.crs_wkt is None):
            return ("one mask alone has a CRS; their pixels coincide, so it was taken for both",)
        return ()
    both = f"predicted: {describe_grid(ours)}; reference: {describe_grid(theirs)}"
    unplaced = (ours.crs_wkt is None) != (theirs.crs_wkt is None) or ours.pixel_area * theirs.pixel_area == 0.0
    if unplaced or ours.ground_control or theirs.ground_control:
        raise GridError(
            f"{pair_id}: the masks lie on different grids, and nothing says how they lie to each other. {both}. Give "
            "both a CRS and an affine (gdal_edit.py -a_srs -a_ullr, or gdalwarp)"
        )
    if not resample:
        raise GridError(
            f"{pair_id}: the masks lie on different grids. {both}. Add --resample nearest to take the prediction at "
            "the centres of the reference's pixels"
        )
    return (f"the prediction was resampled (nearest) onto the reference's grid. {both}",)


def describe_grid(grid: RasterGrid) -> str:
    """Return a grid in a few words: shape, size of a pixel, upper left corner, CRS."""
    a, b, x, d, e, y = grid.affine
    crs = CRS.from_wkt(grid.crs_wkt).name if grid.crs_wkt else "no CRS"
    size = f"{np.hypot(a, d):.9g} x {np.hypot(b, e):.9g}"
    return f"{grid.rows} x {grid.cols} pixels of {size}, upper left {x:.9g}, {y:.9g}, {crs}"
