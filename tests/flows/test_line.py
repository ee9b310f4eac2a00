"""Which scene comes next, and what others may ask of the run that holds a folder."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.batch.line import Fresh, Line
from flows.batch.urgent import Arrivals
from tasks.errors import HeldFolderError, JobError
from tasks.files.fingerprint import Fingerprint
from tasks.inputs.input import Input
from tasks.intake.request import make_request
from tasks.jobs.job import Job
from tasks.out.folder import OutFolder
from tasks.out.manifest import is_manifest, keep_manifest, read_manifest
from tasks.out.outcome import SceneOutcome
from tasks.out.tickets import Ticket, Tickets

FOUND = Fingerprint("0" * 64, content_hashed=True)
JOB = Job.model_validate({"job": "j", "kind": "raster", "model": {"name": "identity", "arguments": {"n_classes": 3}}})
OWNER = """
import sys, time
from pathlib import Path
from tasks.inputs.input import Input
from tasks.out.tickets import Ticket, Tickets
with Tickets(Path(sys.argv[1])).offered(Ticket("theirs", "r", (Input(id="a", files={"file": "/a.tif"}),))):
    print("offered", flush=True)
    time.sleep(600)
"""


def scene(name: str, pixels: int | None = None, urgent: bool = False, ticket: str | None = None) -> Fresh:
    return Fresh(
        item=Input(id=name, files={"file": f"/{name}.tif"}),
        fingerprint=FOUND,
        pixels=pixels,
        urgent=urgent,
        ticket=ticket,
    )


def taken(line: Line) -> list[str]:
    found = []
    while (one := line.take()) is not None:
        found.append(one.item.id)
    return found


@given(st.lists(st.tuples(st.none() | st.integers(1, 9), st.booleans()), max_size=30))
def test_every_scene_comes_once_urgent_before_routine_and_then_the_cheapest(rows):
    scenes = [scene(str(number), pixels, urgent) for number, (pixels, urgent) in enumerate(rows)]
    line = Line(scenes[::2])
    line.add(scenes[1::2])
    by_id = {one.item.id: one for one in scenes}
    order = [by_id[name] for name in taken(line)]
    assert sorted(one.item.id for one in order) == sorted(by_id)
    for earlier, later in pairwise(order):
        assert earlier.urgent >= later.urgent
        if earlier.urgent == later.urgent:
            assert (earlier.pixels or 10) <= (later.pixels or 10), "what is not known comes last"


def test_a_place_beside_routine_scenes_is_for_urgent_ones_alone():
    line = Line([scene("routine", 1)])
    assert line.take(urgent_only=True) is None
    line.hasten("routine")
    assert line.take(urgent_only=True).item.id == "routine"
    assert line.has_seen("routine")
    assert len(line) == 0


def test_a_ticket_is_gone_with_its_owner(tmp_path):
    tickets = Tickets(tmp_path / "tickets")
    assert tickets.waiting() == []
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tickets.folder)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"offered\n"
        (ticket,) = tickets.waiting()
        assert ticket == Ticket("theirs", "r", (Input(id="a", files={"file": "/a.tif"}),))
        tickets.answer(
            "theirs", {"a": SceneOutcome(scene="a", status="done", error=None, product="p", headline={"x_ha": 1.5})}
        )
        assert tickets.answers("theirs")["a"].headline == {"x_ha": 1.5}
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
    assert tickets.waiting() == []
    tickets.answer("theirs", {})
    assert list(tickets.folder.iterdir()) == [], "nothing is left of it, and nobody answers it any more"


def arrivals(tmp_path: Path, *names: str) -> Arrivals:
    request = make_request(JOB, tmp_path)
    return Arrivals.of(request, "run", [scene(name).item for name in names], {})


def ticket_for(request, *items: Input, name: str = "t") -> Ticket:
    return Ticket(name, request.ticket_key, items)


def test_an_urgent_ticket_hastens_the_scenes_that_wait_and_is_answered_as_they_end(tmp_path):
    held = arrivals(tmp_path, "a", "b", "c")
    line, tickets = Line([scene("a", 1), scene("b", 2), scene("c", 3)]), Tickets(held.request.out.tickets)
    assert line.take().item.id == "a"
    with tickets.offered(ticket_for(held.request, scene("c").item, scene("a").item)):
        held.admit(line)
        assert tickets.answers("t") == {}
        held.tell(SceneOutcome(scene="a", status="done", error=None, product="p"))
        held.tell(SceneOutcome(scene="b", status="done", error=None, product="p"))
        assert set(tickets.answers("t")) == {"a"}
        assert taken(line) == ["c", "b"]
        held.tell(SceneOutcome(scene="c", status="failed", error="SceneError: torn"))
        assert {name: one.status for name, one in tickets.answers("t").items()} == {"a": "done", "c": "failed"}


@pytest.mark.parametrize("change", ["request", "files", "date"])
def test_what_is_not_the_same_work_is_left_to_its_owner(tmp_path, change):
    held, line = arrivals(tmp_path, "a", "b"), Line([scene("a", 1), scene("b", 2)])
    files = {"file": "/other.tif" if change == "files" else "/b.tif"}
    item = Input(id="b", files=files, date="2026-01-01" if change == "date" else None)
    key = "other" if change == "request" else held.request.ticket_key
    with Tickets(held.request.out.tickets).offered(Ticket("t", key, (item,))):
        held.admit(line)
    assert taken(line) == ["a", "b"]


def test_what_an_owner_takes_back_is_not_begun_and_may_come_again(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "flows.batch.urgent.triage", lambda request, items, run: ({}, [scene(item.id, 5) for item in items])
    )
    held, line = arrivals(tmp_path, "a"), Line([scene("a", 1)])
    tickets = Tickets(held.request.out.tickets)
    offer = ticket_for(held.request, scene("new").item, scene("begun").item, scene("a").item)
    with tickets.offered(offer):
        held.admit(line)
        assert line.take().item.id == "a"
        assert line.take().item.id == "new"
    held.admit(line)
    assert taken(line) == [], "what had not begun is taken back"
    assert set(held.items) == {"a", "new"}
    with tickets.offered(ticket_for(held.request, scene("begun").item, name="again")):
        held.admit(line)
    assert taken(line) == ["begun"]


def test_a_scene_that_two_tickets_ask_for_stays_until_both_are_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "flows.batch.urgent.triage", lambda request, items, run: ({}, [scene(item.id, 5) for item in items])
    )
    held, line = arrivals(tmp_path, "a"), Line([scene("a", 1)])
    tickets = Tickets(held.request.out.tickets)
    with ExitStack() as first, ExitStack() as second:
        for stack, names in ((first, "xyz"), (second, "xz")):
            items = [scene(name).item for name in names]
            stack.enter_context(tickets.offered(ticket_for(held.request, *items, name=names)))
            held.admit(line)
        first.close()
        held.admit(line)
        assert set(held.items) == {"a", "x", "z"}, "what only the first asked for is taken back"
        assert line.take().item.id == "x"
        held.tell(SceneOutcome(scene="x", status="done", error=None, product="p"))
        assert set(tickets.answers("xz")) == {"x"}
    held.admit(line)
    assert set(held.items) == {"a", "x"}
    assert taken(line) == ["a"], "what had not begun goes with the last of them"


def test_lists_of_two_submissions_do_not_overwrite_one_another(tmp_path):
    out = OutFolder(tmp_path / "out")
    first, second = (
        [Input(id="a", files={"file": "/x/a.tif"}, site="S", date="2026-01-01")],
        [Input(id="b", files={"file": "/x/b.tif"})],
    )
    kept = keep_manifest(out, first), keep_manifest(out, second)
    assert [read_manifest(text) for text in kept] == [first, second]
    assert all(is_manifest(text) for text in kept)
    assert keep_manifest(out, first) == kept[0], "the same scenes make no further file"
    assert not is_manifest(out.keep_inputs(["/x"]))
    Path(kept[0][1:]).write_text('[{"id": 1}]')
    with pytest.raises(JobError, match="the list of scenes cannot be read"):
        read_manifest(kept[0])


def test_a_held_folder_has_an_error_of_its_own(tmp_path):
    out = OutFolder(tmp_path)
    with out.locked(), pytest.raises(HeldFolderError, match="another run is writing here"), out.locked():
        pass
