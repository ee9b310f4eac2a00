"""Figures of a fit: by class, their mean, intervals over scenes, and fits that tell nothing apart."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from tasks.answers.metrics.interval import mean_interval
from tasks.errors import FitError
from tasks.training.scores import Collapse, Overlaps, summarise

CLASSES = ("background", "lung", "clavicle")


def test_an_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(3).beta(5, 1, 12)
    theirs = bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=0).confidence_interval
    assert mean_interval(values) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_fewer_than_ten_scenes_have_no_interval():
    assert mean_interval(np.linspace(0, 1, 9)) is None
    assert mean_interval(np.full(10, 0.5)) == (0.5, 0.5)


def test_a_class_that_is_missed_shows_in_its_own_figure_and_in_the_mean():
    reference = np.array([[0, 1, 1, 2], [0, 1, 2, -1]])
    overlaps = Overlaps(3)
    for row in reference:
        overlaps.look_at(np.where(row == 2, 0, row), row)
    found = overlaps.dice
    figures = summarise({f"scene-{k}": found for k in range(10)}, CLASSES[1:])
    assert figures.by_class["lung"]["dice_mean"] == 1
    assert figures.by_class["clavicle"]["dice_mean"] == 0
    assert figures.mean["dice_mean"] == 0.5
    assert figures.mean["dice_low"] == figures.mean["dice_high"] == 0.5


def test_a_scene_counts_for_the_classes_that_it_or_its_mask_holds():
    both, one, none = np.array([1.0, 0.5]), np.array([0.6, np.nan]), np.array([np.nan, np.nan])
    figures = summarise({"a": both, "b": one, "c": none}, CLASSES[1:])
    assert figures.by_class["lung"]["dice_n"] == 2
    assert figures.by_class["clavicle"]["dice_n"] == 1
    assert figures.mean["dice_n"] == 2
    assert figures.mean["dice_mean"] == pytest.approx((0.75 + 0.6) / 2)
    assert "dice_low" not in figures.mean
    assert summarise({"c": none}, CLASSES[1:]).mean == {"dice_n": 0.0}


def collapse(*pairs):
    seen = Collapse("thorax", CLASSES)
    for predicted, reference in pairs:
        seen.look_at(np.array(predicted), np.array(reference))
    return seen


def test_a_fit_that_gives_every_pixel_one_class_is_refused_by_name():
    with pytest.raises(FitError, match=r"every pixel of these is 'background', but the labels hold .*'clavicle'"):
        collapse(([0, 0, 0], [0, 1, 2]), ([0, 0], [0, 0])).refuse("these")


def test_a_class_that_never_occurs_is_refused_and_one_that_occurs_somewhere_is_not():
    with pytest.raises(FitError, match="'clavicle' is never found in these"):
        collapse(([0, 1, 1], [0, 1, 2]), ([0, 255], [0, 2])).refuse("these")
    collapse(([0, 1, 1], [0, 1, 2]), ([0, 2], [0, 0])).refuse("these")


def test_what_the_mask_or_the_labels_leave_open_does_not_count():
    collapse(([0, 1, 255, 0], [0, 1, 2, -1])).refuse("these")
    with pytest.raises(FitError, match="'lung' is never found"):
        collapse(([0, 2, 1], [0, 1, -1])).refuse("these")
