"""A week of nights by the clock: what comes when, and what ledger, products and alerts say each morning."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from distributed import LocalCluster
from scenes import write_raster

from tasks.nights.night import Night

JOB = """
job: blaze
kind: raster
model: {{name: threshold, arguments: {{threshold: {threshold}}}}}
source:
  files: {{post: "{{scene}}.tif"}}
  bands: {{heat: {{file: post, band: 1}}}}
  dates: {{post: "{{scene:%Y%m%d}}"}}
  site: "^([A-Z])_"
analysis:
  kind: fire
  min_area_ha: 0.4
  alerts: {{new_fire_ha: 3, growth_ha_per_day: 2.5, late_days: 4}}
nightly: {{best: newest, retention: {{superseded_days: 0}}}}
"""
# A pixel is 0.04 ha. Heat is 110 where it burns: at the threshold of the first model, below that of none.
_HA = 25


class Inbox:
    """Where scenes arrive; each later than the one before, by its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrived = 0

    def bring(self, name: str, burned_ha: float = 0) -> None:
        """A scene whose fire is of full rows of ten pixels."""
        values = np.full((1, 60, 40), 50, np.uint8)
        values[0, 5 : 5 + round(burned_ha * _HA / 10), 5:15] = 130
        path = self.folder / f"{name}.tif"
        path.unlink(missing_ok=True)
        self._date(write_raster(path, values))

    def bring_damaged(self, name: str) -> None:
        path = self.folder / f"{name}.tif"
        path.write_bytes(b"II*\0 and then the line broke")
        self._date(path)

    def _date(self, path: Path) -> None:
        self.arrived += 1
        os.utime(path, ns=(self.arrived * 10**9, self.arrived * 10**9))


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "in").mkdir()
    return Inbox(tmp_path / "in")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """One running cluster for all nights, as where there are many."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=3,
        processes=False,
        protocol="tcp",
        resources={"CPU": 1},
        dashboard_address="127.0.0.1:0",
    ) as running:
        yield running.scheduler_address


def run(folder: Path, cluster: str, night: str, threshold: int = 100, out: str = "out") -> Night:
    from flows.nightly.night import Nightly, run_night

    job = folder / "blaze.yaml"
    job.write_text(JOB.format(threshold=threshold))
    order = Nightly(
        inbox=str(folder / "in"),
        night=date.fromisoformat(night),
        job=str(job),
        out=folder / out,
        cluster=cluster,
        device="cpu",
    )
    return run_night(order)


def alerts(out: Path) -> list[str]:
    """What was decided so far, in its order: kind, rule, site."""
    with sqlite3.connect(out / "state.sqlite") as connection:
        rows = connection.execute("SELECT kind, payload FROM alert_messages ORDER BY rowid").fetchall()
    connection.close()
    keys = [(kind, json.loads(payload)["key"].split("|")) for kind, payload in rows]
    return [f"{kind} {key[0]} {key[1]}" for kind, key in keys]


def products(out: Path) -> dict[str, tuple[float, int]]:
    """Burned hectares and folders kept of every scene that is shown."""
    found = {}
    for link in sorted(path for path in out.iterdir() if path.is_symlink()):
        with rasterio.open(link / "mask.tif") as dataset:
            burned = int((dataset.read(1) == 1).sum())
        found[link.name] = (burned / _HA, len(list((out / ".products" / link.name).iterdir())))
    return found


def contents(out: Path, beside: tuple[str, ...] = ("state.sqlite",)) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and ".swathe" not in path.parts)
    return {str(path.relative_to(out)): path.read_bytes() for path in files if path.name not in beside}


def lasting(out: Path) -> dict[str, bytes]:
    """All but the table and index of the last batch."""
    return {name: data for name, data in contents(out).items() if name.startswith((".products", "fires", "nights"))}


# What comes before a night, and what the night's page says of it: scenes, nights missed, alerts.
NEW, AGAIN, FAILED = "new", "superseded", "failed"
WEEK = [
    (
        "2026-07-20",
        {"A_20260719": 4, "B_20260719": 0, "C_20260719": None},
        {"A_20260719": NEW, "B_20260719": NEW, "C_20260719": FAILED},
        [],
        ["raised new_fire_ha A"],
    ),
    ("2026-07-21", {}, {"C_20260719": FAILED}, [], []),
    (
        "2026-07-22",
        {"A_20260721": 12, "C_20260719": 0},
        {"A_20260721": NEW, "C_20260719": NEW},
        [],
        ["raised growth_ha_per_day A"],
    ),
    # Two nights without a run, in which scenes came all the same.
    (
        "2026-07-25",
        {"A_20260722": 12, "A_20260724": 13.2, "B_20260723": 0},
        {"A_20260722": NEW, "A_20260724": NEW, "B_20260723": NEW},
        ["2026-07-23", "2026-07-24"],
        ["cleared growth_ha_per_day A", "raised late_days C"],
    ),
]
# From here on with another model.
UPGRADED = [
    (
        "2026-07-26",
        {"B_20260720": 0.8},
        {
            **dict.fromkeys(["A_20260719", "A_20260721", "A_20260722", "A_20260724"], AGAIN),
            **dict.fromkeys(["B_20260719", "B_20260723", "C_20260719"], AGAIN),
            "B_20260720": NEW,
        },
        [],
        [],
    ),
    (
        "2026-07-27",
        {"A_20260724_again": 16, "C_20260726": 0},
        {"A_20260724": AGAIN, "C_20260726": NEW},
        [],
        ["raised late_days B", "cleared late_days C"],
    ),
]


# Its worker's threads are in this process, and what one of them does not want to be warned of is put back by another.
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_week_of_nights_is_as_its_table_says(tmp_path, inbox, cluster):
    out = tmp_path / "out"
    told: list[str] = []
    for threshold, week in ((100, WEEK), (120, UPGRADED)):
        for night, came, scenes, missed, decided in week:
            for name, burned in came.items():
                inbox.bring_damaged(name) if burned is None else inbox.bring(name, burned)
            page = run(tmp_path, cluster, night, threshold)
            assert {scene.id: scene.status for scene in page.scenes} == scenes, night
            assert list(page.missed) == missed, night
            assert alerts(out)[len(told) :] == decided, night
            assert len(page.alerts) == len(decided), night
            told += decided
    assert products(out) == {
        "A_20260719": (4, 1),
        "A_20260721": (12, 1),
        "A_20260722": (12, 1),
        "A_20260724": (16, 1),
        "B_20260719": (0, 1),
        "B_20260720": (0.8, 1),
        "B_20260723": (0, 1),
        "C_20260719": (0, 1),
        "C_20260726": (0, 1),
    }
    events = json.loads((out / "fires" / "A" / "events.json").read_text())
    assert [scene[0] for scene in events["scenes"]] == ["A_20260719", "A_20260721", "A_20260722", "A_20260724"]

    # Nights run again, whichever, change nothing; one that was missed gets its page.
    kept = lasting(out)
    for night in ("2026-07-27", "2026-07-22", "2026-07-24"):
        run(tmp_path, cluster, night, 120)
    written = {f"nights/2026-07-24.{kind}" for kind in ("html", "json")}
    assert {name: data for name, data in lasting(out).items() if name not in written} == kept
    assert alerts(out) == told
    assert json.loads((out / "nights" / "2026-07-24.json").read_text())["missed"] == []

    # What the week left is what one night makes of all that came.
    run(tmp_path, cluster, "2026-07-27", 120, "fresh")
    fresh = tmp_path / "fresh" / ".products"
    beside = ("state.sqlite", "run.json")
    assert contents(out / ".products", beside) == contents(fresh, beside)
