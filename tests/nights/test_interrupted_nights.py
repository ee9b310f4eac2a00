"""Nights that die: the next one tells what they made, and nothing of it twice."""

from __future__ import annotations

import json
import logging
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from flows.orchestration.orchestrator import RunEvent, UnsentEventError
from flows.orchestration.plain import PlainOrchestrator
from tasks.answers.fire.alerts import Alert
from tasks.inputs.input import Input
from tasks.intake.request import Request
from tasks.jobs.nightly import Retention
from tasks.nights.arrivals import list_arrivals
from tasks.nights.night import Night
from tasks.nights.night_ledger import NightLedger
from tasks.nights.retention import prune
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder
from tasks.out.ledger import Ledger, ProductRow
from tasks.out.outcome import SceneOutcome
from tasks.products.publish import publish

JOB = """
job: greens
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
source:
  files: {post: "{scene}.tif"}
  bands: {"1": {file: post, band: 1}}
  dates: {post: "{scene:%Y%m%d}"}
analysis: {kind: area}
nightly: {retention: {scenes_days: 30, superseded_days: 0}}
"""
NOW = "2026-07-25T02:00:00+00:00"
A_FIRE = Alert(id=uuid.UUID(int=1), key="rule|S", kind="raised", count=1, payload={"key": "rule|S", "text": "a fire"})


class Death(BaseException):
    """The process is gone."""


@dataclass
class Runs:
    """Runs of a folder with products that are made at once; the product's name is what the scene's file says.

    Attributes:
        folder: With the inbox and OUT.
        lives: How many scenes are done before the run dies.
        after: What happens when all are done, before the run ends.
    """

    folder: Path
    lives: int = 99
    after: Callable[[], None] = lambda: None
    runs: int = field(default=0)

    @property
    def out(self) -> OutFolder:
        return OutFolder(self.folder / "out")

    @property
    def nights(self) -> NightLedger:
        return NightLedger(self.out.ledger)

    def bring(self, *names: str, content: str = "one") -> None:
        (self.folder / "in").mkdir(exist_ok=True)
        for name in names:
            (self.folder / "in" / f"{name}.tif").write_text(content)

    def night(self, day: str) -> Night:
        from flows.nightly.night import Nightly, run_night

        job = self.folder / "greens.yaml"
        job.write_text(JOB)
        order = Nightly(inbox=str(self.folder / "in"), night=date.fromisoformat(day), job=str(job), out=self.out.root)
        return run_night(order)

    def page(self, day: str) -> dict:
        return json.loads((self.out.root / "nights" / f"{day}.json").read_text())

    def do(self, _setup: object, _request: Request, items: list[Input]) -> list[SceneOutcome]:
        ledger, self.runs = Ledger(self.out.ledger), self.runs + 1
        ledger.begin_run(f"run{self.runs}", "greens", NOW)
        lives, outcomes = self.lives, []
        for item in items:
            outcomes.append(self._do_one(ledger, item))
            lives -= outcomes[-1].status == "done"
            if lives == 0:
                raise Death
        self.after()
        ledger.end_run(f"run{self.runs}", "done", NOW)
        return outcomes

    def _do_one(self, ledger: Ledger, item: Input) -> SceneOutcome:
        key = Path(item.files["post"]).read_text()
        row = ProductRow(scene=item.id, request=key, product=key, status="done", error=None, headline={"area_ha": 1.0})
        if ledger.product(item.id) == row and self.out.link(item.id).exists():
            return SceneOutcome(scene=item.id, status="skipped", error=None, product=None, headline=row.headline)
        finished = self.out.scratch / "finished"
        finished.mkdir()
        (finished / "mask.tif").write_text(key)
        publish(self.out, item.id, key, finished)
        ledger.record(row, f"run{self.runs}", NOW)
        return SceneOutcome(scene=item.id, status="done", error=None, product=None, headline=row.headline)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    found = Runs(tmp_path)
    monkeypatch.setattr("flows.nightly.night.run_held", found.do)
    monkeypatch.setattr("flows.nightly.night.tell_end", lambda *_: None)
    return found


