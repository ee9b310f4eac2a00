from __future__ import annotations

import pytest
import torch
from networks import DENSE
from torch import nn
from torchvision.models import vgg16

from models.card import Network
from models.errors import CardError
from models.networks.builders import build_network, network_geometry
from models.networks.dilated import context_module
from models.networks.vgg import start_rectified

torch.set_num_threads(1)

# Table 1: layer by layer.
FIELDS = [3, 5, 9, 17, 33, 65, 67, 67]
WIDTHS = {"basic": [1, 1, 1, 1, 1, 1, 1, 1], "large": [2, 2, 4, 8, 16, 32, 32, 1]}
TRUNCATED = [True] * 7 + [False]


def layers(module):
    """Each convolution and whether a rectifier follows it."""
    parts = [*module, None]
    return [
        (part, isinstance(parts[place + 1], nn.ReLU))
        for place, part in enumerate(module)
        if isinstance(part, nn.Conv2d)
    ]


@pytest.mark.parametrize("size", ["basic", "large"])
def test_the_context_module_is_that_of_table_1(size):
    module = context_module(3, size).double()
    assert [convolution.out_channels for convolution, _ in layers(module)] == [3 * n for n in WIDTHS[size]]
    assert [truncated for _, truncated in layers(module)] == TRUNCATED
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.ones_like(parameter) if parameter.ndim > 1 else torch.zeros_like(parameter))
        features = torch.zeros(1, 3, 81, 81, dtype=torch.float64)
        features[..., 40, 40] = 1
        found = []
        for layer in module:
            features = layer(features)
            if isinstance(layer, nn.Conv2d):
                touched = (features[0, 0] > 0).nonzero()
                found.append((touched.max(0).values - touched.min(0).values + 1).tolist())
    assert found == [[field, field] for field in FIELDS]


@pytest.mark.parametrize(("size", "tolerance"), [("basic", 0), ("large", 0.05)])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_context_module_begins_as_the_identity_of_what_is_positive(size, tolerance, n_classes):
    torch.manual_seed(0)
    scores = torch.randn(1, n_classes, 20, 20)
    with torch.inference_mode():
        found = context_module(n_classes, size)(scores)
    torch.testing.assert_close(found, scores.relu(), atol=tolerance, rtol=tolerance)


def test_the_front_end_is_vgg16_without_its_last_poolings():
    """At an image where both say the same: torchvision's layers with the poolings left out and dilated by hand."""
    torch.manual_seed(0)
    vgg = vgg16(init_weights=False).features.eval()
    start_rectified(vgg)
    with torch.device("meta"):
        network = build_network(Network(name="dilated"), 3, 2).eval()
    network.features.load_state_dict(vgg.state_dict(), assign=True)
    expected = image = torch.rand(1, 3, 64, 48)
    for place, layer in enumerate(vgg):
        if place < 23 or isinstance(layer, nn.ReLU):
            expected = layer(expected)
        elif isinstance(layer, nn.Conv2d):
            padded = nn.functional.pad(expected, (2, 2, 2, 2))
            expected = nn.functional.conv2d(padded, layer.weight, layer.bias, dilation=2)
    with torch.inference_mode():
        torch.testing.assert_close(network.features(image), expected, atol=1e-5, rtol=1e-5)


def test_weights_are_those_of_the_papers_layers():
    vgg = 14_714_688 + (7 * 7 * 512 + 1) * 4096 + (4096 + 1) * 4096
    n = 21
    score = (4096 + 1) * n
    basic = 7 * (9 * n + 1) * n + (n + 1) * n
    # 64 C^2 for the basic module, as the paper counts it, but for biases.
    assert basic == 64 * n**2 + 8 * n
    for context, weights in (("none", 0), ("basic", basic)):
        with torch.device("meta"):
            network = build_network(Network(name="dilated", arguments={"context": context}), 3, n)
        assert sum(p.numel() for p in network.parameters()) == vgg + score + weights


def test_the_front_end_alone_sees_what_vgg_without_poolings_sees():
    """conv5 and fc6 read as far apart as behind the poolings that are gone, so the field is nearly that of FCN-32s."""
    alone = network_geometry(Network(name="dilated", arguments={"context": "none", "upsampling": "nearest"}))
    with_context = network_geometry(Network(name="dilated", arguments={"upsampling": "nearest"}))
    fields = {name: geometry.receptive_field[0] for name, geometry in (("alone", alone), ("more", with_context))}
    assert alone.stride == (8, 8)
    assert fields["more"] - fields["alone"] == 8 * (67 - 1)
    # conv1 to conv4: 92 pixels at a stride of 8; conv5 adds 3 times 4, fc6 24 cells; a cell's pixel lies up to 7 off.
    assert fields["alone"] == 2 * ((92 + 8 * (12 + 24) - 8) // 2 + 7) + 1


def test_an_image_shifted_by_the_stride_gives_shifted_scores():
    torch.manual_seed(0)
    network = build_network(Network(name="dilated", arguments={**DENSE, "context": "large"}), 2, 3).eval()
    image = torch.rand(1, 2, 1024, 16)
    with torch.inference_mode():
        scores, shifted = network(image), network(image.roll(8, 2))
    torch.testing.assert_close(shifted[:, :, 512:520], scores[:, :, 504:512])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"upsampling": "max_unpooling"}, "never pooled"),
        ({"context": "huge"}, "basic"),
        ({"dropout": 1}, "less than 1"),
    ],
)
def test_arguments_that_do_not_fit_are_an_error_of_the_card(arguments, told):
    with pytest.raises(CardError, match=told):
        build_network(Network(name="dilated", arguments=arguments), 3, 2)
