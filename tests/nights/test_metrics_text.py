"""What watches swathe: the status of a folder, figures for Prometheus, log lines for programs."""

import io
import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from flows.batch.scene import Stages
from flows.cluster.gpus import read_gpus
from flows.commands import tables
from flows.display import logs
from flows.display.told import tell
from tasks.nights.figures import Gpu, metrics_text
from tasks.nights.night import Night
from tasks.nights.night_ledger import NightLedger
from tasks.nights.status import Backlog, status_of, write_backlog
from tasks.out.folder import OutFolder
from tasks.out.ledger import Ledger, ProductRow

NOW = "2026-11-20T02:00:00+00:00"


def folder_with(root: Path, *, n_done: int, n_failed: int) -> OutFolder:
    """An OUT folder as a night of ``n_done`` products and ``n_failed`` failures leaves it."""
    out = OutFolder(root)
    out.scratch.mkdir(parents=True)
    ledger = Ledger(out.ledger)
    ledger.begin_run("r1", "fire", NOW)
    for number in range(n_done):
        product = out.product(f"s{number}", "key")
        product.mkdir(parents=True)
        facts = {"blocks": 4, "tiles": 16, "block_seconds": 2.5, "stage_seconds": {"segment": 3.0, "finish": 1.0}}
        (product / "run.json").write_text(json.dumps(facts))
        ledger.record(
            ProductRow(scene=f"s{number}", request="q", product="key", status="done", error=None, headline={}),
            "r1",
            NOW,
        )
    for number in range(n_failed):
        ledger.record(
            ProductRow(
                scene=f"f{number}", request="", product=None, status="failed", error="SceneError: torn", headline={}
            ),
            "r1",
            NOW,
        )
    NightLedger(out.ledger).enter(Night(date="2026-11-19", job="fire"), NOW)
    return out