def untouched_by(runs: Runs, day: str) -> bool:
    """Run a night again, and tell whether pages and ledger are as before."""
    before = {path: path.read_bytes() for path in (runs.out.root / "nights").iterdir()}, runs.nights.night(day)
    runs.night(day)
    return before == (
        {path: path.read_bytes() for path in (runs.out.root / "nights").iterdir()},
        runs.nights.night(day),
    )


def test_a_night_that_dies_between_its_page_and_the_ledger_is_told_by_the_next_run_as_it_was(runs, monkeypatch):
    runs.bring("A_20260720")
    with monkeypatch.context() as deadly:
        deadly.setattr(NightLedger, "enter", _die)
        with pytest.raises(Death):
            runs.night("2026-07-21")
    assert runs.nights.night("2026-07-21") is None
    assert (runs.out.root / "nights" / "2026-07-21.html").is_file()
    night = runs.night("2026-07-21")
    assert runs.page("2026-07-21") == json.loads(json.dumps(night.facts()))
    assert untouched_by(runs, "2026-07-21")


def test_a_product_that_cannot_be_deleted_costs_no_night_its_page(runs, monkeypatch, caplog):
    runs.bring("A_20260720", "B_20260720")
    runs.night("2026-07-21")
    runs.bring("A_20260720", "B_20260720", content="two")
    replace_folder = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if path.parts[-2:] == ("A_20260720", "one"):
            raise PermissionError("not yours")
        return replace_folder(path, target)

    with monkeypatch.context() as stuck:
        stuck.setattr(Path, "replace", refuse)
        night = runs.night("2026-07-22")
    assert [scene.status for scene in night.scenes] == ["superseded", "superseded"]
    assert (runs.out.root / "nights" / "2026-07-22.html").is_file()
    assert f"{runs.out.product('A_20260720', 'one')}: cannot be deleted" in caplog.text
    assert not runs.out.product("B_20260720", "one").exists()
    runs.night("2026-07-23")
    assert not runs.out.product("A_20260720", "one").exists()


def _statuses(night: Night) -> dict[str, str]:
    return {scene.id: scene.status for scene in night.scenes}


def test_what_a_night_made_before_it_died_is_on_the_page_of_the_run_that_goes_on(runs):
    runs.bring("A_20260719")
    runs.night("2026-07-20")
    runs.bring("A_20260719", content="two")
    runs.bring("B_20260720", "C_20260720")
    runs.lives = 2
    with pytest.raises(Death):
        runs.night("2026-07-21")
    runs.lives = 99
    night = runs.night("2026-07-21")
    assert _statuses(night) == {"A_20260719": "superseded", "B_20260720": "new", "C_20260720": "new"}
    assert night.scenes[1].headline == {"area_ha": 1.0}
    assert night.unchanged == 0
    assert untouched_by(runs, "2026-07-21")
    assert not runs.night("2026-07-22").scenes


def test_what_the_first_night_made_before_it_died_is_on_the_page_of_the_next_night(runs):
    runs.bring("A_20260720", "B_20260720")
    runs.lives = 1
    with pytest.raises(Death):
        runs.night("2026-07-21")
    runs.lives = 99
    assert _statuses(runs.night("2026-07-22")) == {"A_20260720": "new", "B_20260720": "new"}


def test_what_a_run_made_and_ended_before_its_night_died_is_told_with_its_alerts(runs):
    runs.bring("A_20260720")

    def decide_and_die() -> None:
        FireLedger(runs.out.ledger).decide([A_FIRE], NOW)
        raise Death

    runs.after = decide_and_die
    with pytest.raises(Death):
        runs.night("2026-07-21")
    runs.after = lambda: None
    night = runs.night("2026-07-21")
    assert night.alerts == ("a fire",)
    assert _statuses(night) == {"A_20260720": "new"}
    assert untouched_by(runs, "2026-07-21")
    assert runs.night("2026-07-22").alerts == ()


