"""Weed that outweighs crop leaves the run: one event per product, sent once, kept where no server takes it."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from prefect.server.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL, temporary_settings
from scenes import write_raster

from flows.analysis.crop import analyse, ask
from flows.batch.alerts import send_alerts
from flows.batch.following import follow
from tasks.inputs.input import Input
from tasks.intake.request import make_request
from tasks.jobs.job import Job
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder
from tasks.out.outcome import SceneOutcome

ASKED = ("analysis.weed=[class 2]", "analysis.crop=[class 1]", "analysis.zone_m=200")


def mapped(folder, name, weed=True):
    """A map of 24 zones, one of which bears more weed than crop."""
    labels = np.ones((1, 40, 60), np.uint8)
    if weed:
        labels[0, :10, :10] = 2
    return str(write_raster(folder / f"{name}.tif", labels))


@pytest.fixture
def out(tmp_path):
    analyse([mapped(tmp_path, "rows"), mapped(tmp_path, "clean", weed=False)], ask(None, {}, ASKED), tmp_path / "out")
    return OutFolder(tmp_path / "out")


def test_a_map_with_weed_is_told_of_once(out, tmp_path, prefect_api):
    ledger = FireLedger(out.ledger)
    (message,) = ledger.unsent()
    assert message.payload["text"] == "rows: weed outweighs crop in 1 zones on 4.0 ha: spray"
    for _ in range(2):
        send_alerts(ledger)
    (event,) = prefect_api.events
    assert event.event == "swathe.crop.spray"
    assert event.resource["prefect.resource.id"] == "swathe.crop.rows"
    assert (event.payload["value"], event.payload["unit"]) == (1.0, "zones")
    # The same masks again: nothing new. Another map of the same name: another product, another word.
    masks = [str(tmp_path / f"{name}.tif") for name in ("rows", "clean")]
    analyse(masks, ask(None, {}, ASKED), out.root)
    assert ledger.unsent() == []
    mapped(tmp_path, "clean")
    analyse(masks, ask(None, {}, ASKED), out.root)
    assert [one.payload["site"] for one in ledger.unsent()] == ["clean"]


def test_what_no_server_took_is_sent_by_the_next_batch(out, tmp_path, prefect_api):
    analysis = {"kind": "crop", "weed": ["value 2"], "crop": ["value 1"], "zone_m": 200}
    job = Job.model_validate({"job": "j", "kind": "raster", "model": {"name": "identity"}, "analysis": analysis})
    request = make_request(job, out.root)
    items, outcomes = (
        [Input(id="rows", files={}), Input(id="lost", files={})],
        [SceneOutcome(scene="rows", status="done"), SceneOutcome(scene="lost", status="failed")],
    )
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        follow(request, items, outcomes)
    assert len(FireLedger(out.ledger).unsent()) == 1
    follow(request, items, outcomes)
    assert [event.event for event in prefect_api.events] == ["swathe.crop.spray"]
    assert FireLedger(out.ledger).unsent() == []


def test_without_weed_in_the_job_nothing_is_told(tmp_path, prefect_api):
    analyse([mapped(tmp_path, "rows")], ask(None, {}, ()), tmp_path / "out")
    assert FireLedger(OutFolder(tmp_path / "out").ledger).unsent() == []


def test_the_automation_that_ships_waits_for_that_event():
    shipped = yaml.safe_load((Path(__file__).resolve().parents[2] / "flows" / "automations.yaml").read_text())
    (entry,) = [one for one in shipped["automations"] if "weed" in one["name"]]
    trigger = AutomationCore.model_validate(entry).trigger
    assert trigger.expects("swathe.crop.spray")
    assert not trigger.expects("swathe.fire.new_fire_ha.raised")
