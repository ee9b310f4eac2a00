"""Overlap: equal to the library's, bounded, symmetric, the same however a mask is cut, and honest about emptiness."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masks import blobs, cut_slabs, mask_pairs
from monai.metrics import compute_dice, compute_iou, get_confusion_matrix

from tasks.answers.metrics.evaluate import MetricSettings, evaluate, evaluation_json, statistics, summarise
from tasks.answers.metrics.overlap import count_confusion, dice, overlap_scores, pooled
from tasks.answers.metrics.pair import Window, pair_of, slabs
from tasks.answers.metrics.score import Score
from tasks.answers.metrics.surface import Tolerance
from tasks.errors import UnsupportedSceneError
from tasks.geometry.box import Box

RASTER = MetricSettings(Tolerance(2.0, "px"), 8, 0, None)


def one_hot(mask: np.ndarray, n_classes: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([mask == label for label in range(n_classes)])[None].astype(np.float32))


def values(pair, label: int) -> dict:
    return {key: score.value for key, score in overlap_scores(*count_confusion(pair).of_class(label)).items()}


@given(mask_pairs(4))
def test_overlap_is_that_of_monai(pair):
    predicted, reference = pair
    ours, theirs = one_hot(predicted, 4), one_hot(reference, 4)
    dices, ious = compute_dice(ours, theirs)[0], compute_iou(ours, theirs)[0]
    counts = get_confusion_matrix(ours, theirs)[0]
    for label in range(4):
        found = values(pair_of(predicted, reference), label)
        if not (reference == label).any():
            assert found["recall"] is None
            continue
        tp, fp, _, fn = counts[label].tolist()
        assert found["dice"] == pytest.approx(float(dices[label]), abs=1e-6)
        assert found["iou"] == pytest.approx(float(ious[label]), abs=1e-6)
        assert found["recall"] == pytest.approx(tp / (tp + fn))
        assert found["precision"] == (pytest.approx(tp / (tp + fp)) if tp + fp else None)


@given(mask_pairs(3))
def test_overlap_is_bounded_symmetric_and_one_for_a_mask_with_itself(pair):
    one, other = pair
    for label in range(3):
        there, back = values(pair_of(one, other), label), values(pair_of(other, one), label)
        assert (there["dice"], there["iou"]) == (back["dice"], back["iou"])
        assert (there["precision"], there["recall"]) == (back["recall"], back["precision"])
        assert all(value is None or 0 <= value <= 1 for value in there.values())
        assert set(values(pair_of(one, one), label).values()) == ({1.0} if (one == label).any() else {None})


@given(mask_pairs(3), st.integers(1, 40))
def test_counts_do_not_depend_on_the_slabs(pair, pixels):
    with pytest.MonkeyPatch.context() as patch:
        whole = count_confusion(pair_of(*pair))
        cut_slabs(patch, pixels)
        cut = count_confusion(pair_of(*pair))
    assert whole.classes == cut.classes
    np.testing.assert_array_equal(whole.counts, cut.counts)


def test_large_class_numbers_are_counted_too():
    predicted = np.array([[0, 65_000, 7, 2_000_000]])
    reference = np.array([[7, 65_000, 7, 0]])
    confusion = count_confusion(pair_of(predicted, reference))
    assert confusion.classes == (0, 7, 65_000, 2_000_000)
    assert confusion.of_class(7) == (1, 2, 1)
    assert confusion.of_class(8) == (0, 0, 0)
    assert confusion.n_observed == 4


def test_a_picture_is_not_counted_as_a_class_map():
    picture = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30)
    with pytest.raises(UnsupportedSceneError, match="more than 1,000 different numbers"):
        count_confusion(pair_of(picture, picture))


@pytest.mark.parametrize(
    ("predicted", "reference", "expected", "reason"),
    [
        (0, 0, (None, None, None, None), "neither mask holds the class"),
        (0, 1, (0.0, 0.0, None, 0.0), "only the reference holds the class"),
        (1, 0, (0.0, 0.0, 0.0, None), "only the prediction holds the class"),
    ],
)
def test_what_is_empty_has_no_number_and_a_reason(predicted, reference, expected, reason):
    pair = pair_of(np.full((3, 3), predicted, np.uint8), np.full((3, 3), reference, np.uint8))
    found = overlap_scores(*count_confusion(pair).of_class(1))
    assert tuple(score.value for score in found.values()) == expected
    assert {score.reason for score in found.values() if score.value is None} == {reason}


def test_what_is_not_observed_is_left_out_and_counted():
    predicted, reference = np.array([[1, 1, 255, 0]], np.uint8), np.array([[1, 0, 1, 0]], np.uint8)
    confusion = count_confusion(pair_of(predicted, reference, predicted != 255))
    assert (confusion.n_observed, confusion.n_not_observed) == (3, 1)
    assert confusion.of_class(1) == (2, 1, 1)
    assert dice(predicted, reference, 1) == values(pair_of(predicted, reference, predicted != 255), 1)["dice"]
    assert math.isnan(dice(predicted, reference, 9))


def test_slabs_partition_and_no_read_is_larger_than_one():
    shape, read = (50_000, 40), []
    image = np.zeros((1, 40), np.uint8)

    def answer(box: Box) -> Window:
        read.append(box)
        labels = np.broadcast_to(image, box.shape)
        return Window(predicted=labels, reference=labels, observed=np.ones(box.shape, bool))

    pair = pair_of(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        cut_slabs(patch, 4000)
        covered = [slab.box(shape) for slab in slabs(shape)]
        assert sum(box.shape[0] for box in covered) == shape[0]
        evaluate(replace(pair, id="far", shape=shape, read=answer, names={1: "fire"}), RASTER)
    assert max(math.prod(box.shape) for box in read) <= 4000 + 2 * 40


def test_means_are_over_the_classes_but_background_and_leave_out_what_is_no_number():
    predicted, reference = np.array([[0, 1, 1, 2]], np.uint8), np.array([[0, 1, 2, 2]], np.uint8)
    pair = pair_of(predicted, reference)
    named = replace(pair, names={3: "beet"})
    found = evaluate(named, RASTER)
    assert [entry.label for entry in found.foreground] == [1, 2, 3]
    assert found.classes[3].name == "beet"
    assert found.means["dice"].mean == pytest.approx(2 / 3)
    assert (found.means["dice"].n, found.means["dice"].n_missing) == (2, 1)
    assert found.accuracy.value == 0.75
    with_background = evaluate(named, MetricSettings(Tolerance(2.0, "px"), 8, None, None))
    assert with_background.means["dice"].mean == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_statistics_over_pairs_and_their_pooled_counts():
    masks = [blobs((20, 20), seed) for seed in range(4)]
    found = [evaluate(pair_of(masks[0], mask), RASTER) for mask in masks]
    dices = [one.classes[1].scores["dice"].value for one in found]
    over = summarise(found)[1]["dice"]
    assert over.mean == pytest.approx(np.mean(dices))
    assert over.std == pytest.approx(np.std(dices, ddof=1))
    assert over.median == pytest.approx(np.median(dices))
    together = pooled([one.confusion for one in found]).of_class(1)
    assert together == tuple(np.sum([one.confusion.of_class(1) for one in found], axis=0))
    assert statistics([Score(None, "why")]).mean is None
    assert statistics([Score(2.0), Score(None, "why")]) == replace(
        over, n=1, n_missing=1, mean=2.0, std=None, median=2.0
    )


def test_json_holds_null_with_a_reason_and_no_nan():
    import json

    empty = np.zeros((5, 5), np.uint8)
    pair = pair_of(empty, empty)
    found = evaluation_json(evaluate(replace(pair, names={1: "fire"}), RASTER))
    scores = json.loads(json.dumps(found, allow_nan=False))["classes"][1]["scores"]
    assert all(score["value"] is None and score["reason"] for score in scores.values())
