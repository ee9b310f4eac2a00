"""``swathe evaluate``: masks on one grid or another, folders and products, refusals that write nothing."""

import csv
import json
import math
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import rasterio
from masks import blobs, cut_slabs
from pyproj import Geod, Transformer
from rasterio.transform import Affine
from scenes import oblique_affine, write_raster, write_volume
from typer.testing import CliRunner

from flows.commands.app import app
from models.card import ClassEntry
from models.errors import SwatheError
from tasks.answers.metrics.overlap import Confusion, count_confusion
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid
from tasks.pairs.raster import spacings_of
from tasks.pairs.reading import PairFiles, Reading, list_pairs, opened_pair
from tasks.products.attributes import write_attributes
from tasks.products.nifti import write_nifti
from tasks.scenes.raster.header import read_header
from tasks.scenes.volume.scene import describe_volume

NEAREST = Reading(resample=True)


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def refuse(*arguments: object) -> str:
    """Run a command that is wrong as a whole; ``main`` turns its error into exit code 2."""
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert isinstance(result.exception, SwatheError), result.output
    return f"{type(result.exception).__name__}: {result.exception}"


def save(
    path: Path, mask: np.ndarray, transform: Affine | None = None, crs: str | None = "EPSG:32632", nodata=None
) -> Path:
    write_raster(path, mask[None], crs, nodata)
    if transform is not None:
        with rasterio.open(path, "r+") as dataset:
            dataset.transform = transform
    return path


def windows(predicted: Path, reference: Path, reading: Reading = NEAREST):
    with opened_pair(PairFiles(id="pair", predicted=predicted, reference=reference), reading) as pair:
        return pair, pair.read(Box.of_shape(pair.shape))


def counts(predicted: Path, reference: Path, reading: Reading) -> Confusion:
    with opened_pair(PairFiles(id="pair", predicted=predicted, reference=reference), reading) as pair:
        return count_confusion(pair)


@pytest.fixture
def rasters(tmp_path) -> tuple[Path, Path]:
    reference = blobs((60, 50), 1)
    return save(tmp_path / "ours.tif", np.roll(reference, 1, 0)), save(tmp_path / "theirs.tif", reference)


def test_one_pair_is_shown_and_written(rasters, tmp_path):
    shown = run(*rasters, "--json", tmp_path / "all.json", "--csv", tmp_path / "all.csv")
    assert "hd95_m[surface-distance]" in shown
    (one,) = json.loads((tmp_path / "all.json").read_text())["pairs"]
    scores = one["classes"][1]["scores"]
    rows = {
        row["metric"]: row
        for row in csv.DictReader((tmp_path / "all.csv").read_text().splitlines())
        if row["label"] == "1"
    }
    assert {key: float(row["value"]) for key, row in rows.items()} == {key: s["value"] for key, s in scores.items()}
    assert scores["hd95_m[monai]"]["value"] == pytest.approx(20 * scores["hd95_px[monai]"]["value"], rel=2e-3)
    assert f"{scores['dice']['value']:.4g}" in shown


def test_a_mask_with_itself_is_perfect(rasters, tmp_path):
    run(rasters[0], rasters[0], "--json", tmp_path / "all.json")
    scores = json.loads((tmp_path / "all.json").read_text())["pairs"][0]["means"]
    assert all(score["mean"] == (0.0 if "_px[" in key or "_m[" in key else 1.0) for key, score in scores.items())


@pytest.mark.parametrize("nodata", [255, 7])
def test_what_either_file_leaves_open_is_not_compared(tmp_path, nodata):
    ours, theirs = np.zeros((9, 9), np.uint8), np.ones((9, 9), np.uint8)
    ours[:2], theirs[:, :3] = nodata, 99
    paths = save(tmp_path / "a.tif", ours, nodata=nodata), save(tmp_path / "b.tif", theirs)
    confusion = counts(*paths, Reading(not_observed=(99,)))
    assert confusion.classes == (0, 1)
    assert (confusion.n_observed, confusion.n_not_observed) == (42, 39)


def test_values_are_mapped_to_classes(rasters, tmp_path):
    with rasterio.open(rasters[1]) as dataset:
        reference = dataset.read(1)
    other = save(tmp_path / "coded.tif", np.where(reference == 1, 255, 30).astype(np.int16))
    run(rasters[0], rasters[1], "--json", tmp_path / "plain.json")
    run(rasters[0], other, "--map-reference", "255=1", "--map-reference", "30=0", "--json", tmp_path / "coded.json")
    plain, coded = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "coded"))
    assert plain["pairs"] == coded["pairs"]
    assert coded["chosen"]["reference_classes"] == {"255": 1, "30": 0}


