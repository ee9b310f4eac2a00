"""Automations that ship, and those that the pages show, are such that a Prefect server takes them."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.server.events.schemas.automations import AutomationCore, EventTrigger, Posture

from tasks.jobs.nightly import Nightly

ROOT = Path(__file__).resolve().parents[2]
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


def names_of_states() -> set[str]:
    """Return the names of states that flows make: their own, or that of the type."""
    types = {kind.value.capitalize() for kind in StateType}
    found = set()
    for path in (ROOT / "flows").rglob("*.py"):
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        for call in calls:
            if isinstance(call.func, ast.Name) and call.func.id in types:
                named = [ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg == "name"]
                found.add(named[0] if named else call.func.id)
    return found


def test_a_run_that_ended_is_not_taken_for_one_whose_process_is_gone_whatever_its_state_is_called():
    ghosts = next(entry for entry in SHIPPED if "process is gone" in entry["name"])
    trigger = AutomationCore.model_validate(ghosts).trigger
    own = names_of_states()
    assert {"FailedScenes", "Crashed"} <= own
    # Prefect's own: of the types in which a run ends, of a run that took too long, and of one that gave up its process.
    theirs = {kind.value.capitalize() for kind in TERMINAL_STATES} | {"TimedOut", "Paused", "Suspended"}
    for name in own | theirs:
        assert trigger.expects(f"prefect.flow-run.{name}"), name
    assert not trigger.expects("prefect.flow-run.Running")


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
