from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from networks import DENSE
from torch.nn import functional
from torchvision.models import vgg16

from models.card import Network
from models.errors import CardError
from models.networks.builders import build_network, network_geometry
from models.networks.fcn import FcnArguments
from models.networks.vgg import start_rectified

torch.set_num_threads(1)


def test_the_layers_up_to_the_scores_are_torchvisions_vgg16():
    """With the weights of its features and of its dense layers; the middle of fc6 sees the 7 by 7 that those see."""
    vgg = vgg16(init_weights=False).eval()
    start_rectified(vgg.features)
    with torch.device("meta"):
        network = build_network(Network(name="fcn32s"), 3, 2)
    network.features.load_state_dict(vgg.features.state_dict(), assign=True)
    fc6, fc7 = vgg.classifier[0], vgg.classifier[3]
    weights = {
        "fc6.weight": fc6.weight.view(4096, 512, 7, 7),
        "fc6.bias": fc6.bias,
        "fc7.weight": fc7.weight.view(4096, 4096, 1, 1),
        "fc7.bias": fc7.bias,
    }
    network.dense.load_state_dict(weights, assign=True)
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        pooled = network.features.eval()(image)
        torch.testing.assert_close(pooled, vgg.features(image))
        middle = functional.conv2d(pooled, network.dense.fc6.weight, network.dense.fc6.bias)
        expected = vgg.classifier[:5](pooled.flatten(1))
        found = network.dense.eval()[3:5](middle.relu())[:, :, 0, 0]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        whole = network.dense.fc6(pooled)[:, :, 3:4, 3:4]
        torch.testing.assert_close(whole, middle, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "n_classes"), [("fcn32s", 2), ("fcn16s", 21), ("fcn8s", 21)])
def test_weights_are_those_of_the_papers_layers(name, n_classes):
    """VGG-16 without its classifier's last layer has the paper's 134 M; then come scores and bilinear kernels."""
    vgg = 14_714_688 + (7 * 7 * 512 + 1) * 4096 + (4096 + 1) * 4096
    assert round(vgg / 1e6) == 134
    score = {"fcn32s": (4096,), "fcn16s": (4096, 512), "fcn8s": (4096, 512, 256)}[name]
    kernel = {"fcn32s": (64,), "fcn16s": (4, 32), "fcn8s": (4, 4, 16)}[name]
    scores = sum((n + 1) * n_classes for n in score)
    with torch.device("meta"):
        network = build_network(Network(name=name), 3, n_classes)
    total = sum(p.numel() for p in network.parameters())
    assert total == vgg + scores + sum(n * n * n_classes**2 for n in kernel)
    fixed = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    assert fixed == kernel[-1] ** 2 * n_classes**2


def test_field_and_stride_are_those_that_the_literature_gives_for_vgg():
    """fc6 of VGG-16 sees 404 pixels at a stride of 32 (Long et al. 2015, table 1)."""
    alone = FcnArguments(output_stride=32, upsampling="nearest").model_dump()
    del alone["output_stride"]
    geometry = network_geometry(Network(name="fcn32s", arguments=alone))
    # The furthest pixel of a cell lies at its edge: 404 pixels are centred on the cell's 32.
    assert geometry.receptive_field == (2 * ((404 - 32) // 2 + 31) + 1,) * 2
    assert geometry.stride == (32, 32)


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_an_image_shifted_by_the_stride_gives_shifted_scores(name):
    torch.manual_seed(0)
    network = build_network(Network(name=name, arguments=DENSE), 2, 3).eval()
    image = torch.rand(1, 2, 512, 64)
    with torch.inference_mode():
        scores, shifted = network(image), network(image.roll(32, 2))
    torch.testing.assert_close(shifted[:, :, 256:320], scores[:, :, 224:288])


def test_scores_have_no_indices_to_be_unpooled_by():
    with pytest.raises(CardError, match="needs the indices of a pooling"):
        network_geometry(Network(name="fcn8s", arguments={"upsampling": "max_unpooling"}))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"output_stride": 16}, "the name 'fcn8s' says output_stride"),
        ({"dense_kernel": 4}, "dense_kernel is odd"),
        ({"widths": [8, 8]}, "widths"),
        ({"upsampling": "cubic"}, "bicubic"),
        ({"depths": [1, 1, 1, 1, 0]}, "greater than 0"),
    ],
)
def test_arguments_that_do_not_fit_are_an_error_of_the_card(arguments, told):
    with pytest.raises(CardError, match=told):
        build_network(Network(name="fcn8s", arguments=arguments), 3, 2)


def test_the_small_network_of_the_page_has_the_weights_and_the_field_that_it_says():
    page = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
    text, block = re.search(r"\n(To fit one from nothing.*?)```json\n(.*?)```", page, re.DOTALL).groups()
    network = Network.model_validate_json(block)
    weights = sum(parameter.numel() for parameter in build_network(network, 3, 2).parameters())
    assert f"{weights:,} weights and a field of {network_geometry(network).receptive_field[0]} pixels" in text