def test_class_names_come_from_the_attribute_table(rasters):
    write_attributes(
        rasters[0], (ClassEntry(name="soil", colour="#000000"), ClassEntry(name="sugar beet", colour="#00ff00")), None
    )
    assert "sugar beet" in run(*rasters)


# Grids


def test_another_grid_is_refused_with_both_grids_and_the_way_out(rasters, tmp_path):
    coarse = save(tmp_path / "coarse.tif", blobs((30, 25), 2), Affine(40, 0, 500000, 0, -40, 5000000))
    shown = run(coarse, rasters[1], "--json", tmp_path / "all.json", "--csv", tmp_path / "all.csv", code=1)
    for part in ("GridError", "30 x 25 pixels of 40 x 40", "60 x 50 pixels of 20 x 20", "--resample nearest"):
        assert part in shown
    assert not list(tmp_path.glob("all.*"))


def test_a_coarser_prediction_is_taken_at_the_centres_of_the_references_pixels(tmp_path):
    coarse, fine = blobs((30, 25), 2), blobs((60, 50), 3)
    paths = save(tmp_path / "a.tif", coarse, Affine(40, 0, 500000, 0, -40, 5000000)), save(tmp_path / "b.tif", fine)
    pair, window = windows(*paths)
    np.testing.assert_array_equal(window.predicted, coarse.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(window.reference, fine)
    assert window.observed.all()
    assert "resampled (nearest)" in pair.notes[0]


def test_a_prediction_that_covers_a_part_leaves_the_rest_open(tmp_path):
    paths = save(tmp_path / "a.tif", np.ones((5, 10), np.uint8)), save(tmp_path / "b.tif", np.ones((10, 10), np.uint8))
    _, window = windows(*paths)
    np.testing.assert_array_equal(window.observed, np.arange(10)[:, None].repeat(10, 1) < 5)


def test_a_prediction_in_another_crs_is_found_where_the_pixels_lie(tmp_path):
    reference = save(tmp_path / "b.tif", blobs((40, 40), 4))
    degrees = Affine(2e-4, 0, 9.0 - 2e-3, 0, -2e-4, 45.155)
    predicted = np.arange(120 * 120, dtype=np.uint16).reshape(120, 120)
    _, window = windows(save(tmp_path / "a.tif", predicted, degrees, "EPSG:4326"), reference)
    rows, cols = np.mgrid[:40, :40] + 0.5
    lon, lat = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(
        500000 + 20 * cols, 5000000 - 20 * rows
    )
    place = np.floor((45.155 - lat) / 2e-4).astype(int), np.floor((lon - 9.0 + 2e-3) / 2e-4).astype(int)
    inside = (place[0] >= 0) & (place[0] < 120) & (place[1] >= 0) & (place[1] < 120)
    assert inside.any()
    np.testing.assert_array_equal(window.observed, inside)
    np.testing.assert_array_equal(window.predicted[inside], predicted[place[0][inside], place[1][inside]])


def test_only_one_crs_is_no_obstacle_to_pixels_that_coincide_and_is_to_others(tmp_path):
    mask = blobs((10, 10), 5)
    placed, bare = save(tmp_path / "a.tif", mask), save(tmp_path / "b.tif", mask, crs=None)
    pair, _ = windows(placed, bare, Reading())
    assert "one mask alone has a CRS" in pair.notes[0]
    elsewhere = save(tmp_path / "c.tif", mask, Affine(40, 0, 0, 0, -40, 0), None)
    assert "nothing says how they lie" in run(placed, elsewhere, "--resample", "nearest", code=1)


@pytest.mark.parametrize("kind", ["raster", "volume"])
def test_no_read_depends_on_its_window(tmp_path, kind):
    if kind == "raster":
        paths = (
            save(tmp_path / "a.tif", blobs((31, 27), 6), Affine(33, 5, 499990, 4, -31, 5000010)),
            save(tmp_path / "b.tif", blobs((40, 40), 7)),
        )
    else:
        tilted = oblique_affine() @ np.diag([1.3, 0.8, 1.1, 1])
        paths = (
            write_volume(tmp_path / "a.nii.gz", blobs((12, 11, 9), 6), tilted),
            write_volume(tmp_path / "b.nii.gz", blobs((14, 13, 8), 7)),
        )
    with opened_pair(PairFiles(id="pair", predicted=paths[0], reference=paths[1]), NEAREST) as pair:
        whole = pair.read(Box.of_shape(pair.shape))
        assert whole.observed.any()
        for start in range(0, pair.shape[0], 3):
            box = Box((start, 2, *([1] * (len(pair.shape) - 2))), (min(start + 3, pair.shape[0]), *pair.shape[1:]))
            part = pair.read(box)
            for name in ("predicted", "reference", "observed"):
                np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[box.slices])


