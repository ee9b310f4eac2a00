"""Models that take one length of tile alone: tiles keep it, whatever the scene, and another one is refused by name."""

import numpy as np
import pytest
import torch
from arrays import array_scene, make_work, read_mask
from programs import exported, program_card, small_card
from torch import nn

from models.card import Network
from models.errors import CardError
from models.networks.builders import build_network, network_geometry
from models.predictors.choice import choose_run
from models.run_settings import RunSettings
from models.training.fit import fit
from models.training.settings import TrainSettings
from models.weights.files import write_model
from tasks.segment.graph import PlainEngine

torch.set_num_threads(1)
TILE = 32
UNETR = {"img_size": TILE, "hidden_size": 24, "mlp_dim": 24, "num_heads": 2, "feature_size": 4, "stride": 16}


class Fixed(nn.Module):
    """Adds a number of its own to every pixel of its one image."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand((1, 3, *(TILE,) * ndim)))

    def forward(self, images):
        return images[:, :1] + self.weights


def fixed_model(folder, kind, ndim):
    template = small_card(ndim)
    template = template.model_copy(
        update={"tiling": template.tiling.model_copy(update={"tile": (TILE,) * ndim, "overlap": (0,) * ndim})}
    )
    torch.manual_seed(0)
    if kind == "monai":
        network = Network(name="monai:UNETR", arguments={**UNETR, "spatial_dims": ndim})
        template = template.model_copy(update={"network": network})
        built = build_network(network, template.n_inputs, template.n_classes)
        return write_model(folder, template, built.state_dict())
    exported(Fixed(ndim), folder, ndim, tile=(TILE,) * ndim, dynamic_axes=None)
    name = {"torchscript": "scripted.pt", "onnx": "graph.onnx"}[kind]
    network = Network(name=kind, arguments={"stride": (TILE // 2,) * ndim})
    return program_card(folder, name, kind, template, network=network)


@pytest.mark.parametrize("kind", ["monai", "torchscript", "onnx"])
@pytest.mark.parametrize("shape", [(1, 70), (TILE + 1, 2 * TILE + 3), (10, 20, 40), (TILE, 50, 70)])
def test_tiles_keep_the_one_length_whatever_the_scene(tmp_path, kind, shape):
    card = fixed_model(tmp_path, kind, len(shape))
    n_channels = card.n_channels
    scene = array_scene(tmp_path, np.random.default_rng(0).normal(size=(n_channels, *shape)).astype(np.float32))
    work = make_work(scene, tmp_path / "store", card, tmp_path)
    assert work.plan.tile == (TILE,) * len(shape)
    list(PlainEngine().run_blocks(work, work.plan.blocks(scene.frame)))
    assert set(np.unique(read_mask(work))) <= {0, 1, 2}


@pytest.mark.parametrize("kind", ["monai", "torchscript", "onnx"])
def test_another_tile_is_refused_with_the_one_that_it_takes(tmp_path, kind):
    card = fixed_model(tmp_path, kind, 2)
    path = tmp_path / card.weights.file
    settings = RunSettings(tile=(2 * TILE, TILE), device="cpu")
    with pytest.raises(CardError, match="32, 32"):
        choose_run(card, path, settings, "auto", 1.0, None)


def test_a_crop_of_another_length_is_refused_before_the_fit():
    card = small_card(2).model_copy(
        update={"network": Network(name="monai:UNETR", arguments={**UNETR, "spatial_dims": 2})}
    )
    assert network_geometry(card.network).only_tile == (TILE, TILE)
    with pytest.raises(CardError, match=r"give \(32, 32\) as settings.crop"):
        fit([], card, TrainSettings(steps=1, batch=1, crop=(48, 48)))
