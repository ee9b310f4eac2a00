"""Tumour masks made elsewhere, through the command line."""

import csv
import json

import numpy as np
import pytest
from scenes import oblique_affine, write_volume
from typer.testing import CliRunner

from flows.commands.app import app
from tasks.analysis.masks.volume import VolumeFiles, open_volume_mask
from tasks.answers.tumour.components import find_components
from tasks.answers.tumour.measure import Sources, measure
from tasks.answers.tumour.values import Uncertainty, volume_interval
from tasks.errors import UnsupportedSceneError
from tasks.geometry.box import Box
from tasks.jobs.tumour import TumourAnalysis

SETTINGS = TumourAnalysis(kind="tumour")
SHAPE = (40, 44, 16)


def ball(radius: float, centre=(20, 20, 8), label: int = 1) -> np.ndarray:
    """A sphere in mm of the oblique grid, in file order."""
    offsets = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) - centre
    return (np.linalg.norm(offsets * (0.9, 0.9, 3.0), axis=-1) <= radius).astype(np.uint8) * np.uint8(label)


def run(*arguments) -> tuple[int, str]:
    ended = CliRunner().invoke(app, ["analyse", "tumour", *map(str, arguments)])
    return ended.exit_code, ended.output


def summary(out, scene):
    return json.loads((out / scene / "summary.json").read_text())


def test_a_job_that_asks_the_same_and_names_classes_otherwise_is_worked_on_again(tmp_path):
    mask, out, job = write_volume(tmp_path / "d0.nii.gz", ball(9)), tmp_path / "out", tmp_path / "job.yaml"
    job.write_text("job: scans\nkind: volume\nmodel: {name: sarcoma-t1-unet}\nanalysis: {kind: tumour}\n")
    done = [run(mask, "--out", out, *options) for options in ((), ("--job", job), ("--job", job))]
    assert [code for code, _ in done] == [0, 0, 0]
    assert ["skipped" in text for _, text in done] == [False, False, True]
    found = summary(out, "d0")
    assert "class 1" not in (out / "d0" / "report.html").read_text()
    assert found["settings"]["job"]["model"]["classes"]["1"].startswith("sarcoma #")


def test_dates_of_a_patient_are_followed(tmp_path):
    image = np.random.default_rng(0).normal(100, 5, SHAPE).astype(np.float32)
    masks = [write_volume(tmp_path / f"d{index}.nii.gz", ball(radius)) for index, radius in enumerate((14, 8, 11))]
    pictures = [write_volume(tmp_path / f"i{index}.nii.gz", image) for index in range(3)]
    out = tmp_path / "out"
    options = [word for picture in pictures for word in ("--image", picture)]
    code, text = run(*masks, *options, "--follow-up", "--out", out)
    assert code == 0, text
    assert "follow_up" not in summary(out, "d0")
    last = summary(out, "d2")
    assert last["headline"]["recist_proposed"] == "PD"
    recist = last["follow_up"]["proposed_response"]["recist"]
    assert (recist["nadir_date"], recist["is_proposed"]) == (1, True)
    assert last["follow_up"]["scenes"] == ["d0", "d1", "d2"]
    (lesion,) = last["lesions"]
    assert lesion["centroid_lps_mm"][:2] == [-value for value in lesion["centroid_ras_mm"][:2]]
    assert lesion["intensity"]["mean"] == pytest.approx(100, abs=1)
    assert lesion["mean_probability"] is None
    assert "no confidence" in lesion["null_because"]["mean_probability"]
    with (out / "d2" / "followup.csv").open() as file:
        assert [(row["since"], row["change"]) for row in csv.DictReader(file)] == [("d0", "shrunk"), ("d1", "grown")]
    page = (out / "d2" / "report.html").read_text()
    assert "not a diagnosis" in page
    assert "nothing is deformed" in page
    assert not list((out / ".swathe").glob("spool-*"))
    code, text = run(*masks, *options, "--follow-up", "--out", out)
    assert sum(line.startswith("skipped ") for line in text.splitlines()) == 3
    # A baseline that changed makes all later dates anew.
    write_volume(masks[0], ball(8))
    code, text = run(*masks, *options, "--follow-up", "--out", out)
    assert not any(line.startswith("skipped ") for line in text.splitlines())
    assert summary(out, "d1")["headline"]["recist_proposed"] == "SD"


def test_a_class_that_the_mask_does_not_hold_is_a_warning_wherever_one_looks(tmp_path, caplog):
    path = write_volume(tmp_path / "two.nii.gz", ball(8, label=2))
    code, _ = run(path, "--out", tmp_path / "out", "--set", "analysis.label=3")
    assert code == 0
    (warning,) = summary(tmp_path / "out", "two")["warnings"]
    assert warning == (
        "the mask does not hold class 3 (class 3), which was asked about, but 2 (class 2): check analysis.label"
    )
    assert warning in (tmp_path / "out" / "two" / "report.html").read_text()
    assert warning in caplog.text
    code, _ = run(path, "--out", tmp_path / "out", "--set", "analysis.label=2")
    assert summary(tmp_path / "out", "two")["warnings"] == []


def test_an_empty_mask_is_a_result(tmp_path):
    path = write_volume(tmp_path / "none.nii.gz", ball(0.1, (-9, -9, -9)))
    code, text = run(path, "--out", tmp_path / "out")
    assert code == 0, text
    found = summary(tmp_path / "out", "none")
    assert (found["lesions"], found["headline"]["lesions"], found["warnings"]) == ([], 0, [])
    assert "largest_ml" not in found["headline"]
    assert (found["recist_targets"]["sum_mm"], found["rano_targets"]["sum_mm2"]) == (None, None)
    assert "no lesion is measurable" in found["recist_targets"]["sum_is_null_because"]
    assert "holds no lesion" in (tmp_path / "out" / "none" / "report.html").read_text()