def test_metres_of_a_pixel_are_geodesic_in_any_crs():
    for crs, affine in (("EPSG:4326", (1e-3, 0, 10, 0, -1e-3, 60)), ("EPSG:3857", (100, 0, 1.1e6, 0, -100, 8.4e6))):
        grid = RasterGrid(
            rows=200, cols=300, affine=tuple(map(float, affine)), crs_wkt=rasterio.crs.CRS.from_string(crs).to_wkt()
        )
        rows, cols = spacings_of(grid)["m"]
        x, y = grid.pixel_to_world(np.array([100.0, 101.0, 100.0]), np.array([150.0, 150.0, 151.0]))
        lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
        geod = Geod(ellps="WGS84")
        assert rows == pytest.approx(geod.inv(lon[0], lat[0], lon[1], lat[1])[2], rel=1e-3)
        assert cols == pytest.approx(geod.inv(lon[0], lat[0], lon[2], lat[2])[2], rel=1e-3)
    assert spacings_of(RasterGrid(rows=5, cols=5)) == {"px": (1.0, 1.0)}


# Volumes


def test_volumes_that_differ_in_the_order_of_axes_alone_are_compared_voxel_by_voxel(tmp_path):
    mask, affine = blobs((11, 12, 13), 8), oblique_affine()
    turned = nib.as_closest_canonical(nib.Nifti1Image(mask.transpose(2, 0, 1)[::-1], _turned(affine, mask.shape)))
    ours = write_volume(tmp_path / "a.nii.gz", np.asarray(turned.dataobj), turned.affine)
    pair, window = windows(ours, write_volume(tmp_path / "b.nii", mask, affine), Reading())
    np.testing.assert_array_equal(window.predicted, window.reference)
    assert window.reference.sum() == mask.sum()
    assert pair.spacings["mm"] == pytest.approx((3.0, 0.9, 0.9))


