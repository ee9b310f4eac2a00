"""Panoptic quality: against the definition by brute force, and a case worked out by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masks import cut_slabs
from scenes import write_raster, write_volume
from typer.testing import CliRunner

from flows.commands.app import app
from tasks.answers.metrics.pair import MaskPair, Window
from tasks.answers.metrics.panoptic import PANOPTIC_KEYS, count_panoptic, panoptic_means
from tasks.errors import JobError, SceneError
from tasks.pairs.reading import list_pairs, with_ids

PQ, SQ, RQ = PANOPTIC_KEYS
OPEN = 255


def pair_of(ours, theirs) -> tuple[MaskPair, object]:
    (labels, ids), (other, other_ids) = (map(np.asarray, side) for side in (ours, theirs))

    def read(box):
        mine, seen = labels[box.slices], labels[box.slices] != OPEN
        its, also = other[box.slices], other[box.slices] != OPEN
        return Window(
            predicted=np.where(seen, mine, 0),
            reference=np.where(also, its, 0),
            observed=seen & also,
            predicted_seen=seen,
            reference_seen=also,
        )

    def read_ids(box):
        return ids[box.slices], other_ids[box.slices]

    return MaskPair(id="pair", shape=labels.shape, read=read, spacings={}, ids=read_ids), read_ids


def counted(ours, theirs, background=0):
    return count_panoptic(*pair_of(ours, theirs), background)


def defined(ours, theirs, background=0):
    """Kirillov et al. 2019, section 4.1, word for word, with sets of pixels."""

    def segments(labels, ids, things):
        found, crowds = {}, {}
        for place in np.ndindex(labels.shape):
            label, number = int(labels[place]), int(ids[place])
            if label not in (OPEN, background):
                where = crowds if label in things and not number else found
                where.setdefault((label, number), set()).add(place)
        return found, crowds

    things = {
        int(label) for labels, ids in (ours, theirs) for label in np.unique(labels[(ids > 0) & (labels != OPEN)])
    } - {background}
    mine, _ = segments(*ours, things)
    other, crowds = segments(*theirs, things)
    void = {tuple(place) for place in np.argwhere(theirs[0] == OPEN).tolist()}
    unanswered = {tuple(place) for place in np.argwhere(ours[0] == OPEN).tolist()}
    ious = {}
    for key, own in mine.items():
        for facing, its in other.items():
            if key[0] == facing[0]:
                a, b = own - void, its - unanswered
                if len(a & b) / max(1, len(a | b)) > 0.5:
                    ious[key, facing] = len(a & b) / len(a | b)
    result = {}
    for label in {key[0] for key in (*mine, *other)}:
        matched = [iou for (key, _), iou in ious.items() if key[0] == label]
        excuse = void | crowds.get((label, 0), set())
        invented = [
            key
            for key, own in mine.items()
            if key[0] == label and all(key != pair[0] for pair in ious) and len(own & excuse) / len(own) <= 0.5
        ]
        missed = [
            key
            for key, its in other.items()
            if key[0] == label and all(key != pair[1] for pair in ious) and len(its & unanswered) / len(its) <= 0.5
        ]
        result[label] = (label in things, len(matched), len(invented), len(missed), math.fsum(sorted(matched)))
    return result


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of three classes over a background; class 1 is mostly a thing."""
    rng = np.random.default_rng(seed)
    labels, ids = np.zeros((12, 14), np.uint8), np.zeros((12, 14), np.uint32)
    for number in range(1, 8):
        top, left = rng.integers(0, 10, 2)
        place = np.s_[top : top + rng.integers(2, 7), left : left + rng.integers(2, 7)]
        labels[place] = label = rng.choice([1, 1, 1, 2, 3, OPEN])
        ids[place] = number * 1000 if label == 1 and rng.random() < 0.8 else 0
    return labels, ids


def moved(side, seed: int):
    """The same with some pixels overwritten, as a prediction would have it."""
    labels, ids = (values.copy() for values in side)
    other, other_ids = drawn(seed)
    wrong = np.random.default_rng(seed).random(labels.shape) < 0.25
    labels[wrong], ids[wrong] = other[wrong], other_ids[wrong]
    return labels, ids


