"""Panoptic FPN: its objects are a Mask R-CNN's, its scores the paper's branch, and a fit lowers both losses."""

import csv
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import rasterio
import torch
from arrays import array_scene, make_work
from scenes import write_raster
from torchvision.models.detection import MaskRCNN

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling
from models.errors import CardError
from models.networks.builders import build_network
from models.networks.panoptic_fpn import SemanticBranch
from models.predictor import ObjectPredictor
from models.predictors.loading import load_predictor
from models.predictors.networks import card_spec
from models.predictors.objects import TorchDetector, TorchPanoptic
from models.run_settings import RunSettings
from models.training.objects import panoptic_targets_of
from models.training.settings import Sample, TrainSettings
from models.training.slices import fit_card
from models.weights.files import write_model
from tasks.analysis.analyse import analyse
from tasks.errors import JobError
from tasks.geometry.box import Box
from tasks.inputs.listing import list_inputs
from tasks.instances.lay import assemble
from tasks.instances.layers import instance_layers
from tasks.intake.describe import describe, identify
from tasks.intake.request import make_request
from tasks.jobs.instances import PanopticRules, PanopticSettings, panoptic_rules
from tasks.jobs.job import load_job
from tasks.products.begin import begin_product
from tasks.products.finish import finish
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import prepare

torch.set_num_threads(1)

ARGUMENTS = {
    "backbone": "resnet18", "anchors": [8, 16, 32, 64, 128], "detections_per_tile": 10, "score_threshold": 0.0,
    "width": 32, "boxes_per_crop": 64,
}  # fmt: skip


def card(n_channels=2, things=(1,), name="panoptic-fpn"):
    arguments = ARGUMENTS if name == "panoptic-fpn" else {k: v for k, v in ARGUMENTS.items() if k != "width"}
    return Card(
        name="all",
        title="Things and stuff",
        kind="raster",
        network=Network(name=name, arguments=arguments),
        channels=tuple(f"B{k}" for k in range(n_channels)),
        classes=tuple(ClassEntry(name=f"class {k}", colour="#d7301f", thing=k in things) for k in range(3)),
        normalization=NoNormalization(),
        tiling=Tiling(tile=(96, 96), halo=(16, 16), overlap=(0, 0)),
        licence="Apache-2.0",
        origin="test",
    )


@pytest.fixture(scope="module", autouse=True)
def _few_proposals():
    """A thousand proposals per tile would be most of the time that these tests take."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        few = partial(MaskRCNN, rpn_post_nms_top_n_test=30, rpn_post_nms_top_n_train=200)
        monkeypatch.setattr("models.networks.maskrcnn.MaskRCNN", few)
        yield


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = build_network(card().network, 2, 3)
    # As they are, random weights saturate batch norm.
    with torch.no_grad():
        for _ in range(4):
            made.objects.backbone.body.train()(torch.randn(2, 2, 96, 96))
    return made.eval()


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return write_model(folder, card(), network.state_dict()), folder


@pytest.mark.parametrize(("n_channels", "shape"), [(1, (32, 64)), (5, (96, 32))])
def test_scores_are_as_large_as_the_tile_for_any_bands(n_channels, shape):
    made = build_network(card(n_channels).network, n_channels, 3).eval()
    with torch.no_grad():
        (found,) = made([torch.randn(n_channels, *shape)])
    assert found["semantic"].shape == (3, *shape)


def test_the_semantic_branch_is_the_papers():
    branch = SemanticBranch(256, 128, 5)
    convolutions = [
        [layer.weight.shape for layer in level if isinstance(layer, torch.nn.Conv2d)] for level in branch.levels
    ]
    assert [len(level) for level in convolutions] == [1, 1, 2, 3]
    assert all(level[0] == (128, 256, 3, 3) for level in convolutions)
    levels = {str(k): torch.randn(1, 256, 32 >> k, 64 >> k) for k in range(4)}
    risen = [level(levels[str(k)]) for k, level in enumerate(branch.levels)]
    assert {one.shape for one in risen} == {(1, 128, 32, 64)}
    expected = torch.nn.functional.interpolate(
        branch.classify(sum(risen)), size=(128, 256), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(branch(levels), expected)


def test_objects_are_those_of_the_mask_rcnn_inside_and_scores_are_probabilities(network, written):
    inside = build_network(card(name="maskrcnn").network, 2, 3)
    inside.load_state_dict(network.objects.state_dict())
    tiles = np.random.default_rng(0).standard_normal((3, 2, 96, 96)).astype(np.float32)
    read = load_predictor(*written, RunSettings(tile=(96, 96), batch=2, device="cpu"))
    assert isinstance(read, TorchPanoptic)
    assert isinstance(read, ObjectPredictor)
    assert (read.spec.output, read.spec.n_classes) == ("panoptic", 3)
    # Not as it was read: files hold half precision.
    panoptic = TorchPanoptic(network, read.spec, RunSettings(tile=(96, 96), batch=2, device="cpu"))
    found = panoptic.detect(tiles)
    alone = TorchDetector(
        inside, card_spec(card(name="maskrcnn")), RunSettings(tile=(96, 96), batch=1, device="cpu")
    ).detect(tiles)
    for one, other in zip(found.objects, alone.objects, strict=True):
        assert one.scores.tobytes() == other.scores.tobytes()
        assert all(np.array_equal(a, b) for a, b in zip(one.masks, other.masks, strict=True))
    assert found.scores.shape == (3, 3, 96, 96)
    torch.testing.assert_close(found.scores.sum(1), torch.ones(3, 96, 96))
    with torch.inference_mode():
        (whole,) = network([torch.from_numpy(tiles[1])])
    torch.testing.assert_close(found.scores[1], whole["semantic"].softmax(0))
    assert panoptic.probe() >= 0


def test_a_scene_has_the_same_segments_whatever_the_blocks(written, tmp_path):
    image = np.random.default_rng(2).standard_normal((2, 530, 32)).astype(np.float32)
    results = []
    for block in (512, 1024):
        folder = tmp_path / str(block)
        work = make_work(array_scene(folder, image), folder / "store", *written, tiling={"block": block, "halo": 16})
        work = replace(work, panoptic=PanopticRules((1,), stuff_min_pixels=5))
        list(PlainEngine().run_blocks(work, work.plan.blocks(work.scene.frame)))
        assemble(work)
        layers = instance_layers(work)
        whole = Box.of_shape(image.shape[1:])
        results.append([layers.read(name, whole) for name in ("instances", "mask", "confidence")])
        assert set(layers.table.labels.tolist()) <= {1}
        assert (results[-1][1][results[-1][0] > 0] == 1).all()
        assert not (results[-1][1][results[-1][0] == 0] == 1).any()
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_product_has_segments_whose_numbers_agree(written, tmp_path, monkeypatch):
    monkeypatch.setenv("SWATHE_FOLDERS", str(written[1]))
    image = np.random.default_rng(3).standard_normal((2, 100, 70)).astype(np.float32)
    source = write_raster(tmp_path / "scene.tif", image)
    (tmp_path / "job.yaml").write_text(
        f"""
