"""Laws of fires in one scene: no seams, true areas, exact severity, named refusals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pyproj import CRS, Geod
from rasterio.features import shapes
from scipy import ndimage
from typer.testing import CliRunner

from flows.commands.app import app
from tasks.analysis.fire.analyse import analyse_fire
from tasks.analysis.masks.raster import open_raster_mask
from tasks.answers.area import class_areas
from tasks.answers.components import join
from tasks.answers.fire.geodesy import Earth
from tasks.answers.fire.indices import indices_from, nbr, rbr, rdnbr
from tasks.answers.fire.measures import measure_fires
from tasks.answers.fire.offset import ring_offset
from tasks.answers.fire.severity import classify
from tasks.errors import BandError, EmptySceneError, JobError, UnsupportedSceneError
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid
from tasks.inputs.listing import list_inputs
from tasks.intake.describe import identify
from tasks.intake.request import make_request
from tasks.jobs.fire import FireAnalysis
from tasks.jobs.job import load_job
from tasks.jobs.severity import TABLES
from tasks.products.outlines import outlines
from tasks.scenes.vectors import read_vectors

DEGREES = RasterGrid(rows=60, cols=80, affine=(2e-4, 0, 15.0, 0, -2e-4, 45.0), crs_wkt=CRS.from_epsg(4326).to_wkt())
FIRE = FireAnalysis(kind="fire", dnbr="dNBR", post={"nir": "B8", "swir": "B12"}, min_area_ha=0)
KEY_BENSON = TABLES["key-benson-2006"]


def reader(array):
    return lambda box: array[box.slices]


def write(path: Path, image: np.ndarray, **profile) -> Path:
    """Write (bands, rows, cols) in degrees; descriptions name the bands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = profile.pop("names", ())
    known = {
        "driver": "GTiff", "count": len(image), "height": image.shape[1], "width": image.shape[2],
        "dtype": image.dtype.name, "crs": "EPSG:4326",
        "transform": rasterio.Affine(2e-4, 0, 15.0, 0, -2e-4, 45.0),
    }  # fmt: skip
    with rasterio.open(path, "w", **(known | profile)) as dataset:
        dataset.write(image)
        for number, name in enumerate(names, start=1):
            dataset.set_band_description(number, name)
    return path


masks = st.tuples(st.integers(1, 24), st.integers(1, 24), st.floats(0.1, 0.9), st.integers(0, 2**32 - 1)).map(
    lambda p: np.random.default_rng(p[3]).random((p[0], p[1])) < p[2]
)


@given(masks, st.integers(1, 25), st.integers(1, 25), st.sampled_from([4, 8]))
@settings(max_examples=80)
def test_components_are_those_of_the_whole_picture_for_every_window(mask, rows, cols, connectivity):
    found = join(reader(mask), mask.shape, connectivity, (rows, cols))
    labels = np.zeros(mask.shape, np.int64)
    for box, window in found.windows():
        labels[box.slices] = window
    # scipy numbers by the first pixel in row-major order, too.
    expected, n = ndimage.label(mask, ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2))
    assert found.n == n
    firsts = [np.flatnonzero(expected == k)[0] for k in range(1, n + 1)]
    rank = np.concatenate([[0], np.argsort(np.argsort(firsts)) + 1]).astype(int)
    np.testing.assert_array_equal(labels, rank[expected])


@given(masks, st.integers(1, 25), st.integers(1, 25), st.sampled_from([4, 8]))
@settings(max_examples=50)
def test_outlines_have_no_seams_are_valid_and_cover_their_pixels(mask, rows, cols, connectivity):
    grid = replace(DEGREES, rows=mask.shape[0], cols=mask.shape[1])
    whole = outlines(join(reader(mask), mask.shape, connectivity, mask.shape), grid)
    cut = outlines(join(reader(mask), mask.shape, connectivity, (rows, cols)), grid)
    assert shapely.to_wkb(whole).tolist() == shapely.to_wkb(cut).tolist()
    assert shapely.is_valid(whole).all()
    pixel_area = 2e-4**2
    assert shapely.area(whole).sum() == pytest.approx(mask.sum() * pixel_area, rel=1e-9)
    r, c = np.indices(mask.shape)
    x, y = grid.pixel_to_world(r.ravel() + 0.5, c.ravel() + 0.5)
    inside = shapely.contains_xy(shapely.union_all(whole), x, y) if len(whole) else np.zeros(mask.size, bool)
    np.testing.assert_array_equal(inside, mask.ravel())


