"""Instances over tiles: each object counted once, with the right area and the same id, wherever it lies."""

import json
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cc3d
import geopandas
import numpy as np
import pytest
import rasterio
from arrays import array_scene, fake_work
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from rasterio.features import rasterize
from scenes import write_raster

from models.predictor import TileObjects
from tasks.errors import PlanError, StoreError
from tasks.geometry.box import Box
from tasks.instances.join import join
from tasks.instances.lay import assemble
from tasks.instances.layers import NOT_OBSERVED, instance_layers
from tasks.instances.paint import WINDOWS, paint
from tasks.segment.fragments import BlockFragments, read_fragments, write_fragments
from tasks.segment.graph import PlainEngine
from tasks.segment.lattice import Lattice, TileAxis
from tasks.segment.store import BlockStore

PROGRAM = Path(__file__).parents[1] / "helpers" / "engine_process.py"
T = 32
SIZES = [1, T - 1, T, T + 1, 2 * T + 3]


def made(folder, image, valid=None, *, block=512, tile=T, halo=4, overlap=0, n_classes=4, order=None):
    """Find the instances of a label image with the fake that returns the areas of the tile that it sees."""
    scene = array_scene(folder, image[None].astype(np.float32), valid)
    tiling = {"tile": tile, "halo": halo, "overlap": overlap, "block": block}
    work = fake_work(scene, folder / "store", "components", tiling=tiling, n_classes=n_classes)
    blocks = work.plan.blocks(work.scene.frame)
    if order is not None:
        random.Random(order).shuffle(blocks)
    list(PlainEngine().run_blocks(work, blocks))
    assemble(work)
    return work


def whole(work, layer):
    return instance_layers(work).read(layer, Box.of_shape(work.scene.frame.native_shape))


def truth(image, valid=None):
    """Number the connected areas of equal values by their first pixels."""
    seen = image if valid is None else np.where(valid, image, 0)
    areas = cc3d.connected_components(seen.astype(np.int32), connectivity=8).astype(np.int64)
    firsts = {number: place for place, number in reversed(list(enumerate(areas.ravel().tolist()))) if number}
    ranks = np.zeros(areas.max() + 1, np.int64)
    ranks[sorted(firsts, key=firsts.__getitem__)] = np.arange(1, len(firsts) + 1)
    return ranks[areas]


def drawn():
    """Objects on every kind of corner of tiles (cores of 24, windows of 32) and of blocks (512)."""
    image = np.zeros((1090, 1070), np.int32)
    for row in (28, 52, 512, 1024):
        for col in (28, 52, 512, 1024):
            image[row - 6 : row + 5, col - 3 : col + 7] = 1  # on the corner of four
    image[100:104, 5:1065] = 2  # longer than a tile, over three blocks
    image[505:520, 300:304] = 3  # over the edge of a block
    image[300:304, 510:514] = 3
    image[200:205, 200:210], image[200:205, 210:220], image[205:210, 200:220] = 4, 1, 7  # touching, of one class
    image[600:900, 600], image[600:900, 899], image[600, 600:900], image[899, 600:900] = 1, 1, 1, 1  # a ring
    image[620:880, 620:880] = np.where(np.hypot(*np.indices((260, 260)) - 130) < 100, 4, 0)  # nested, of its class
    image[700:790, 700:702] = 5
    for col in range(100, 124, 3):  # a comb: tiles above its back see its teeth alone
        image[950:1050, col] = 1
    image[1049, 100:122] = 1
    across = np.arange(100)
    for k in range(4):  # side by side, their boxes over one another, of one class
        image[930 + across, 200 + across + 4 * k] = (1, 4, 7, 1)[k]
    image[1089, 1069] = 2
    image[0, 0] = 1
    return image


