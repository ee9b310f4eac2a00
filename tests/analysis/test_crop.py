"""Crops from a command to a product: estimates that hold the truth, real fields, refusals that leave nothing behind."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.features import rasterize
from rasterio.transform import Affine
from scenes import write_raster
from typer.testing import CliRunner

from flows.commands.app import app, main
from tasks.analysis.crop.field_polygons import read_fields
from tasks.errors import PolygonError, SceneError
from tasks.files.fingerprint import dataset_sha256
from tasks.inputs.listing import list_inputs
from tasks.intake.describe import identify
from tasks.intake.request import make_request
from tasks.jobs.job import load_job
from tasks.products.vectors import write_gpkg
from tasks.scenes.raster.header import read_header
from tasks.scenes.vectors import VectorTable, read_vectors

# The grid of tests/helpers/scenes.py: 20 m, EPSG:32632, upper left corner.
LEFT, TOP, SIDE = 500_000, 5_000_000, 20
UTM, WGS84 = (rasterio.crs.CRS.from_epsg(code).to_wkt() for code in (32632, 4326))


def analyse(*arguments: object):
    return CliRunner().invoke(app, ["analyse", *map(str, arguments)])


def summary(out: Path, scene: str) -> dict:
    return json.loads((out / scene / "summary.json").read_text())


def products(out: Path) -> list[Path]:
    """What a reader of OUT sees of scenes: links, or files of a plan."""
    return [path for path in out.iterdir() if path.is_symlink() or path.suffix == ".gpkg"] if out.exists() else []


def truth_and_map(folder: Path) -> tuple[np.ndarray, Path]:
    """A landscape of three classes, and a map of it that errs in a tenth of its pixels."""
    rng = np.random.default_rng(11)
    truth = rng.choice(3, (30, 40), p=[0.3, 0.6, 0.1]).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    wrong = rng.random(truth.shape) < 0.1
    mapped = np.where(wrong, rng.integers(0, 3, truth.shape), truth).astype(np.uint8)
    mapped[:8, :8] = 255
    return truth, write_raster(folder / "crops.tif", mapped[None], nodata=255)


def interpret(plan: Path, truth: np.ndarray, destination: Path, skip: int = 0) -> Path:
    """Fill in a planned sample with what is true."""
    table = read_vectors(plan)
    cols = ((shapely.get_x(table.geometries) - LEFT) // SIDE).astype(int)
    rows = ((TOP - shapely.get_y(table.geometries)) // SIDE).astype(int)
    found = [f"class {number}" for number in truth[rows, cols]]
    table.columns["reference"] = [None] * skip + found[skip:]
    write_gpkg(
        destination,
        VectorTable(
            name="samples",
            crs_wkt=table.crs_wkt,
            geometries=table.geometries,
            columns=table.columns,
            geometry_type="Point",
        ),
    )
    return destination


def write_csv(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def point(row: float, col: float, **more) -> dict:
    return {"x": LEFT + (col + 0.5) * SIDE, "y": TOP - (row + 0.5) * SIDE, **more}


def test_a_planned_and_interpreted_sample_gives_areas_whose_intervals_hold_the_truth(tmp_path):
    truth, mask = truth_and_map(tmp_path)
    planned = analyse("sample", mask, "--out", tmp_path / "plan", "--target-se", 0.02, "--seed", 5, "--smallest", 60)
    assert planned.exit_code == 0, planned.output
    plan = tmp_path / "plan" / "crops-samples.gpkg"
    facts = json.loads(plan.with_suffix(".json").read_text())
    assert facts["expected_se"] <= 0.02
    assert len(read_vectors(plan)) == facts["units"] == sum(row["units"] for row in facts["strata"].values())
    pixels = read_vectors(plan, "pixels").geometries
    assert np.all(shapely.within(read_vectors(plan).geometries, pixels))
    assert shapely.area(pixels) == pytest.approx(SIDE**2)

    samples = interpret(plan, truth, tmp_path / "interpreted.gpkg")
    done = analyse("crop", mask, "--samples", samples, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = summary(tmp_path / "out", "crops")
    assert found["warnings"] == []
    assert found["accuracy"]["sample"]["units"] == facts["units"]
    observed = np.ones(truth.shape, bool)
    observed[:8, :8] = False
    total = sum(row["area_ha"] for name, row in found["classes"].items() if name != "not observed")
    for number in range(3):
        low, high = found["classes"][f"class {number}"]["estimate"]["interval_95_ha"]
        assert low <= total * (truth[observed] == number).mean() <= high
    assert found["accuracy"]["overall"]["value"] == pytest.approx(0.93, abs=0.03)
    matrix = np.array(found["accuracy"]["error_matrix"]["area_ha"])
    mapped = [found["classes"][f"class {k}"]["area_ha"] for k in range(3)]
    assert matrix.sum(axis=1) == pytest.approx(mapped)
    report = (tmp_path / "out" / "crops" / "report.html").read_text()
    assert "Error matrix in samples" in report
    assert "95 % interval" in report


def test_the_same_sample_judges_another_map_as_strata_that_are_not_its_classes(tmp_path):
    truth, mask = truth_and_map(tmp_path)
    analyse("sample", mask, "--out", tmp_path / "plan", "--target-se", 0.02)
    samples = interpret(tmp_path / "plan" / "crops-samples.gpkg", truth, tmp_path / "interpreted.gpkg", skip=3)
    better = write_raster(tmp_path / "better.tif", truth[None])
    done = analyse("crop", better, "--samples", samples, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = summary(tmp_path / "out", "better")
    assert found["accuracy"]["overall"]["value"] == pytest.approx(1.0)
    assert found["classes"]["class 1"]["estimate"]["standard_error_ha"] > 0
    assert [text for text in found["warnings"] if "3 of" in text]
    assert [text for text in found["warnings"] if "no sample contradicts the map" in text]


def test_an_answered_question_is_not_worked_on_again_and_gives_the_same_bytes_elsewhere(tmp_path):
    truth, mask = truth_and_map(tmp_path)
    analyse("sample", mask, "--out", tmp_path / "plan", "--target-se", 0.03)
    samples = interpret(tmp_path / "plan" / "crops-samples.gpkg", truth, tmp_path / "interpreted.gpkg")
    fields = tmp_path / "fields.gpkg"
    squares = np.array([shapely.box(LEFT + 200 * k, TOP - 900, LEFT + 200 * k + 150, TOP - 500) for k in range(5)])
    write_gpkg(
        fields,
        VectorTable(
            name="fields", crs_wkt=UTM, geometries=squares, columns={"name": list("abcde")}, geometry_type="Polygon"
        ),
    )
    asked = ("--samples", samples, "--fields", fields, "--fields-id", "name", "--set", "analysis.mixed_below=0.9")
    first, again = (analyse("crop", mask, *asked, "--out", tmp_path / "one") for _ in range(2))
    assert "done" in first.output
    assert "skipped" in again.output
    analyse("crop", mask, *asked, "--out", tmp_path / "two")
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / out / "crops").iterdir()} for out in ("one", "two")
    )
    assert set(one) >= {"fields.gpkg", "fields.parquet", "summary.json", "report.html"}
    assert one == two
    interpret(tmp_path / "plan" / "crops-samples.gpkg", truth, samples, skip=1)
    assert "done" in analyse("crop", mask, *asked, "--out", tmp_path / "one").output


def test_classes_get_the_names_of_the_job_and_no_two_the_same(tmp_path):
    _, mask = truth_and_map(tmp_path)
    done = analyse("crop", mask, "--set", "analysis.classes={1: grass, 2: grass, 4: rape}", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = summary(tmp_path / "out", "crops")
    assert list(found["classes"]) == ["class 0", "grass", "grass (2)", "rape", "not observed"]
    assert found["classes"]["rape"]["pixels"] == 0
    assert found["classes"]["grass"]["estimate"]["value_ha"] is None
    assert "no reference samples" in found["classes"]["grass"]["estimate"]["value_ha_is_null_because"]


def test_a_title_that_changed_is_worked_on_again(tmp_path):
    _, mask = truth_and_map(tmp_path)
    job, outputs = tmp_path / "job.yaml", []
    for title in ("Old", "New", "New"):
        job.write_text(
            f"job: fields\ntitle: {title} title\nkind: raster\nmodel: {{name: identity}}\nanalysis: {{kind: crop}}\n"
        )
        outputs.append(analyse("crop", mask, "--job", job, "--out", tmp_path / "out").output)
    assert ["skipped" in text for text in outputs] == [False, False, True]
    assert "New title" in (tmp_path / "out" / "crops" / "report.html").read_text()


def test_weed_is_weighed_by_zone_where_no_fields_are_given(tmp_path):
    labels = np.ones((40, 60), np.uint8)
    labels[:10, :10], labels[:4, 20:30] = 2, 2
    mask = write_raster(tmp_path / "rows.tif", labels[None])
    asked = ("analysis.weed=[class 2]", "analysis.crop=[class 1]", "analysis.zone_m=200")
    done = analyse("crop", mask, *(part for text in asked for part in ("--set", text)), "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    weed = summary(tmp_path / "out", "rows")["weed"]
    assert weed["zones"] == {"spray": 1, "leave": 23, "nothing to spray": 0, "undecided": 0}
    assert weed["saved_share"] == pytest.approx(23 / 24, rel=1e-6)
    with rasterio.open(tmp_path / "out" / "rows" / "spray.tif") as dataset:
        assert dataset.transform == Affine(200, 0, LEFT, 0, -200, TOP)
        assert dataset.read(1).tolist() == [[1, 0, 0, 0, 0, 0], *[[0] * 6] * 3]


def test_a_field_of_neither_weed_nor_crop_saves_nothing(tmp_path):
    labels = np.ones((40, 60), np.uint8)
    labels[:20, :20], labels[20:, 40:] = 2, 0
    mask = write_raster(tmp_path / "rows.tif", labels[None])
    places = ((0, 0), (400, 0), (800, -400))
    polygons = np.concatenate([square(LEFT + east, TOP + south - 400, 400.0) for east, south in places])
    path = tmp_path / "fields.gpkg"
    write_gpkg(
        path,
        VectorTable(name="fields", crs_wkt=UTM, geometries=polygons, columns={"n": [1, 2, 3]}, geometry_type="Polygon"),
    )
    asked = ("--fields", path, "--set", "analysis.weed=[class 2]", "--set", "analysis.crop=[class 1]")
    assert analyse("crop", mask, *asked, "--out", tmp_path / "out").exit_code == 0
    weed = summary(tmp_path / "out", "rows")["fields"]["weed"]
    assert weed["fields"] == {"spray": 1, "leave": 1, "nothing to spray": 1, "undecided": 0}
    assert weed["saved_share"] == pytest.approx(0.5, rel=1e-4)
    assert weed["nothing_to_spray_ha"] == pytest.approx(16, rel=1e-2)


def test_a_map_in_degrees_is_sampled_and_estimated_by_area(tmp_path):
    """Half of the pixels of a class lie north of 45 degrees, and 43 % of its area."""
    labels = np.ones((300, 300), np.uint8)
    labels[:, 150:] = 2
    mask = tmp_path / "world.tif"
    profile = {"driver": "GTiff", "height": 300, "width": 300, "count": 1, "dtype": "uint8", "crs": "EPSG:4326"}
    with rasterio.open(mask, "w", **profile, transform=Affine(0.1, 0, 0, 0, -0.1, 60)) as dataset:
        dataset.write(labels, 1)
    asked = ("--target-se", 0.01, "--expect-others", 0.7, "--leave-out", 0, "--seed", 3)
    done = analyse("sample", mask, *asked, "--out", tmp_path / "plan")
    assert done.exit_code == 0, done.output
    table = read_vectors(tmp_path / "plan" / "world-samples.gpkg")
    north = shapely.get_y(table.geometries) > 45
    table.columns["reference"] = ["1" if here else "2" for here in north]
    samples = tmp_path / "interpreted.gpkg"
    write_gpkg(
        samples,
        VectorTable(
            name="samples",
            crs_wkt=table.crs_wkt,
            geometries=table.geometries,
            columns=table.columns,
            geometry_type="Point",
        ),
    )
    done = analyse("crop", mask, "--samples", samples, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = summary(tmp_path / "out", "world")
    assert found["warnings"] == []
    total = found["classes"]["class 1"]["area_ha"] + found["classes"]["class 2"]["area_ha"]
    share, error = (found["classes"]["class 1"]["estimate"][key] / total for key in ("value_ha", "standard_error_ha"))
    sines = np.sin(np.radians([30, 45, 60]))
    assert abs(share - (sines[2] - sines[1]) / (sines[2] - sines[0])) < 3 * error < 0.5 - share
    # The same points as if every pixel had had one chance.
    table.columns["inclusion_probability"] = np.full(len(table), 0.05)
    write_gpkg(
        samples,
        VectorTable(
            name="samples",
            crs_wkt=table.crs_wkt,
            geometries=table.geometries,
            columns=table.columns,
            geometry_type="Point",
        ),
    )
    assert analyse("crop", mask, "--samples", samples, "--out", tmp_path / "out").exit_code == 0
    assert [text for text in summary(tmp_path / "out", "world")["warnings"] if "in proportion to their area" in text]


def test_samples_without_a_design_are_doubted(tmp_path):
    truth, mask = truth_and_map(tmp_path)
    rng = np.random.default_rng(2)
    places = zip(rng.integers(8, 240, 200), rng.integers(0, 320, 200), strict=True)
    rows = [point(row, col, reference=int(truth[row, col])) for row, col in places]
    samples = write_csv(tmp_path / "samples.csv", [*rows, rows[0]])
    asked = ("crop", mask, "--samples", samples, "--samples-crs", "mask", "--out", tmp_path / "out")
    assert analyse(*asked).exit_code == 0
    assert [text for text in summary(tmp_path / "out", "crops")["warnings"] if "pixel that another has" in text]
    assert [text for text in summary(tmp_path / "out", "crops")["warnings"] if "probability sample" in text]
    assert analyse(*asked, "--design", "simple").exit_code == 0
    assert not [text for text in summary(tmp_path / "out", "crops")["warnings"] if "probability sample" in text]


GOOD = [point(row, col, reference="class 1") for row in (20, 60) for col in range(0, 320, 4)]
BAD_SAMPLES = {
    "outside the map": ([*GOOD, point(-3, 4, reference="class 1")], "1 of 161 samples lie outside the map (lines 161)"),
    "unknown class": ([*GOOD, point(9, 9, reference="soya")], "reference classes that the map does not have: soya"),
    "thin strata": ([point(20, 3, reference="class 0")], "strata with fewer than two reference samples"),
    "no reference": ([point(20, 3, label="class 0")], "has no column 'reference'"),
    "nothing filled in": ([point(20, 3, reference="")], "no sample has been interpreted"),
    "no coordinates": ([{"east": 1, "reference": "class 1"}], "has no coordinates"),
    "not a number": ([{"x": "here", "y": 2, "reference": "class 1"}], "x is 'here', not a number"),
    "unknown strata": ([{**row, "stratum": "north"} for row in GOOD], "their areas are not given"),
    "two areas": (
        [{**row, "stratum": "north", "stratum_area_ha": 10 + k % 2} for k, row in enumerate(GOOD)],
        "more than one stratum_area_ha",
    ),
    "impossible probability": ([{**row, "inclusion_probability": 1.5} for row in GOOD], "above 0 and at most 1"),
}


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_bad_samples_are_refused_by_name_and_nothing_is_written(tmp_path, case):
    rows, text = BAD_SAMPLES[case]
    _, mask = truth_and_map(tmp_path)
    samples = write_csv(tmp_path / "samples.csv", rows)
    done = analyse("crop", mask, "--samples", samples, "--samples-crs", "EPSG:32632", "--out", tmp_path / "out")
    assert_refused(done, tmp_path / "out", "SampleError", text)
    assert '"SampleError: crops' not in (tmp_path / "out" / "batch.json").read_text(), "the mask is not to blame"


def assert_refused(done, out: Path, error: str, text: str) -> None:
    said = json.loads((out / "batch.json").read_text())["scenes"][0]["error"]
    assert done.exit_code == 1
    assert said.startswith(f"{error}: ")
    assert text in said
    assert products(out) == []


def square(west=LEFT + 100, south=TOP - 900, side=200.0):
    return np.array([shapely.box(west, south, west + side, south + side)])


def bad_fields(folder: Path, case: str) -> tuple[Path, tuple[str, ...], str]:
    path = folder / "fields.gpkg"
    if case == "no CRS":
        path = folder / "fields.shp"
        pyogrio.raw.write(path, shapely.to_wkb(square()), [np.array([1])], ["n"], geometry_type="Polygon", crs=UTM)
        path.with_suffix(".prj").unlink()
        return path, (), "names no CRS. Say which with --fields-crs, or fields_crs in the job"
    if case == "metres that pass for degrees":
        path = folder / "fields.geojson"
        feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(square()[0])}
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
        return path, (), "Say --fields-crs mask, or set fields_crs in the job"
    if case == "another place":
        write_gpkg(
            path,
            VectorTable(
                name="fields",
                crs_wkt=UTM,
                geometries=square(west=LEFT + 1e5),
                columns={"n": [1]},
                geometry_type="Polygon",
            ),
        )
        return path, (), "none of 1 polygons lies on the map"
    if case == "points":
        write_gpkg(
            path,
            VectorTable(
                name="fields",
                crs_wkt=UTM,
                geometries=shapely.points([[LEFT, TOP]]),
                columns={"n": [1]},
                geometry_type="Point",
            ),
        )
        return path, (), "holds no polygons"
    write_gpkg(
        path,
        VectorTable(
            name="fields", crs_wkt=UTM, geometries=square(), columns={"crop": ["soya"]}, geometry_type="Polygon"
        ),
    )
    wrong = {
        "unknown declared crop": (("--declared", "crop"), "names no class of the map"),
    }
    return (path, *wrong[case])


@pytest.mark.parametrize(
    "case",
    [
        "no CRS",
        "metres that pass for degrees",
        "another place",
        "points",
        "unknown declared crop",
    ],
)
def test_bad_fields_are_refused_by_name_and_nothing_is_written(tmp_path, case):
    _, mask = truth_and_map(tmp_path)
    path, options, text = bad_fields(tmp_path, case)
    done = analyse("crop", mask, "--fields", path, *options, "--out", tmp_path / "out")
    assert_refused(done, tmp_path / "out", "PolygonError", text)


def test_a_field_that_the_crs_of_the_map_does_not_reach_leaves_the_others(tmp_path):
    _, mask = truth_and_map(tmp_path)
    onto = Transformer.from_crs(32632, 4326, always_xy=True)
    here = shapely.transform(square(), lambda points: np.column_stack(onto.transform(*points.T)))
    polygons = np.array([shapely.box(-75, -1, -74, 1), here[0]], object)
    path = tmp_path / "fields.gpkg"
    write_gpkg(
        path,
        VectorTable(name="fields", crs_wkt=WGS84, geometries=polygons, columns={"n": [1, 2]}, geometry_type="Polygon"),
    )
    done = analyse("crop", mask, "--fields", path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = summary(tmp_path / "out", "crops")
    assert found["fields"]["flags"]["not on the map"] == 1
    assert [text for text in found["warnings"] if "1 of 2 fields hold no pixel of the map" in text]
    rows = read_vectors(tmp_path / "out" / "crops" / "fields.gpkg").columns
    assert rows["pixels"].tolist() == [0, 100]
    assert rows["inner_pixels"][1] > 0


def test_polygons_of_collections_are_fields_and_those_without_ground_are_none(tmp_path):
    _, mask = truth_and_map(tmp_path)
    with rasterio.open(mask) as dataset:
        x, y = dataset.transform * (10, 10)
        grid = read_header(str(mask)).grid
        crs = dataset.crs.to_wkt()
    field = shapely.box(x, y - 40, x + 40, y)
    collection = shapely.GeometryCollection([field, shapely.Point(x, y)])
    flat = shapely.Polygon([(x, y), (x + 40, y), (x, y)])

    def found(*geometries):
        path = tmp_path / "fields.fgb"
        pyogrio.raw.write(
            path, shapely.to_wkb(np.array(geometries, object)), [], [], driver="FlatGeobuf",
            geometry_type="Unknown", crs=crs, layer_options={"SPATIAL_INDEX": "NO"},
        )  # fmt: skip
        return read_fields(str(path), grid)

    both = found(collection, flat)
    assert [shape.area for shape in both.geometries] == [field.area]
    assert [remark.partition(": ")[2] for remark in both.remarks] == ["1 polygons cover no ground and were left out"]
    with pytest.raises(PolygonError, match="cover no ground"):
        found(flat)


def test_fields_in_grads_from_paris_are_written_in_degrees_from_greenwich(tmp_path):
    mask = tmp_path / "paris.tif"
    profile = {"driver": "GTiff", "height": 50, "width": 50, "count": 1, "dtype": "uint8", "crs": "EPSG:27572"}
    with rasterio.open(mask, "w", **profile, transform=Affine(20, 0, 600_000, 0, -20, 2_201_000)) as dataset:
        dataset.write(np.ones((50, 50), np.uint8), 1)
    path, wkt = tmp_path / "fields.gpkg", rasterio.crs.CRS.from_epsg(27572).to_wkt()
    polygon = np.array([shapely.box(600_100, 2_200_100, 600_900, 2_200_900)])
    write_gpkg(
        path, VectorTable(name="fields", crs_wkt=wkt, geometries=polygon, columns={"n": [1]}, geometry_type="Polygon")
    )
    done = analyse("crop", mask, "--fields", path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    table = read_vectors(tmp_path / "out" / "paris" / "fields.parquet")
    # The meridian of Paris, and 52 grads; the datum is off by less than 0.002 degrees.
    assert shapely.get_coordinates(table.geometries[0].centroid)[0] == pytest.approx((2.3437, 46.8045), abs=0.003)
    assert summary(tmp_path / "out", "paris")["fields"]["area_ha"] == pytest.approx(64.0, rel=1e-3)


def test_fields_are_read_in_the_crs_that_is_said_instead(tmp_path):
    _, mask = truth_and_map(tmp_path)
    path, _, _ = bad_fields(tmp_path, "metres that pass for degrees")
    for said in ("mask", "EPSG:32632"):
        done = analyse("crop", mask, "--fields", path, "--fields-crs", said, "--out", tmp_path / said.replace(":", ""))
        assert done.exit_code == 0, done.output
        warnings = summary(tmp_path / said.replace(":", ""), "crops")["warnings"]
        assert [text for text in warnings if "as fields_crs says" in text]


def test_a_changed_file_beside_the_mask_changes_what_identifies_the_input(tmp_path):
    _, mask = truth_and_map(tmp_path)
    samples = write_csv(tmp_path / "crops.csv", GOOD)
    job = load_job("crop", (f"analysis.samples={tmp_path}/{{scene}}.csv",))
    request = make_request(job, tmp_path / "out")
    (item,) = list_inputs([str(mask)], job)
    first, again = identify(request, item), identify(request, item)
    write_csv(samples, GOOD[1:])
    assert first == again != identify(request, item)
    samples.unlink()
    with pytest.raises(SceneError, match=r"crops\.csv"):
        identify(request, item)


def test_a_shapefile_is_all_of_its_files(tmp_path):
    path, _, _ = bad_fields(tmp_path, "no CRS")
    before = dataset_sha256(str(path))
    shutil.copy(path, tmp_path / "other.shp")
    assert dataset_sha256(str(path)) == before
    with path.with_suffix(".dbf").open("ab") as file:
        file.write(b" ")
    assert dataset_sha256(str(path)) != before


def test_maps_that_hold_nothing_or_lie_nowhere_are_refused(tmp_path):
    empty = write_raster(tmp_path / "empty.tif", np.full((1, 20, 20), 255, np.uint8), nodata=255)
    assert_refused(analyse("crop", empty, "--out", tmp_path / "a"), tmp_path / "a", "EmptySceneError", "observed")
    nowhere = write_raster(tmp_path / "nowhere.tif", np.ones((1, 20, 20), np.uint8), crs=None)
    fields, _, _ = bad_fields(tmp_path, "another place")
    done = analyse("crop", nowhere, "--fields", fields, "--out", tmp_path / "b")
    assert_refused(done, tmp_path / "b", "PolygonError", "the map has no CRS")
    samples = write_csv(tmp_path / "samples.csv", GOOD)
    done = analyse("crop", nowhere, "--samples", samples, "--samples-crs", "mask", "--out", tmp_path / "c")
    assert_refused(done, tmp_path / "c", "SceneError", "no areas can be estimated")
    assert json.loads((tmp_path / "c" / "batch.json").read_text())["scenes"][0]["product"] is None


def test_what_is_asked_wrongly_ends_the_command(tmp_path, monkeypatch, capsys):
    _, mask = truth_and_map(tmp_path)
    fields, _, _ = bad_fields(tmp_path, "unknown declared crop")
    for arguments, text in (
        ((mask, mask), "masks of one name"),
        ((mask, "--fields", fields, "--declared", "cropp"), "has no column 'cropp'. It has: crop"),
        ((mask, "--fields", fields, "--fields-id", "parcel"), "has no column 'parcel'. It has: crop"),
        ((mask, "--set", "analysis.weed=[thistle]"), "'weed' is weighed against 'crop'"),
        ((mask, "--set", "analysis.weed=[thistle]", "--set", "analysis.crop=[wheat]"), "the map has no class thistle"),
        ((mask, "--job", "fire"), "not crops"),
        ((mask, "--set", "analysis.colour=red"), "unknown key"),
    ):
        out = tmp_path / "out"
        monkeypatch.setattr("sys.argv", ["swathe", "analyse", "crop", *map(str, arguments), "--out", str(out)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert text in " ".join(capsys.readouterr().err.split())
        assert not out.exists()


REAL = {
    # Mask, fields, the column of the declared crop, fields, fields on the map, area of all in ha.
    "Denmark": ("denmark-lpis/crop_labels_west.tif", "denmark-lpis/fields_west.geojson", "cls", 217, 217, 1026.659),
    "Slovenia": (
        "eo-learn/derived/LULC.tif",
        "eo-learn/TestEOPatch/vector_timeless/LULC.gpkg",
        "LULC_ID",
        88,
        81,
        209.52,
    ),
}


@pytest.mark.parametrize("country", REAL)
def test_real_fields_have_the_majority_that_was_declared(tmp_path, data, country):
    mask, polygons, column, n_fields, n_there, area_ha = REAL[country]
    folder = data / "satellite-crop"
    options = ("--fields", folder / polygons, "--declared", column, "--out", tmp_path / "out")
    done = analyse("crop", folder / mask, *options)
    assert done.exit_code == 0, done.output
    found = summary(tmp_path / "out", Path(mask).stem)
    assert found["fields"]["fields"] == n_fields
    assert found["fields"]["area_ha"] == pytest.approx(area_ha, rel=1e-4)
    # The masks were rasterised from these polygons: every field that holds an observed pixel must agree.
    declared = found["fields"]["declared"]
    seen = n_there - found["fields"]["flags"].get("little observed", 0)
    assert seen <= declared["compared"] <= n_there
    assert np.trace(declared["counts"]) == declared["agree"] == declared["compared"]
    table = read_vectors(tmp_path / "out" / Path(mask).stem / "fields.parquet")
    assert {"id", "collection", "metrics:area", "metrics:perimeter", "majority", "purity"} <= set(table.columns)
    assert sum(table.columns["metrics:area"]) / 1e4 == pytest.approx(area_ha, rel=1e-4)


PICTURES = {"Denmark": "denmark-lpis/s2_rgb_west.tif", "Slovenia": "eo-learn/derived/S2_L1C_2015-08-30.tif"}


def nearest_mean(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A poor map, which errs as maps do: every pixel gets the class whose mean spectrum is nearest."""
    numbers = [number for number in np.unique(labels) if number]
    means = np.stack([image[:, labels == number].mean(axis=1) for number in numbers])
    distances = ((image[None] - means[:, :, None, None]) ** 2).sum(axis=1)
    return np.array(numbers, np.uint8)[distances.argmin(axis=0)]