def fires(data):
    folder = data / "satellite-fire" / "calfire-s2"
    return folder, sorted(path.stem for path in (folder / "masks").glob("*.tif"))


def test_real_fires_have_their_geodesic_area_and_one_outline_for_three_windows(data):
    folder, names = fires(data)
    assert len(names) == 13
    for name in names:
        mask = open_raster_mask(folder / "masks" / f"{name}.tif")
        array = mask.read(Box.of_shape(mask.grid.shape))
        burned = array == 1
        found = [
            outlines(join(reader(burned), burned.shape, 8, window), mask.grid)
            for window in ((2048, 2048), (64, 96), (17, 225))
        ]
        assert all(shapely.to_wkb(one).tolist() == shapely.to_wkb(found[0]).tolist() for one in found[1:])
        earth = Earth(mask.grid.crs_wkt)
        polygons = sum(earth.area_ha(geometry) for geometry in found[0])
        areas = class_areas(mask.read, mask.grid, 2)
        assert polygons == pytest.approx(areas.areas_ha[1], rel=1e-3)
        # The oracle: pyproj's geodesic area of what rasterio makes of the same mask.
        with rasterio.open(folder / "masks" / f"{name}.tif") as dataset:
            drawn = [shapely.geometry.shape(g) for g, _ in shapes(array, mask=burned, transform=dataset.transform)]
        oracle = sum(abs(Geod(ellps="WGS84").geometry_area_perimeter(polygon)[0]) for polygon in drawn) / 1e4
        assert areas.areas_ha[1] == pytest.approx(oracle, rel=1e-3)


def test_sums_per_fire_agree_with_the_raster_for_every_window():
    rng = np.random.default_rng(3)
    burned = ndimage.gaussian_filter(rng.standard_normal((60, 80)), 3) > 0.05
    confidence = rng.integers(0, 101, burned.shape).astype(np.uint8)
    results = [
        measure_fires(join(reader(burned), burned.shape, 8, window), DEGREES, None, reader(confidence), 0)
        for window in ((60, 80), (7, 80), (13, 11))
    ]
    areas = class_areas(reader(burned.astype(np.uint8)), DEGREES, 2)
    labels, n = ndimage.label(burned, np.ones((3, 3)))
    assert n > 2
    for result in results:
        assert result.pixels.sum() == burned.sum()
        assert result.areas_ha.sum() == pytest.approx(areas.areas_ha[1], rel=1e-12)
        np.testing.assert_allclose(result.areas_ha, results[0].areas_ha, rtol=1e-12)
        # Both number by the first pixel in row-major order.
        np.testing.assert_allclose(result.mean_confidence, ndimage.mean(confidence, labels, range(1, n + 1)))
        np.testing.assert_array_equal(result.boxes, results[0].boxes)


def test_confidence_is_the_mean_of_the_pixels_where_it_is_known():
    burned = np.zeros((60, 80), bool)
    burned[5:15, 5:15], burned[30:32, 30:32] = True, True
    confidence = np.full(burned.shape, 90, np.uint8)
    confidence[5:10], confidence[30:32] = 255, 255
    for window in ((60, 80), (7, 11)):
        found = measure_fires(join(reader(burned), burned.shape, 8, window), DEGREES, None, reader(confidence), 0)
        np.testing.assert_array_equal(found.mean_confidence, [90.0, np.nan])


def test_indices_are_those_of_their_papers():
    nir, swir = np.float32([[0.4, 0.2]]), np.float32([[0.1, 0.3]])
    after = nbr(nir, swir)
    np.testing.assert_allclose(after, [[0.6, -0.2]], atol=1e-6)
    before, change = np.float32([[0.64, 0.0]]), np.float32([[0.4, 0.4]])
    np.testing.assert_allclose(rdnbr(change, before), [[0.5, np.nan]], atol=1e-6)
    np.testing.assert_allclose(rbr(change, before), [[0.4 / 1.641, 0.4 / 1.001]], rtol=1e-6)
    assert np.isnan(nbr(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))).all()