def test_objects_on_every_kind_of_corner_are_found_once_with_their_area(tmp_path):
    image = drawn()
    work = made(tmp_path, image)
    expected, ids, table = truth(image), whole(work, "instances"), instance_layers(work).table
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(table.pixels, np.bincount(expected.ravel())[1:])
    np.testing.assert_array_equal(whole(work, "mask"), np.where(image > 0, (image - 1) % 3 + 1, 0))
    np.testing.assert_array_equal(table.labels[ids[ids > 0] - 1], (image[ids > 0] - 1) % 3 + 1)


@given(
    st.sampled_from(SIZES), st.sampled_from(SIZES), st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.45, 0.7]),
    st.integers(1, 6), st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=20)
def test_tiles_show_what_the_whole_shows_for_every_size(tmp_path_factory, rows, cols, seed, share, halo, overlap):
    folder, rng = tmp_path_factory.mktemp("sizes"), np.random.default_rng(seed)
    image = np.where(rng.random((rows, cols)) < share, rng.integers(1, 4, (rows, cols)), 0)
    valid = rng.random((rows, cols)) > 0.1
    work = made(folder, image, valid, halo=halo, overlap=overlap)
    expected = np.where(valid, truth(image, valid), NOT_OBSERVED)
    np.testing.assert_array_equal(whole(work, "instances"), expected)
    assert ((whole(work, "mask") == 255) == ~valid).all()
    assert ((whole(work, "confidence") == 255) == ~valid).all()


def test_ids_and_tables_are_the_same_whatever_the_blocks_and_their_order(tmp_path):
    image, rng = drawn(), np.random.default_rng(2)
    valid = rng.random(image.shape) > 0.02
    results = []
    for k, (block, order) in enumerate([(512, None), (1024, 1), ((512, 1536), 2), (1536, None), (512, 3)]):
        work = made(tmp_path / str(k), image, valid, block=block, order=order)
        layers = [whole(work, name).tobytes() for name in ("instances", "mask", "confidence")]
        results.append([*layers, (work.store / "instances.npz").read_bytes()])
    assert all(result == results[0] for result in results)


def test_a_run_that_was_interrupted_ends_alike_and_damaged_fragments_are_noticed(tmp_path):
    image = drawn()
    untouched = made(tmp_path / "untouched", image)
    scene = array_scene(tmp_path / "again", image[None].astype(np.float32))
    tiling = {"tile": T, "halo": 4, "overlap": 0, "block": 512}
    work = fake_work(scene, tmp_path / "again" / "store", "components", tiling=tiling, n_classes=4)
    blocks, store = work.plan.blocks(work.scene.frame), BlockStore(work.store)
    list(PlainEngine().run_blocks(work, blocks[::2]))
    with pytest.raises(StoreError, match="not in the journal"):
        store.require_complete(blocks)
    masks, table = (work.store / "fragments" / f"0-0.{name}.npy" for name in ("masks", "table"))
    for damaged, position in ((masks, -3), (table, -9)):
        intact = damaged.read_bytes()
        damaged.write_bytes(bytes(b ^ (k == len(intact) + position) for k, b in enumerate(intact)))
        assert set(store.committed(blocks)) == set(blocks[2::2])
        damaged.write_bytes(b"")
        assert set(store.committed(blocks)) == set(blocks[2::2])
        damaged.write_bytes(intact)
    masks.unlink()
    done = store.committed(blocks)
    assert set(done) == set(blocks[2::2])
    list(PlainEngine().run_blocks(work, [block for block in blocks if block not in done]))
    assemble(work)
    assert (work.store / "instances.npz").read_bytes() == (untouched.store / "instances.npz").read_bytes()
    np.testing.assert_array_equal(whole(work, "instances"), whole(untouched, "instances"))


