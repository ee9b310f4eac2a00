"""What the page of a run shows of fits: curves, scores, masks beside their reference."""

import base64
import io
import re

import numpy as np
from PIL import Image

from flows.display.artifacts import fits_text
from flows.orchestration.orchestrator import FitReport
from tasks.reports.legend import LegendEntry
from tasks.reports.pictures.fits import Example, curves_picture, example_picture

LEGEND = {1: LegendEntry("thing", "#ff0000")}


def opened(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


def example(**changes):
    shape = (60, 90)
    labels = np.zeros(shape, np.int32)
    labels[10:50, 10:40] = 1
    facts = {
        "scene": "place",
        "image": np.full(shape, 5.0, np.float32),
        "valid": np.ones(shape, bool),
        "labels": labels,
        "mask": np.zeros(shape, np.uint8),
    }
    return Example(**facts | changes)


def redness(panel):
    return int((panel[..., 0] - panel[..., 1] > 60).sum())


def test_picture_reference_and_mask_stand_beside_each_other():
    drawn = opened(example_picture(example(), LEGEND))
    width = (drawn.shape[1] - 16) // 3
    panels = [drawn[:, start : start + width] for start in (0, width + 8, 2 * (width + 8))]
    assert [redness(panel) > 1000 for panel in panels] == [False, True, False]
    found = opened(example_picture(example(mask=example().labels.astype(np.uint8)), LEGEND))
    assert redness(found[:, 2 * (width + 8) :]) > 1000
    coloured = example(image=np.random.default_rng(0).random((60, 90, 3)).astype(np.float32))
    assert opened(example_picture(coloured, LEGEND)).shape == drawn.shape


def test_the_page_of_a_fit_has_curves_scores_and_masks():
    curves = {
        "fold-0": {10: {"loss": 1.0, "learning_rate": 1e-3}, 20: {"loss": 0.5, "learning_rate": 0.0}},
        "all": {10: {"loss": 0.9, "learning_rate": 1e-3, "watched_dice": 0.4}},
    }
    picture = curves_picture(curves)
    # A panel for each of three values.
    assert opened(picture).shape[0] > 3 * 180
    text = fits_text(
        FitReport(
            job="train_mine",
            model="mine",
            curves=curves,
            scores={"Dice on scenes not seen, mean": "0.812 of 12 scenes"},
            examples={"place_1": example_picture(example(), LEGEND)},
        )
    )
    assert "**0.812 of 12 scenes**" in text
    assert "**place\\_1**" in text
    shown = re.findall(r"\]\(data:image/jpeg;base64,([^)]+)\)", text)
    assert [len(opened(base64.b64decode(each)).shape) for each in shown] == [3, 3]
    assert sum(map(len, shown)) < 600_000
