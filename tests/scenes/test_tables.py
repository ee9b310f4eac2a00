"""Tables and coordinates: what a spreadsheet wrote otherwise, and what was exchanged, is refused by what it is."""

import json

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import Affine
from scenes import write_raster

from tasks.analysis.crop.field_polygons import read_fields
from tasks.analysis.crop.reference_samples import read_samples
from tasks.errors import JobError, PolygonError, SampleError, UnsupportedSceneError
from tasks.inputs.listing import list_inputs
from tasks.jobs.job import Job
from tasks.jobs.source import Source
from tasks.scenes.raster.header import read_header
from tasks.scenes.raster.scene import describe_raster
from tasks.scenes.tables import TableError, read_table


@pytest.fixture
def grid(tmp_path):
    return read_header(str(write_raster(tmp_path / "map.tif", np.zeros((1, 200, 200), np.uint8)))).grid


@pytest.fixture
def points(grid):
    rows, cols = np.random.default_rng(0).uniform(1, 199, (2, 40))
    return Transformer.from_crs(grid.crs_wkt, 4326, always_xy=True).transform(*grid.pixel_to_world(rows, cols))


def written(points, header="lon,lat,reference", separator=",", comma=False, quoted=False):
    lines = [header]
    for x, y in zip(*points, strict=True):
        cells = [f"{x:.6f}".replace(".", "," if comma else "."), f"{y:.6f}".replace(".", "," if comma else "."), "1"]
        lines.append(separator.join(f'"{cell}"' if quoted else cell for cell in cells))
    return "\n".join(lines) + "\n"


OTHERWISE = {
    "semicolons": ({"header": "lon;lat;reference", "separator": ";", "comma": True}, "separated by semicolons"),
    "tabs": ({"header": "lon\tlat\treference", "separator": "\t"}, "separated by tabs"),
    "quoted decimal commas": ({"comma": True, "quoted": True}, "with a decimal comma"),
    "bare decimal commas": ({"comma": True}, "line 2 has 5 cells and the header 3"),
    "swapped": ({"header": "lat,lon,reference"}, "100% do when longitude and latitude are swapped"),
}


@pytest.mark.parametrize("header", ["Lon,Lat,Reference", "LONGITUDE,LATITUDE,REFERENCE"])
def test_columns_that_are_looked_for_may_be_written_in_any_letters(tmp_path, grid, points, header):
    path = tmp_path / "samples.csv"
    path.write_text(written(points, header))
    assert len(read_samples(str(path), grid)) == 40


@pytest.mark.parametrize("name", OTHERWISE)
def test_samples_that_a_spreadsheet_wrote_otherwise_are_refused_by_what_it_is(tmp_path, grid, points, name):
    how, words = OTHERWISE[name]
    path = tmp_path / "samples.csv"
    path.write_text(written(points, **how))
    with pytest.raises(SampleError, match=words):
        read_samples(str(path), grid)
    path.write_text(written(points))
    assert len(read_samples(str(path), grid)) == 40


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "lon,lat,bemerkung\n1,2,Süd\n".encode("cp1252"),
            "line 2 holds the byte 0xfc, which Windows-1252 writes for 'ü'",
        ),
        ("lon,lat\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"lon,lat\n1,2,3\n", "line 2 has 3 cells"),
    ],
)
def test_other_encodings_are_named(tmp_path, content, words):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=words):
        read_table(path)
    job = Job.model_validate({"job": "j", "kind": "raster", "model": {"name": "m"}})
    with pytest.raises(JobError, match=words):
        list_inputs([str(path)], job)


def test_a_table_is_read_as_it_stands(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffscene, file\r\nÄ,"a,b.tif"\r\n\r\nB\r\n'.encode())
    table = read_table(path)
    assert table.columns == ("scene", "file")
    assert table.rows == ({"scene": "Ä", "file": "a,b.tif"}, {"scene": "B", "file": ""})


def test_polygons_whose_coordinates_were_exchanged_are_told_of(tmp_path, grid, points):
    lon, lat = (float(np.mean(axis)) for axis in points)
    square = shapely.box(lat - 1e-3, lon - 1e-3, lat + 1e-3, lon + 1e-3)
    (tmp_path / "fields.geojson").write_text(json.dumps(shapely.geometry.mapping(square)))
    with pytest.raises(PolygonError, match="longitude and latitude are swapped"):
        read_fields(str(tmp_path / "fields.geojson"), grid)


def placed(path, crs, transform, shape=(20, 20)):
    with rasterio.open(
        path, "w", driver="GTiff", height=shape[0], width=shape[1], count=1, dtype="uint8", crs=crs, transform=transform
    ) as dataset:
        dataset.write(np.zeros((1, *shape), np.uint8))
    return str(path)


def two(tmp_path, one, other):
    source = Source.model_validate({"bands": {"A": {"file": "a", "band": 1}, "B": {"file": "b", "band": 1}}})
    files = {"a": placed(tmp_path / "a.tif", *one), "b": placed(tmp_path / "b.tif", *other)}
    return describe_raster("s", files, source, ("A", "B"))


def test_of_two_files_of_one_shape_it_says_which_has_no_crs(tmp_path):
    place = Affine(20, 0, 500_000, 0, -20, 5_000_000)
    with pytest.raises(UnsupportedSceneError, match=r"b\.tif has no CRS, and the finest file of the scene has one"):
        two(tmp_path, ("EPSG:32632", place), (None, place))


def test_the_finest_file_is_that_of_the_smallest_pixels_on_the_ground(tmp_path):
    """At 60 degrees north a pixel of 0.0003 degrees is 33 m high and 17 m wide: smaller than one of 25 m."""
    x, y = Transformer.from_crs(4326, 32635, always_xy=True).transform(25.0, 60.0)
    degrees = ("EPSG:4326", Affine(3e-4, 0, 25.0, 0, -3e-4, 60.0), (30, 30))
    metres = ("EPSG:32635", Affine(25, 0, x, 0, -25, y), (30, 20))
    assert two(tmp_path, degrees, metres).grid.shape == (30, 30)
    coarser = ("EPSG:4326", Affine(3.4e-4, 0, 25.0, 0, -3.4e-4, 60.0), (30, 30))
    assert two(tmp_path, coarser, ("EPSG:32635", Affine(25, 0, x, 0, -25, y), (30, 20))).grid.shape == (30, 20)


def test_longitudes_beyond_180_are_told_of(tmp_path):
    scene = two(
        tmp_path, ("EPSG:4326", Affine(1e-3, 0, 200, 0, -1e-3, 20)), ("EPSG:4326", Affine(1e-3, 0, -160, 0, -1e-3, 20))
    )
    assert any("beyond 180" in note for note in scene.notes)
    assert all(file.aligned for file in scene.files)


def test_a_folder_whose_files_differ_in_case_alone_is_told_of(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "LC08_SR_B4.TIF").touch()
    job = Job.model_validate(
        {"job": "j", "kind": "raster", "model": {"name": "m"}, "source": {"files": {"r": "{scene}_SR_B4.tif"}}}
    )
    (item,) = list_inputs([str(tmp_path / "in")], job)
    assert "LC08_SR_B4.TIF differs from that in the case of its letters" in item.error