@pytest.mark.parametrize("country", REAL)
def test_a_map_that_errs_gives_the_table_that_gdal_would(tmp_path, data, country):
    mask, polygons, column, *_ = REAL[country]
    folder = data / "satellite-crop"
    with rasterio.open(folder / mask) as labels, rasterio.open(folder / PICTURES[country]) as picture:
        guess = nearest_mean(picture.read().astype(float), labels.read(1))
        profile = {**labels.profile, "nodata": None}
    with rasterio.open(tmp_path / "guess.tif", "w", **profile) as dataset:
        dataset.write(guess, 1)
    options = ("--fields", folder / polygons, "--declared", column, "--out", tmp_path / "out")
    done = analyse("crop", tmp_path / "guess.tif", *options)
    assert done.exit_code == 0, done.output
    table = read_vectors(folder / polygons)
    matrix = np.zeros((guess.max() + 1, guess.max() + 1), int)
    for geometry, declared in zip(table.geometries, table.columns[column], strict=True):
        inside = rasterize([geometry], guess.shape, transform=profile["transform"]).astype(bool)
        if inside.any():
            matrix[declared, np.bincount(guess[inside]).argmax()] += 1
    found = summary(tmp_path / "out", "guess")["fields"]["declared"]
    assert found["counts"] == matrix.tolist()
    assert 0.1 < found["agree_share"] < 0.9


def test_the_nebraska_labels_lack_a_crs_and_that_is_said(tmp_path, data):
    folder = data / "satellite-crop" / "solaris-nebraska"
    asked = ("crop", folder / "field_labels.tif", "--fields", folder / "geotiff_custom_proj_labels.geojson", "--out")
    text = "are no degrees, though it says or implies WGS 84"
    assert_refused(analyse(*asked, tmp_path / "bad"), tmp_path / "bad", "PolygonError", text)
    done = analyse(*asked, tmp_path / "good", "--fields-crs", "mask")
    assert done.exit_code == 0, done.output
    found = summary(tmp_path / "good", "field_labels")
    assert found["fields"]["area_ha"] == pytest.approx(793.7, rel=1e-3)
    assert found["fields"]["by_majority"] == {"class 0": 0, "class 1": 19}
    assert [text for text in found["warnings"] if "as fields_crs says" in text]
