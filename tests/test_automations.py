"""Automations that ship, and those that the pages show, are such that a Prefect server takes them."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prefect.server.events.schemas.automations import AutomationCore, EventTrigger, Posture

from tasks.nights.settings import Nightly

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = yaml.safe_load((ROOT / "flows" / "automations.yaml").read_text())["automations"]
SHOWN = [
    entry
    for text in re.findall(r"```yml\n(.*?)```", (ROOT / "docs" / "nightly.md").read_text(), re.DOTALL)
    for entry in yaml.safe_load(text)["automations"]
]


@pytest.mark.parametrize("entry", [*SHIPPED, *SHOWN], ids=lambda entry: entry["name"])
def test_an_automation_is_one_by_the_servers_own_rules(entry):
    automation = AutomationCore.model_validate(entry)
    assert isinstance(automation.trigger, EventTrigger)
    assert automation.actions


def test_a_missing_night_is_waited_for_as_long_as_a_job_says_unless_told_otherwise():
    waits = [AutomationCore.model_validate(entry).trigger for entry in [*SHIPPED, *SHOWN] if "night" in entry["name"]]
    assert len(waits) == 2
    for trigger in waits:
        assert trigger.posture is Posture.Proactive
        assert trigger.after == trigger.expect == {"swathe.night.ended"}
        assert trigger.within == timedelta(hours=Nightly().overdue_hours)


@pytest.mark.parametrize(
    ("event", "sent"), [("swathe.fire.new_fire_ha.raised", True), ("swathe.fire.new_fire_ha.cleared", False)]
)
def test_alerts_that_are_raised_are_sent_and_others_are_not(event, sent):
    desk = next(entry for entry in SHOWN if "alerts" in entry["name"])
    trigger = AutomationCore.model_validate(desk).trigger
    assert trigger.expects(event) is sent
    assert bool(trigger.event_pattern.match(event)) is sent
