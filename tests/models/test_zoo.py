from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from models.predictors.loading import load_predictor
from models.registry import ZOO, resolve_model, zoo_cards
from models.run_settings import RunSettings

torch.set_num_threads(1)
SHIPPED = ("fire-deeplabv3plus", "fire-unet", "hippocampus-unet", "sarcoma-t1-unet")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_complete_small_and_runs(name):
    card, folder = resolve_model(name)
    assert card.name == name == (folder / card.weights.file).stem
    assert (folder / card.weights.file).stat().st_size < 16e6
    assert card.training.scores["dice_n"] >= 10
    # Simple methods know two classes.
    if card.n_classes == 2:
        assert card.training.scores["dice_mean"] > card.training.baseline["dice_mean"]
    told = (card.training.licence, card.training.attribution, card.training.protocol, card.training.data)
    assert all(told)
    # Measured where the processor has it; else the model runs in float32.
    assert card.bfloat16_disagreement is None or 0 <= card.bfloat16_disagreement < 0.05
    assert 0 <= card.tiling.disagreement < 0.1
    predictor = load_predictor(card, folder, RunSettings(tile=card.tiling.tile, device="cpu"))
    axes = zip(card.tiling.tile, card.tiling.halo, card.tiling.overlap, predictor.spec.stride, strict=True)
    assert all((tile - 2 * halo - overlap) % stride == 0 for tile, halo, overlap, stride in axes)
    scores = predictor.predict(np.zeros((1, card.n_inputs, *card.tiling.tile), np.float32))
    assert scores.shape == (1, card.n_classes, *card.tiling.tile)


def test_the_zoo_holds_what_it_says():
    assert tuple(sorted(zoo_cards())) == SHIPPED
    assert {path.suffix for path in ZOO.iterdir() if path.is_file()} <= {".json", ".safetensors", ".py"}
    for path in ZOO.glob("*.json"):
        assert json.loads(path.read_text())["name"] == path.stem
