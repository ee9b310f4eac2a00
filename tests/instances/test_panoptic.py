"""Panoptic segmentation: objects and classes made one as Panoptic FPN says, the same whatever the blocks."""

from dataclasses import replace

import cc3d
import numpy as np
import pytest
from arrays import array_scene, fake_work
from scipy import ndimage

from models.predictor import Detections, TileObjects
from tasks.geometry.box import Box
from tasks.instances.lay import assemble
from tasks.instances.layers import NOT_OBSERVED, instance_layers
from tasks.jobs.instances import PanopticRules
from tasks.segment.graph import PlainEngine
from tasks.segment.store import BlockStore

CLASSES = 5
THINGS = (1, 2)


class Drawn:
    """Reads the answer from the picture: objects from its first channels, classes from its last."""

    def __init__(self, spec):
        self.spec = spec

    def detect(self, batch):
        scores = np.eye(CLASSES, dtype=np.float32)[np.rint(batch[:, -1]).astype(int)]
        return Detections(tuple(map(self.objects, batch)), np.moveaxis(scores, -1, 1))

    def objects(self, tile):
        found = []
        for label, layer in enumerate(np.rint(tile[:-1]).astype(int), start=1):
            for place in ndimage.find_objects(layer):
                if place is not None:
                    number = int(layer[place].max())
                    found.append((number, label, place, layer[place] == number))
        found.sort(key=lambda one: -score_of(one[0]))
        return TileObjects(
            np.array([label for _, label, _, _ in found], np.uint16),
            np.array([score_of(number) for number, *_ in found], np.float32),
            np.array([[part.start for part in place] for _, _, place, _ in found], np.int32).reshape(-1, 2),
            tuple(mask for *_, mask in found),
        )


def score_of(number: int) -> float:
    return 0.5 + (number * 37 % 100) / 250


def drawn(seed: int, shape=(530, 150)) -> np.ndarray:
    """Discs of one class per layer, where none overlap since tiles could not part them, and blotches of classes."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((4, *shape), np.float32)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    for number in range(1, 100):
        row, col, radius = rng.integers(0, shape[0]), rng.integers(0, shape[1]), rng.integers(2, 13)
        disc = np.hypot(rows - row, cols - col) < radius
        layer = layers[int(rng.integers(3))]
        if not layer[ndimage.binary_dilation(disc, iterations=2)].any():
            layer[disc] = number
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    layers[3] = np.digitize(noise, np.quantile(noise, [0.1, 0.2, 0.4, 0.7]))
    return layers


def merged(layers, valid, rules):
    """The rules word for word on the whole array."""
    classes, ids = np.zeros(valid.shape, int), np.zeros(valid.shape, int)
    objects = sorted(
        (
            (score_of(n), n, label, (layer == n) & valid)
            for label, layer in enumerate(layers[:3], start=1)
            for n in np.unique(layer[layer > 0])
        ),
        key=lambda one: -one[0],
    )
    for _, number, label, mask in objects:
        if label not in rules.things or not mask.any():
            continue
        if (mask & (ids > 0)).sum() > rules.overlap * mask.sum():
            continue
        free = mask & (ids == 0)
        ids[free], classes[free] = number, label
    semantic = np.where(valid & (ids == 0), layers[3], 0).astype(int)
    semantic[np.isin(semantic, rules.things)] = 0
    areas = cc3d.connected_components(semantic, connectivity=8)
    sizes = np.bincount(areas.ravel())
    semantic[sizes[areas] < rules.stuff_min_pixels] = 0
    classes = np.where(valid, np.where(ids > 0, classes, semantic), 255)
    ordered = np.zeros_like(ids)
    for rank, number in enumerate(dict.fromkeys(ids[ids > 0].tolist()), start=1):
        ordered[ids == number] = rank
    return classes, np.where(valid, ordered, NOT_OBSERVED)


def made(folder, layers, valid, rules, block, monkeypatch):
    scene = array_scene(folder, layers, valid)
    work = fake_work(
        scene, folder / "store", "components", tiling={"tile": 64, "halo": 16, "block": block}, n_classes=CLASSES
    )
    spec = replace(work.plan.slot.spec, output="panoptic", n_channels=4)
    work = replace(work, plan=replace(work.plan, slot=replace(work.plan.slot, spec=spec)), panoptic=rules)
    BlockStore(work.store).create(valid.shape, work.plan.block, work.plan.chunk, work.layers)
    monkeypatch.setattr("tasks.segment.panoptic.slot_detector", lambda _: Drawn(spec))
    list(PlainEngine().run_blocks(work, work.plan.blocks(work.scene.frame)))
    assemble(work)
    layer = instance_layers(work)
    whole = Box.of_shape(valid.shape)
    return layer, {name: layer.read(name, whole) for name in ("mask", "instances", "confidence")}


@pytest.mark.parametrize(
    "rules", [PanopticRules(THINGS), PanopticRules((2,), 0.1, 400), PanopticRules((1, 2, 3), 1.0, 1)]
)
def test_a_scene_is_what_the_rules_make_of_the_whole_whatever_the_blocks(tmp_path, monkeypatch, rules):
    layers = drawn(1)
    valid = np.ones(layers.shape[1:], bool)
    valid[200:215, 20:90] = False
    classes, ids = merged(layers, valid, rules)
    assert len(np.unique(ids)) > 10
    for block in (512, 1024):
        layer, found = made(tmp_path / str(block), layers, valid, rules, block, monkeypatch)
        np.testing.assert_array_equal(found["mask"], classes)
        np.testing.assert_array_equal(found["instances"], ids)
        assert (found["confidence"][~valid] == 255).all()
        assert set(layer.table.labels.tolist()) <= set(rules.things)