def test_a_killed_run_is_gone_on_with_and_ends_in_the_same_bytes(tmp_path):
    image = np.tile(drawn(), (2, 2))
    untouched = made(tmp_path / "untouched", image)
    scene = array_scene(tmp_path / "killed", image[None].astype(np.float32))
    tiling = {"tile": T, "halo": 4, "overlap": 0, "block": 512}
    work = fake_work(scene, tmp_path / "killed" / "store", "components", tiling=tiling, n_classes=4)
    (tmp_path / "work.pickle").write_bytes(pickle.dumps(work))
    blocks, store = work.plan.blocks(work.scene.frame), BlockStore(work.store)
    entries = work.store / "journal"
    for n_done in (3, 9):
        command = [sys.executable, str(PROGRAM), str(tmp_path / "work.pickle"), "plain", str(n_done)]
        environment = os.environ | {"PYTHONPATH": str(PROGRAM.parent)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout.read(len("begun\nheld\n")) == b"begun\nheld\n"
            process.kill()
        done = store.committed(blocks)
        assert n_done == len(done) == len(list(entries.glob("*.json"))) < len(blocks)
    list(PlainEngine().run_blocks(work, [block for block in blocks if block not in done]))
    assemble(work)
    assert (work.store / "instances.npz").read_bytes() == (untouched.store / "instances.npz").read_bytes()
    np.testing.assert_array_equal(whole(work, "instances"), whole(untouched, "instances"))


def test_each_tile_is_looked_at_once(tmp_path):
    image = drawn()
    scene = array_scene(tmp_path, image[None].astype(np.float32))
    tiling = {"tile": T, "halo": 4, "overlap": 0, "block": 512}
    work = fake_work(scene, tmp_path / "store", "components", tiling=tiling)
    reports = list(PlainEngine().run_blocks(work, work.plan.blocks(scene.frame)))
    assert sum(report.n_tiles for report in reports) == work.lattice.count(Box.of_shape(image.shape))


def test_tiles_that_share_nothing_are_refused(tmp_path):
    with pytest.raises(PlanError, match=r"share none.*tiling\.halo"):
        made(tmp_path, np.zeros((100, 100)), halo=0)
    made(tmp_path, np.zeros((T, T)), halo=0)


LATTICE = Lattice(
    (TileAxis(length=60, tile=40, halo=10, overlap=0), TileAxis(length=60, tile=40, halo=10, overlap=0))
)  # origins 0 and 20, cores meet at 30


def full(start, stop, fill=True):
    return Box(start, stop), np.full(tuple(b - a for a, b in zip(start, stop, strict=True)), fill)


def joined(folder, *seen, agreement=0.5, observed=None, windows=None):
    """Join and paint objects ``(tile, class, score, (box in the scene, mask))``."""
    shape, found = (60, 60), BlockFragments(2)
    observed = np.ones(shape, bool) if observed is None else observed
    for index in sorted({tile for tile, *_ in seen}):
        tile = LATTICE.tile(index)
        own = [(c, s, box.relative_to(tile.window.start).start, mask) for t, c, s, (box, mask) in seen if t == index]
        classes, scores, starts, masks = zip(*own, strict=True)
        inside = tile.window.intersection(Box.of_shape(shape))
        objects = TileObjects(np.array(classes, "u2"), np.array(scores, "f4"), np.array(starts), masks)
        found.add(tile, objects, observed[inside.slices], inside)
    write_fragments(folder, Box.of_shape(shape), found)
    fragments = read_fragments(folder, [Box.of_shape(shape)], 2)
    image = np.zeros(shape, np.uint32)

    def write(box, numbers):
        image[box.slices] = numbers

    table = paint(
        fragments, join(fragments, LATTICE, shape, agreement), shape, lambda box: ~observed[box.slices], write
    )
    return table.ids[image], table


def test_what_only_a_halo_shows_is_kept_only_where_a_neighbour_answers_for_it(tmp_path):
    # Cols 32 to 38 lie in the halo of tile (0, 0) and in the core of tile (0, 1).
    halo = ((0, 0), 1, 0.9, full((2, 32), (8, 38)))
    ids, table = joined(tmp_path, halo)
    assert len(table) == 0
    assert not ids.any()
    ids, table = joined(tmp_path, halo, ((0, 1), 1, 0.6, full((2, 32), (8, 42))))
    assert table.pixels.tolist() == [60]
    assert table.scores == pytest.approx([0.9])
    assert (ids[2:8, 32:42] == 1).all()


def test_objects_of_two_tiles_are_one_when_they_agree_on_what_both_saw(tmp_path):
    left = ((0, 0), 1, 0.9, full((0, 10), (10, 40)))
    for width, n in ((10, 1), (5, 1), (4, 2)):  # both saw cols 20 to 40: 10 rows against `width`
        _, table = joined(tmp_path, left, ((0, 1), 1, 0.8, full((0, 20), (width, 50))))
        assert len(table) == n, width
    assert len(joined(tmp_path, left, ((0, 1), 1, 0.8, full((0, 20), (4, 50))), agreement=0.4)[1]) == 1
    assert len(joined(tmp_path, left, ((0, 1), 2, 0.8, full((0, 20), (10, 50))))[1]) == 2, "of another class"


def test_of_overlapping_objects_the_more_certain_is_seen_and_a_hidden_one_has_no_id(tmp_path):
    below, above = ((0, 0), 1, 0.5, full((0, 0), (10, 10))), ((0, 0), 2, 0.7, full((5, 5), (15, 15)))
    ids, table = joined(tmp_path, below, above, ((0, 0), 1, 0.1, full((6, 6), (9, 9))))
    assert table.labels.tolist() == [1, 2]
    assert table.pixels.tolist() == [75, 100]
    assert (ids[5:10, 5:10] == 2).all()
    ids, _ = joined(tmp_path, ((0, 0), 1, 0.5, full((5, 5), (15, 15))), ((0, 0), 1, 0.5, full((0, 0), (10, 10))))
    assert (ids[5:10, 5:10] == 1).all(), "of two as certain the one that begins first"


def test_objects_end_where_nothing_was_observed_and_say_so(tmp_path):
    observed = np.ones((60, 60), bool)
    observed[:, 15:17] = False
    boxes = [full((2, 10), (6, 20)), full((20, 5), (25, 10)), full((20, 20), (25, 25)), full((0, 20), (2, 22))]
    ids, table = joined(tmp_path, *(((0, 0), 1, 0.5 + k / 10, box) for k, box in enumerate(boxes)), observed=observed)
    assert not ids[:, 15:17].any()
    assert table.pixels.tolist() == [4, 32, 25, 25]
    assert table.touches_border.tolist() == [True, True, False, False]


def test_painting_holds_a_window_and_not_the_raster(tmp_path):
    shape, tile = (50_000, 600), 512
    lattice = Lattice(
        (
            TileAxis(length=shape[0], tile=tile, halo=16, overlap=0),
            TileAxis(length=shape[1], tile=tile, halo=16, overlap=0),
        )
    )
    found = BlockFragments(2)
    for row in range(0, shape[0] - 600, 3000):
        tile_of = lattice.tile((lattice.axes[0].touching(row, row + 1)[0], 0))
        start = np.array([[row - tile_of.window.start[0], 0]])
        objects = TileObjects(np.ones(1, "u2"), np.ones(1, "f4"), start, (np.ones((20, 300), bool),))
        found.add(tile_of, objects, np.ones(tile_of.window.shape, bool), tile_of.window)
    write_fragments(tmp_path, Box.of_shape(shape), found)
    fragments = read_fragments(tmp_path, [Box.of_shape(shape)], 2)
    objects = join(fragments, lattice, shape, 0.5)
    sizes = []
    tracemalloc.start()
    table = paint(fragments, objects, shape, lambda box: np.zeros(box.shape, bool), lambda box, _: sizes.append(box))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table.pixels.tolist() == [6000] * len(table)
    assert max(box.shape for box in sizes) <= WINDOWS[2]
    assert peak < 30e6 < np.prod(shape) * 4 / 3


JOB = """
job: test-instances
kind: raster
model: {name: components, arguments: {n_classes: 3}}
tiling: {tile: 96, halo: 8}
output: {confidence: true}
"""


def segmented(folder, source, workers, *overrides):
    from flows.batch.orders import Batch
    from flows.batch.segment import segment_batch

    job = folder / "job.yaml"
    job.write_text(JOB)
    batch = Batch(
        inputs=[str(source)], job=str(job), out=folder / "out", workers=workers, device="cpu", overrides=list(overrides)
    )
    (outcome,) = segment_batch(batch)
    assert outcome.status == "done", outcome.error
    return folder / "out" / outcome.scene, outcome


@pytest.mark.usefixtures("shared_worker")
def test_raster_vectors_and_summary_of_a_job_agree_and_have_the_same_bytes_for_all_blocks(tmp_path):
    image = np.where(drawn() == 0, 0, drawn())[:, :600].astype(np.uint8)
    image[:20] = 200
    source = write_raster(tmp_path / "scene.tif", image[None], nodata=200)
    products = []
    for k, (workers, block) in enumerate([(1, 512), (2, 1536)]):
        (tmp_path / str(k)).mkdir()
        product, outcome = segmented(tmp_path / str(k), source, workers, f"tiling.block={block}")
        products.append({path.name: path.read_bytes() for path in product.iterdir() if path.name != "run.json"})
    assert products[0].keys() == products[1].keys()
    assert [name for name, content in products[0].items() if content != products[1][name]] == []

    with rasterio.open(product / "instances.tif") as opened:
        assert (opened.dtypes, opened.nodata, opened.shape) == (("uint32",), float(NOT_OBSERVED), image.shape)
        ids, transform = opened.read(1), opened.transform
    with rasterio.open(product / "mask.tif") as opened:
        mask = opened.read(1)
    with rasterio.open(product / "confidence.tif") as opened:
        confidence = opened.read(1)
    valid = image != 200
    expected = truth(np.where(valid, image, 0))
    np.testing.assert_array_equal(ids, np.where(valid, expected, NOT_OBSERVED))
    np.testing.assert_array_equal(mask, np.where(valid, np.where(image > 0, (image - 1) % 2 + 1, 0), 255))
    np.testing.assert_array_equal(confidence, np.where(valid, np.where(expected > 0, 100, 0), 255))

    vectors, parquet = (
        geopandas.read_file(product / "instances.gpkg"),
        geopandas.read_parquet(product / "instances.parquet"),
    )
    assert vectors.drop(columns="geometry").equals(
        parquet.drop(columns="geometry").astype(vectors.dtypes.drop("geometry"))
    )
    assert vectors["id"].tolist() == list(range(1, expected.max() + 1))
    np.testing.assert_array_equal(vectors["pixels"], np.bincount(expected.ravel())[1:])
    burnt = rasterize(zip(vectors.geometry, vectors["id"], strict=True), ids.shape, transform=transform, dtype="uint32")
    np.testing.assert_array_equal(burnt, np.where(valid, expected, 0))
    np.testing.assert_allclose(vectors.geometry.area, vectors["pixels"] * 400)
    geodesic = [abs(Geod(ellps="WGS84").geometry_area_perimeter(g)[0]) / 1e4 for g in vectors.to_crs(4326).geometry]
    np.testing.assert_allclose(vectors["area_ha"], geodesic, rtol=1e-4)

    summary = json.loads((product / "summary.json").read_text())
    for name, facts in summary["instances"]["by_class"].items():
        own = vectors[vectors["class"] == name]
        assert facts["instances"] == len(own) == outcome.headline[f"{name.replace(' ', '_')}_instances"]
        assert facts["pixels"] == own["pixels"].sum() == summary["classes"][name]["pixels"]
        assert facts["area_ha"] == pytest.approx(own["area_ha"].sum())
        assert facts["area_ha"] == pytest.approx(summary["classes"][name]["area_ha"])
    assert "Instances by class" in (product / "report.html").read_text()
