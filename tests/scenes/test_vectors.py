"""Vector products: what is written reads back, for foreign readers too, and the same tables give the same bytes."""

import json
import time
import warnings

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from tasks.errors import PolygonError
from tasks.products.vectors import write_gpkg, write_parquet
from tasks.scenes.vectors import VectorTable, read_vectors

UTM = CRS.from_epsg(32610).to_wkt()


def table(n: int = 3, crs: str | None = UTM, name: str = "fires") -> VectorTable:
    boxes = shapely.box(*(np.arange(n, dtype=float) + offset for offset in (0, 10, 1, 12)))
    columns = {
        "id": [f"f-{i}" for i in range(n)],
        "area_ha": np.arange(n) + 0.5,
        "pixels": np.arange(n, dtype=np.int64),
        "mean": np.where(np.arange(n) % 2, np.nan, 1.25),
        "label": [None if i % 2 else i for i in range(n)],
        "note": [None] * n,
        "flag": np.arange(n) % 2 == 0,
    }
    return VectorTable(name=name, crs_wkt=crs, geometries=np.asarray(boxes, dtype=object).reshape(n), columns=columns)


def plain(column) -> list:
    values = column.tolist() if isinstance(column, np.ndarray) else list(column)
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values]


@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("suffix", ["gpkg", "parquet"])
def test_what_is_written_reads_back(tmp_path, n, suffix):
    path = tmp_path / f"fires.{suffix}"
    written = table(n)
    (write_gpkg if suffix == "gpkg" else write_parquet)(path, written)
    found = read_vectors(path)
    assert found.name == "fires"
    assert CRS.from_wkt(found.crs_wkt) == CRS.from_wkt(UTM)
    assert list(found.columns) == list(written.columns)
    for name, column in written.columns.items():
        assert plain(found.columns[name]) == plain(column)
    assert shapely.equals(found.geometries, written.geometries).all()


@pytest.mark.parametrize("crs", [None, UTM])
def test_the_same_tables_give_the_same_bytes(tmp_path, crs):
    for moment in ("before", "after"):
        write_gpkg(tmp_path / f"{moment}.gpkg", table(crs=crs), table(2, crs, "growth"))
        write_parquet(tmp_path / f"{moment}.parquet", table(crs=crs))
        time.sleep(0.01)
    for suffix in ("gpkg", "parquet"):
        assert (tmp_path / f"before.{suffix}").read_bytes() == (tmp_path / f"after.{suffix}").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [name for name, _ in pyogrio.list_layers(tmp_path / "before.gpkg")] == ["fires", "growth"]


def test_geopandas_reads_both(tmp_path):
    write_gpkg(tmp_path / "fires.gpkg", table())
    write_parquet(tmp_path / "fires.parquet", table())
    from_gpkg = geopandas.read_file(tmp_path / "fires.gpkg", layer="fires")
    from_parquet = geopandas.read_parquet(tmp_path / "fires.parquet")
    for frame in (from_gpkg, from_parquet):
        assert frame.crs.to_epsg() == 32610
        assert frame["id"].tolist() == ["f-0", "f-1", "f-2"]
        assert frame["label"].isna().tolist() == [False, True, False]
        assert frame.total_bounds.tolist() == [0, 10, 3, 14]


def test_geoparquet_says_what_it_holds(tmp_path):
    write_parquet(tmp_path / "fires.parquet", table(crs=None))
    geo = json.loads(pq.read_schema(tmp_path / "fires.parquet").metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], column["encoding"], column["crs"]) == ("1.1.0", "WKB", None)
    assert column["geometry_types"] == ["Polygon"]
    assert column["bbox"] == [0, 10, 3, 14]
    assert read_vectors(tmp_path / "fires.parquet").crs_wkt is None


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=("Cs", "Cc"))), min_size=1, max_size=5))
def test_text_survives(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("text") / "names.gpkg"
    points = np.asarray(shapely.points(np.arange(len(values)), 0.0), dtype=object)
    write_gpkg(
        path, VectorTable(name="names", crs_wkt=UTM, geometries=points, columns={"name": values}, geometry_type="Point")
    )
    assert plain(read_vectors(path).columns["name"]) == values


def test_a_file_that_is_no_vector_file_is_refused_by_name(tmp_path):
    (tmp_path / "a.gpkg").write_text("no")
    (tmp_path / "a.parquet").write_text("no")
    for path in (tmp_path / "a.gpkg", tmp_path / "a.parquet", tmp_path / "absent.gpkg"):
        with pytest.raises(PolygonError, match=path.name):
            read_vectors(path)


SQUARE = [[10.0, 50.0], [10.1, 50.0], [10.1, 50.1], [10.0, 50.1], [10.0, 50.0]]


def written_json(path, *geometries, **members):
    features = [
        {"type": "Feature", "properties": {"k": number}, "geometry": geometry, **members}
        for number, geometry in enumerate(geometries)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_a_ring_that_is_not_closed_is_closed_and_a_damaged_geometry_is_none_and_both_are_said(tmp_path):
    rings = [SQUARE, SQUARE[:-1], SQUARE[:2], [[float("nan"), 50.0], *SQUARE[1:-1], [float("nan"), 50.0]]]
    path = written_json(tmp_path / "f.geojson", *({"type": "Polygon", "coordinates": [ring]} for ring in rings))
    found = read_vectors(path)
    assert found.geometries[1].equals(found.geometries[0])
    assert found.geometries[3] is None
    closed, lost = found.remarks
    assert "do not end where they begin; they were closed" in closed
    assert lost.startswith("1 features have a damaged geometry")
    assert read_vectors(written_json(path, {"type": "Polygon", "coordinates": [SQUARE]})).remarks == ()


def test_names_that_features_have_beside_their_properties_are_kept(tmp_path):
    path = written_json(tmp_path / "f.geojson", {"type": "Polygon", "coordinates": [SQUARE]}, id=4711)
    assert plain(read_vectors(path).columns["id"]) == [4711]
    path = written_json(tmp_path / "f.geojson", {"type": "Polygon", "coordinates": [SQUARE]})
    assert "id" not in read_vectors(path).columns


def test_the_layer_that_was_read_of_several_is_said(tmp_path):
    write_gpkg(tmp_path / "two.gpkg", table(name="first"))
    pyogrio.raw.write(
        tmp_path / "two.gpkg", shapely.to_wkb(np.array([shapely.box(0, 0, 1, 1)])), [], [], layer="second",
        driver="GPKG", geometry_type="Polygon", crs="EPSG:32610", append=True,
    )  # fmt: skip
    (remark,) = read_vectors(tmp_path / "two.gpkg").remarks
    assert remark == "holds 2 layers (first, second); 'first', the first, was read"
    assert read_vectors(tmp_path / "two.gpkg", "second").remarks == ()