@settings(max_examples=150)
@given(seed=st.integers(0, 10_000), slab=st.sampled_from([14, 40, 1 << 20]), background=st.sampled_from([0, None]))
def test_counts_are_the_definitions(seed, slab, background):
    theirs = drawn(seed)
    ours = moved(theirs, seed + 1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        cut_slabs(monkeypatch, slab)
        found = counted(ours, theirs, background)
    assert {
        label: (one.is_thing, one.n_matched, one.n_invented, one.n_missed, one.sum_iou) for label, one in found.items()
    } == defined(ours, theirs, background)


def test_a_case_worked_out_by_hand():
    # Two things of class 1: one predicted with 6 of 8 pixels, one missed; one invented. Class 2 is stuff: 8 of 10.
    theirs = np.array([[1] * 8 + [1] * 4 + [2] * 10 + [0] * 4]), np.array([[5] * 8 + [6] * 4 + [0] * 14])
    ours = np.array([[1] * 6 + [0] * 6 + [2] * 8 + [0] * 2 + [1] * 4]), np.array([[9] * 6 + [0] * 16 + [7] * 4])
    found = counted(ours, theirs)
    assert {key: score.value for key, score in found[1].scores.items()} == {PQ: 0.75 / 2, SQ: 0.75, RQ: 0.5}
    assert {key: score.value for key, score in found[2].scores.items()} == {PQ: 0.8, SQ: 0.8, RQ: 1.0}
    assert panoptic_means(found.values())[PQ].value == pytest.approx((0.375 + 0.8) / 2)
    assert panoptic_means(found.values(), things=True)[PQ].value == 0.375
    assert panoptic_means(found.values(), things=False)[PQ].value == 0.8


def test_an_iou_of_exactly_a_half_is_no_match():
    theirs = np.array([[1, 1, 0]]), np.array([[1, 1, 0]])
    ours = np.array([[1, 0, 0]]), np.array([[1, 0, 0]])
    one = counted(ours, theirs)[1]
    assert (one.n_matched, one.n_invented, one.n_missed) == (0, 1, 1)


def test_a_mask_with_itself_is_perfect_and_numbers_of_ids_do_not_matter():
    labels, ids = drawn(3)
    found = counted((labels, ids), (labels, np.where(ids > 0, 9999 - ids, 0)))
    assert found
    assert all(one.n_invented == one.n_missed == 0 and one.sum_iou == one.n_matched for one in found.values())


def test_a_segment_in_the_open_is_not_invented():
    theirs = np.array([[OPEN] * 5 + [0] * 4]), np.zeros((1, 9), int)
    ours = np.full((1, 9), 1), np.full((1, 9), 4)
    assert counted(ours, theirs)[1].n_invented == 0
    theirs[0][0, 0] = 0
    assert counted(ours, theirs)[1].n_invented == 1


def evaluated(*arguments: object, code: int = 0) -> tuple[dict, str]:
    folder = Path(str(arguments[0])).parent
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json", str(folder / "all.json")])
    assert result.exit_code == code, result.output
    written = folder / "all.json"
    return (json.loads(written.read_text()) if written.exists() else {}), " ".join(result.output.split())


def write_side(folder: Path, side, *, volume: bool) -> Path:
    labels, ids = side
    unseen = np.where(labels == OPEN, np.iinfo(np.uint32).max, ids).astype(np.uint32)
    if volume:
        write_volume(folder / "instances.nii.gz", unseen[None])
        return write_volume(folder / "mask.nii.gz", labels[None])
    write_raster(folder / "instances.tif", unseen[None], nodata=float(np.iinfo(np.uint32).max))
    return write_raster(folder / "mask.tif", labels[None], nodata=OPEN)


@pytest.mark.parametrize("volume", [False, True])
def test_two_products_are_compared_with_their_ids(tmp_path, volume):
    theirs = drawn(5)
    ours = moved(theirs, 6)
    paths = [write_side(tmp_path / name, side, volume=volume) for name, side in (("ours", ours), ("theirs", theirs))]
    written, shown = evaluated(*paths, *(["--not-observed", OPEN] if volume else []))
    (pair,) = written["pairs"]
    expected = counted(ours, theirs)
    assert {int(label): tuple(found.values()) for label, found in pair["panoptic"]["classes"].items()} == {
        label: (one.is_thing, one.n_matched, one.n_invented, one.n_missed) for label, one in expected.items()
    }
    of_class = {entry["label"]: entry["scores"] for entry in pair["classes"]}
    for label, one in expected.items():
        assert of_class[label][PQ].get("value") == one.scores[PQ].value
    assert pair["panoptic"]["means"]["things"][PQ]["value"] == panoptic_means(expected.values(), things=True)[PQ].value
    assert "things" in shown
    assert "stuff" in shown


def test_masks_without_ids_on_one_side_have_no_segments(tmp_path):
    one = write_side(tmp_path / "ours", drawn(5), volume=False)
    other = write_raster(tmp_path / "theirs.tif", drawn(5)[0][None], nodata=OPEN)
    written, _ = evaluated(one, other)
    assert written["pairs"][0]["panoptic"] is None
    assert PQ not in written["pairs"][0]["means"]


def test_ids_are_named_by_path_or_pattern_and_lie_on_the_grid_of_their_mask(tmp_path):
    one = write_side(tmp_path / "ours" / "A", drawn(5), volume=False)
    write_side(tmp_path / "theirs" / "A", drawn(5), volume=False).rename(tmp_path / "theirs" / "A" / "classes.tif")
    folders = (one.parents[1], tmp_path / "theirs", "--reference-files", "{scene}/classes.tif")
    written, _ = evaluated(*folders, "--reference-ids", "{scene}/instances.tif")
    assert written["pairs"][0]["panoptic"]["means"]["all"][PQ]["value"] == 1.0
    small = write_raster(tmp_path / "small.tif", np.ones((1, 3, 3), np.uint32))
    _, shown = evaluated(one, tmp_path / "theirs" / "A" / "classes.tif", "--reference-ids", small, code=1)
    assert "different grids" in shown
    with pytest.raises(JobError, match="give a pattern"):
        with_ids([], one, one, str(one), None)
    with pytest.raises(SceneError, match="there is no file"):
        with_ids(list_pairs(one, one), one, one, None, "nowhere.tif")
