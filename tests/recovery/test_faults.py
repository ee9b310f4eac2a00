"""The program that inspects what faults leave sees what is lost, half-published, changed or still open."""

import csv
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from faults.inspection import final_problems, product_of, visible_problems
from faults.rows import ROWS
from faults.runs import HUNG, Run

from tasks.out.folder import OutFolder
from tasks.out.ledger import Ledger, ProductRow
from tasks.products.publish import publish

NOW = "2026-11-20T02:00:00+00:00"
BAD = ("torn",)


def finished(out: OutFolder, name: str) -> Path:
    folder = out.scratch / "made" / name
    folder.mkdir(parents=True)
    (folder / "mask.tif").write_bytes(name.encode() * 100)
    (folder / "run.json").write_text(json.dumps({"run": os.urandom(4).hex()}))
    return folder


@pytest.fixture
def left(tmp_path):
    """An OUT folder as a run with a bad scene leaves it, and what its products have to be."""
    out = OutFolder(tmp_path / "out")
    out.scratch.mkdir(parents=True)
    ledger = Ledger(out.ledger)
    ledger.begin_run("r", "j", NOW)
    for name in ("alpha", "beta"):
        publish(out, name, "key", finished(out, name))
        ledger.record(
            ProductRow(scene=name, request="q", product="key", status="done", error=None, headline={}), "r", NOW
        )
    ledger.record(
        ProductRow(scene="torn", request="", product=None, status="failed", error="SceneError: torn", headline={}),
        "r",
        NOW,
    )
    ledger.end_run("r", "failed scenes", NOW)
    with (out.root / "batch.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerows([["scene", "error"], ["alpha", ""], ["beta", ""], ["torn", "SceneError: torn"]])
    return out.root, {name: product_of(out.root / name) for name in ("alpha", "beta")}


def problems(left) -> str:
    out, expected = left
    either = {name: (product,) for name, product in expected.items()}
    return "; ".join(visible_problems(out, either) + final_problems(out, expected, BAD))


def test_what_an_undisturbed_run_leaves_is_well(left):
    assert problems(left) == ""


def test_runs_may_differ_in_their_record_alone(left):
    out, _ = left
    (out / "alpha" / "run.json").write_text('{"run": "another"}')
    assert problems(left) == ""
    (out / "alpha" / "mask.tif").write_bytes(b"other")
    assert "alpha: other bytes" in problems(left)


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (lambda out: (out / "alpha").unlink(), "alpha: lost"),
        (lambda out: (out / "alpha" / "mask.tif").unlink(), "is not whole"),
        (lambda out: (out / "alpha" / ".mask.tif.scratch").write_text("x"), "is not whole"),
        (lambda out: (out / "gamma").symlink_to(".products/alpha/key"), "gamma: a link that nobody asked for"),
        (lambda out: (out / "torn").mkdir(), "torn: did not fail by name"),
        (lambda out: (out / ".swathe" / "scenes" / "beta").mkdir(parents=True), "work in progress was left behind"),
        (lambda out: (out / "batch.csv").write_text("scene,error\nalpha,\n"), "has no row of beta, torn"),
    ],
)
def test_what_is_not_well_is_named(left, damage, seen):
    damage(left[0])
    assert seen in problems(left)


def test_a_link_that_leads_nowhere_is_named(left):
    out, _ = left
    (out / "beta").unlink()
    (out / "beta").symlink_to(".products/beta/gone")
    assert "beta: its link leads nowhere" in "; ".join(visible_problems(out, {"alpha": (), "beta": ()}))


@pytest.mark.parametrize(
    ("statement", "seen"),
    [
        ("UPDATE runs SET outcome = NULL", "1 runs are still open"),
        ("UPDATE products SET status = 'failed' WHERE scene = 'alpha'", "ledger: says"),
    ],
)
def test_a_ledger_that_tells_otherwise_is_named(left, statement, seen):
    with closing(sqlite3.connect(left[0] / "state.sqlite")) as ledger, ledger:
        ledger.execute(statement)
    assert seen in problems(left)


def test_kills_are_tried_often_and_outages_three_times():
    assert all(row.times >= (20 if "kill -9" in row.title else 3) for row in ROWS.values())


def test_a_run_that_does_not_end_counts_as_hung():
    sleeping = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ, setsid=True)
    run = Run(sleeping)
    assert run.wait(0.2) == HUNG
    assert run.poll() == HUNG