def test_a_given_dnbr_and_two_pictures_give_the_same_indices():
    rng = np.random.default_rng(0)
    pre_nir, pre_swir, nir, swir = rng.uniform(0.05, 0.5, (4, 9, 11)).astype(np.float32)
    seen = rng.random((9, 11)) > 0.1
    pair = FireAnalysis(kind="fire", pre={"nir": "a", "swir": "b"}, post={"nir": "c", "swir": "d"})
    two = indices_from(np.stack([pre_nir, pre_swir, nir, swir]), seen, pair)
    given_dnbr = nbr(pre_nir, pre_swir) - nbr(nir, swir)
    one = indices_from(np.stack([nir, swir, given_dnbr]), seen, FIRE)
    for index in ("dnbr", "rdnbr", "rbr"):
        np.testing.assert_allclose(one.index(index, 0.02), two.index(index, 0.02), rtol=2e-4, atol=1e-5)
        assert (np.isnan(one.index(index, 0.0)) >= ~seen).all()
    alone = indices_from(given_dnbr[np.newaxis], seen, FireAnalysis(kind="fire", dnbr="x"))
    assert alone.index("rbr", 0.0) is None


def test_a_threshold_belongs_to_the_class_above_it():
    values = np.float32([-0.6, -0.251, -0.25, -0.1, 0.0999, 0.1, 0.269, 0.27, 0.44, 0.6599, 0.66, 1.4, np.nan])
    names = ["", *(entry.name for entry in KEY_BENSON.classes), "unknown"]
    assert [names[k] for k in classify(values, KEY_BENSON)] == [
        "high regrowth", "high regrowth", "low regrowth", "unburned", "unburned", "low", "low", "moderate-low",
        "moderate-high", "moderate-high", "high", "high", "unknown",
    ]  # fmt: skip


def test_the_offset_is_the_median_of_the_ring_whatever_the_windows(monkeypatch):
    burned = np.zeros((90, 110), bool)
    burned[40:50, 50:60] = True
    dnbr = np.full(burned.shape, 0.9, np.float32)
    distance = ndimage.distance_transform_edt(~burned, sampling=(20.0, 20.0))
    ring = (distance > 100) & (distance <= 300)
    dnbr[ring] = np.random.default_rng(1).normal(0.03, 0.02, int(ring.sum())).astype(np.float32)
    expected = float(np.median(dnbr[ring]))
    for window in ((2048, 2048), (16, 9)):
        monkeypatch.setattr("tasks.answers.fire.offset.WINDOW", window)
        found = ring_offset(reader(burned), reader(dnbr), burned.shape, (20.0, 20.0), (100.0, 300.0))
        assert found.value == pytest.approx(expected, abs=0.0011)
        assert (found.source, found.ring_pixels) == ("ring", int(ring.sum()))
    tiny = ring_offset(reader(burned[40:50, 50:60]), reader(dnbr[40:50, 50:60]), (10, 10), (20.0, 20.0), (100.0, 300.0))
    assert (tiny.value, tiny.source) == (0.0, "none")
    assert "0 observed unburned pixels" in tiny.reason


@pytest.fixture
def scene(tmp_path):
    """A mask of 60 x 80 with two fires and a cloud, and its pictures: dNBR is 0.05 outside, 0.3 and 0.8 inside."""
    labels = np.zeros((60, 80), np.uint8)
    labels[10:30, 10:40], labels[40:45, 60:70], labels[0:5, 0:80] = 1, 1, 255
    dnbr = np.where(labels == 1, 0.3, 0.05).astype(np.float32)
    dnbr[10:20, 10:40] = 0.8
    dnbr[10, 10:15] = np.nan
    bands = np.stack([np.full(labels.shape, 0.2), np.full(labels.shape, 0.1)]).astype(np.float32)
    write(tmp_path / "masks" / "ALPHA_20240101.tif", labels[np.newaxis], nodata=255)
    write(tmp_path / "dnbr" / "ALPHA_20240101.tif", dnbr[np.newaxis], names=("dNBR",))
    write(tmp_path / "post_fire" / "ALPHA_20240101.tif", bands, names=("B8", "B12"))
    (tmp_path / "job.yaml").write_text(
        "job: t\nkind: raster\nmodel: {name: threshold}\n"
        'source:\n  files: {post: "post_fire/{scene}.tif", dnbr: "dnbr/{scene}.tif"}\n'
        "  bands: {B8: {file: post, band: 1}, B12: {file: post, band: 2}, dNBR: {file: dnbr, band: 1}}\n"
        '  dates: {post: "{scene:%Y%m%d}"}\n'
        "analysis: {kind: fire, dnbr: dNBR, post: {nir: B8, swir: B12}, min_area_ha: 0}\n"
    )
    return tmp_path


