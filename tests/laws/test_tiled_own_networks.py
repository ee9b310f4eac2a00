"""Our own networks through the engine: tiled equals untiled where the halo covers what a score reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from arrays import array_scene, make_work, read_mask
from networks import SMALL

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling
from models.networks.builders import build_network, network_geometry
from models.predictors.networks import TorchPredictor, card_spec
from models.run_settings import RunSettings
from models.weights.files import write_model
from tasks.segment.graph import PlainEngine

torch.set_num_threads(1)

# One of each; where the layers are alike, the variant with the wider field is left out.
TILED = [network for place, network in enumerate(SMALL) if place in (0, 1, 2, 4, 6, 8, 9, 11)]
TILED.append(Network(name="fcn-resnet50"))


def card_of(network):
    return Card(
        name="small",
        title="small",
        kind="raster",
        network=network,
        channels=("a", "b"),
        classes=tuple(ClassEntry(name=name, colour="#000000") for name in ("x", "y", "z")),
        normalization=NoNormalization(),
        tiling=Tiling(tile=(64, 64), halo=(0, 0), overlap=(0, 0)),
        licence="Apache-2.0",
        origin="test",
    )


def with_random_weights(folder, network):
    """Weights and statistics for which the classes are mixed and depend on what lies far off."""
    torch.manual_seed(1)
    card = card_of(network)
    module = build_network(network, card.n_inputs, card.n_classes)
    for name, value in module.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(value, std=0.1)
        elif name.startswith("context"):
            # It begins as an identity, which reads nothing beside a pixel.
            value.data += torch.randn_like(value) * 0.6
    return write_model(folder, card, module.state_dict())


def segment(work) -> np.ndarray:
    list(PlainEngine().run_blocks(work, work.plan.blocks(work.scene.frame)))
    return np.stack([read_mask(work), read_mask(work, "confidence")]).astype(int)


@pytest.mark.parametrize("network", TILED, ids=repr)
def test_tiled_equals_untiled_where_the_halo_covers_the_receptive_field(tmp_path, network):
    """Tiled along the columns alone, which lets the field be as wide as it is."""
    geometry = network_geometry(network)
    step, halo = geometry.stride[0], -(-geometry.receptive_field[1] // 2)
    rows, tile = step, -(-(2 * halo + 192) // step) * step
    cols = tile + 300
    image = np.random.default_rng(1).normal(0, 10, (2, rows - 1, cols)).astype(np.float32)
    scene = array_scene(tmp_path, image)
    card = with_random_weights(tmp_path / "model", network)
    masks = {}
    for name, tiling in (
        ("tiled", {"tile": (rows, tile), "halo": (0, halo), "overlap": (0, 8)}),
        ("untiled", {"tile": (rows, -(-cols // step) * step), "halo": 0, "overlap": 0}),
        ("without a halo", {"tile": (rows, tile), "halo": 0, "overlap": 0}),
    ):
        masks[name] = segment(make_work(scene, tmp_path / name, card, tmp_path / "model", tiling=tiling))
    np.testing.assert_array_equal(masks["tiled"][0], masks["untiled"][0])
    np.testing.assert_allclose(masks["tiled"][1], masks["untiled"][1], atol=1)
    assert np.abs(masks["without a halo"] - masks["untiled"]).max() > 1


@pytest.mark.parametrize("network", SMALL, ids=repr)
def test_the_predictor_scores_as_the_network_itself_and_probes_its_memory(network):
    torch.manual_seed(2)
    card = card_of(network)
    module = build_network(network, card.n_inputs, card.n_classes).eval()
    spec = card_spec(card)
    tile = tuple(2 * step for step in spec.stride)
    predictor = TorchPredictor(module, spec, RunSettings(tile=tile, batch=2))
    batch = np.random.default_rng(0).normal(size=(2, 2, *tile)).astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(batch)).softmax(1)
    torch.testing.assert_close(predictor.predict(batch), expected, atol=1e-4, rtol=1e-3)
    assert predictor.probe() > 0