def figures(text: str) -> dict[tuple[str, ...], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[(sample.name, *(value for _, value in sorted(sample.labels.items())))] = sample.value
    return found


def test_figures_say_what_the_ledger_and_the_products_say(tmp_path):
    out = folder_with(tmp_path / "fires", n_done=3, n_failed=2)
    with out.locked():
        write_backlog(out, Backlog(waiting=5, under_way=2))
        found = figures(metrics_text([status_of(out.root, "2026-11-20T03:00:00+00:00")]))
    assert found["swathe_scenes", "fire", "fires", "done"] == 3
    assert found["swathe_scenes", "fire", "fires", "failed"] == 2
    assert (found["swathe_blocks", "fire", "fires"], found["swathe_tiles", "fire", "fires"]) == (12, 48)
    assert found["swathe_stage_seconds", "fire", "fires", "segment"] == 9
    assert found["swathe_queue_scenes", "fire", "fires", "waiting"] == 5
    assert found["swathe_run_active", "fire", "fires"] == 1
    assert found["swathe_night_overdue", "fire", "fires"] == 0
    assert found["swathe_disk_free_bytes", "fire", "fires"] > 0
    later = figures(metrics_text([status_of(out.root, "2026-11-22T03:00:00+00:00")]))
    assert later["swathe_night_overdue", "fire", "fires"] == 1
    assert later["swathe_night_ended_seconds", "fire", "fires"] == found["swathe_night_ended_seconds", "fire", "fires"]
    assert later["swathe_queue_scenes", "fire", "fires", "waiting"] == 0, "a run that is gone has no queue"


def test_several_folders_are_told_apart(tmp_path):
    found = [
        status_of(folder_with(tmp_path / name, n_done=done, n_failed=0).root, NOW)
        for name, done in [("north", 1), ('so"uth', 2)]
    ]
    told = figures(metrics_text(found))
    assert told["swathe_scenes", "fire", "north", "done"] == 1
    assert told["swathe_scenes", "fire", 'so"uth', "done"] == 2


def test_the_status_table_tells_seconds_alerts_and_disk(tmp_path):
    status = status_of(folder_with(tmp_path / "fires", n_done=2, n_failed=1).root, NOW)
    assert status.scene_s == 4
    text = io.StringIO()
    tell(Console(file=text, width=160), tables.status(status))
    for part in ("4.0 (segment 3.0, finish 1.0)", "SceneError: torn", "GB free", "alerts that stand", "1 in all"):
        assert part in text.getvalue()


def test_products_of_earlier_versions_tell_no_seconds(tmp_path):
    out = folder_with(tmp_path / "fires", n_done=1, n_failed=0)
    record = out.product("s0", "key") / "run.json"
    facts = json.loads(record.read_text())
    del facts["stage_seconds"]
    record.write_text(json.dumps(facts))
    assert status_of(out.root, NOW).scene_s is None
    record.unlink()
    assert status_of(out.root, NOW).effort.blocks == 0


def test_what_the_driver_tells_of_gpus_is_read():
    told = read_gpus("0, 37, 1024, 143771\n1, [N/A], [N/A], 143771\n")
    assert told[0] == Gpu("0", 37.0, 2**30, 143771 * 2**20)
    assert told[1].busy_percent != told[1].busy_percent
    assert told[1].memory_used == 0
    text = metrics_text([], told)
    assert figures(text)["swathe_gpu_busy_percent", "0"] == 37


@pytest.fixture
def json_lines():
    text = io.StringIO()
    logs.set_up(Console(file=text), "json")
    yield lambda: [json.loads(line) for line in text.getvalue().splitlines()]
    for package in logs.PACKAGES:
        logging.getLogger(package).handlers = []


def test_a_line_is_one_object_with_what_it_is_about(json_lines):
    logger, stages = logging.getLogger("flows.test"), Stages()
    with logs.about("run", "r1"), logs.about("scene", "T32TQM"):
        with stages.at("plan"):
            logger.info("two\nlines")
        logger.warning("later")
    logger.error("after")
    first, second, third = json_lines()
    assert (first["run"], first["scene"], first["stage"], first["level"]) == ("r1", "T32TQM", "plan", "info")
    assert first["message"] == "two\nlines"
    assert (second["scene"], second["stage"]) == ("T32TQM", None)
    assert (third["run"], third["level"]) == (None, "error")
    assert list(first) == ["time", "level", "run", "scene", "stage", "message"]
    assert stages.seconds["plan"] >= 0


def test_setting_up_twice_writes_each_line_once(json_lines):
    text = io.StringIO()
    logs.set_up(Console(file=text), "json")
    logging.getLogger("tasks.test").info("once")
    assert len(text.getvalue().splitlines()) == 1
    assert json_lines() == []


def test_a_first_night_that_began_and_never_ended_is_overdue_until_one_ends(tmp_path):
    out = OutFolder(tmp_path)
    nights = NightLedger(out.ledger)
    assert nights.awaited() is None
    assert not status_of(out.root, NOW).overdue
    nights.begin("2026-11-18T02:00:00+00:00", 26)
    # Tried again every night: it is the first one that is waited for.
    nights.begin("2026-11-19T02:00:00+00:00", 26)
    assert not status_of(out.root, "2026-11-19T03:59:00+00:00").overdue
    late = status_of(out.root, "2026-11-19T04:01:00+00:00")
    assert late.overdue
    assert figures(metrics_text([late]))["swathe_night_overdue", "", tmp_path.name] == 1
    shown = io.StringIO()
    tell(Console(file=shown, width=200), tables.status(late))
    assert "overdue  newest night: none has ended" in shown.getvalue()
    nights.enter(Night(date="2026-11-19", job="fire"), "2026-11-19T05:00:00+00:00")
    assert not status_of(out.root, "2026-11-19T06:00:00+00:00").overdue


def test_whoever_may_only_read_sees_the_status_of_a_run_under_way_and_can_write_nothing():
    program = (
        "import os, pathlib, sys\n"
        "from tasks.errors import StoreError\n"
        "from tasks.out.ledger import Ledger\n"
        "from tasks.nights.status import status_of\n"
        # Whoever runs the tests may write everywhere.
        "os.geteuid() or os.setuid(65534)\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "print(status_of(root, sys.argv[2]).running)\n"
        "try:\n"
        "    Ledger(root / 'state.sqlite').begin_run('r2', 'fire', sys.argv[2])\n"
        "except StoreError as error:\n"
        "    print(error)"
    )
    with tempfile.TemporaryDirectory() as root, OutFolder(Path(root)).locked():
        # The tables of nights are not there yet.
        Ledger(OutFolder(Path(root)).ledger).begin_run("r1", "fire", NOW)
        (Path(root) / "state.sqlite").chmod(0o444)
        Path(root).chmod(0o555)
        asked = subprocess.run([sys.executable, "-c", program, root, NOW], capture_output=True, text=True, check=False)
        Path(root).chmod(0o755)
    told = asked.stdout.splitlines()
    assert told[0] == "True", asked.stderr
    assert "the ledger cannot be written" in told[1]


def test_the_ledger_syncs_its_folder_as_well(tmp_path):
    with Ledger(tmp_path / "state.sqlite")._connection() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (3,), "EXTRA"
