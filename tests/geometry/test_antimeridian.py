"""The antimeridian is a line like any other: a scene moved to any longitude has the same hectares, ids and alerts."""

import ast
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
import shapely
from catalogues import make_item, served, write_catalogue
from fire_sites import Site
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from rasterio.transform import Affine

from tasks.analysis.crop.analyse import analyse_crop
from tasks.analysis.masks.raster import open_raster_mask
from tasks.answers.area import PixelAreas
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid
from tasks.jobs.crop import CropAnalysis
from tasks.jobs.job import load_job
from tasks.jobs.source import Source
from tasks.nights.arrivals import list_arrivals
from tasks.scenes.raster.scene import describe_raster
from tasks.scenes.vectors import read_vectors

ROOT = Path(__file__).resolve().parents[2]
GEOD = Geod(ellps="WGS84")
ALERTS = {"new_fire_ha": 5, "growth_ha_per_day": {"at": 3, "clear": 1}}


def degrees(west: float, south: float = -17.0, side: float = 2e-4) -> RasterGrid:
    return RasterGrid(rows=60, cols=100, affine=(side, 0, west, 0, -side, south), crs_wkt=CRS.from_epsg(4326).to_wkt())


def utm(zone: int) -> RasterGrid:
    # In zone 60 the line of 180 degrees goes through the middle of it.
    return RasterGrid(
        rows=60, cols=100, affine=(20.0, 0, 819_000, 0, -20.0, 8_140_000), crs_wkt=CRS.from_epsg(32700 + zone).to_wkt()
    )


def mercator(west: float) -> RasterGrid:
    return RasterGrid(rows=60, cols=100, affine=(20.0, 0, west * 20037508.342789244 / 180, 0, -20.0, -1_900_000),
        crs_wkt=CRS.from_epsg(3857).to_wkt())  # fmt: skip


def followed(folder: Path, *grids: RasterGrid) -> dict[str, object]:
    """What is found of a fire that grows to the east, a night per grid."""
    folder.mkdir(parents=True)
    site = Site(folder, grids[0], alerts=ALERTS)
    nights = [((20, 30, 40, 48),), ((20, 30, 40, 70), (4, 45, 12, 55)), ((20, 30, 40, 70), (4, 45, 12, 60))]
    sightings = [
        site.publish(f"S{n}", n + 1, *blocks, grid=grid)
        for n, (blocks, grid) in enumerate(zip(nights, grids, strict=True))
    ]
    alerts = site.fold(*sightings).alerts
    tables = [read_vectors(site.out.link(one.scene) / "objects.parquet").columns for one in sightings]
    steps = json.loads((site.out.root / "fires" / "valley" / "events.json").read_text())
    return {
        "detections": [(table["id"], table["area_ha"], table["perimeter_km"]) for table in tables],
        "longitudes": np.concatenate([table["longitude"] for table in tables]),
        "events": [
            (event["id"], event["status"], event["area_ha"], event["perimeter_km"]) for event in steps["events"]
        ],
        "growth": [
            (step["event"], step["area_ha"], step["ha_per_day"], step["direction_deg"], step["front_m"])
            for step in steps["growth"]
        ],
        "alerts": [(str(alert.id), alert.payload["rule"], alert.payload["value"]) for alert in alerts],
    }


def is_same(found, expected, rel=1e-6, name="") -> bool:
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(
            is_same(a, b, rel, name) for a, b in zip(found, expected, strict=True)
        )
    return found == (pytest.approx(expected, rel=rel, abs=2e-3) if isinstance(expected, float) else expected)


