"""What masks made elsewhere are called, coloured and found by."""

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from scenes import write_raster, write_volume
from typer.testing import CliRunner

from flows.commands.app import app
from tasks.analysis.masks.names import absent_class, id_of_mask, ids_of_masks, masks_in, numbered_class
from tasks.analysis.masks.raster import open_raster_mask
from tasks.errors import JobError
from tasks.geometry.box import Box

LABELS = np.ones((1, 60, 60), np.uint8)


def analyse(*arguments):
    return CliRunner().invoke(app, ["analyse", *map(str, arguments)])


def test_no_two_of_254_classes_share_a_colour_and_the_first_are_far_apart():
    colours = [numbered_class(number).colour for number in range(255)]
    assert len(set(colours)) == 255
    assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in colours)
    parts = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours[1:31]], float)
    apart = np.abs(parts[:, None] - parts).sum(axis=-1) + 1e9 * np.eye(30)
    assert apart.min() >= 24


@pytest.mark.parametrize("kind", ["raster", "volume"])
def test_folders_stand_for_the_masks_in_them(tmp_path, kind):
    ending = {"raster": ".tif", "volume": ".nii.gz"}[kind]
    loose, products = tmp_path / "loose", tmp_path / "products"
    for path in (loose / f"b{ending}", loose / f"a{ending}", loose / "notes.txt"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for name in ("anna", "berta", ".products"):
        (products / name).mkdir(parents=True)
        (products / name / f"mask{ending}").touch()
        (products / name / f"confidence{ending}").touch()
    assert masks_in([str(loose)], kind) == [str(loose / f"a{ending}"), str(loose / f"b{ending}")]
    found = masks_in([str(products), str(products / "anna"), "/vsis3/bucket/elsewhere.tif"], kind)
    assert [id_of_mask(path) for path in found] == ["anna", "berta", "anna", "elsewhere"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(JobError, match="holds no mask"):
        masks_in([str(tmp_path / "empty")], kind)


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["A/m.tif", "B/n.tif"], ["m", "n"]),
        (["A/m.tif", "B/m.tif", "C/n.tif"], ["A_m", "B_m", "n"]),
        (["p/1/m.nii.gz", "p/2/m.nii.gz", "q/1/m.nii.gz"], ["p_1_m", "p_2_m", "q_1_m"]),
        (["p/1/mask.tif", "q/1/mask.tif", "q/2/mask.tif"], ["p_1", "q_1", "q_2"]),
        (["A/m.tif", "A/m.tiff"], None),
        (["A/m.tif", "A/../A/m.tif"], None),
        (["A/m.tif", "B/m.tif", "C/A_m.tif"], ["x_A_m", "x_B_m", "C_A_m"]),
    ],
)
def test_masks_of_one_name_are_told_apart_by_their_folders(monkeypatch, tmp_path, paths, ids):
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    if ids is None:
        with pytest.raises(JobError, match="masks of one name"):
            ids_of_masks(paths)
    else:
        assert ids_of_masks(paths) == ids


def test_masks_whose_folders_differ_in_nothing_that_an_id_can_hold_are_told_apart_by_a_hash():
    ids = ids_of_masks(["/a b/m.tif", "/a_b/m.tif", "/c/n.tif"])
    assert [name.rpartition("-")[0] for name in ids] == ["a_b_m", "a_b_m", ""]
    assert len(set(ids)) == 3
    assert ids == ids_of_masks(["/a b/m.tif", "/a_b/m.tif", "/c/n.tif"]), "the same in every run"


@given(st.lists(st.lists(st.sampled_from(["a", "b", "a_b"]), min_size=1, max_size=4), max_size=8))
def test_ids_of_masks_are_each_given_once_or_not_at_all(folders):
    paths = ["/".join(["", *parts, "m.tif"]) for parts in folders]
    try:
        ids = ids_of_masks(paths)
    except JobError:
        assert len(set(paths)) < len(paths), "one path twice"
    else:
        assert len(set(ids)) == len(ids) == len(paths)


def test_commands_tell_masks_of_one_name_apart(tmp_path):
    for name in ("east", "west"):
        write_raster(tmp_path / name / "map.tif", LABELS)
        write_volume(tmp_path / name / "scan.nii.gz", np.ones((9, 9, 9), np.uint8))
    for command, file, *more in (("fire", "map.tif"), ("crop", "map.tif"), ("tumour", "scan.nii.gz", "--follow-up")):
        masks = [tmp_path / name / file for name in ("east", "west")]
        ended = analyse(command, *masks, *more, "--out", tmp_path / command)
        assert ended.exit_code == 0, ended.output
        found = sorted(path.name for path in (tmp_path / command).iterdir() if path.is_symlink())
        assert found == [f"{name}_{file.split('.')[0]}" for name in ("east", "west")]


