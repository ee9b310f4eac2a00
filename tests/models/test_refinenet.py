from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torchvision import models as torchvision_models
from torchvision.models._utils import IntermediateLayerGetter

from models.card import Network
from models.errors import CardError
from models.networks.builders import build_network
from models.networks.refinenet import ChainedPooling, RefineBlock, ResidualUnit

torch.set_num_threads(1)

SMALL = {"encoder": "resnet18", "width": 4}
# Table of the encoders: channels of the four stages, and weights without the classifier.
ENCODERS = {
    "resnet18": ((64, 128, 256, 512), 11_176_512),
    "resnet50": ((256, 512, 1024, 2048), 23_508_032),
    "resnet101": ((256, 512, 1024, 2048), 42_500_160),
}


def layer_table(stages, n_classes, poolings):
    """Weights of every layer of figures 2 and 3, named as the paper names them."""

    def convolution(n_in, n_out):
        return 9 * n_in * n_out

    def units(n, count):
        return count * (2 * convolution(n, n) + n)

    table = {}
    for number, (given, n, n_coarser) in enumerate(
        zip(stages, (256, 256, 256, 512), (256, 256, 512, None), strict=True), start=1
    ):
        table[f"reduce-{number}"] = convolution(given, n)
        table[f"RCU-{number}"] = units(n, 2) + (0 if n_coarser is None else units(n_coarser, 2))
        table[f"fusion-{number}"] = 0 if n_coarser is None else convolution(n, n) + convolution(n_coarser, n)
        table[f"CRP-{number}"] = poolings * convolution(n, n)
        table[f"output-{number}"] = units(n, 1)
    table["last RCU"] = units(256, 2)
    table["scores"] = convolution(256, n_classes) + n_classes
    return table


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("poolings", [2, 4])
def test_weights_are_those_of_the_papers_structure(encoder, poolings):
    stages, weights = ENCODERS[encoder]
    with torch.device("meta"):
        network = build_network(Network(name="refinenet", arguments={"encoder": encoder, "poolings": poolings}), 3, 21)
        assert sum(p.numel() for p in network.encoder.parameters()) == weights
    total = weights + sum(layer_table(stages, 21, poolings).values())
    assert sum(p.numel() for p in network.parameters()) == total


def test_with_four_poolings_the_count_is_that_told_of_refinenet_101():
    """118.1 M in comparisons of later papers; the chains of the released network have four poolings."""
    stages, weights = ENCODERS["resnet101"]
    assert round((weights + sum(layer_table(stages, 21, 4).values())) / 1e5) in (1180, 1181)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50"])
def test_the_encoders_stages_are_torchvisions(encoder):
    torch.manual_seed(0)
    resnet = getattr(torchvision_models, encoder)().eval()
    network = build_network(Network(name="refinenet", arguments={"encoder": encoder, "width": 2}), 3, 2).eval()
    told = network.encoder.load_state_dict(resnet.state_dict(), strict=False)
    assert (told.missing_keys, told.unexpected_keys) == ([], ["fc.weight", "fc.bias"])
    wanted = IntermediateLayerGetter(resnet, {f"layer{k}": f"{k}" for k in (1, 2, 3, 4)})
    seen = []
    for reduce in network.reduce:
        reduce.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        network(image)
        expected = list(wanted(image).values())
    for found, stage in zip(reversed(seen), expected, strict=True):
        assert torch.equal(found, stage)


def test_a_chain_adds_poolings_of_growing_windows():
    """With convolutions that do nothing: the rectified features and their maxima over 5, 9 and 13 pixels."""
    chain, features = ChainedPooling(2, 3), torch.randn(1, 2, 20, 20)
    with torch.no_grad():
        for convolution in chain.convolutions:
            torch.nn.init.dirac_(convolution.weight)
        rectified = features.relu()
        windows = [functional.max_pool2d(rectified, size, 1, size // 2) for size in (5, 9, 13)]
        torch.testing.assert_close(chain(features), rectified + sum(windows))


def test_a_residual_unit_of_zeros_hands_on_what_comes_in():
    unit, features = ResidualUnit(3), torch.randn(1, 3, 6, 6)
    torch.nn.init.zeros_(unit.second.weight)
    with torch.inference_mode():
        assert torch.equal(unit(features), features)


def test_fusion_adds_the_coarser_path_at_the_finer_resolution():
    block = RefineBlock(2, 2, 1)
    with torch.no_grad():
        for part in block.modules():
            if isinstance(part, ResidualUnit | ChainedPooling):
                for parameter in part.parameters():
                    parameter.zero_()
        torch.nn.init.dirac_(block.fuse.weight)
        torch.nn.init.dirac_(block.fuse_coarser.weight)
        finer, coarser = torch.rand(1, 2, 8, 12), torch.rand(1, 2, 4, 6)
        expected = finer + functional.interpolate(coarser, scale_factor=2, mode="bilinear")
        torch.testing.assert_close(block(finer, coarser), expected)


@pytest.mark.parametrize(("arguments", "told"), [({"encoder": "resnet9"}, "resnet18"), ({"poolings": 0}, "poolings")])
def test_arguments_that_do_not_fit_are_an_error_of_the_card(arguments, told):
    with pytest.raises(CardError, match=told):
        build_network(Network(name="refinenet", arguments={**SMALL, **arguments}), 3, 2)
