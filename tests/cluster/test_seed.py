"""The process that local workers are forked from."""

import os
import tempfile
from multiprocessing import forkserver

import pytest
from deadly import about_worker

from flows.cluster import seed
from flows.cluster.engine import ClusterSettings, open_engine


@pytest.mark.usefixtures("shared_worker")
def test_a_worker_is_forked_and_told_what_its_libraries_read():
    with open_engine(ClusterSettings(workers=1, device="cpu", threads=1)) as engine:
        asked_by, threads, trim = engine._submit(about_worker, {"CPU": 1}).result()
    assert "forkserver" in asked_by
    assert (threads, trim) == ("1", str(2**30))
    assert "OMP_NUM_THREADS" not in seed.ENVIRONMENT


def test_a_folder_that_is_too_long_for_a_socket_is_not_taken_for_it(tmp_path, monkeypatch):
    longer = tmp_path / ("x" * 100)
    longer.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(longer))
    with seed._short_temporary_folder():
        assert tempfile.gettempdir() == "/tmp"
    assert tempfile.gettempdir() == str(longer)
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    with seed._short_temporary_folder():
        assert tempfile.gettempdir() == "/var/tmp"


def test_where_no_such_process_can_be_started_workers_import_everything_themselves(monkeypatch):
    def refuse() -> None:
        raise OSError("AF_UNIX path too long")

    before = dict(os.environ)
    monkeypatch.setattr(forkserver, "ensure_running", refuse)
    assert seed.start_seed() == "spawn"
    assert dict(os.environ) == before