def _turned(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Affine of ``array.transpose(2, 0, 1)[::-1]``."""
    matrix = np.zeros((4, 4))
    matrix[0, 1] = matrix[1, 2] = matrix[3, 3] = 1
    matrix[2, 0], matrix[2, 3] = -1, shape[2] - 1
    return affine @ matrix


def test_volumes_on_different_grids_need_a_word(tmp_path):
    mask = blobs((10, 10, 10), 9)
    ours = write_volume(tmp_path / "a.nii.gz", mask[::2], oblique_affine() @ np.diag([2, 1, 1, 1]))
    theirs = write_volume(tmp_path / "b.nii.gz", mask)
    shown = run(ours, theirs, "--json", tmp_path / "all.json", code=1)
    assert "GridError" in shown
    assert "10 x 10 x 5 voxels" in shown
    assert "--resample nearest" in shown
    assert not (tmp_path / "all.json").exists()


def test_a_coarser_volume_is_taken_at_the_centres_of_the_references_voxels(tmp_path):
    mask, theirs = blobs((5, 10, 10), 9), write_volume(tmp_path / "b.nii.gz", blobs((10, 10, 10), 8))
    # A quarter of a voxel aside, so that no centre lies half way between two.
    coarse = oblique_affine() @ np.array([[2, 0, 0, 0.25], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    _, found = windows(write_volume(tmp_path / "a.nii.gz", mask, coarse), theirs)
    _, expected = windows(write_volume(tmp_path / "c.nii.gz", mask.repeat(2, 0)), theirs, Reading())
    assert found.observed.all()
    np.testing.assert_array_equal(found.predicted, expected.predicted)
    np.testing.assert_array_equal(found.reference, expected.reference)


def test_a_volume_product_says_255_where_nothing_was_observed_and_any_other_mask_means_a_class(tmp_path):
    ours, theirs = np.zeros((5, 5, 5), np.uint8), np.zeros((5, 5, 5), np.uint8)
    ours[0], ours[1], theirs[1] = 255, 1, 255
    elsewhere, reference = write_volume(tmp_path / "a.nii.gz", ours), write_volume(tmp_path / "b.nii.gz", theirs)
    product = tmp_path / "mask.nii.gz"
    write_nifti(ours, "uint8", describe_volume("a", elsewhere, "ijk", None, tmp_path), product)
    confusion = counts(product, reference, Reading(reference_classes={255: 1}))
    assert confusion.n_not_observed == 25
    of_others = counts(elsewhere, reference, Reading(reference_classes={255: 1}))
    assert of_others.n_not_observed == 0
    assert of_others.of_class(255) == (25, 0, 0)
    assert confusion.of_class(1) == (25, 25, 25)


def test_the_surface_of_a_volume_is_in_its_millimetres(tmp_path):
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[5:15, 5:15, 5:15] = 1
    ours, theirs = (
        write_volume(tmp_path / f"{name}.nii.gz", m) for name, m in (("a", np.roll(mask, 2, 2)), ("b", mask))
    )
    run(ours, theirs, "--json", tmp_path / "all.json")
    scores = json.loads((tmp_path / "all.json").read_text())["pairs"][0]["classes"][1]["scores"]
    assert scores["hd95_mm[monai]"]["value"] == pytest.approx(6.0, rel=1e-6)
    assert scores["lesion_dice[brats-2023 gli]"]["value"] == pytest.approx(0.8)
    assert "object_f1[iou>=0.5, 26-connected]" in scores


# Folders


def test_folders_are_matched_by_name_and_a_bad_pair_costs_itself(tmp_path):
    for seed, name in enumerate(("a", "b", "c")):
        save(tmp_path / "ours" / f"{name}.tif", blobs((20, 20), seed))
        save(tmp_path / "theirs" / f"{name}.tif", blobs((20, 20), seed + 10))
    save(tmp_path / "ours" / "c.tif", blobs((10, 10), 1))
    save(tmp_path / "theirs" / "d.tif", blobs((20, 20), 1))
    shown = run(tmp_path / "ours", tmp_path / "theirs", "--json", tmp_path / "all.json", code=1)
    assert "c GridError" in shown
    assert "d SceneError: d: no prediction of that name" in shown
    assert shown.index("d SceneError") < shown.index("mean dice"), "above the tables"
    assert shown.strip().endswith("2 of 4 pairs failed; they are named on top")
    found = json.loads((tmp_path / "all.json").read_text())
    assert [one["id"] for one in found["pairs"]] == ["a", "b"]
    assert [one["id"] for one in found["failed"]] == ["c", "d"]
    dices = [one["classes"][1]["scores"]["dice"]["value"] for one in found["pairs"]]
    summary = found["summary"]["1"]["dice"]
    assert summary["mean"] == pytest.approx(np.mean(dices))
    assert summary["std"] == pytest.approx(np.std(dices, ddof=1))
    assert summary["median"] == pytest.approx(np.median(dices))
    assert found["pooled_pixels"]["1"]["dice"]["value"] == pytest.approx(_pooled_dice(found["pairs"]))


def _pooled_dice(pairs: list) -> float:
    entries = [one["classes"][1] for one in pairs]
    both = sum(one["confusion"]["reference_down_prediction_across"][1][1] for one in pairs)
    return 2 * both / sum(entry["n_predicted"] + entry["n_reference"] for entry in entries)


def test_products_are_found_by_their_scene(tmp_path):
    for name in ("CREEK", "PARK"):
        save(tmp_path / "out" / ".products" / name / "key" / "mask.tif", blobs((20, 20), 1))
        (tmp_path / "out" / name).symlink_to(Path(".products") / name / "key")
        save(tmp_path / "refs" / f"{name}_truth.tif", blobs((20, 20), 2))
    found = list_pairs(tmp_path / "out", tmp_path / "refs", reference_files="{scene}_truth.tif")
    assert [(pair.id, pair.predicted.name, pair.reference.name) for pair in found] == [
        ("CREEK", "mask.tif", "CREEK_truth.tif"), ("PARK", "mask.tif", "PARK_truth.tif"),
    ]  # fmt: skip
    one = list_pairs(tmp_path / "out" / "PARK", tmp_path / "refs", reference_files="{scene}_truth.tif")
    assert [pair.id for pair in one] == ["PARK"]
    refused = refuse(tmp_path / "out", tmp_path / "refs")
    assert "no prediction has a reference of its name" in refused
    assert "--reference-files" in refused


def test_one_prediction_finds_its_reference_in_a_folder(rasters, tmp_path):
    save(tmp_path / "refs" / "ours.tif", blobs((60, 50), 1))
    save(tmp_path / "refs" / "other.tif", blobs((60, 50), 1))
    assert [pair.id for pair in list_pairs(rasters[0], tmp_path / "refs")] == ["ours"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--tolerance", "two"], "JobError: --tolerance: 'two' is not a distance"),
        (["--map-reference", "a=b"], "JobError: 'a=b' is not VALUE=CLASS"),
        (["--background", "x"], "JobError: --background"),
        (["--lesions", "brain"], "JobError: --lesions"),
        (["--connectivity", "26"], "JobError: ours: is a raster"),
        (["--json", "nowhere/all.json"], "JobError: --json: the folder"),
    ],
)
def test_a_wrong_choice_is_named_before_any_work(rasters, arguments, text):
    assert text in refuse(*rasters, *arguments)


def test_paths_that_hold_no_mask_are_named(rasters, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no such file or folder" in refuse(tmp_path / "gone.tif", rasters[1])
    assert "no mask found" in refuse(rasters[0], tmp_path / "empty")
    assert "has no {scene} in it" in refuse(rasters[0], tmp_path, "--reference-files", "*.tif")


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (np.full((1, 60, 50), 0.3, np.float32), "found 0.3"),
        (np.full((1, 60, 50), -2, np.int16), "classes are 0 and more"),
        (np.zeros((3, 60, 50), np.uint8), "has 3 bands"),
    ],
)
def test_what_is_no_mask_is_refused(rasters, tmp_path, mask, text):
    shown = run(write_raster(tmp_path / "bad.tif", mask), rasters[1], "--csv", tmp_path / "all.csv", code=1)
    assert text in shown
    assert not (tmp_path / "all.csv").exists()


def test_a_volume_is_not_compared_with_a_raster(rasters, tmp_path):
    volume = write_volume(tmp_path / "v.nii.gz", blobs((5, 5, 5), 1))
    assert "one mask is a volume, the other is not" in run(volume, rasters[1], code=1)


# The page


def test_every_metric_is_described_on_the_page_and_no_other(rasters, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text()
    described = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    volume = write_volume(tmp_path / "v.nii.gz", blobs((6, 6, 6), 1))
    found = set()
    ids = save(tmp_path / "ids.tif", np.ones((60, 50), np.uint32))
    for paths in ((*rasters, "--predicted-ids", ids, "--reference-ids", ids), (volume, volume)):
        run(*paths, "--json", tmp_path / "all.json")
        found |= set(json.loads((tmp_path / "all.json").read_text())["pairs"][0]["means"])
    general = {
        r"(?<!lesion_hd95)_(px|m|mm)\[": "_UNIT[",
        r"(2 px|1 mm)\]": "TOLERANCE]",
        r"\d+-connected": "N-connected",
        " gli": " RULES",
    }
    for pattern, name in general.items():
        found = {re.sub(pattern, name, key) for key in found}
    assert described == found


# Real masks


def test_real_perimeters_compare_with_a_moved_copy(data, tmp_path, monkeypatch):
    official = data / "satellite-fire/calfire-s2/masks/CREEK_20240726.tif"
    header = read_header(str(official))
    with rasterio.open(official) as dataset:
        mask, profile = dataset.read(1), dataset.profile
    with rasterio.open(tmp_path / "CREEK_20240726.tif", "w", **profile) as dataset:
        dataset.write(np.roll(mask, 3, axis=1), 1)
    run(tmp_path, official.parent, "--json", tmp_path / "a.json", code=1)
    cut_slabs(monkeypatch, 2000)
    run(tmp_path / "CREEK_20240726.tif", official, "--json", tmp_path / "b.json")
    folder, single = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("a", "b"))
    assert folder["pairs"] == single["pairs"]
    assert len(folder["failed"]) == 12
    scores = single["pairs"][0]["classes"][1]["scores"]
    rows, cols = spacings_of(header.grid)["m"]
    assert scores["hd95_px[monai]"]["value"] <= 3.0
    assert scores["hd95_m[monai]"]["value"] <= 3.0 * math.hypot(rows, cols)
    assert scores["boundary_f1[2 px]"]["value"] < 1.0
    assert scores["dice"]["value"] == pytest.approx(2 * (mask & np.roll(mask, 3, 1)).sum() / (2 * mask.sum()))


def test_a_real_contour_compares_with_its_own_copy(data, tmp_path):
    contour = data / "medical-train/sts/STS_002/MR_T1_mask.nii.gz"
    run(contour, contour, "--json", tmp_path / "a.json")
    means = json.loads((tmp_path / "a.json").read_text())["pairs"][0]["means"]
    assert (
        means["dice"]["mean"]
        == means["nsd[surface-distance, 1 mm]"]["mean"]
        == means["pq[iou>0.5, 26-connected]"]["mean"]
        == 1.0
    )
    assert means["hd95_mm[surface-distance]"]["mean"] == 0.0


def test_a_result_that_could_not_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for option in ("--json", "--csv"):
        assert f"{option}: {tmp_path / 'folder.json'} is a folder" in refuse("a", "b", option, tmp_path / "folder.json")
        assert f"{option}: /proc cannot be written to" in refuse("a", "b", option, "/proc/x.json")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.json"]
