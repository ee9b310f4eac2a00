"""docs/hospital.md is run command by command, from a folder of studies to results in the hospital's own study."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from studies import SERIES, copy_study

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hospital.md"
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


# They segment: with make slow.
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_way_of_a_study_runs_command_by_command(tmp_path, data):
    for number in range(2):
        copy_study(data / SERIES[1], tmp_path / "studies" / f"Doe^{number}", number=number, patient=number)
    blocks = [(language, textwrap.dedent(text)) for language, text in BLOCK.findall(PAGE.read_text())]
    job = next(text for language, text in blocks if language == "yaml")
    (tmp_path / "studies.yaml").write_text(job)
    commands = [line[2:] for language, text in blocks if language == "console" for line in text.splitlines()]
    assert [command.split()[1] for command in commands] == [
        "key", "key", "check", "segment", "audit", "return", "forget",
    ]  # fmt: skip
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "SWATHE_KEY_FILE": str(tmp_path / "keys" / "key"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    for command in commands:
        words = command.split()[1:]
        if words[0] == "forget":
            with (tmp_path / "results" / "worklist.csv").open() as file:
                rows = list(csv.DictReader(file))
            assert [row["status"] for row in rows] == ["done", "done"]
            words[1] = rows[0]["patient"]
        ended = subprocess.run(
            [sys.executable, "-m", "flows.cli", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
    # One folder of results for each study, and one patient fewer here.
    assert len(list((tmp_path / "for-the-hospital").glob("*/*-report.dcm"))) == 2
    assert len(list((tmp_path / "results").glob("mr-*"))) == 1