def subject_of(scene):
    job = load_job(str(scene / "job.yaml"))
    files = {"post": str(scene / "post_fire/ALPHA_20240101.tif"), "dnbr": str(scene / "dnbr/ALPHA_20240101.tif")}
    return open_raster_mask(scene / "masks" / "ALPHA_20240101.tif", job, None, files), job.analysis


def test_severity_and_objects_of_a_constructed_scene_are_exact(scene):
    subject, wanted = subject_of(scene)
    out = scene / "out"
    out.mkdir()
    found = analyse_fire(subject, replace_settings(wanted, offset=0.05), out)
    # All pixels of a row are of one size; rows differ by 1e-6 over this scene.
    pixel = class_areas(subject.read, subject.grid, 2).areas_ha[1] / 650
    large, small = found.answers["fires"]
    assert (large["pixels"], small["pixels"]) == (600, 50)
    rated = {name: round(area / pixel) for name, area in large["severity_ha"].items() if area}
    assert rated == {"high": 295, "low": 300, "severity not known": 5}
    assert large["mean_dnbr"] == pytest.approx((295 * 0.75 + 300 * 0.25) / 595, abs=1e-4)
    assert large["max_dnbr"] == pytest.approx(0.75, abs=1e-4)
    assert sum(large["severity_ha"].values()) == pytest.approx(large["area_ha"], rel=1e-6)
    # Its surroundings are rows 0 to 40 and cols 0 to 50, of which five rows are cloud.
    assert large["observed_percent"] == pytest.approx(100 * 35 / 40, abs=1e-3)
    with rasterio.open(out / "severity.tif") as dataset:
        severity = dataset.read(1)
        assert dataset.tags()["SWATHE_SEVERITY_VERIFIED"] == "false"
    assert (severity[0:5] == 255).all()
    assert (severity[30:40] == 0).all()
    assert (severity[10, 10:15] == len(KEY_BENSON.classes) + 1).all()
    assert severity[12, 12] == 7
    table = read_vectors(out / "objects.gpkg")
    assert table.columns["area_ha"].tolist() == [large["area_ha"], small["area_ha"]]
    assert set(table.columns["date"]) == {"2024-01-01"}
    assert found.headline["high_severity_ha"] == pytest.approx(295 * pixel, rel=1e-4)
    json.dumps(found.answers, allow_nan=False)


def replace_settings(wanted: FireAnalysis, **changes) -> FireAnalysis:
    return FireAnalysis.model_validate(wanted.model_dump() | changes)


def test_the_minimum_mapping_unit_leaves_out_small_fires_and_says_so(scene):
    subject, wanted = subject_of(scene)
    out = scene / "out"
    out.mkdir()
    found = analyse_fire(subject, replace_settings(wanted, min_area_ha=5), out)
    assert found.headline["fires"] == 1
    assert found.answers["minimum_mapping_unit"]["smaller_fires"] == 1
    assert found.answers["minimum_mapping_unit"]["smaller_fires_ha"] > 1
    assert found.answers["classes"][subject.names[1]]["pixels"] == 650


def test_without_pictures_severity_is_null_with_a_reason(scene):
    subject = open_raster_mask(scene / "masks" / "ALPHA_20240101.tif")
    (scene / "out").mkdir()
    found = analyse_fire(subject, FIRE, scene / "out")
    assert found.answers["severity"] is None
    assert "only a mask" in found.answers["severity_is_null_because"]
    assert found.answers["fires"][0]["severity_ha"] is None
    assert not (scene / "out" / "severity.tif").exists()


