from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SMALL
from whole_scenes import predict_scores

from models.card import Network
from models.errors import CardError, UnknownModelError
from models.networks.builders import build_network, network_geometry
from models.predictors.fusion import fuse
from models.training.losses import MaskedLoss

torch.set_num_threads(1)

SMALL_UNETS = [
    {"widths": [2, 3]},
    {"widths": [2, 2, 2]},
    {"widths": [2, 2, 2], "strides": [[1, 2], [2, 2]]},
    {"ndim": 3, "widths": [2, 2], "strides": [[1, 2, 2]]},
    {"ndim": 3, "widths": [1, 2, 2], "strides": [[1, 2, 2], [2, 2, 2]]},
    {"widths": [2, 2, 2], "padding": "valid", "norm": "none"},
    {"widths": [2, 3], "strides": [[1, 4]], "padding": "valid"},
    {"ndim": 3, "widths": [2, 2], "strides": [[1, 2, 2]], "padding": "valid", "norm": "none"},
    {"widths": [2, 2, 2], "upsampling": "nearest"},
    {"widths": [2, 2, 2], "upsampling": "bilinear"},
    {"widths": [2, 2, 2], "upsampling": "bicubic"},
    {"widths": [2, 2, 2], "upsampling": "bed_of_nails"},
    {"widths": [2, 2], "upsampling": "max_unpooling"},
]
PUBLISHED = {"widths": [64, 128, 256, 512, 1024], "padding": "valid", "norm": "none"}
NETWORKS = [Network(name="unet", arguments=a) for a in SMALL_UNETS] + [
    Network(name="unet", arguments={"widths": [2, 2], "norm": "instance"}),
    Network(name="deeplabv3plus", arguments={"decoder": 8}),
    Network(name="deeplabv3", arguments={"encoder": "resnet18", "decoder": 8, "output_stride": 16}),
    Network(name="pspnet", arguments={"encoder": "resnet18", "decoder": 8, "depth": 3}),
    Network(name="pspnet", arguments={"encoder": "mobilenet_v2", "decoder": 8, "output_stride": 16}),
    Network(name="fcn-resnet50"),
    Network(name="nnunet", arguments={"features": [2, 3, 4], "folds": 2, "mirror_axes": [0, 1]}),
    Network(name="nnunet", arguments={"features": [2, 3], "norm": "BatchNorm", "dropout": 0.1}),
    Network(name="nnunet", arguments={"ndim": 3, "features": [2, 2], "strides": [[1, 1, 1], [1, 2, 2]]}),
    Network(
        name="nnunet",
        arguments={"ndim": 3, "features": [2, 3], "architecture": "ResidualEncoderUNet", "norm": "BatchNorm"},
    ),
    Network(name="smp:Segformer", arguments={"encoder_name": "mit_b0", "decoder_segmentation_channels": 8}),
    Network(name="smp:Unet", arguments={"encoder_name": "resnet18", "decoder_channels": [8, 8, 4, 4, 2]}),
    Network(name="monai:SegResNet", arguments={"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}),
    Network(name="monai:SegResNetDS", arguments={"spatial_dims": 2, "init_filters": 8, "blocks_down": [1, 1]}),
    Network(name="monai:BasicUNet", arguments={"spatial_dims": 2, "features": [4, 4, 4, 8, 8, 4]}),
    *SMALL,
]


def built(network, n_channels=1, n_classes=2):
    torch.manual_seed(3)
    module = build_network(network, n_channels, n_classes)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return module.eval()


def small_image(network, n_channels=1):
    """As small as the geometry allows, two strides more than what is lost."""
    geometry = network_geometry(network)
    torch.manual_seed(4)
    sides = zip(geometry.stride, geometry.margin, strict=True)
    return torch.rand(2, n_channels, *(2 * (step + side + -side % step) for step, side in sides))


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
@settings(max_examples=2)
@given(n_channels=st.integers(1, 7), n_classes=st.integers(2, 5), size=st.integers(1, 37))
def test_scores_have_the_shape_of_the_image_for_odd_sizes_and_any_bands(network, n_channels, n_classes, size):
    geometry = network_geometry(network)
    ndim = len(geometry.stride)
    shape = (size, 19, 5)[:ndim]
    module, image = built(network, n_channels, n_classes), torch.rand(n_channels, *shape)
    scores = predict_scores(module, image, geometry.stride, geometry.margin)
    assert scores.shape == (n_classes, *shape)
    torch.testing.assert_close(scores.sum(0), torch.ones(shape))


@pytest.mark.parametrize(
    "network",
    [
        Network(name="nnunet", arguments={"ndim": 3, "features": [2, 3]}),
        Network(name="unet", arguments={"widths": [2, 2], "norm": "instance"}),
    ],
    ids=repr,
)
def test_a_scene_of_one_pixel_has_scores_where_a_network_looks_at_the_whole_tile(network):
    stride = network_geometry(network).stride
    scores = predict_scores(built(network), torch.rand(1, *(1 for _ in stride)), stride, least=2)
    assert scores.shape == (2, *(1 for _ in stride))


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_a_state_dict_makes_an_equal_network(network):
    first, second = built(network), build_network(network, 1, 2).eval()
    second.load_state_dict(first.state_dict())
    image = small_image(network)
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
        -(-(field + 3 * step + 2 * side) // step) * step
        for field, step, side in zip(geometry.receptive_field, geometry.stride, geometry.margin, strict=True)
    ]
    for axis in range(ndim):
        centres = [[n // 2 for n in size] for _ in range(geometry.stride[axis])]
        for phase, centre in enumerate(centres):
            centre[axis] += phase
        furthest = max(dependence(module, size, centre, axis, geometry.margin) for centre in centres)
        assert furthest == (geometry.receptive_field[axis] - 1) // 2


def dependence(module, size, centre, axis, margin):
    """How far away along an axis an input pixel has a gradient from one output pixel."""
    image = torch.rand(1, 1, *size, dtype=torch.float64, requires_grad=True)
    module(image)[(0, 1, *(place - side for place, side in zip(centre, margin, strict=True)))].backward()
    touched = (image.grad[0, 0] != 0).nonzero()[:, axis]
    return int((touched - centre[axis]).abs().max())


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_a_few_steps_on_a_batch_lower_its_loss(network):
    torch.manual_seed(5)
    module, criterion = build_network(network, 2, 3).train(), MaskedLoss("dice_ce")
    image = small_image(network, 2)
    with torch.no_grad():
        labels = torch.randint(3, module(image).argmax(1).shape)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
    losses = []
    for _ in range(5):
        # The same units are dropped each time, so that losses differ by the weights alone.
        torch.manual_seed(6)
        loss = criterion(module(image), labels)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_the_published_unet_has_the_papers_sizes_and_weights():
    network = built(Network(name="unet", arguments=PUBLISHED))
    assert sum(parameter.numel() for parameter in network.parameters()) == 31_030_658
    with torch.inference_mode():
        assert network.to("meta")(torch.empty(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)
    assert network_geometry(Network(name="unet", arguments=PUBLISHED)).margin == (94, 94)


def test_what_is_too_long_for_valid_poolings_is_trimmed_at_both_sides():
    module = built(Network(name="unet", arguments={"widths": [2] * 5, "padding": "valid", "norm": "none"}))
    image = torch.rand(1, 1, 208, 208)
    with torch.inference_mode():
        whole = module(image)
        assert whole.shape == (1, 2, 20, 20)
        assert torch.equal(whole, module(image[..., 2:-2, 2:-2]))


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_fusing_batch_norm_changes_no_score(network):
    module, image = built(network), small_image(network)
    fused = fuse(module, image)
    with torch.inference_mode():
        torch.testing.assert_close(fused(image), module(image), atol=1e-4, rtol=1e-4)
    norms = (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    # SegResNetDS adds what leaves a convolution to what leaves its norm: nothing can be folded.
    assert network.name == "monai:SegResNetDS" or not any(isinstance(part, norms) for part in fused.modules())


def test_an_unknown_network_lists_the_known_ones():
    with pytest.raises(UnknownModelError, match=r"did you mean unet.*known: .*deeplabv3plus.*threshold.*unet"):
        build_network(Network(name="unnet"), 1, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"width": [2]},
        {"widths": []},
        {"widths": [2, 2], "strides": [[2, 2], [2, 2]]},
        {"ndim": 4},
        {"padding": "valid", "upsampling": "max_unpooling"},
        {"padding": "valid", "widths": [2, 2], "strides": [[5, 2]]},
        {"ndim": 3, "upsampling": "bicubic"},
        {"widths": [0, 2]},
        {"widths": [2, 2], "strides": [[0, 2]]},
    ],
)
def test_arguments_that_do_not_fit_are_an_error_of_the_card(arguments):
    with pytest.raises(CardError, match="unet"):
        network_geometry(Network(name="unet", arguments=arguments))
