"""A product is put together where nothing else writes, also while a worker is at what a cancelled run began."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scenes import write_raster

from tasks.inputs.listing import list_inputs
from tasks.intake.describe import describe, identify
from tasks.intake.request import Request, make_request
from tasks.jobs.job import Job
from tasks.products.begin import begin_product
from tasks.products.finish import finish
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import Prepared, prepare

JOB = Job.model_validate(
    {"job": "a", "kind": "raster", "model": {"name": "threshold", "arguments": {"threshold": 9}},
     "source": {"bands": {"b": {"band": 1}}}, "tiling": {"tile": 128, "halo": 0, "overlap": 0, "block": 512}}
)  # fmt: skip


@pytest.fixture
def segmented(tmp_path) -> tuple[Request, Prepared]:
    image = np.random.default_rng(0).integers(0, 200, (1, 600, 700)).astype(np.uint8)
    request = make_request(JOB, tmp_path / "out")
    (item,) = list_inputs([str(write_raster(tmp_path / "a.tif", image))], JOB)
    slot = measure_slot(request.card, None, JOB, 1)
    prepared = prepare(request, describe(request, item), identify(request, item), slot, 1)
    list(PlainEngine().run_blocks(prepared.work, prepared.work.plan.blocks(prepared.scene.frame)))
    return request, prepared


def made(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_earlier_finish_that_writes_on_reaches_no_later_product(segmented, monkeypatch):
    request, prepared = segmented
    earlier = begin_product(prepared)
    finish(request, prepared, earlier)
    whole = made(earlier)
    with monkeypatch.context() as busy:
        # As where a file comes after the folder was looked through.
        busy.setattr(shutil, "rmtree", lambda path, ignore_errors=False: None)
        later = begin_product(prepared)
    (earlier / "mask.tif").write_bytes(b"half")
    assert made(later) == {}
    finish(request, prepared, later)
    (earlier / "mask.tif").write_bytes(b"more")
    assert made(later) == whole, "the bytes do not depend on where it is put together"


def test_what_earlier_runs_left_is_cleared_away_and_the_store_is_not(segmented):
    request, prepared = segmented
    left = [begin_product(prepared), prepared.work.store.parent / "product"]
    left[1].mkdir()
    (left[0] / "mask.tif").touch()
    finish(request, prepared, folder := begin_product(prepared))
    assert not any(path.exists() for path in left)
    assert (folder / "mask.tif").stat().st_size > 0