def test_a_summary_has_the_largest_fires_and_says_where_all_are(tmp_path):
    burned = np.zeros((1, 110, 130), np.uint8)
    burned[0, ::3, ::3] = 1
    burned[0, 105, 120:124] = 1
    write(tmp_path / "many.tif", burned)
    (tmp_path / "out").mkdir()
    found = analyse_fire(open_raster_mask(tmp_path / "many.tif"), FIRE, tmp_path / "out")
    table = read_vectors(tmp_path / "out" / "objects.gpkg")
    assert found.answers["fires_found"] == found.headline["fires"] == len(table) > 1000
    assert found.answers["all_fires_in"] == "objects.gpkg"
    assert [fire["id"] for fire in found.answers["fires"]] == list(table.columns["id"][:1000])
    assert found.answers["fires"][0]["pixels"] > 1


def test_a_mask_without_a_fire_and_one_without_a_crs_are_answered(scene):
    write(scene / "none.tif", np.zeros((1, 20, 30), np.uint8))
    write(scene / "nowhere.tif", np.ones((1, 20, 30), np.uint8), crs=None)
    for name in ("none", "nowhere"):
        (scene / f"out-{name}").mkdir()
    none = analyse_fire(open_raster_mask(scene / "none.tif"), FIRE, scene / "out-none")
    assert (none.headline["fires"], none.headline["largest_fire_ha"], none.answers["fires"]) == (0, 0.0, [])
    assert len(read_vectors(scene / "out-none" / "objects.parquet")) == 0
    nowhere = analyse_fire(open_raster_mask(scene / "nowhere.tif"), FIRE, scene / "out-nowhere")
    assert nowhere.answers["fires"][0]["area_ha"] is None
    assert any("no CRS" in warning for warning in nowhere.warnings)


def test_masks_that_are_none_are_refused_by_name(tmp_path):
    write(tmp_path / "scores.tif", np.full((1, 4, 4), 0.5, np.float32))
    write(tmp_path / "three.tif", np.zeros((3, 4, 4), np.uint8))
    write(tmp_path / "empty.tif", np.full((1, 4, 4), 9, np.uint8), nodata=9)
    for name, error in (
        ("scores", UnsupportedSceneError), ("three", UnsupportedSceneError), ("empty", EmptySceneError),
    ):  # fmt: skip
        with pytest.raises(error, match=name):
            open_raster_mask(tmp_path / f"{name}.tif")


def test_a_class_or_a_band_that_is_not_there_is_refused_by_name(scene):
    subject, wanted = subject_of(scene)
    with pytest.raises(JobError, match="label is 7"):
        analyse_fire(subject, replace_settings(wanted, label=7), scene)
    with pytest.raises(BandError, match="B99"):
        analyse_fire(subject, replace_settings(wanted, post={"nir": "B99", "swir": "B12"}), scene)
    assert not (scene / "objects.gpkg").exists()


def test_a_class_that_no_mask_has_ends_the_command_and_one_that_some_have_fails_the_others(scene):
    few = write(scene / "few.tif", np.ones((1, 8, 8), np.uint8))
    many = write(scene / "many.tif", np.full((1, 8, 8), 7, np.uint8))

    def run(out, *masks):
        asked = ["--set", "analysis.label=7", "--out", str(out)]
        return CliRunner().invoke(app, ["analyse", "fire", *map(str, masks), *asked])

    refused = run(scene / "new" / "out", few)
    assert isinstance(refused.exception, JobError)
    assert "analysis.label is 7" in str(refused.exception)
    assert not (scene / "new").exists()
    assert run(scene / "out", few, many).exit_code == 1
    rows = json.loads((scene / "out" / "batch.json").read_text())["scenes"]
    assert {row["scene"]: row["status"] for row in rows} == {"few": "failed", "many": "done"}
    assert isinstance(run(scene / "out", few).exception, JobError)
    assert json.loads((scene / "out" / "batch.json").read_text())["scenes"] == rows


@pytest.mark.parametrize(
    "wrong",
    [
        {"severity": "no-such-table"},
        {"pre": {"nir": "a", "swir": "b"}},
        {"ring_m": [500, 100]},
        {"alerts": {"asset_km": 3}},
        {"alerts": {"new_fire_ha": {"at": 5, "clear": 9}}},
        {"severity": {"name": "x", "index": "rbr", "high": "b", "reference": "r", "classes": [
            {"name": "a", "colour": "#000000"}, {"name": "b", "colour": "#ffffff"}]}},
    ],
)  # fmt: skip
def test_settings_that_contradict_themselves_are_refused(wrong):
    with pytest.raises(ValidationError):
        FireAnalysis.model_validate({"kind": "fire", **wrong})