@pytest.mark.parametrize("command", ["fire", "crop", "tumour", "sample"])
def test_a_path_that_leads_nowhere_ends_the_command(tmp_path, command):
    ended = analyse(command, tmp_path / "nowhere.tif", "--out", tmp_path / "out")
    assert isinstance(ended.exception, JobError)
    assert "no such file or folder" in str(ended.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--fields", "--samples", "--image"])
def test_a_file_beside_the_mask_that_is_not_there_ends_the_command(tmp_path, option):
    raster = option != "--image"
    mask = (
        write_raster(tmp_path / "map.tif", LABELS) if raster else write_volume(tmp_path / "v.nii", np.ones((9, 9, 9)))
    )
    away = tmp_path / "away"
    ended = analyse("crop" if raster else "tumour", mask, option, away, "--out", tmp_path / "out")
    assert isinstance(ended.exception, JobError)
    assert f"{away}: no such file" in str(ended.exception)
    assert not (tmp_path / "out").exists()


def test_commands_take_folders_and_name_masks_by_theirs(tmp_path):
    for name in ("east", "west"):
        write_raster(tmp_path / "rasters" / name / "mask.tif", LABELS)
        write_volume(tmp_path / "volumes" / name / "mask.nii.gz", np.ones((9, 9, 9), np.uint8))
    for command, folder in (("fire", "rasters"), ("crop", "rasters"), ("tumour", "volumes")):
        ended = analyse(command, tmp_path / folder, "--out", tmp_path / command)
        assert ended.exit_code == 0, ended.output
        assert sorted(path.name for path in (tmp_path / command).iterdir() if path.is_symlink()) == ["east", "west"]


def test_fires_without_pictures_have_a_map(tmp_path):
    mask = write_raster(tmp_path / "creek.tif", LABELS)
    assert analyse("fire", mask, "--out", tmp_path / "out").exit_code == 0
    page = (tmp_path / "out" / "creek" / "report.html").read_text()
    assert "no picture was given" in page
    assert "data:image/" in page


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--fields-id", "x"], "--fields-id: of --fields"),
        (["--declared", "x", "--fields-crs", "mask"], "--fields-crs, --declared: of --fields"),
        (["--samples-crs", "mask"], "--samples-crs: of --samples"),
        (["--design", "simple"], "--design: of --samples"),
    ],
)
def test_an_option_that_says_nothing_alone_is_refused_by_name(tmp_path, options, named):
    mask = write_raster(tmp_path / "map.tif", LABELS)
    ended = analyse("crop", mask, "--out", tmp_path / "out", *options)
    assert isinstance(ended.exception, JobError)
    assert named in str(ended.exception)
    assert not (tmp_path / "out").exists()


def test_a_planned_sample_says_where_it_was_written(tmp_path):
    mask = write_raster(tmp_path / "map.tif", np.arange(3600, dtype=np.uint8).reshape(1, 60, 60) % 2)
    ended = analyse("sample", mask, "--out", tmp_path / "plan")
    assert ended.exit_code == 0, ended.output
    for name in ("map-samples.gpkg", "map-samples.json"):
        assert str(tmp_path / "plan" / name) in ended.output
        assert (tmp_path / "plan" / name).is_file()


@pytest.mark.parametrize("kind", ["raster", "volume"])
def test_masks_that_do_not_meet_after_resampling_fail_by_name(tmp_path, kind):
    if kind == "raster":
        paths = [write_raster(tmp_path / f"{name}.tif", LABELS) for name in ("a", "b")]
        with rasterio.open(paths[0], "r+") as dataset:
            dataset.transform = rasterio.Affine(20, 0, 900000, 0, -20, 5000000)
    else:
        far = np.diag([1.0, 1.0, 1.0, 1.0])
        far[:3, 3] = 500.0
        cube = np.ones((5, 5, 5), np.uint8)
        paths = [write_volume(tmp_path / "a.nii.gz", cube, far), write_volume(tmp_path / "b.nii.gz", cube, np.eye(4))]
    ended = CliRunner().invoke(app, ["evaluate", *map(str, paths), "--resample", "nearest"])
    assert ended.exit_code == 1, ended.output
    assert "GridError: a: no pixel is observed in both masks" in " ".join(ended.output.split())


def test_a_stored_scale_and_an_alpha_belong_to_a_mask(tmp_path):
    classes = np.zeros((2, 8, 8), np.uint8)
    classes[0, :4] = 1
    classes[1, 2:] = 255
    path = write_raster(tmp_path / "m.tif", np.stack([10 * classes[0] + 5, classes[1]]))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [rasterio.enums.ColorInterp.gray, rasterio.enums.ColorInterp.alpha]
        dataset.scales, dataset.offsets = (0.1, 1.0), (-0.5, 0.0)
    mask = open_raster_mask(path)
    labels = mask.read(Box((0, 0), (8, 8)))
    assert labels[2:4].tolist() == [[1] * 8] * 2
    assert labels[4:].tolist() == [[0] * 8] * 4
    assert (labels[:2] == np.iinfo(labels.dtype).max).all()


def test_a_class_that_is_the_masks_nodata_is_told_of():
    assert absent_class(["a", "b"], 1, [0], nodata=1.0)[0].startswith("class 1 (b), which was asked about, is what the")
    assert absent_class(["a", "b"], 1, [0, 1], nodata=1.0) == absent_class(["a", "b"], 1, [0], nodata=255.0) == ()
