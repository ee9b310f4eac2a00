"""What version 0.1.0 left is gone on with: products, nights, alerts, and the database of the Prefect server."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import rasterio

from tasks.errors import SceneError
from tasks.inputs.naming import scene_id
from tasks.nights.night_ledger import NightLedger
from tasks.nights.status import status_of
from tasks.out.ledger import Ledger

pytestmark = pytest.mark.usefixtures("shared_worker")

MADE = Path(__file__).parents[1] / "data" / "0.1.0"


@pytest.fixture
def left(tmp_path):
    """Inputs, jobs, products and database as they were left, in a place of their own."""
    with tarfile.open(MADE / "made.tar.xz") as archive:
        archive.extractall(tmp_path, filter="tar")
    return tmp_path


def test_scans_are_made_anew_once_by_another_version_and_a_changed_one_is_superseded(left):
    from flows.batch.orders import Batch
    from flows.batch.segment import segment_batch

    out, changed = left / "patients", left / "scans" / "P1_20260305.nii.gz"
    batch = Batch(inputs=[str(left / "scans")], job=str(MADE / "jobs" / "scans.yaml"), out=out, workers=1, device="cpu")
    before = {row.scene: row for row in Ledger(out / "state.sqlite").products()}
    made = segment_batch(batch)
    assert [(one.scene, one.status) for one in made] == [("P1_20260105", "done"), ("P1_20260305", "done")]
    for outcome in made:
        assert outcome.product != before[outcome.scene].product, "another version may find something else"
        assert before[outcome.scene].headline.items() <= outcome.headline.items(), "and here finds the same"
        assert (out / outcome.scene).readlink() == Path(outcome.product)
    assert [one.status for one in segment_batch(batch)] == ["skipped", "skipped"]

    volume = nib.load(changed)
    nib.save(nib.Nifti1Image(np.roll(np.asanyarray(volume.dataobj), 1, axis=0), volume.affine), changed)
    first, second = segment_batch(batch)
    assert (first.status, second.status) == ("skipped", "done")
    assert second.product != made[1].product
    assert second.headline == made[1].headline, "the lesion is elsewhere, and as large as it was"
    assert (out / "P1_20260305").readlink() == Path(second.product)
    assert "P1_20260305" in (out / "patients" / "P1" / "followup.csv").read_text()


def test_nights_go_on(left):
    from flows.nightly.night import Nightly, run_night

    out, inbox = left / "nights", left / "inbox"
    found = status_of(out, "2026-07-20T06:00:00+00:00")
    assert (found.done, [row.scene for row in found.failed]) == (2, ["B_20260718"])
    assert (found.night, found.nights, found.run.outcome) == ("2026-07-20", 2, "failed scenes")
    assert [text.split()[-2:] for text in found.alerts] == [["6.0", "ha/day"], ["12.0", "ha"]]
    assert found.effort.blocks == 2
    first, second = NightLedger(out / "state.sqlite").night("2026-07-19"), NightLedger(out / "state.sqlite").newest()[0]
    assert [scene.id for scene in first.done] == ["A_20260718"]
    assert [scene.id for scene in second.done] == ["A_20260719"]

    with rasterio.open(inbox / "A_20260719.tif", "r+") as raster:
        heat = raster.read()
        heat[0, 50:55, 5:15] = 130
        raster.write(heat)
    order = Nightly(
        inbox=str(inbox),
        night=date(2026, 7, 22),
        job=str(MADE / "jobs" / "nights.yaml"),
        out=out,
        workers=1,
        device="cpu",
    )
    night = run_night(order)
    # Whether it has changed or not: another version makes it anew.
    assert {scene.id: scene.status for scene in night.scenes} == {
        "A_20260718": "superseded",
        "A_20260719": "superseded",
        "B_20260718": "failed",
    }
    assert (night.unchanged, night.missed) == (0, ("2026-07-21",))
    after = status_of(out, "2026-07-22T06:00:00+00:00")
    assert (after.done, after.nights) == (2, 3)
    assert {text.split(":")[0] for text in after.alerts} == {"A"}
    again = run_night(order.model_copy(update={"night": date(2026, 7, 23)}))
    assert (again.unchanged, [scene.id for scene in again.scenes]) == (2, ["B_20260718"])


@pytest.mark.slow
def test_the_database_of_the_prefect_server_is_opened_and_written_to(left):
    """By the server that a run starts where it is asked to."""
    home = left / "home"
    home.mkdir()
    (left / "prefect.db").rename(home / "prefect.db")
    runs = "SELECT name, state_name FROM flow_run ORDER BY start_time"

    def told() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(home / "prefect.db")) as database:
            return database.execute(runs).fetchall()

    before = told()
    assert before == [
        ("nights · night of 2026-07-19", "FailedScenes"),
        ("nights · night of 2026-07-20", "FailedScenes"),
        ("scans · patients", "Completed"),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-m", "flows.cli", "segment", str(left / "scans"), "--workers", "1", "--device", "cpu"]
    command += ["--job", str(MADE / "jobs" / "scans.yaml"), "--out", str(left / "patients"), "--prefect"]
    environment = kept | {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert told() == [*before, ("scans · patients", "Completed")]


def test_what_0_1_0_keeps_beside_scenes_is_no_name_of_a_scene(left):
    scenes = {"nights": {"A_20260718", "A_20260719"}, "patients": {"P1_20260105", "P1_20260305"}}
    for out, own in scenes.items():
        kept = {path.name for path in (left / out).iterdir()} - own
        assert len(kept) >= 7
        assert not [name for name in kept if is_free(name)]


def is_free(name: str) -> bool:
    """Tell whether a scene can be called so."""
    try:
        return scene_id(name) == name
    except SceneError:
        return False
