"""A disk that fills up during a run costs the scenes that do not fit on it; the run tries and names all others."""

from __future__ import annotations

import errno
import logging
import sqlite3
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest

from flows.batch import scene
from flows.batch.figures import Figures, write_figures
from flows.batch.line import Fresh, Line
from flows.batch.scene import Run, segment_one
from flows.batch.urgent import Arrivals
from tasks.errors import DiskFullError
from tasks.files.fingerprint import Fingerprint
from tasks.inputs.input import Input
from tasks.intake.request import Request, make_request
from tasks.jobs.job import Job
from tasks.out.ledger import Ledger, ProductRow
from tasks.out.outcome import SceneOutcome
from tasks.out.tickets import Ticket, Tickets

JOB = Job.model_validate({"job": "j", "kind": "raster", "model": {"name": "identity", "arguments": {"n_classes": 3}}})
ITEM = Input(id="a", files={"file": "/a.tif"})
FRESH = Fresh(item=ITEM, fingerprint=Fingerprint("0" * 64, content_hashed=True))


@pytest.fixture
def request_(tmp_path) -> Request:
    request = make_request(JOB, tmp_path)
    request.out.scratch.mkdir()
    return request


def fill(monkeypatch) -> None:
    """Let no file and no row be written any more."""

    def no_room(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def no_connection(*_args, **_options) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("tasks.files.durable.sync", no_room)
    monkeypatch.setattr("tasks.out.ledger_file.sqlite3.connect", no_connection)


def test_figures_that_find_no_room_cost_a_warning(request_, monkeypatch, caplog):
    figures = Figures(request_.out)
    fill(monkeypatch)
    figures.tell(3, 1)
    write_figures(request_.out)
    assert "what is to do could not be told" in caplog.text
    assert "figures could not be written" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_scene_whose_failure_finds_no_room_either_has_failed_all_the_same(request_, monkeypatch, caplog):
    ledger = Ledger(request_.out.ledger)
    row = ProductRow(scene="a", request="request", product="key", status="done", error=None, headline={})
    ledger.record(row, "earlier", "now")

    def make(*_args) -> None:
        raise DiskFullError("no room for the block store")

    monkeypatch.setattr(scene, "_make", make)
    run = Run(
        id="run",
        request=request_,
        engine=SimpleNamespace(),
        slot=SimpleNamespace(),
        progress=SimpleNamespace(),
        stopping=Event(),
    )
    with monkeypatch.context() as full:
        fill(full)
        outcome = segment_one(run, FRESH)
    assert outcome == SceneOutcome(scene="a", status="failed", error="DiskFullError: no room for the block store")
    assert "a: its failure could not be entered into the ledger" in caplog.text
    assert ledger.product("a") == row, "an earlier product is not lost"
    assert segment_one(run, FRESH) == outcome
    assert ledger.product("a").status == "failed", "where there is room it is entered"


def test_an_answer_that_finds_no_room_costs_a_warning_and_the_asker_keeps_waiting(request_, monkeypatch, caplog):
    held, tickets = Arrivals.of(request_, "run", [ITEM], {}), Tickets(request_.out.tickets)
    with tickets.offered(Ticket("t", request_.ticket_key, (ITEM,))):
        held.admit(Line([FRESH]))
        with monkeypatch.context() as full:
            fill(full)
            held.tell(SceneOutcome(scene="a", status="done", error=None, product="p"))
        assert tickets.answers("t") == {}
        assert [ticket.id for ticket in tickets.waiting()] == ["t"]
    assert held.outcomes["a"].status == "done"
    assert "could not be told of its urgent scenes" in caplog.text
