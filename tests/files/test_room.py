"""Disks that are full, read-only or without locks are named; nothing is half-published, and what is done is kept."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from scenes import write_raster, write_volume

from tasks.errors import DiskFullError, OversizedSceneError, StoreError
from tasks.files import durable, room
from tasks.files.durable import replace_file
from tasks.files.room import require_room, writing
from tasks.geometry.raster_grid import RasterGrid
from tasks.inputs.listing import list_inputs
from tasks.intake.describe import describe, identify
from tasks.intake.request import make_request
from tasks.jobs.job import Job
from tasks.out.folder import OutFolder
from tasks.out.ledger import Ledger, ProductRow
from tasks.products.begin import begin_product
from tasks.products.cog import RasterProductSpec, write_cog
from tasks.products.finish import finish
from tasks.products.publish import publish
from tasks.products.vectors import write_gpkg, write_parquet
from tasks.scenes.vectors import VectorTable
from tasks.scenes.volume.spool import spool
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import Prepared, prepare
from tasks.segment.store import BlockStore

JOB = Job.model_validate(
    {"job": "a", "kind": "raster", "model": {"name": "threshold", "arguments": {"threshold": 9}},
     "source": {"bands": {"b": {"band": 1}}}, "tiling": {"tile": 128, "halo": 0, "overlap": 0, "block": 512}}
)  # fmt: skip
ROW = ProductRow(scene="a", request="request", product="key", status="done", error=None, headline={})


@pytest.fixture
def prepared(tmp_path) -> tuple[Prepared, OutFolder]:
    image = np.random.default_rng(0).integers(0, 200, (1, 600, 700)).astype(np.uint8)
    request = make_request(JOB, tmp_path / "out")
    (item,) = list_inputs([str(write_raster(tmp_path / "a.tif", image))], JOB)
    slot = measure_slot(request.card, None, JOB, 1)
    return prepare(request, describe(request, item), identify(request, item), slot, 1), request.out


def segment(made: Prepared) -> None:
    list(PlainEngine().run_blocks(made.work, made.work.plan.blocks(made.scene.frame)))


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), DiskFullError),
        (sqlite3.OperationalError("database or disk is full"), DiskFullError),
        (OSError(errno.EROFS, "Read-only file system"), StoreError),
        (PermissionError(errno.EACCES, "Permission denied"), StoreError),
        (sqlite3.OperationalError("attempt to write a readonly database"), StoreError),
    ],
)
def test_errors_of_a_disk_say_what_where_and_what_is_free(tmp_path, error, named):
    with pytest.raises(named, match=r"the store") as raised, writing("the store", tmp_path):
        raise error
    assert str(tmp_path) in str(raised.value)
    assert ("MiB are free" in str(raised.value)) == (named is DiskFullError)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), sqlite3.OperationalError("no such table")])
def test_other_errors_keep_their_own_names(tmp_path, error):
    with pytest.raises(type(error)) as raised, writing("the store", tmp_path):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("step", ["tasks.segment.store.sync", "tasks.segment.store.BlockStore._write_layers"])
def test_a_full_disk_under_the_block_store_is_named_and_whole_blocks_are_kept(prepared, step, monkeypatch):
    made, _ = prepared
    blocks = made.work.plan.blocks(made.scene.frame)
    list(PlainEngine().run_blocks(made.work, blocks[:2]))
    with monkeypatch.context() as patched:
        patched.setattr(step, lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(DiskFullError, match="no room for the block store"):
            segment(made)
    assert set(BlockStore(made.work.store).committed(blocks)) == set(blocks[:2])
    segment(made)
    BlockStore(made.work.store).require_complete(blocks)


STEPS = ["tasks.products.publish._sync_tree", "tasks.products.publish.sync", "pathlib.Path.symlink_to"]


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_while_publishing_shows_nothing_and_the_next_try_goes_on(prepared, step, monkeypatch):
    made, out = prepared
    segment(made)
    request = make_request(JOB, out.root)
    folder = begin_product(made)
    finish(request, made, folder)
    whole = (folder / "mask.tif").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(step, lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(DiskFullError, match="no room for the product"):
            publish(out, "a", made.product_key, folder)
    assert not out.link("a").exists()
    publish(out, "a", made.product_key, folder)
    assert (out.link("a") / "mask.tif").read_bytes() == whole


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root mounts a small disk")
def test_a_disk_that_fills_up_is_named_and_the_run_goes_on_when_there_is_room(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no mount here: {mounted.stderr.decode().strip()}")
    try:
        ledger = Ledger(disk / "state.sqlite")
        ledger.record(ROW, "run", "now")
        replace_file(disk / "batch.csv", b"old")
        filler = disk / "filler"
        fill(filler)
        with pytest.raises(DiskFullError, match=r"no room for batch\.csv.*0 MiB are free"):
            replace_file(disk / "batch.csv", bytes(100_000))
        assert (disk / "batch.csv").read_bytes() == b"old"
        with pytest.raises(DiskFullError, match="no room for the ledger"):
            ledger.record(replace(ROW, scene="b", error="x" * 100_000), "run", "now")
        with pytest.raises(DiskFullError, match="no room for a first file"), OutFolder(disk).locked():
            pytest.fail("a full folder was taken")
        with pytest.raises(DiskFullError, match=r"a takes up to 1000 MiB, at least 50, and 0 MiB are free"):
            require_room(disk, 1000 << 20, "a")
        values = np.random.default_rng(0).integers(0, 200, (600, 600)).astype(np.uint8)
        with pytest.raises(DiskFullError, match=r"no room for mask\.tif"):
            write_cog(
                lambda box: values[box.slices], disk / "mask.tif", RasterProductSpec(RasterGrid(rows=600, cols=600))
            )
        table = VectorTable(
            name="a",
            crs_wkt=None,
            geometries=shapely.points(np.arange(9), 0),
            columns={"id": np.arange(9)},
            geometry_type="Point",
        )
        with pytest.raises(DiskFullError, match=r"no room for a\.gpkg"):
            write_gpkg(disk / "a.gpkg", table)
        with pytest.raises(DiskFullError, match=r"no room for a\.parquet"):
            write_parquet(disk / "a.parquet", table)
        source = write_volume(tmp_path / "a.nii.gz", np.ones((8, 8, 8), np.int16))
        with pytest.raises(OversizedSceneError, match="of disk to be decompressed"):
            spool(source, 1376, disk / "spool")
        filler.unlink()
        replace_file(disk / "batch.csv", b"new")
        assert ledger.product("a") == ROW
        with OutFolder(disk).locked():
            pass
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_beyond_a_limit_is_named_in_the_process_that_has_it(tmp_path):
    program = (
        "import pathlib, resource, sys\n"
        "from tasks.files.durable import replace_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    replace_file(pathlib.Path(sys.argv[1]) / 'a', bytes(5000))\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert ended.stdout == "DiskFullError\n"
    assert not (tmp_path / "a").exists()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(room.tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(StoreError, match=r"Read-only file system\. Mend its permissions"), OutFolder(tmp_path).locked():
        pytest.fail("a read-only folder was taken")


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("tasks.out.folder.fcntl.flock", refuse)
    with pytest.raises(StoreError, match="its file system has no locks"), OutFolder(tmp_path).locked():
        pytest.fail("a folder without locks was taken")


def test_a_file_is_synced_before_it_is_put_in_place_and_its_folder_after(tmp_path, monkeypatch):
    calls: list[tuple[str, str]] = []
    fsync, replacing = os.fsync, Path.replace

    def seen_sync(descriptor: int) -> None:
        calls.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def seen_replace(path: Path, target: Path) -> Path:
        calls.append(("replace", path.name))
        return replacing(path, target)

    monkeypatch.setattr(durable.os, "fsync", seen_sync)
    monkeypatch.setattr(Path, "replace", seen_replace)
    replace_file(tmp_path / "a.json", b"{}")
    assert calls == [("sync", ".a.json.part"), ("replace", ".a.json.part"), ("sync", tmp_path.name)]


def test_every_file_of_a_product_is_synced_before_it_is_shown(tmp_path, monkeypatch):
    calls: list[str] = []
    out = OutFolder(tmp_path / "out")
    folder = out.scratch / "scenes" / "a" / "product"
    (folder / "maps").mkdir(parents=True)
    (folder / "mask.tif").touch()
    (folder / "maps" / "x.json").write_text(json.dumps({}))
    replacing = Path.replace
    monkeypatch.setattr("tasks.products.publish.sync", lambda path: calls.append(path.name))
    monkeypatch.setattr(Path, "replace", lambda path, to: (calls.append(f"replace {to.name}"), replacing(path, to))[1])
    publish(out, "a", "key", folder)
    moved, linked = calls.index("replace key"), calls.index("replace a")
    assert set(calls[:moved]) == {"mask.tif", "maps", "x.json", "product"}
    assert calls[moved + 1 : linked] == ["a", ".products"], "the folder that holds the product, before the link"
    assert calls[linked + 1 :] == ["out"]


def test_a_file_that_lies_in_wait_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".batch.csv.part").symlink_to(victim)
    (tmp_path / "batch.csv").symlink_to(victim)
    replace_file(tmp_path / "batch.csv", b"scene")
    assert victim.read_text() == "mine"
    assert (tmp_path / "batch.csv").read_bytes() == b"scene"
    assert not (tmp_path / "batch.csv").is_symlink()
