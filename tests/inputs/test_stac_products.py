"""STAC at both ends: items, answers of searches and catalogues are inputs, and every raster product is an item."""

import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import shapely
from catalogues import make_item, served, write_catalogue
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod
from scenes import write_raster

from models.card import ClassEntry
from tasks.answers.area import PixelAreas
from tasks.errors import CatalogueError, JobError
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid
from tasks.inputs.listing import list_inputs
from tasks.jobs.job import load_job
from tasks.products.item import write_item

CLASSES = (ClassEntry(name="background", colour="#000000"), ClassEntry(name="burned area", colour="#d7301f"))
JOB = """
job: sky
kind: raster
model: {name: threshold, arguments: {features: N, threshold: 100}}
source: {bands: {N: {file: nir, band: 1}}}
nightly: {stac: {assets: {nir: B8}, max_cloud: 50}}
"""


@pytest.fixture
def job(tmp_path):
    (tmp_path / "sky.yaml").write_text(JOB)
    return load_job(str(tmp_path / "sky.yaml"))


@pytest.fixture
def catalogue(tmp_path):
    folder = tmp_path / "catalogue"
    items = []
    for name, day, cloud in (("one", "2026-07-01", 5.0), ("two", "2026-07-09", 20.0), ("cloudy", "2026-07-12", 80.0)):
        write_raster(folder / "s2" / name / "B8.tif", np.full((1, 6, 6), 150, np.uint8))
        items.append(make_item(name, day, {"B8": "./B8.tif"}, cloud=cloud))
    return write_catalogue(folder, items)


def found(text, job):
    return {item.id: Path(item.files["nir"]).parent.name for item in list_inputs([str(text)], job)}


ONE, TWO, CLOUDY = ("MGRS-32TQM_20260701", "MGRS-32TQM_20260709", "MGRS-32TQM_20260712")


def test_an_item_is_an_input_whatever_a_search_would_think_of_it(catalogue, job):
    folder = catalogue.parent / "s2"
    assert found(folder / "one" / "one.json", job) == {ONE: "one"}
    assert found(folder / "cloudy" / "cloudy.json", job) == {CLOUDY: "cloudy"}
    (item,) = list_inputs([str(folder / "two" / "two.json")], job)
    assert (item.site, item.date, item.error) == ("MGRS-32TQM", "2026-07-09", None)
    assert item.files == {"nir": str(folder / "two" / "B8.tif")}


def test_a_catalogue_is_an_input_by_what_the_job_looks_for(catalogue, job):
    assert found(catalogue, job) == {ONE: "one", TWO: "two"}


@pytest.mark.parametrize("suffix", [".json", ".geojson"])
def test_the_answer_of_a_search_is_an_input(catalogue, job, tmp_path, suffix):
    features = []
    for path in sorted(catalogue.parent.glob("s2/*/*.json")):
        item = pystac.Item.from_file(str(path))
        item.make_asset_hrefs_absolute()
        features.append(item.to_dict())
    answer = tmp_path / f"answer{suffix}"
    answer.write_text(json.dumps({"type": "FeatureCollection", "features": features[:2], "links": []}))
    assert len(found(answer, job)) == 2
    more = {"rel": "next", "href": str(tmp_path / "more.json")}
    answer.write_text(json.dumps({"type": "FeatureCollection", "features": features[:1], "links": [more]}))
    (tmp_path / "more.json").write_text(json.dumps({"type": "FeatureCollection", "features": features[1:]}))
    assert sorted(found(answer, job)) == [ONE, TWO, CLOUDY]


def test_the_same_behind_an_address(catalogue, job):
    with served(catalogue.parent) as url:
        assert found(f"{url}/s2/one/one.json", job) == {ONE: "one"}
        (item,) = list_inputs([f"{url}/s2/one/one.json"], job)
        assert item.files["nir"] == f"{url}/s2/one/B8.tif"
        (picture,) = list_inputs([f"{url}/s2/one/B8.tif"], job)
        assert (picture.id, picture.error) == ("B8", None)


