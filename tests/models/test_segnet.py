from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import vgg16_bn

from models.card import Network
from models.errors import CardError
from models.networks.builders import build_network

torch.set_num_threads(1)

DECODER = [
    # conv5_3_D to conv1_2_D, in the order of the way up; conv1_1_D gives the scores.
    *[(512, 512)] * 3,
    *[(512, 512), (512, 512), (512, 256)],
    *[(256, 256), (256, 256), (256, 128)],
    *[(128, 128), (128, 64)],
    (64, 64),
]


def small(**arguments):
    torch.manual_seed(0)
    return build_network(Network(name="segnet", arguments={"widths": [4, 6], "depths": [1, 2], **arguments}), 3, 2)


@pytest.mark.parametrize("n_classes", [2, 12])
def test_weights_are_those_of_the_papers_layers(n_classes):
    """An encoder of 14.7 M, as the paper's abstract of VGG-16 without dense layers, and a decoder that mirrors it."""
    with torch.device("meta"):
        network = build_network(Network(name="segnet"), 3, n_classes)
    encoder = sum(layer.weight.numel() + layer.bias.numel() for layer in network.features if hasattr(layer, "groups"))
    assert encoder == 14_714_688
    upwards = [layer for stage in reversed(network.decoder) for layer in stage if isinstance(layer, nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in upwards] == [*DECODER, (64, n_classes)]
    encoder_norms = 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512)
    decoder = sum((9 * n + 1) * m + 2 * m for n, m in DECODER) + (9 * 64 + 1) * n_classes
    assert sum(p.numel() for p in network.parameters()) == encoder + encoder_norms + decoder
    assert encoder + encoder_norms + decoder == 29_443_008 + 577 * n_classes


def test_the_encoder_is_torchvisions_vgg16_with_batch_norm():
    torch.manual_seed(0)
    network, vgg = build_network(Network(name="segnet"), 3, 2).eval(), vgg16_bn(init_weights=False).features.eval()
    network.features.load_state_dict(vgg.state_dict())
    features = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = vgg(features)
        for layer in network.features:
            features = layer(features)
            features = features[0] if isinstance(features, tuple) else features
    assert torch.equal(features, expected)


def test_maxima_go_back_to_where_they_were_found():
    """Nothing else of the encoder is handed on: without its indices the decoder gives other scores."""
    network = small().eval()
    image = torch.rand(1, 3, 16, 16)
    seen = []
    for rise in network.rise:
        rise.register_forward_hook(lambda _, inputs, output: seen.append((*inputs, output)))
    with torch.inference_mode():
        scores = network(image)
        network.rise[0].register_forward_pre_hook(lambda _, inputs: (inputs[0], inputs[1] // 2 * 2))
        elsewhere = network(image)
    for values, indices, output in seen[:2]:
        assert torch.equal(output.flatten(2).gather(2, indices.flatten(2)), values.flatten(2))
        assert int((output != 0).sum()) <= values.numel()
    assert not torch.equal(scores, elsewhere)


@pytest.mark.parametrize("stages", [1, 3])
def test_any_number_of_stages_has_a_stride_of_its_own(stages):
    network = small(widths=[4] * stages, depths=[1] * stages).eval()
    assert network(torch.rand(1, 3, 2**stages, 2**stages)).shape == (1, 2, 2**stages, 2**stages)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({"widths": [4, 4, 4]}, "3 widths need 3 depths"), ({"widths": []}, "widths"), ({"kernel": 5}, "kernel")],
)
def test_arguments_that_do_not_fit_are_an_error_of_the_card(arguments, told):
    with pytest.raises(CardError, match=told):
        small(**{"depths": [1, 1], **arguments})
