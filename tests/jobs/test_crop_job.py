"""The shipped crop job, from NDVI to fields."""

import json

import numpy as np
import pytest
import shapely
from pyproj import CRS
from scenes import write_raster

from tasks.products.vectors import write_gpkg
from tasks.scenes.vectors import VectorTable, read_vectors

pytestmark = pytest.mark.usefixtures("shared_worker")


def write_squares(path, *corners):
    """Fields of 10 x 10 pixels on the grid of tests/helpers/scenes.py, by row and column of their upper left pixel."""
    squares = [
        shapely.box(500_000 + 20 * col, 5_000_000 - 20 * (row + 10), 500_000 + 20 * (col + 10), 5_000_000 - 20 * row)
        for row, col in corners
    ]
    wkt = CRS.from_epsg(32632).to_wkt()
    write_gpkg(
        path,
        VectorTable(
            name="fields",
            crs_wkt=wkt,
            geometries=np.array(squares),
            columns={"n": np.arange(len(squares))},
            geometry_type="Polygon",
        ),
    )


def test_the_crop_job_measures_fields(tmp_path):
    from flows.batch.orders import Batch
    from flows.batch.segment import segment_batch

    ndvi = np.full((1, 40, 50), 0.1, np.float32)
    ndvi[0, :20, :25] = 0.7
    ndvi[0, 30:] = np.nan
    scene = write_raster(tmp_path / "spring.tif", ndvi, nodata=float("nan"))
    fields = tmp_path / "spring.gpkg"
    batch = Batch(
        inputs=[str(scene)],
        job="crop",
        out=tmp_path / "out",
        workers=1,
        device="cpu",
        overrides=[f"analysis.fields={tmp_path}/{{scene}}.gpkg"],
    )
    write_squares(fields, (2, 3), (5, 18), (29, 30))
    (first,) = segment_batch(batch)
    assert first.status == "done", first.error
    product = tmp_path / "out" / "spring"
    table = read_vectors(product / "fields.gpkg")
    assert list(table.columns["majority"]) == ["green", "green", "bare"]
    assert table.columns["purity"] == pytest.approx([1.0, 0.7, 1.0])
    assert table.columns["valid_share"] == pytest.approx([1.0, 1.0, 0.1])
    assert list(table.columns["flags"]) == ["", "mixed", "little observed"]
    found = json.loads((product / "summary.json").read_text())
    assert found["fields"]["by_majority"] == {"bare": 1, "green": 2}
    assert "Fields" in (product / "report.html").read_text()