def test_what_is_wrong_is_named_and_nothing_is_written(tmp_path):
    good = write_volume(tmp_path / "good.nii.gz", ball(8))
    cases = {
        "shape": (good, write_volume(tmp_path / "i.nii.gz", np.zeros((40, 44, 15), np.float32)), "voxels"),
        "place": (good, write_volume(tmp_path / "j.nii.gz", np.zeros(SHAPE, np.float32), np.eye(4)), "voxels apart"),
        "scores": (write_volume(tmp_path / "s.nii.gz", ball(8) * 0.5), None, "whole class numbers"),
    }
    for name, (mask, image, words) in cases.items():
        out = tmp_path / name
        code, _ = run(mask, *(["--image", image] if image else []), "--out", out)
        assert code == 1, name
        assert words in json.loads((out / "batch.json").read_text())["scenes"][0]["error"]
        assert not list(out.glob("*/summary.json"))
        assert not list((out / ".swathe").glob("*-*"))


def test_commands_that_cannot_be_meant_are_refused(tmp_path):
    mask = write_volume(tmp_path / "a" / "m.nii.gz", ball(8))
    twin = write_volume(tmp_path / "b" / "m.nii.gz", ball(8))
    for arguments, words in (
        ((mask, mask), "masks of one name"),
        ((mask, "--image", mask, "--image", twin), "2 images for 1 masks"),
        ((mask, "--job", "fire"), "not tumours"),
        ((mask, "--set", "analysis.label=0"), "label"),
    ):
        ended = CliRunner().invoke(app, ["analyse", "tumour", *map(str, arguments), "--out", str(tmp_path / "out")])
        assert ended.exit_code != 0
        assert words in str(ended.exception)


def test_classes_are_kept_apart_and_what_is_not_finite_is_not_observed(tmp_path):
    stored = (ball(8) + ball(3, (20, 38, 8), 7)).astype(np.float32)
    stored[0, 0, 0] = np.nan
    path = write_volume(tmp_path / "m.nii.gz", stored)
    found = open_volume_mask(VolumeFiles(path), "m", None, 9, tmp_path / "spool")
    assert found.names == ["background", *(f"class {number}" for number in range(1, 10))]
    assert not found.has_image
    labels = found.read(Box.of_shape(found.scene.frame.native_shape))
    assert {*np.unique(labels)} == {0, 1, 7, 255}
    assert labels.dtype == np.uint8
    assert (labels == 7).sum() == (stored == 7).sum()
    moved = write_volume(tmp_path / "i.nii", np.zeros(SHAPE, np.float32), oblique_affine() + np.eye(4, k=3))
    with pytest.raises(UnsupportedSceneError, match="voxels apart"):
        open_volume_mask(VolumeFiles(path, moved), "m", None, 1, tmp_path / "spool")


def test_the_confidence_beside_a_mask_gives_an_interval(tmp_path):
    folder = tmp_path / "study"
    write_volume(folder / "mask.nii.gz", ball(8))
    percent = np.where(ball(6) == 1, 90, np.where(ball(10) == 1, 60, 95)).astype(np.uint8)
    write_volume(folder / "confidence.nii.gz", percent)
    code, text = run(folder / "mask.nii.gz", "--out", tmp_path / "out")
    assert code == 0, text
    (lesion,) = summary(tmp_path / "out", "study")["lesions"]
    voxel_ml = lesion["volume_ml"] / lesion["voxels"]
    assert lesion["volume_interval_ml"]["low_ml"] == pytest.approx(ball(6).sum() * voxel_ml, rel=1e-6)
    assert lesion["volume_interval_ml"]["high_ml"] == pytest.approx(ball(10).sum() * voxel_ml, rel=1e-6)
    inside = (90 * ball(6).sum() + 60 * (ball(8).sum() - ball(6).sum())) / ball(8).sum() / 100
    assert lesion["mean_probability"] == pytest.approx(inside, rel=1e-6)


def test_uncertain_voxels_are_reached_through_uncertain_ones_and_not_far():
    mask = np.zeros((3, 7, 20), np.uint8)
    mask[1, 3, 3:6] = 1
    mask[1, 3, 15] = 1
    percent = np.full(mask.shape, 99, np.uint8)
    percent[1, 3, 5:14] = 50
    percent[1, 1, :] = 50
    components = find_components(mask, np.eye(4), 1)

    def interval(reach_mm):
        return volume_interval(
            components, components.lesions[0], mask.shape, lambda box: percent[box.slices], Uncertainty(75, reach_mm)
        )

    assert [round(interval(reach).low_ml * 1000) for reach in (0, 3, 50)] == [2, 2, 2]
    assert [round(interval(reach).high_ml * 1000) for reach in (0, 3, 50)] == [3, 6, 11]
    (first, _) = measure(components, Sources(mask.shape, 0, None, lambda box: percent[box.slices]), SETTINGS)
    assert first.interval == interval(5.0)
    assert first.mean_probability == pytest.approx((99 + 99 + 50) / 300)


def test_voxels_without_a_confidence_are_uncertain_inside_a_lesion_and_beside_it():
    mask = np.zeros((1, 1, 12), np.uint8)
    mask[0, 0, 2:6] = 1
    percent = np.full(mask.shape, 99, np.uint8)
    percent[0, 0, 5:9] = 255
    components = find_components(mask, np.eye(4), 1)
    found = volume_interval(
        components, components.lesions[0], mask.shape, lambda box: percent[box.slices], Uncertainty(75, 2.0)
    )
    assert (found.low_ml * 1000, found.high_ml * 1000) == (pytest.approx(3), pytest.approx(6))