def test_what_is_no_stac_document_or_has_no_assets_is_refused_by_name(tmp_path, job):
    (tmp_path / "a.json").write_text('{"type": "Topology"}')
    with pytest.raises(CatalogueError, match="of type Topology"):
        list_inputs([str(tmp_path / "a.json")], job)
    with pytest.raises(JobError, match=r"nightly\.stac\.assets"):
        list_inputs([str(tmp_path / "a.json")], job.model_copy(update={"nightly": type(job.nightly)()}))
    (item,) = list_inputs([str(tmp_path / "absent.json")], job)
    assert "no such file" in item.error


GRIDS = {
    "utm": RasterGrid(
        rows=60, cols=100, affine=(20.0, 0, 500_000, 0, -20.0, 5_000_000), crs_wkt=CRS.from_epsg(32633).to_wkt()
    ),
    "over the line": RasterGrid(
        rows=60, cols=100, affine=(20.0, 0, 819_000, 0, -20.0, 8_140_000), crs_wkt=CRS.from_epsg(32760).to_wkt()
    ),
    "0 to 360": RasterGrid(
        rows=60, cols=100, affine=(2e-3, 0, 200.0, 0, -2e-3, 20.0), crs_wkt=CRS.from_epsg(4326).to_wkt()
    ),
    "mercator": RasterGrid(
        rows=60, cols=100, affine=(90.0, 0, 1_000_000, 0, -90.0, 6_000_000), crs_wkt=CRS.from_epsg(3857).to_wkt()
    ),
    "rotated": RasterGrid(
        rows=60, cols=100, affine=(18.0, 9.0, 500_000, 9.0, -18.0, 5_000_000), crs_wkt=CRS.from_epsg(32633).to_wkt()
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_product_is_an_item_where_it_lies(tmp_path, name):
    grid = GRIDS[name]
    (tmp_path / "preview.png").write_bytes(b"x")
    write_item(
        tmp_path,
        "CREEK_20240726",
        grid=grid,
        dates=["2024-07-26", "2024-07-01"],
        classes=CLASSES,
        beside=("mask.tif", "run.json", "odd.xyz"),
    )
    item = pystac.Item.from_file(str(tmp_path / "item.json"))
    footprint = shapely.geometry.shape(item.geometry)
    west, _, east, _ = item.bbox
    assert all(-180 <= edge <= 180 for edge in (west, east))
    assert (west > east) == (name == "over the line")
    assert footprint.is_valid
    area = sum(Geod(ellps="WGS84").geometry_area_perimeter(part)[0] for part in shapely.get_parts(footprint))
    whole = np.broadcast_to(PixelAreas(grid).window(Box((0, 0), grid.shape)), grid.shape).sum()
    assert area == pytest.approx(whole, rel=2e-3)
    assert sorted(item.assets) == ["mask.tif", "preview.png", "run.json"]
    assert item.assets["mask.tif"].href.endswith("mask.tif")
    named = item.assets["mask.tif"].extra_fields["classification:classes"]
    assert [(one["value"], one["name"]) for one in named] == [(0, "background"), (1, "burned_area")]
    assert item.datetime.date().isoformat() == "2024-07-26"
    assert item.properties["proj:shape"] == [60, 100]


@settings(max_examples=20)
@given(st.sampled_from(sorted(GRIDS)))
def test_the_same_product_is_the_same_item(tmp_path_factory, name):
    texts = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("item")
        write_item(folder, "a", grid=GRIDS[name], dates={"2024-01-01"}, classes=CLASSES, beside=("mask.tif",))
        texts.append((folder / "item.json").read_bytes())
    assert texts[0] == texts[1]


def test_without_a_place_or_a_date_there_is_no_item(tmp_path):
    write_item(tmp_path, "a", grid=RasterGrid(rows=5, cols=5), dates=["2024-01-01"], classes=CLASSES, beside=())
    write_item(tmp_path, "a", grid=GRIDS["utm"], dates=[], classes=CLASSES, beside=())
    assert not (tmp_path / "item.json").exists()
