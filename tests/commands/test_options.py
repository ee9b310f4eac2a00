"""Options with values that are not allowed are refused by name, with what is allowed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flows.batch import queueing
from flows.commands import app, orchestrated
from tasks.inputs.input import Input


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--wait-hours", "0", "greater than 0"),
        ("--wait-hours", "1000", "less than or equal to 336"),
        ("--name", "x" * 81, "at most 80 characters"),
    ],
)
def test_a_batch_with_a_value_that_is_not_allowed_is_not_submitted(
    tmp_path, monkeypatch, capsys, option, value, allowed
):
    scene = Input(id="A", files={"file": str(tmp_path / "a.nii")})
    monkeypatch.setattr(queueing, "check_batch", lambda *_: queueing.Checked((scene,), ()))
    monkeypatch.setattr(queueing, "enter", lambda *_: None)
    monkeypatch.setattr(orchestrated, "use_server", lambda _: True)
    monkeypatch.setattr(queueing, "queue_run", lambda *_: pytest.fail("it was submitted"))
    command = ["submit", "a.nii", "--job", "sarcoma", "--out", str(tmp_path / "out"), option, value]
    assert_refused(monkeypatch, capsys, command, option, allowed)


def test_a_night_that_waits_too_long_is_not_begun(tmp_path, monkeypatch, capsys):
    command = ["nightly", "--job", "fire", "--inbox", "in", "--out", str(tmp_path), "--wait-hours", "1000"]
    assert_refused(monkeypatch, capsys, command, "--wait-hours", "less than or equal to 336")
    assert list(Path(tmp_path).iterdir()) == []


def assert_refused(monkeypatch, capsys, command: list[str], option: str, allowed: str) -> None:
    monkeypatch.setattr(sys, "argv", ["swathe", *command])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert option in told
    assert allowed in told
