from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.card import Network
from models.errors import CardError, UnknownModelError
from models.fusion import fuse
from models.registry import build_network, network_geometry
from models.training.scores import predict_scores

torch.set_num_threads(1)

SMALL_UNETS = [
    {"widths": [2, 3]},
    {"widths": [2, 2, 2]},
    {"widths": [2, 2, 2], "strides": [[1, 2], [2, 2]]},
    {"ndim": 3, "widths": [2, 2], "strides": [[1, 2, 2]]},
    {"ndim": 3, "widths": [1, 2, 2], "strides": [[1, 2, 2], [2, 2, 2]]},
]
NETWORKS = [Network(name="unet", arguments=a) for a in SMALL_UNETS] + [
    Network(name="deeplabv3plus", arguments={"decoder": 8})
]


def built(network, n_channels=1, n_classes=2):
    torch.manual_seed(3)
    module = build_network(network, n_channels, n_classes)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return module.eval()


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
@settings(deadline=None, max_examples=2)
@given(n_channels=st.integers(1, 7), n_classes=st.integers(2, 5), size=st.integers(1, 37))
def test_scores_have_the_shape_of_the_image_for_odd_sizes_and_any_bands(network, n_channels, n_classes, size):
    geometry = network_geometry(network)
    ndim = len(geometry.stride)
    shape = (size, 19, 5)[-ndim:]
    scores = predict_scores(built(network, n_channels, n_classes), torch.rand(n_channels, *shape), geometry.stride)
    assert scores.shape == (n_classes, *shape)
    torch.testing.assert_close(scores.sum(0), torch.ones(shape))


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_a_state_dict_makes_an_equal_network(network):
    first, second = built(network), build_network(network, 1, 2).eval()
    second.load_state_dict(first.state_dict())
    ndim = len(network_geometry(network).stride)
    image = torch.rand(1, 1, *(32,) * ndim)
    with torch.inference_mode():
        assert torch.equal(first(image), second(image))


@pytest.mark.parametrize("arguments", SMALL_UNETS, ids=repr)
def test_nothing_outside_the_receptive_field_changes_a_score_and_its_border_does(arguments):
    network = Network(name="unet", arguments=arguments)
    geometry, ndim = network_geometry(network), arguments.get("ndim", 2)
    module = built(network).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    size = [
        -(-(field + 3 * step) // step) * step
        for field, step in zip(geometry.receptive_field, geometry.stride, strict=True)
    ]
    for axis in range(ndim):
        centres = [[n // 2 for n in size] for _ in range(geometry.stride[axis])]
        for phase, centre in enumerate(centres):
            centre[axis] += phase
        furthest = max(dependence(module, size, centre, axis) for centre in centres)
        assert furthest == (geometry.receptive_field[axis] - 1) // 2


def dependence(module, size, centre, axis):
    """How far away along an axis an input pixel has a gradient from one output pixel."""
    image = torch.rand(1, 1, *size, dtype=torch.float64, requires_grad=True)
    module(image)[(0, 1, *centre)].backward()
    touched = (image.grad[0, 0] != 0).nonzero()[:, axis]
    return int((touched - centre[axis]).abs().max())


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_fusing_batch_norm_changes_no_score(network):
    ndim = len(network_geometry(network).stride)
    module, image = built(network), torch.rand(1, 1, *(32,) * ndim)
    fused = fuse(module, image)
    with torch.inference_mode():
        torch.testing.assert_close(fused(image), module(image), atol=1e-4, rtol=1e-4)
    norms = (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    assert not any(isinstance(part, norms) for part in fused.modules())


def test_an_unknown_network_lists_the_known_ones():
    with pytest.raises(UnknownModelError, match=r"did you mean unet.*known: deeplabv3plus.*threshold.*unet"):
        build_network(Network(name="unnet"), 1, 2)


@pytest.mark.parametrize(
    "arguments", [{"width": [2]}, {"widths": []}, {"widths": [2, 2], "strides": [[2, 2], [2, 2]]}, {"ndim": 4}]
)
def test_arguments_that_do_not_fit_are_an_error_of_the_card(arguments):
    with pytest.raises(CardError, match="unet"):
        network_geometry(Network(name="unet", arguments=arguments))