job: all
kind: raster
source: {{bands: {{B0: {{band: 1}}, B1: {{band: 2}}}}}}
model: {{weights: {written[1] / "all.safetensors"}}}
run: {{device: cpu}}
output: {{confidence: true, panoptic: {{stuff_min_pixels: 3}}}}
"""
    )
    job = load_job(str(tmp_path / "job.yaml"))
    request = make_request(job, tmp_path / "out")
    (item,) = list_inputs([str(source)], job)
    slot = measure_slot(request.card, request.card_folder, job, 1)
    prepared = prepare(request, describe(request, item), identify(request, item), slot, 1)
    list(PlainEngine().run_blocks(prepared.work, prepared.work.plan.blocks(prepared.scene.frame)))
    assemble(prepared.work)
    made = begin_product(prepared)
    finish(request, prepared, made)
    analyse(request, prepared, made)
    ids, mask = (rasterio.open(made / f"{name}.tif").read(1) for name in ("instances", "mask"))
    rows = list(csv.DictReader((made / "segments.csv").read_text().splitlines()))
    things, stuff = ([row for row in rows if row["kind"] == kind] for kind in ("thing", "stuff"))
    assert [int(row["pixels"]) for row in things] == [int((ids == k).sum()) for k in range(1, ids.max() + 1)]
    assert {row["class"]: int(row["pixels"]) for row in stuff} == {
        f"class {label}": int((mask == label).sum()) for label in (2,) if (mask == label).any()
    }
    summary = json.loads((made / "summary.json").read_text())
    assert summary["segments"]["by_class"]["class 1"]["pixels"] == (mask == 1).sum() == (ids > 0).sum()
    assert summary["segments"]["by_class"]["class 2"]["kind"] == "stuff"
    assert sum(float(row["area_ha"]) for row in rows) == pytest.approx((mask > 0).sum() * 0.04, rel=1e-3)
    with pytest.raises(JobError, match=r"output\.panoptic is for panoptic models"):
        make_request(
            load_job(str(tmp_path / "job.yaml"), ("model.weights=null", "model.name=identity")), tmp_path / "out"
        )


def test_targets_are_the_areas_of_things_and_all_classes():
    labels = torch.tensor([[1, 0, 2, 2], [1, 0, 255, 1]])
    targets = panoptic_targets_of(labels, (1,))
    assert targets["boxes"].tolist() == [[0, 0, 1, 2], [3, 1, 4, 2]]
    assert torch.equal(targets["semantic"], labels)


def test_a_few_steps_lower_the_loss_and_stuff_alone_is_refused():
    rng = np.random.default_rng(0)
    image, labels = rng.normal(0, 0.3, (2, 160, 160)).astype(np.float32), np.zeros((160, 160), np.uint8)
    labels[:, 80:] = 2
    for row in range(8, 136, 32):
        labels[row : row + 16, row : row + 16] = 1
    image += 3 * (labels == 1) - 3 * (labels == 2)
    sample = Sample(image=image, labels=labels, valid=np.ones(labels.shape, bool), name="squares")
    fitted = fit_card([sample], card(), TrainSettings(steps=9, batch=2, crop=(64, 64), learning_rate=1e-3))
    losses = [loss for _, loss in fitted.history]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert set(fitted.state_dict) == set(build_network(card().network, 2, 3).state_dict())
    with pytest.raises(CardError, match="which are things"):
        fit_card([sample], card(things=()), TrainSettings(steps=1, batch=1, crop=(64, 64)))
    with pytest.raises(CardError, match="which are things"):
        panoptic_rules(PanopticSettings(), card(things=()).classes)
