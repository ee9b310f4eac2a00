"""Plans fit model and scene: whatever the size, tiles lie on the stride and automatic ones pass fewer voxels."""

import math
from dataclasses import replace

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling
from models.predictor import PredictorSpec
from models.run_settings import RunSettings
from tasks.errors import PlanError
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame
from tasks.jobs.job import Job
from tasks.segment.memory import available_bytes, left_in_groups
from tasks.segment.plan import Slot, make_plan, plan_tiles

CARD = Card(
    name="net",
    title="net",
    kind="volume",
    network=Network(name="unet"),
    channels=("a",),
    classes=(ClassEntry(name="x", colour="#000000"), ClassEntry(name="y", colour="#ffffff")),
    normalization=NoNormalization(),
    tiling=Tiling(tile=(32, 64, 64), halo=(4, 8, 8), overlap=(4, 8, 8)),
    licence="Apache-2.0",
    origin="test",
    orientation="SPL",
)
SPEC = PredictorSpec(n_channels=1, n_classes=2, stride=(4, 8, 8), margin=(0, 0, 0), receptive_field=None)


def plan(shape, device="cpu", n_slots=1, **tiling):
    job = Job.model_validate({"job": "j", "kind": "volume", "model": {"name": "net"}, "tiling": tiling})
    slot = Slot(
        settings=RunSettings(tile=CARD.tiling.tile, batch=1, device=device),
        device_name="a processor",
        peak_bytes=0,
        spec=SPEC,
    )
    return make_plan(job, CARD, Frame(native_shape=shape, model_shape=shape, scale=(1.0, 1.0, 1.0)), slot, n_slots)


def passed(made, shape) -> int:
    lattice = made.lattice(Frame(native_shape=shape, model_shape=shape, scale=(1.0, 1.0, 1.0)))
    return math.prod(len(axis.origins) for axis in lattice.axes) * math.prod(made.tile)


def test_a_model_that_sees_scenes_whole_gets_one_tile_and_one_pass_as_far_as_memory_reaches():
    card = CARD.model_copy(update={"tiling": Tiling(tile=(64,) * 3, whole=True, halo=(0,) * 3, overlap=(0,) * 3)})
    frame = Frame(native_shape=(131, 67, 700), model_shape=(131, 67, 700), scale=(1.0, 1.0, 1.0))
    slot = Slot(
        settings=RunSettings(tile=card.tiling.tile, batch=2, device="cpu"),
        device_name="a processor",
        peak_bytes=1 << 20,
        spec=SPEC,
        memory_bytes=1 << 30,
    )
    job = Job.model_validate({"job": "j", "kind": "volume", "model": {"name": "net"}})
    made = make_plan(job, card, frame, slot, 4)
    assert made.tile == (132, 72, 704)
    assert (made.slot.settings.batch, made.lattice(frame).count(Box.of_shape(frame.model_shape))) == (1, 1)
    with pytest.raises(PlanError, match=r"132x72x704 pixels at once.*tiling\.tile"):
        make_plan(job, card, frame, replace(slot, memory_bytes=1 << 20), 4)
    cut = job.model_copy(update={"tiling": job.tiling.model_copy(update={"tile": 64})})
    assert make_plan(cut, card, frame, replace(slot, memory_bytes=1 << 20), 4).tile == (64, 64, 64)


sides = st.one_of(st.sampled_from([1, 31, 32, 33, 67, 131]), st.integers(1, 300))


@given(st.tuples(sides, sides, sides))
@settings(max_examples=60)
def test_an_automatic_tile_of_a_volume_passes_no_more_voxels_than_the_cards(shape):
    grown, as_asked = plan(shape), plan(shape, tile=CARD.tiling.tile)
    assert passed(grown, shape) <= passed(as_asked, shape)
    assert math.prod(grown.tile) <= 4 * math.prod(CARD.tiling.tile)
    assert all(t % s == 0 for t, s in zip(grown.tile, SPEC.stride, strict=True))
    for axis in grown.lattice(Frame(native_shape=shape, model_shape=shape, scale=(1.0, 1.0, 1.0))).axes:
        assert axis.cores[0][0] == 0
        assert axis.cores[-1][1] == axis.length


@given(st.tuples(sides, sides, sides), st.integers(20, 40), st.integers(1, 4))
@settings(max_examples=60)
def test_an_automatic_block_fits_into_memory_or_is_a_single_chunk(shape, log_bytes, n_slots):
    slot = Slot(
        settings=RunSettings(tile=CARD.tiling.tile, batch=1, device="cpu"),
        device_name="a processor",
        peak_bytes=0,
        spec=SPEC,
        versions=(),
        memory_bytes=2**log_bytes,
    )
    job = Job.model_validate({"job": "j", "kind": "volume", "model": {"name": "net"}})
    frame = Frame(native_shape=shape, model_shape=shape, scale=(1.0, 1.0, 1.0))
    made, unlimited = (make_plan(job, CARD, frame, replace(slot, memory_bytes=m), n_slots) for m in (2**log_bytes, 0))
    assert made.identity() == unlimited.identity(), "memory changes no bit of the mask"
    assert all(b % c == 0 and c <= b <= u for b, c, u in zip(made.block, made.chunk, unlimited.block, strict=True))
    assert made.block == made.chunk or math.prod(made.block) * 4 <= 2**log_bytes // n_slots


def test_limits_of_containers_count(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("0::/job.slice\n4:memory:/docker/a\n3:cpu:/docker/a\n")
    for folder, limit, used in (("job.slice", "max", "5"), (".", "1000", "400"), ("memory/docker/a", "700", "300")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        names = ("limit_in_bytes", "usage_in_bytes") if "docker" in folder else ("max", "current")
        for name, text in zip(names, (limit, used), strict=True):
            (tmp_path / folder / f"memory.{name}").write_text(text)
    assert sorted(left_in_groups(tmp_path, own)) == [400, 600]
    assert left_in_groups(tmp_path, tmp_path / "nothing") == []
    assert 0 < available_bytes() <= psutil.virtual_memory().total


@given(st.tuples(sides, sides, sides), st.integers(1, 5))
@settings(max_examples=60)
def test_slots_change_blocks_and_nothing_else(shape, n_slots):
    one, many = plan(shape), plan(shape, n_slots=n_slots)
    assert replace(many, block=one.block) == one
    assert many.identity() == one.identity()
    assert all(b % c == 0 for b, c in zip(many.block, many.chunk, strict=True))


@pytest.mark.parametrize("recommended", [1, 4])
def test_one_number_for_all_axes_holds_whatever_the_card_recommends_but_for_single_slices(recommended):
    def tiles(tile):
        tiling = Tiling(tile=tile, halo=(recommended,) * 3, overlap=(recommended,) * 3)
        raw = {"job": "j", "kind": "volume", "model": {"name": "net"}}
        job = Job.model_validate(raw | {"tiling": {"tile": 64, "halo": 8, "overlap": 16}})
        return plan_tiles(job, CARD.model_copy(update={"tiling": tiling}))

    assert tiles((32, 32, 32)) == ((64,) * 3, (8,) * 3, (16,) * 3)
    assert tiles((1, 32, 32)) == ((1, 64, 64), (0, 8, 8), (0, 16, 16))


def test_a_tile_of_as_many_numbers_as_axes_is_asked_for():
    with pytest.raises(PlanError, match="3 axes"):
        plan((9, 9, 9), tile=(32, 32))
