"""The engine's laws: identity, validity, and the same bits whatever the block."""

import numpy as np
import pytest
from arrays import array_scene, fake_work, read_mask
from hypothesis import given, settings
from hypothesis import strategies as st

from models.classical.predictor import ThresholdPredictor
from tasks.errors import PlanError, SceneError, StoreError
from tasks.geometry.frame import Frame
from tasks.segment.graph import PlainEngine
from tasks.segment.store import BlockStore

T = 64
SIZES = [1, T - 1, T, T + 1, 2 * T + 3]


def run(work):
    blocks = work.plan.blocks(work.scene.frame)
    reports = list(PlainEngine().run_blocks(work, blocks))
    BlockStore(work.store).require_complete(blocks)
    return reports


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("cols", [1, T + 1, 3 * T - 5])
def test_the_identity_model_returns_its_raster(tmp_path, rows, cols):
    image = np.random.default_rng(rows * 1000 + cols).integers(0, 200, (1, rows, cols)).astype(np.float32)
    scene = array_scene(tmp_path, image)
    work = fake_work(scene, tmp_path / "store", tiling={"tile": T, "halo": 4, "overlap": 8}, n_classes=200)
    run(work)
    np.testing.assert_array_equal(read_mask(work), image[0].astype(np.uint8))
    assert (read_mask(work, "confidence") == 100).all()


@given(st.tuples(st.sampled_from([1, 15, 16, 17, 35]), st.integers(1, 40), st.integers(1, 40)))
@settings(max_examples=15)
def test_the_identity_model_returns_its_volume(tmp_path_factory, shape):
    folder = tmp_path_factory.mktemp("volume")
    image = np.random.default_rng(sum(shape)).integers(0, 50, (1, *shape)).astype(np.float32)
    work = fake_work(
        array_scene(folder, image), folder / "store", tiling={"tile": 16, "halo": 2, "overlap": 4}, n_classes=50
    )
    run(work)
    np.testing.assert_array_equal(read_mask(work), image[0].astype(np.uint8))


def test_slices_along_the_first_axis_return_their_volume(tmp_path):
    image = np.random.default_rng(0).integers(0, 9, (1, 7, 50, 33)).astype(np.float32)
    tiling = {"tile": (1, 32, 32), "halo": 4, "overlap": 4}
    work = fake_work(array_scene(tmp_path, image), tmp_path / "store", tiling=tiling, n_classes=9)
    run(work)
    np.testing.assert_array_equal(read_mask(work), image[0].astype(np.uint8))


def test_not_observed_stays_not_observed(tmp_path):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 3, (1, 700, 300)).astype(np.float32)
    valid = rng.random((700, 300)) > 0.3
    valid[100:420] = False
    work = fake_work(array_scene(tmp_path, image, valid), tmp_path / "store", tiling={"tile": 64}, n_classes=3)
    reports = run(work)
    mask = read_mask(work)
    assert (mask[~valid] == 255).all()
    np.testing.assert_array_equal(mask[valid], image[0][valid])
    assert (read_mask(work, "confidence")[~valid] == 255).all()
    assert sum(report.n_tiles for report in reports) < 11 * 5, "tiles without a valid pixel are not predicted"


def test_a_scene_without_a_valid_pixel_predicts_nothing(tmp_path):
    valid = np.zeros((90, 80), bool)
    work = fake_work(array_scene(tmp_path, np.zeros((1, 90, 80), np.float32), valid), tmp_path / "store", n_classes=2)
    (report,) = run(work)
    assert report.n_tiles == 0
    assert (read_mask(work) == 255).all()


@pytest.mark.parametrize("scale", [(0.5, 0.6, 0.6), (1.7, 1.0, 0.31), (3.7, 0.5, 0.4)])
def test_a_resampled_volume_has_the_same_bits_for_every_block(tmp_path, scale):
    rng = np.random.default_rng(3)
    shape = (70, 90, 75)
    image = rng.random((1, *shape)).astype(np.float32)
    model_shape = tuple(max(1, int(np.ceil(n * s))) for n, s in zip(shape, scale, strict=True))
    valid = rng.random(shape) > 0.1
    masks = []
    for k, block in enumerate([(96, 128, 128), (32, 64, 64), (64, 64, 128)]):
        scene = array_scene(
            tmp_path / str(k), image, valid, Frame(native_shape=shape, model_shape=model_shape, scale=scale)
        )
        tiling = {"tile": 16, "halo": 2, "overlap": 2, "block": block}
        work = fake_work(scene, tmp_path / str(k) / "store", "threshold", tiling=tiling, threshold=0.5)
        run(work)
        masks.append(np.stack([read_mask(work), read_mask(work, "confidence")]))
    assert (masks[0][0][valid] < 2).all()
    assert (masks[0][0][~valid] == 255).all()
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


def test_scores_that_are_no_numbers_fail_the_scene_by_name(tmp_path, monkeypatch):
    scene = array_scene(tmp_path, np.ones((1, 100, 90), np.float32))
    work = fake_work(scene, tmp_path / "store", "threshold", tiling={"tile": T, "halo": 0}, threshold=0.5)
    monkeypatch.setattr(ThresholdPredictor, "predict", lambda _, batch: np.full((len(batch), 2, T, T), np.nan, "f4"))
    with pytest.raises(SceneError, match=r"scene: the model's scores are not numbers .*run.dtype"):
        run(work)


def test_a_store_with_a_missing_block_is_not_taken_for_whole(tmp_path):
    work = fake_work(
        array_scene(tmp_path, np.zeros((1, 1100, 600), np.float32)), tmp_path / "s", tiling={"block": 512}, n_classes=2
    )
    blocks = work.plan.blocks(work.scene.frame)
    list(PlainEngine().run_blocks(work, blocks[:-1]))
    with pytest.raises(StoreError, match="1 blocks are not in the journal"):
        BlockStore(work.store).require_complete(blocks)


def test_a_damaged_block_is_noticed_and_redone(tmp_path):
    image = np.random.default_rng(5).integers(0, 2, (1, 600, 600)).astype(np.float32)
    work = fake_work(array_scene(tmp_path, image), tmp_path / "s", tiling={"block": 512}, n_classes=2)
    run(work)
    blocks = work.plan.blocks(work.scene.frame)
    shard = work.store / "mask" / "c" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 0xFF
    shard.write_bytes(data)
    assert set(BlockStore(work.store).committed(blocks)) == set(blocks[1:])


def test_a_block_off_the_products_internal_tile_is_refused(tmp_path):
    with pytest.raises(PlanError, match=r"tiling\.block"):
        fake_work(array_scene(tmp_path, np.zeros((1, 9, 9))), tmp_path / "s", tiling={"block": 100}, n_classes=2)
