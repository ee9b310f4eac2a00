"""Networks of libraries: the library's own scores on the same weights, any channels, and named refusals."""

from __future__ import annotations

import socket

import monai.networks.nets as monai_nets
import pytest
import segmentation_models_pytorch as smp
import torch
from torchvision.models.segmentation import fcn_resnet50

from models.card import Network
from models.catalogue import find
from models.errors import CardError, UnknownModelError
from models.networks.builders import build_network, network_geometry
from models.networks.fcn_resnet import geometry as fcn_geometry

torch.set_num_threads(1)
RESNET = {"encoder_weights": None, "in_channels": 4, "classes": 3}
THEIRS = {
    "pspnet": (
        {"encoder": "resnet18", "decoder": 16},
        lambda: smp.PSPNet("resnet18", encoder_depth=5, output_stride=8, psp_out_channels=16, upsampling=8, **RESNET),
    ),
    "deeplabv3": (
        {"encoder": "resnet18", "decoder": 16},
        lambda: smp.DeepLabV3("resnet18", decoder_channels=16, decoder_atrous_rates=(12, 24, 36), **RESNET),
    ),
    "deeplabv3plus": (
        {"decoder": 16, "depth": 5, "rates": [12, 24, 36]},
        lambda: smp.DeepLabV3Plus("resnet18", decoder_channels=16, **RESNET),
    ),
    "smp:FPN": ({"encoder_name": "resnet18"}, lambda: smp.FPN("resnet18", **RESNET)),
    "smp:Segformer": ({"encoder_name": "mit_b0"}, lambda: smp.Segformer("mit_b0", **RESNET)),
    "monai:SegResNet": (
        {"spatial_dims": 2},
        lambda: monai_nets.SegResNet(spatial_dims=2, in_channels=4, out_channels=3),
    ),
    "monai:SwinUNETR": (
        {"spatial_dims": 2, "feature_size": 12},
        lambda: monai_nets.SwinUNETR(spatial_dims=2, feature_size=12, in_channels=4, out_channels=3),
    ),
    "monai:BasicUNetPlusPlus": (
        {"spatial_dims": 2, "features": [4, 4, 4, 8, 8, 4]},
        lambda: monai_nets.BasicUNetPlusPlus(2, 4, 3, features=(4, 4, 4, 8, 8, 4)),
    ),
}


@pytest.mark.parametrize("name", THEIRS)
def test_scores_are_the_librarys_own_on_the_same_weights(name):
    arguments, make = THEIRS[name]
    torch.manual_seed(0)
    theirs = make().eval()
    ours = build_network(Network(name=name, arguments=arguments), 4, 3).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(2, 4, 64, 96)
    with torch.inference_mode():
        expected = theirs(image)
        assert torch.equal(ours(image), expected[0] if isinstance(expected, list) else expected)


@pytest.mark.parametrize("n_channels", [1, 3, 6])
def test_the_fcn_is_torchvisions_for_any_bands(n_channels):
    torch.manual_seed(0)
    theirs = fcn_resnet50(weights=None, weights_backbone=None, num_classes=3).eval()
    if n_channels != 3:
        theirs.backbone.conv1 = torch.nn.Conv2d(n_channels, 64, 7, stride=2, padding=3, bias=False)
    ours = build_network(Network(name="fcn-resnet50"), n_channels, 3).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(1, n_channels, 40, 56)
    with torch.inference_mode():
        assert torch.equal(ours(image), theirs(image)["out"])


