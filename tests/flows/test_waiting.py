"""A submitted run waits for its folder: until it is free, until another run has done its scenes, or for so long."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from flows.batch.waiting import take, wait_for_folder
from tasks.errors import DiskFullError, HeldFolderError
from tasks.inputs.input import Input
from tasks.intake.request import Request, make_request
from tasks.jobs.job import Job
from tasks.out.outcome import SceneOutcome
from tasks.out.tickets import Tickets

JOB = Job.model_validate({"job": "j", "kind": "raster", "model": {"name": "identity", "arguments": {"n_classes": 3}}})
ITEMS = (Input(id="a", files={"file": "/a.tif"}), Input(id="b", files={"file": "/b.tif"}))


@pytest.fixture
def request_(tmp_path, monkeypatch) -> Request:
    monkeypatch.setattr("flows.batch.waiting._LOOKING_S", 0.02)
    return make_request(JOB, tmp_path)


def eventually(reached: Callable[[], bool]) -> None:
    waiting = Event()
    for _ in range(3000):
        if reached():
            return
        waiting.wait(0.02)
    pytest.fail("it never came")


def test_a_run_takes_the_folder_as_soon_as_it_is_free(request_):
    with ExitStack() as mine, ExitStack() as theirs, ThreadPoolExecutor(1) as pool:
        assert take(request_, theirs)
        waiting = pool.submit(wait_for_folder, request_, 1.0, (), mine)
        theirs.close()
        assert waiting.result(timeout=60) is None
        assert request_.out.is_locked()
    assert not request_.out.is_locked()
    assert not request_.out.tickets.exists(), "a routine run offers nothing"


def test_a_run_that_offers_its_scenes_ends_when_the_run_that_holds_the_folder_has_done_them(request_):
    tickets = Tickets(request_.out.tickets)
    done = {
        item.id: SceneOutcome(scene=item.id, status="done", error=None, product="p", headline={"x_ha": 1.0})
        for item in ITEMS
    }
    with ExitStack() as mine, ExitStack() as theirs, ThreadPoolExecutor(1) as pool:
        assert take(request_, theirs)
        waiting = pool.submit(wait_for_folder, request_, 1.0, ITEMS, mine)
        eventually(lambda: bool(tickets.waiting()))
        (ticket,) = tickets.waiting()
        assert ticket.items == ITEMS
        assert ticket.request == request_.ticket_key
        tickets.answer(ticket.id, {"b": done["b"]})
        tickets.answer(ticket.id, done)
        assert waiting.result(timeout=60) == [done["a"], done["b"]]
        assert tickets.waiting() == []
    assert list(tickets.folder.iterdir()) == []


def test_a_disk_that_another_run_fills_concerns_who_takes_the_folder_next_and_not_who_waits(request_, monkeypatch):
    def fill(folder: Path) -> None:
        raise DiskFullError(f"{folder}: no room for a first file")

    with ExitStack() as mine, ExitStack() as theirs:
        assert take(request_, theirs)
        with monkeypatch.context() as full:
            full.setattr("tasks.out.folder.require_writable", fill)
            assert not take(request_, mine)
            theirs.close()
            with pytest.raises(DiskFullError, match="no room for a first file"):
                take(request_, mine)
        assert not request_.out.is_locked(), "a folder that is refused is left free"
        assert take(request_, mine)


def test_a_run_that_finds_no_room_for_its_offer_waits_for_the_folder_itself(request_, monkeypatch, caplog):
    def no_room(path: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with ExitStack() as mine, ExitStack() as theirs, ThreadPoolExecutor(1) as pool:
        assert take(request_, theirs)
        monkeypatch.setattr(Path, "replace", no_room)
        waiting = pool.submit(wait_for_folder, request_, 1.0, ITEMS, mine)
        eventually(lambda: waiting.done() or "the scenes cannot be offered" in caplog.text)
        theirs.close()
        assert waiting.result(timeout=60) is None
    assert list(request_.out.tickets.iterdir()) == []


def test_waiting_has_an_end_and_takes_its_offer_back(request_):
    with (
        ExitStack() as mine,
        request_.out.locked(),
        pytest.raises(HeldFolderError, match=r"another run has been writing here for 1e-05 h\. Start this one again"),
    ):
        wait_for_folder(request_, 1e-5, ITEMS, mine)
    assert list(request_.out.tickets.iterdir()) == []
