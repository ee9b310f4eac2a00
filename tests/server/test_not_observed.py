"""What stands for not observed: in products what they say of themselves, in other masks what they declare."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scenes import oblique_affine, write_raster, write_volume
from typer.testing import CliRunner

from flows.commands.app import app
from tasks.errors import GridError, SceneError, UnsupportedSceneError
from tasks.jobs.training import TrainingSource
from tasks.scenes.class_numbers import class_numbers
from tasks.scenes.volume.scene import describe_volume
from tasks.training.labelled import read_labelled
from tasks.training.labels import UNLABELLED, read_labels

SHAPE = (30, 28, 16)


def ball(radius, centre=(15, 14, 8)):
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    return np.linalg.norm((index - np.array(centre)) * (1, 1, 2), axis=-1) <= radius


def run(*arguments):
    ended = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert not ended.exception or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code


@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (255, np.uint16), (65_535, np.uint16)])
def test_masks_of_zero_and_the_highest_number_are_masks(tmp_path, value, dtype):
    ours, theirs = ball(9), ball(9, (16, 14, 8))
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    predicted = write_volume(tmp_path / "p.nii.gz", (ours * value).astype(dtype), affine)
    reference = write_volume(tmp_path / "r.nii.gz", (theirs * value).astype(dtype), affine)
    assert run("evaluate", predicted, reference, "--json", tmp_path / "scores.json") == 0
    (found,) = json.loads((tmp_path / "scores.json").read_text())["pairs"]
    scores = next(row["scores"] for row in found["classes"] if row["label"] == value)
    assert scores["dice"]["value"] == pytest.approx(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
    assert run("analyse", "tumour", predicted, "--set", f"analysis.label={value}", "--out", tmp_path / "out") == 0
    summary = json.loads((tmp_path / "out" / "p" / "summary.json").read_text())
    (lesion,) = summary["lesions"]
    assert lesion["voxels"] == ours.sum()
    assert not lesion["touches_border"]
    # Asked about class 1, which it does not hold: said, and no silent nothing.
    assert run("analyse", "tumour", predicted, "--out", tmp_path / "one") == 0
    (warning,) = json.loads((tmp_path / "one" / "p" / "summary.json").read_text())["warnings"]
    assert f"but {value} (class {value})" in warning


def test_a_raster_mask_of_255_burns_and_only_what_is_declared_is_not_observed(tmp_path):
    labels = np.zeros((1, 60, 60), np.uint8)
    labels[0, 10:30, 10:40] = 255
    labels[0, 40:50] = 7
    plain = write_raster(tmp_path / "plain.tif", labels)
    declared = write_raster(tmp_path / "declared.tif", labels, nodata=7)
    out = tmp_path / "out"
    assert run("analyse", "fire", plain, declared, "--set", "analysis.label=255", "--out", out) == 0
    by_name = {name: json.loads((out / name / "summary.json").read_text()) for name in ("plain", "declared")}
    for summary in by_name.values():
        assert summary["headline"]["class_255_ha"] == pytest.approx(600 * 0.04, rel=1e-2)
        assert summary["headline"]["fires"] == 1
    assert by_name["plain"]["headline"]["observed_percent"] == 100
    assert by_name["declared"]["headline"]["observed_percent"] == pytest.approx(100 * 50 / 60, abs=1e-3)
    # The numbers between are no classes that anybody asked about.
    assert set(by_name["plain"]["classes"]) == {"class 0", "class 1", "class 7", "class 255", "not observed"}
    assert run("analyse", "fire", plain, "--out", tmp_path / "one") == 0
    (warning, *_) = json.loads((tmp_path / "one" / "plain" / "summary.json").read_text())["warnings"]
    assert "does not hold class 1" in warning
    assert "255 (class 255)" in warning
    scores = tmp_path / "s.json"
    assert run("evaluate", plain, declared, "--json", scores) == 0
    (found,) = json.loads(scores.read_text())["pairs"]
    assert {row["label"] for row in found["classes"]} == {0, 255}


SOURCE = TrainingSource(folder="f", labels="l")


def test_labels_of_a_training_job_follow_the_same_rule(tmp_path):
    from tasks.jobs.source import Source
    from tasks.scenes.raster.scene import describe_raster

    image = np.random.default_rng(0).integers(0, 99, (1, 20, 20)).astype(np.uint8)
    scene = describe_raster("s", {"file": str(write_raster(tmp_path / "i.tif", image))}, Source(), ("1",))
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, :5], labels[0, 5:8] = 1, 255
    with pytest.raises(SceneError, match="hold 0, 1, 255; classes are 0 to 1"):
        read_labelled(scene, write_raster(tmp_path / "u.tif", labels), 2, SOURCE)
    found = read_labelled(scene, write_raster(tmp_path / "d.tif", labels, nodata=255), 2, SOURCE).held
    np.testing.assert_array_equal(found.labels == UNLABELLED, labels[0] == 255)
    assert found.labels.max() == 1


def test_labels_of_a_volume_lie_on_its_grid_and_on_its_axes(tmp_path):
    affine = oblique_affine()
    image = write_volume(tmp_path / "i.nii.gz", np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), affine)
    scene = describe_volume("s", image, "SAR", (6.0, 1.8, 1.8), tmp_path)
    labels = ball(9).astype(np.float32)
    labels[0, 0, 0] = np.nan
    path = write_volume(tmp_path / "l.nii.gz", labels, affine)
    found = read_labelled(scene, path, 2, SOURCE)
    ((_, native),) = found.native_windows()
    np.testing.assert_array_equal(native == 1, scene.turn.turn(ball(9)))
    assert (native == UNLABELLED).sum() == 1
    assert found.held.labels.shape == scene.frame.model_shape
    moved = affine.copy()
    moved[:3, 3] += 2
    with pytest.raises(GridError, match="another grid"):
        read_labelled(scene, write_volume(tmp_path / "m.nii.gz", labels, moved), 2, SOURCE)
    np.testing.assert_array_equal(read_labels(path) == 1, ball(9))


@pytest.mark.parametrize("off", [0.0, 3e-5, -5e-7, 9e-4])
def test_numbers_that_rounding_left_beside_whole_ones_are_those(off):
    labels = np.arange(5, dtype=np.float64)
    found = class_numbers("m", labels + off * (labels > 0), np.ones(5, bool))
    assert found.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 0.00392157, 0.00392157], "found 0.00392157. "),
        ([0, 1, 2.5, 7.25], "found 2.5, 7.25. "),
        ([0, -3], "found -3. "),
        ([0, 70_000], "found 70000. "),
    ],
)
def test_what_is_no_class_is_refused_with_its_values(values, words):
    with pytest.raises(UnsupportedSceneError, match=words):
        class_numbers("m", np.array(values), np.ones(len(values), bool))
    hidden = class_numbers("m", np.array(values), np.array(values) == 0)
    assert hidden.tolist() == [0] * len(values)