def test_class_names_come_from_the_table_that_our_own_masks_have(scene):
    subject, wanted = subject_of(scene)
    run = CliRunner().invoke(
        app,
        ["analyse", "fire", str(scene / "masks/ALPHA_20240101.tif"), "--job", str(scene / "job.yaml"),
         "--images", str(scene), "--out", str(scene / "out")],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    product = scene / "out" / "ALPHA_20240101"
    again = open_raster_mask(product / "mask.tif")
    assert again.id == "ALPHA_20240101"
    assert again.classes == subject.classes
    summary = json.loads((product / "summary.json").read_text())
    assert summary["severity"]["table"] == wanted.severity
    assert summary["severity"]["dnbr_offset"] == pytest.approx(0.05, abs=1e-6)
    events = json.loads((scene / "out" / "fires" / "ALPHA" / "events.json").read_text())
    assert [event["status"] for event in events["events"]] == ["new", "new"]


def test_pictures_of_other_scenes_are_refused(scene, tmp_path):
    mask = tmp_path / "OTHER_20240101.tif"
    mask.write_bytes((scene / "masks/ALPHA_20240101.tif").read_bytes())
    for images, words in (
        (scene, "no pictures of OTHER_20240101; found those of ALPHA_20240101"),
        ("away", "--images: "),
    ):
        arguments = [
            str(mask),
            "--job",
            str(scene / "job.yaml"),
            "--images",
            str(images),
            "--out",
            str(tmp_path / "out"),
        ]
        refused = CliRunner().invoke(app, ["analyse", "fire", *arguments])
        assert isinstance(refused.exception, JobError)
        assert words in str(refused.exception)
    assert not (tmp_path / "out").exists()


def test_fires_are_followed_over_the_dates_in_names_without_a_job(scene, tmp_path):
    masks = []
    for name in ("ALPHA_20240101", "ALPHA_20240103"):
        masks.append(tmp_path / f"{name}.tif")
        masks[-1].write_bytes((scene / "masks/ALPHA_20240101.tif").read_bytes())
    run = CliRunner().invoke(app, ["analyse", "fire", *map(str, masks), "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    events = json.loads((tmp_path / "out" / "fires" / "ALPHA" / "events.json").read_text())
    assert {event["last_detection"] for event in events["events"]} == {"2024-01-03"}
    assert {event["first_detection"] for event in events["events"]} == {"2024-01-01"}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Fires over nights" in page
    assert 'href="fires/ALPHA/"' in page


def test_a_changed_picture_is_another_input_and_a_changed_alert_the_same_request(scene, tmp_path):
    job = load_job(str(scene / "job.yaml"), ("model.arguments={threshold: 0.15}", "analysis.post=null"))
    wanted = job.analysis
    (item,) = list_inputs([str(scene)], job)
    # A model that reads the post-fire picture alone: dNBR is read by the analysis only.
    made = make_request(job, tmp_path / "products")
    request = replace(made, card=made.card.model_copy(update={"channels": ("B8",)}))
    before = identify(request, item)
    write(scene / "dnbr" / "ALPHA_20240101.tif", np.full((1, 60, 80), 0.7, np.float32), names=("dNBR",))
    after = identify(request, item)
    assert before.sha256 != after.sha256
    told = replace(request, job=job.model_copy(update={"analysis": replace_settings(wanted, alerts={"late_days": 2})}))
    assert told.key("x") == request.key("x")
    finer = replace(request, job=job.model_copy(update={"analysis": replace_settings(wanted, min_area_ha=3)}))
    assert finer.key("x") != request.key("x")


def test_the_same_mask_gives_the_same_bytes(scene):
    subject, wanted = subject_of(scene)
    written = []
    for name in ("one", "other"):
        (scene / name).mkdir()
        findings = analyse_fire(subject, wanted, scene / name)
        files = {path.name: path.read_bytes() for path in (scene / name).iterdir()}
        written.append((files, findings))
    assert written[0] == written[1]
    assert {"objects.gpkg", "objects.parquet", "severity.tif", "severity.tif.aux.xml"} == set(written[0][0])