def test_the_receptive_field_of_the_fcn_is_that_of_its_gradients():
    network = build_network(Network(name="fcn-resnet50"), 1, 2).eval()
    # A maximum passes a gradient to one pixel of its window, a mean to all.
    network.set_submodule("backbone.maxpool", torch.nn.AvgPool2d(3, 2, 1))
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            # One channel is enough, and it keeps its scale.
            layer.weight.data.fill_(1 / layer.weight[0].numel())
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = 0.0
    reach = (fcn_geometry({}).receptive_field[0] - 1) // 2
    middle = -(-reach // 8) * 8 + 8
    image = torch.rand(1, 1, 8, 2 * middle, requires_grad=True)
    scores = network.double()(image.double())
    furthest = 0
    for place in range(middle, middle + 8):
        (gradient,) = torch.autograd.grad(scores[0, 1, 4, place], image, retain_graph=True)
        touched = (gradient[0, 0] != 0).any(0).nonzero()[:, 0]
        furthest = max(furthest, int((touched - place).abs().max()))
    assert furthest == reach


@pytest.mark.parametrize(
    ("name", "arguments", "stride"),
    [
        ("smp:Unet", {"encoder_name": "resnet18", "encoder_depth": 3, "decoder_channels": [4, 4, 4]}, (8, 8)),
        ("smp:DeepLabV3", {"encoder_name": "resnet18"}, (8, 8)),
        ("smp:UPerNet", {"encoder_name": "resnet18"}, (32, 32)),
        ("monai:SegResNet", {}, (8, 8, 8)),
        ("monai:UNet", {"spatial_dims": 3, "channels": [2, 4, 4], "strides": [[1, 2, 2], 2]}, (2, 4, 4)),
        ("monai:UNet", {"spatial_dims": 2, "channels": [2, 4], "strides": [3], "stride": 3}, (3, 3)),
        ("monai:HighResNet", {}, (1, 1, 1)),
        ("monai:UNETR", {"img_size": [32, 32], "spatial_dims": 2, "hidden_size": 24, "stride": [16, 16]}, (16, 16)),
    ],
)
def test_the_stride_is_found_by_following_shapes_or_stated(name, arguments, stride):
    geometry = network_geometry(Network(name=name, arguments=arguments))
    assert (geometry.stride, geometry.receptive_field) == (stride, None)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "smp:Unet",
            {"encoder_nam": "resnet18"},
            "smp:Unet takes no argument 'encoder_nam'; did you mean encoder_name",
        ),
        ("smp:Unet", {"encoder_name": "resnet19"}, "smp:Unet cannot be built.*resnet19"),
        ("smp:Unet", {"encoder_weights": "imagenet"}, "encoder_weights would be fetched"),
        ("smp:Unet", {"classes": 4}, "leave out classes"),
        ("monai:UNet", {"spatial_dims": 3}, "needs channels, strides"),
        (
            "monai:UNet",
            {"spatial_dims": 2, "channels": [2, 4], "strides": [3]},
            "a layer of stride 3.*state the stride",
        ),
        ("monai:UNETR", {"img_size": 32, "hidden_size": 24}, "does not run on an image of"),
        ("monai:DenseNet121", {"spatial_dims": 2}, "no segmentation network"),
        ("monai:SegResNet", {"stride": [8, 8]}, "3 axes: stride has 2 numbers"),
        ("pspnet", {"encoder": "resnet19"}, "encoder 'resnet19' is not known; did you mean resnet"),
        ("deeplabv3", {"encoder": "vgg11"}, "encoder 'vgg11' cannot be built as the card asks"),
        ("fcn-resnet50", {"backbone": "resnet18"}, "fcn-resnet50"),
    ],
)
def test_what_a_network_cannot_be_built_from_is_an_error_of_the_card(name, arguments, said):
    network = Network(name=name, arguments=arguments)
    with pytest.raises(CardError, match=said):
        (network_geometry(network), build_network(network, 3, 2))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("smp:Segfromer", "smp has no network 'Segfromer'; did you mean Segformer"),
        ("monai:SegResnet", "monai has no network 'SegResnet'; did you mean SegResNet"),
        ("monia:SegResNet", "network 'monia:SegResNet' is not known.*monai:NAME"),
        ("smp:", "network 'smp:' is not known"),
        ("deeplab", "did you mean deeplabv3"),
    ],
)
def test_a_name_that_is_not_known_brings_the_nearest_ones(name, said):
    with pytest.raises(UnknownModelError, match=said):
        network_geometry(Network(name=name))


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Hosts that were asked for; nothing is reached, and nothing lies in a cache."""
    hosts = []

    def refuse(host, *_args, **_kwargs):
        hosts.append(host)
        raise ConnectionRefusedError(host)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: refuse(address))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return hosts


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("smp:Unet", {"encoder_name": "resnet18"}),
        ("smp:Unet", {"encoder_name": "tu-resnet18", "encoder_weights": False}),
        ("monai:EfficientNetBN", {"model_name": "efficientnet-b0"}),
        ("monai:EfficientNetBNFeatures", {"model_name": "efficientnet-b0"}),
        ("monai:EfficientNetEncoder", {"model_name": "efficientnet-b0", "pretrained": False}),
        ("monai:DenseNet121", {"spatial_dims": 2}),
        ("monai:TorchVisionFCModel", {"model_name": "resnet18"}),
        ("monai:FlexibleUNet", {"backbone": "efficientnet-b0"}),
    ],
)
def test_nothing_is_fetched_while_a_network_is_built(asked, name, arguments):
    build_network(Network(name=name, arguments=arguments), 3, 2)
    assert asked == []


TRANSCHEX = {
    "img_size": 32,
    "patch_size": 8,
    "num_language_layers": 1,
    "num_vision_layers": 1,
    "num_mixed_layers": 1,
}


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("monai:EfficientNetBN", {"model_name": "efficientnet-b0", "pretrained": True}, "pretrained would be fetched"),
        ("monai:Transchex", TRANSCHEX, "monai:Transchex fetches what path_or_repo_id and filename name"),
        ("monai:Transchex", TRANSCHEX | {"path_or_repo_id": "a/b"}, "path_or_repo_id would be fetched"),
        ("smp:Unet", {"encoder_name": "tu-hf-hub:timm/resnet18"}, "'tu-hf-hub:timm/resnet18' would be fetched"),
        ("smp:Unet", {"encoder_name": "tu-resnet18", "checkpoint_path": "a.pth"}, "checkpoint_path would be fetched"),
    ],
)
def test_what_would_be_fetched_is_refused_by_name(asked, name, arguments, said):
    with pytest.raises(CardError, match=said):
        build_network(Network(name=name, arguments=arguments), 3, 2)
    assert asked == []


def test_a_network_of_a_library_has_its_librarys_entry():
    assert find("smp:Unet").given == {"library": "smp", "network": "Unet"}
    with pytest.raises(CardError, match="leave it out"):
        build_network(Network(name="smp:Unet", arguments={"network": "FPN"}), 3, 2)