def test_an_earlier_night_takes_nothing_from_the_page_of_one_that_died(runs, monkeypatch):
    runs.bring("A_20260718")
    runs.night("2026-07-19")
    runs.bring("B_20260720")
    runs.after = _die
    with pytest.raises(Death):
        runs.night("2026-07-20")
    runs.after = lambda: None
    runs.nights.enter(Night(date="2026-07-21", job="greens"), NOW)
    listed = list_arrivals

    def until_that_night(inbox: str, job: object, *, tonight: str, **others: object) -> list[Input]:
        return [item for item in listed(inbox, job, tonight=tonight, **others) if (item.date or "") <= tonight]

    with monkeypatch.context() as catalogue:
        catalogue.setattr("flows.nightly.night.list_arrivals", until_that_night)
        assert _statuses(runs.night("2026-07-19")) == {"A_20260718": "new"}
    assert _statuses(runs.night("2026-07-21")) == {"B_20260720": "new"}


def test_a_ledger_of_an_earlier_release_opens_and_tells_nothing_again(runs):
    runs.bring("A_20260720")
    runs.night("2026-07-21")
    with closing(sqlite3.connect(runs.out.ledger)) as connection:
        connection.execute("DROP TABLE told")
    FireLedger(runs.out.ledger).decide([A_FIRE], NOW)
    runs.bring("B_20260721")
    night = runs.night("2026-07-22")
    assert _statuses(night) == {"B_20260721": "new"}
    assert (night.unchanged, night.alerts) == (1, ())


def test_missed_nights_are_sent_once_and_by_the_next_run_where_the_server_is_away(runs, monkeypatch, caplog):
    tried: list[RunEvent] = []
    taken: list[RunEvent] = []
    away = {"2026-07-23"}

    def send(_: object, event: RunEvent) -> None:
        tried.append(event)
        if event.labels["swathe.night"] in away:
            raise UnsentEventError("no route to the server")
        taken.append(event)

    monkeypatch.setattr(PlainOrchestrator, "send", send)
    runs.bring("A_20260720")
    runs.night("2026-07-21")
    runs.night("2026-07-25")
    assert [event.labels["swathe.night"] for event in taken] == ["2026-07-22"]
    assert "no route to the server" in caplog.text
    away.clear()
    runs.night("2026-07-25")
    assert [event.labels["swathe.night"] for event in taken] == ["2026-07-22", "2026-07-23", "2026-07-24"]
    assert tried[1].id == taken[1].id
    runs.night("2026-07-25")
    runs.night("2026-07-26")
    assert len(taken) == 3


OLD = ({"A": "2026-01-01"}, "2026-07-21", "2026-07-21")


def _product(out: OutFolder, name: str, key: str) -> Path:
    folder = out.product(name, key)
    folder.mkdir(parents=True)
    (folder / "mask.tif").write_text(key)
    out.link(name).unlink(missing_ok=True)
    out.link(name).symlink_to(f".products/{name}/{key}")
    return folder


def test_products_of_old_observations_go_also_where_a_death_has_left_them_without_a_link(tmp_path):
    out = OutFolder(tmp_path)
    replaced, current, kept = _product(out, "A", "one"), _product(out, "A", "two"), _product(out, "B", "one")
    out.link("A").unlink()
    assert prune(out, Retention(scenes_days=30), *OLD) == 2
    assert not replaced.exists()
    assert not current.exists()
    assert out.link("B").resolve() == kept


def test_a_product_that_is_half_deleted_is_in_the_place_of_none(tmp_path, monkeypatch, caplog):
    out = OutFolder(tmp_path)
    product = _product(out, "A", "one")
    with monkeypatch.context() as deadly:
        deadly.setattr("shutil.rmtree", _die)
        with pytest.raises(Death):
            prune(out, Retention(scenes_days=30), *OLD)
    assert not product.exists()
    assert list((out.scratch / "deleted").iterdir())
    assert prune(out, Retention(scenes_days=30), *OLD) == 0
    assert not list((out.scratch / "deleted").iterdir())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def _die(*_: object) -> None:
    raise Death
