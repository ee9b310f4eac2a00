from __future__ import annotations

import pytest
import torch

from models.card import Card, Network
from models.errors import CardError, UnknownModelError, WeightsError
from models.networks.builders import build_network, network_geometry
from models.registry import card_without_weights, resolve_model, verify_model
from models.weights.files import write_model

torch.set_num_threads(1)
CARD = {
    "name": "small",
    "title": "small",
    "kind": "raster",
    "network": {"name": "unet", "arguments": {"widths": [2, 3]}},
    "channels": ["a"],
    "classes": [{"name": "x", "colour": "#000000"}, {"name": "y", "colour": "#ffffff"}],
    "normalization": {"kind": "none"},
    "tiling": {"tile": [16, 16], "halo": [0, 0], "overlap": [0, 0]},
    "licence": "Apache-2.0",
    "origin": "test",
}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"width": [2]}, "'width' is not known; did you mean widths?"),
        ({"nonsense": 1}, "'nonsense' is not known; known: ndim, widths"),
        ({"widths": []}, "'widths': tuple should have at least 1 item"),
        ({"widths": [2, 2], "strides": [[2, 2], [2, 2]]}, "do not fit: 2 widths need 1 strides$"),
    ],
)
def test_what_is_wrong_with_arguments_is_said_in_words(arguments, told):
    with pytest.raises(CardError, match=told) as caught:
        network_geometry(Network(name="unet", arguments=arguments))
    assert "pydantic" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_argument_and_a_misspelt_one_are_told_together():
    with pytest.raises(CardError, match=r"'classes' is missing; 'clases' is not known; did you mean classes\?"):
        card_without_weights("kmeans", {"clases": 3}, ("a",), "raster")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("otsuu", "did you mean otsu"),
        ("fire_unet", "did you mean fire-unet"),
        ("maskrcnn", "a network without weights. Fit it with swathe train"),
        ("smp:Unet", "a network without weights"),
    ],
)
def test_a_job_that_names_no_model_is_told_what_there_is(name, told):
    with pytest.raises(UnknownModelError, match=told):
        resolve_model(name)


def test_weights_that_are_not_there_are_told_before_their_card(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        resolve_model(str(tmp_path / "mine.pt"))


def test_a_model_is_verified_with_its_weights(tmp_path):
    card = Card.model_validate(CARD)
    write_model(tmp_path, card, build_network(card.network, 1, 2).state_dict())
    path = str(tmp_path / "small.json")
    verify_model(*resolve_model(path))
    write_model(tmp_path, card, build_network(card.network, 3, 2).state_dict())
    with pytest.raises(WeightsError, match="has shape"):
        verify_model(*resolve_model(path))
