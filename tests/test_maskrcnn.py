"""Mask R-CNN: torchvision's own answers, whatever the batch, over tiles, and fitted."""

import numpy as np
import pytest
import torch
from arrays import array_scene, make_work
from torchvision.models.detection import maskrcnn_resnet50_fpn

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling
from models.errors import CardError, DeviceError
from models.object_predictor import TorchDetector
from models.predictor import ObjectPredictor
from models.registry import RunSettings, build_network, load_predictor
from models.torch_predictor import card_spec
from models.weights import write_model
from tasks.box import Box
from tasks.instances.layers import assemble, instance_layers
from tasks.segment.graph import PlainEngine

torch.set_num_threads(1)

SMALL = {"backbone": "resnet18", "anchors": [8, 16, 32, 64, 128], "detections_per_tile": 10, "score_threshold": 0.0}


def card(arguments=SMALL, n_channels=2, n_classes=3, normalization=None):
    return Card(
        name="things",
        title="Things",
        kind="raster",
        network=Network(name="maskrcnn", arguments=dict(arguments)),
        channels=tuple(f"B{k}" for k in range(n_channels)),
        classes=tuple(ClassEntry(name=f"class {k}", colour="#d7301f") for k in range(n_classes)),
        normalization=normalization or NoNormalization(),
        tiling=Tiling(tile=(96, 96), halo=(16, 16), overlap=(0, 0)),
        licence="Apache-2.0",
        origin="test",
    )


def settle(network):
    """Give batch norm the statistics of noise: as they are, random weights saturate."""
    torch.manual_seed(1)
    network.backbone.body.train()
    with torch.no_grad():
        for _ in range(4):
            network.backbone.body(torch.randn(2, network.backbone.body.conv1.in_channels, 96, 96))
    return network.eval()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return settle(build_network(card().network, 2, 3))


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return write_model(folder, card(), network.state_dict()), folder


@pytest.mark.parametrize(("n_channels", "shape"), [(3, (96, 128)), (5, (64, 64))])
def test_objects_are_those_of_torchvision_with_the_same_weights(n_channels, shape):
    torch.manual_seed(0)
    arguments = {"detections_per_tile": 7, "score_threshold": 0.0}
    ours = settle(build_network(card(arguments).network, n_channels, 3))
    theirs = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=min(shape), max_size=max(shape),
        image_mean=[0.0] * n_channels, image_std=[1.0] * n_channels, box_detections_per_img=7, box_score_thresh=0.0,
    ).eval()  # fmt: skip
    if n_channels != 3:
        theirs.backbone.body.conv1 = torch.nn.Conv2d(n_channels, 64, 7, 2, 3, bias=False)
    theirs.load_state_dict(ours.state_dict())
    images = np.random.default_rng(0).standard_normal((2, n_channels, *shape)).astype(np.float32)
    detector = TorchDetector(ours, card_spec(card(arguments, n_channels)), RunSettings(shape, 2, "cpu"))
    found = detector.detect(images).objects
    for image, objects in zip(images, found, strict=True):
        with torch.inference_mode():
            (expected,) = theirs([torch.from_numpy(image)])
        masks = expected["masks"][:, 0].numpy() > 0.5
        seen = masks.any((1, 2))
        assert len(objects.scores) == seen.sum() > 0
        np.testing.assert_array_equal(objects.scores, expected["scores"].numpy()[seen])
        np.testing.assert_array_equal(objects.classes, expected["labels"].numpy()[seen])
        for mask, start, own in zip(masks[seen], objects.starts, objects.masks, strict=True):
            pasted = np.zeros(shape, bool)
            pasted[tuple(slice(s, s + n) for s, n in zip(start, own.shape, strict=True))] = own
            np.testing.assert_array_equal(pasted, mask)


def test_objects_are_the_same_whatever_is_beside_the_tile(written):
    tiles = np.random.default_rng(1).standard_normal((3, 2, 96, 96)).astype(np.float32)
    alone = load_predictor(*written, RunSettings((96, 96), 1, "cpu"))
    together = load_predictor(*written, RunSettings((96, 96), 3, "cpu"))
    assert isinstance(alone, ObjectPredictor)
    assert alone.spec.output == "objects"
    for one, other in zip(together.detect(tiles).objects, together.detect(tiles[::-1]).objects[::-1], strict=True):
        same(one, other)
    for tile, objects in zip(tiles, together.detect(tiles).objects, strict=True):
        same(objects, alone.detect(tile[None]).objects[0])
        assert (np.diff(objects.scores) <= 0).all()
        assert 0 < len(objects.scores) <= 10


def same(one, other):
    for name in ("classes", "scores", "starts"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    for mask, other_mask in zip(one.masks, other.masks, strict=True):
        np.testing.assert_array_equal(mask, other_mask)


def test_a_scene_has_the_same_instances_whatever_the_blocks(written, tmp_path):
    image = np.random.default_rng(2).standard_normal((2, 530, 90)).astype(np.float32)
    results = []
    for block in (512, 1024):
        folder = tmp_path / str(block)
        work = make_work(array_scene(folder, image), folder / "store", *written, tiling={"block": block, "halo": 16})
        list(PlainEngine().run_blocks(work, work.plan.blocks(work.scene.frame)))
        assemble(work)
        layers = instance_layers(work)
        results.append(
            [layers.read(name, Box.of_shape(image.shape[1:])) for name in ("instances", "mask", "confidence")]
        )
        assert layers.n > 0
        np.testing.assert_array_equal(
            np.bincount(results[-1][0].ravel(), minlength=layers.n + 1)[1:], layers.table.pixels
        )
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_does_not_fit_is_refused_by_name(written, network):
    with pytest.raises(CardError, match=r"tile \(90, 96\).*multiples of \(32, 32\)"):
        load_predictor(*written, RunSettings((90, 96), 1, "cpu"))
    with pytest.raises(DeviceError, match="float32, not bfloat16"):
        load_predictor(*written, RunSettings((96, 96), 1, "cpu", "bfloat16"))
    with pytest.raises(CardError, match=r"maskrcnn.*anchors"):
        build_network(Network(name="maskrcnn", arguments={"anchors": [8, 16]}), 3, 2)
    small = load_predictor(*written, RunSettings((96, 96), 1, "cpu"))
    assert small.probe() >= 0