def assert_same(found: dict[str, object], expected: dict[str, object]) -> None:
    assert np.all(np.abs(found["longitudes"]) <= 180)
    for name in ("detections", "events", "growth", "alerts"):
        assert is_same(found[name], expected[name]), (name, found[name], expected[name])


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Measures a site on each grid once."""
    folder = tmp_path_factory.mktemp("sites")

    @cache
    def measure(*grids):
        return followed(folder / str(hash(grids)), *grids)

    return measure


# From one side of the line to the other, and counted from 0 to 360.
@pytest.mark.parametrize("west", [179.99, -180.01, 179.985, -180.0, 180.0, 359.99, -0.01, 190.0])
def test_a_scene_in_degrees_has_the_same_fires_at_any_longitude(places, west):
    assert_same(places(*[degrees(west)] * 3), places(*[degrees(12.3)] * 3))


@settings(max_examples=5)
@given(west=st.floats(-180, 360).map(lambda west: round(west, 3)))
def test_and_at_any_other(places, west):
    assert_same(places(*[degrees(west)] * 3), places(*[degrees(12.3)] * 3))


@pytest.mark.parametrize("zone", [60, 1])
def test_a_scene_in_utm_has_the_same_fires_in_any_zone(places, zone):
    assert_same(places(*[utm(zone)] * 3), places(*[utm(30)] * 3))


@pytest.mark.parametrize("west", [179.995, -180.005])
def test_a_scene_in_web_mercator_has_the_same_fires_over_the_line(places, west):
    assert_same(places(*[mercator(west)] * 3), places(*[mercator(12.3)] * 3))


def test_nights_that_count_longitudes_differently_show_one_fire(places):
    one = places(*[degrees(179.99)] * 3)
    assert_same(places(degrees(179.99), degrees(-180.01), degrees(179.99)), one)
    assert_same(places(degrees(-180.01), degrees(179.99), degrees(-180.01)), one)


def test_nights_on_grids_of_two_kinds_show_one_fire(places):
    """The third grid lies askew to the others. UTM zones 30 and 60 lie half a turn apart."""
    here = places(utm(60), utm(60), degrees(179.9926, -16.8014))
    assert_same(here, places(utm(30), utm(30), degrees(-0.0074, -16.8014)))
    assert_same(here, places(utm(60), utm(60), degrees(-180.0074, -16.8014)))


def field(west: float, east: float, latitude: float, how: str) -> dict[str, object]:
    """A field at the middle of the map, its longitudes as programs write them."""
    first = {"beyond": 0.0, "negative": -360.0}.get(how, -180.0)

    def box(left: float, right: float) -> list[list[list[float]]]:
        return [
            [
                [x, latitude + y]
                for x, y in ((left, -0.003), (right, -0.003), (right, 0.003), (left, 0.003), (left, -0.003))
            ]
        ]

    if how == "cut" and west < 180 < east:
        return {"type": "MultiPolygon", "coordinates": [box(west, 180.0), box(-180.0, east - 360)]}
    return {"type": "Polygon", "coordinates": box(*((x - first) % 360 + first for x in (west, east)))}


def write_mask(path: Path, values: np.ndarray, grid: RasterGrid) -> Path:
    profile = {"driver": "GTiff", "count": 1, "height": grid.rows, "width": grid.cols, "dtype": values.dtype.name}
    with rasterio.open(path, "w", crs=grid.crs_wkt, transform=Affine(*grid.affine), **profile) as dataset:
        dataset.write(values, 1)
    return path


MAPS = {
    "utm": utm(60),
    "east": degrees(179.99),
    "west": degrees(-180.01),
    "far": degrees(539.99),
    "mercator": mercator(179.995),
    "home": degrees(12.3),
}


@pytest.mark.parametrize("how", ["cut", "uncut", "beyond", "negative"])
@pytest.mark.parametrize("name", MAPS)
def test_a_field_over_the_line_is_one_field_on_any_map(tmp_path, name, how):
    grid = MAPS[name]
    x, y = (float(value[0]) for value in grid.pixel_to_world(np.array([30.0]), np.array([50.0])))
    longitude, latitude = Transformer.from_crs(grid.crs_wkt, 4326, always_xy=True).transform(x, y)
    middle = round(longitude % 360, 3)
    (tmp_path / "fields.geojson").write_text(json.dumps(field(middle - 0.004, middle + 0.003, latitude, how)))
    mask = write_mask(tmp_path / "map.tif", np.ones(grid.shape, np.uint8), grid)
    (tmp_path / "product").mkdir()
    crop = CropAnalysis.model_validate({"kind": "crop", "fields": str(tmp_path / "fields.geojson")})
    analyse_crop(open_raster_mask(mask, None, "map"), crop, tmp_path / "product")
    table = read_vectors(tmp_path / "product" / "fields.parquet")
    area, perimeter = GEOD.geometry_area_perimeter(shapely.box(1, latitude - 0.003, 1.007, latitude + 0.003))
    assert float(table.columns["metrics:area"][0]) == pytest.approx(area, rel=1e-5)
    assert float(table.columns["metrics:perimeter"][0]) == pytest.approx(perimeter, rel=1e-5)
    pixel_m2 = PixelAreas(grid).window(Box((30, 0), (31, 1)))[0, 0]
    assert int(table.columns["pixels"][0]) * pixel_m2 == pytest.approx(area, rel=0.03)
    assert table.columns["flags"] == [""]
    (written,) = table.geometries
    assert all(part.bounds[2] - part.bounds[0] < 0.01 for part in shapely.get_parts(written))
    facts = json.loads(pq.read_schema(tmp_path / "product" / "fields.parquet").metadata[b"geo"])
    west, _, east, _ = facts["columns"]["geometry"]["bbox"]
    assert (east - west) % 360 == pytest.approx(0.007, abs=1e-6)
    assert -180 <= west <= 180
    assert -180 <= east <= 180


def test_files_of_one_scene_meet_over_the_line_however_they_count(tmp_path):
    values = np.broadcast_to(np.arange(100, dtype=np.uint16), (60, 100))
    places = {"a": 179.99, "b": -180.01}
    files = {role: str(write_mask(tmp_path / f"{role}.tif", values, degrees(west))) for role, west in places.items()}
    source = Source.model_validate({"bands": {"A": {"file": "a", "band": 1}, "B": {"file": "b", "band": 1}}})
    scene = describe_raster("s", files, source, ("A", "B"))
    assert all(file.aligned for file in scene.files)
    with scene.open() as reader:
        image, valid = reader.read(Box((0, 0), (60, 100)))
    assert valid.all()
    assert np.array_equal(image[0], image[1])


def test_a_file_in_degrees_covers_a_scene_in_utm_on_both_sides_of_the_line(tmp_path):
    grid = utm(60)
    files = {"a": str(write_mask(tmp_path / "a.tif", np.zeros(grid.shape, np.uint8), grid))}
    whole = RasterGrid(rows=120, cols=200, affine=(5e-4, 0, 179.95, 0, -5e-4, -16.77), crs_wkt=degrees(0).crs_wkt)
    files["b"] = str(write_mask(tmp_path / "b.tif", np.full(whole.shape, 7, np.uint8), whole))
    source = Source.model_validate({"bands": {"A": {"file": "a", "band": 1}, "B": {"file": "b", "band": 1}}})
    with describe_raster("s", files, source, ("A", "B")).open() as reader:
        image, valid = reader.read(Box((0, 0), grid.shape))
    assert valid.all()
    assert np.all(image[1] == 7)


JOB = """
job: sky
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
source: {bands: {red: {file: red, band: 1}}}
nightly: {stac: {assets: {red: B04}, lookback_days: 5}}
"""
# West and east of four footprints over and beside the line, and of one that lies half a world away.
FOOTPRINTS = {
    "west": (179.2, 179.8),
    "over": (179.7, 180.3),
    "edge": (179.0, 180.0),
    "east": (180.1, 180.6),
    "far": (0, 1),
}
BOXES = {
    "[179.5,-1,-179.5,1]": {"west", "over", "edge", "east"},
    "[179.5,-1,180.5,1]": {"west", "over", "edge", "east"},
    "[-180.5,-1,-179.5,1]": {"west", "over", "edge", "east"},
    "[-179.95,-1,-179.5,1]": {"over", "east"},
    "[-10,-1,10,1]": {"far"},
}


def item(name: str, how: str) -> pystac.Item:
    west, east = FOOTPRINTS[name]
    made = make_item(
        name, "2026-07-20", {"B04": f"https://example.org/{name}.tif"}, site=name, bbox=(west, -0.5, east, 0.5)
    )
    wrapped = [(x - 180) % -360 + 180 for x in (west, east)]
    made.bbox = [wrapped[0], -0.5, wrapped[1], 0.5]
    if how == "uncut":
        ring = [[wrapped[0], -0.5], [wrapped[1], -0.5], [wrapped[1], 0.5], [wrapped[0], 0.5], [wrapped[0], -0.5]]
        made.geometry = {"type": "Polygon", "coordinates": [ring]}
    if how == "cut":
        parts = [shapely.box(west, -0.5, min(east, 180), 0.5)] if west < 180 else []
        parts += [shapely.box(max(west, 180) - 360, -0.5, east - 360, 0.5)] if east > 180 else []
        made.geometry = shapely.geometry.mapping(shapely.MultiPolygon(parts))
    return made


@pytest.mark.parametrize("how", ["cut", "uncut", "beyond", "bbox"])
def test_a_search_over_the_line_finds_what_lies_there_and_nothing_else(tmp_path, how):
    path = tmp_path / "sky.yaml"
    path.write_text(JOB)
    catalogue = write_catalogue(tmp_path / "catalogue", [item(name, how) for name in FOOTPRINTS])
    for written in catalogue.parent.glob("s2/*/*.json") if how == "bbox" else ():
        facts = json.loads(written.read_text())
        written.write_text(json.dumps({**facts, "geometry": None}))
    found = {}
    for area in BOXES:
        job = load_job(str(path), (f"nightly.stac.area={area}",))
        found[area] = {one.site for one in list_arrivals(str(catalogue), job, "2026-07-21", None)}
    assert found == BOXES


@pytest.mark.parametrize("how", ["cut", "uncut", "beyond"])
def test_an_api_is_asked_on_either_side_of_the_line_and_tells_each_item_once(tmp_path, how):
    """The area is a file; servers get plain boxes, and each item counts once however often it is told of."""
    west, east = {"cut": (179.5, 180.5), "uncut": (179.5, -179.5), "beyond": (179.5, 180.5)}[how]
    outline = shapely.Polygon([(west, -1), (east, -1), (east, 1), (west, 1)])
    if how == "cut":
        outline = shapely.MultiPolygon([shapely.box(179.5, -1, 180, 1), shapely.box(-180, -1, -179.5, 1)])
    (tmp_path / "area.geojson").write_text(shapely.to_geojson(outline))
    (tmp_path / "sky.yaml").write_text(JOB)
    folder = tmp_path / "catalogue"
    write_catalogue(folder, [item(name, "cut") for name in FOOTPRINTS])
    (folder / "items.json").write_text(json.dumps([item(name, "cut").to_dict() for name in FOOTPRINTS]))
    job = load_job(str(tmp_path / "sky.yaml"), (f"nightly.stac.area={tmp_path / 'area.geojson'}",))
    with served(folder) as url:
        found = list_arrivals(url, job, "2026-07-21", None)
    assert sorted(one.site for one in found) == ["east", "edge", "over", "west"]
    asked = [json.loads(line)["bbox"] for line in (folder / "asked.jsonl").read_text().splitlines()]
    assert [179.5, -1, 180, 1] in asked
    assert [-180, -1, -179.5, 1] in asked


# Shapes that are measured without longitudes: in pixels, all of them.
IN_PIXELS = {"fields", "crop_fields", "field_polygons", "placement", "panoptic", "polygons"}
MEASURES = {
    "geometry_area_perimeter", "polygon_area_perimeter", "geometry_length", "line_length", "bounds", "total_bounds",
    "box", "minimum_bounding_radius",
}  # fmt: skip


def modules() -> list[Path]:
    return [path for folder in ("tasks", "flows") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_no_module_but_one_knows_how_far_it_is_round_the_earth():
    """A number of degrees in arithmetic is a longitude that somebody turns by hand; an azimuth is none."""
    found = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.BinOp) and path.stem != "longitudes":
                numbers = [part.value for part in (node.left, node.right) if isinstance(part, ast.Constant)]
                if any(number in (180, 360, 2 * np.pi) for number in numbers) and "azimuth" not in ast.unparse(node):
                    found.append(f"{path.name}: {ast.unparse(node)}")
    assert found == []


def test_whoever_measures_shapes_does_so_in_pixels_or_asks_the_module_of_longitudes():
    found = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            # Boxes of arrays have methods of such names, too.
            is_shape = is_call and (
                node.func.attr not in ("box", "bounds") or ast.unparse(node.func.value) == "shapely"
            )
            if is_shape and node.func.attr in MEASURES and path.stem not in {"longitudes", *IN_PIXELS}:
                found.append(f"{path.name}: {ast.unparse(node)}")
    assert found == []


def test_whoever_carries_points_to_another_crs_lets_them_go_round():
    """Its results pass through the module of longitudes, or onto a grid, which does."""
    for path in modules():
        text = path.read_text()
        if path.stem != "longitudes" and re.search(r"\bTransformer\.from_crs\(", text):
            assert "tasks.geometry.longitudes import" in text or ".world_to_pixel(" in text, path
