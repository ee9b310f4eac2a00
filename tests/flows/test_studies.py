"""A hospital's folder of studies: a row for each, broken ones by name, nothing done twice, killed and gone on with."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from studies import WAYS, write_studies

from tasks.files.keys import create_key, load_key
from tasks.files.pseudonyms import Pseudonyms

JOB = """
job: studies
kind: volume
source: {dicom: {volumes: first}}
model: {name: threshold, arguments: {threshold: 100}}
output: {dicom: {}}
analysis: {kind: tumour, label: 1, measured: 2}
"""
LIMIT_S = 3600


class Hospital:
    """A folder of studies, a job, and the institution's key."""

    def __init__(self, folder: Path, data: Path, count: int, broken: tuple[str, ...]) -> None:
        self.folder, self.count = folder, count
        self.codes = write_studies(data, folder / "in", count, broken)
        (folder / "job.yaml").write_text(JOB)
        self.key = folder / "keys" / "key"
        create_key(self.key)

    @property
    def pseudonyms(self) -> Pseudonyms:
        return Pseudonyms(load_key(self.key))

    def begin(self, out: str) -> subprocess.Popen[str]:
        words = ["segment", "in", "--job", "job.yaml", "--out", out, "--workers", "1", "--device", "cpu"]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "SWATHE_KEY_FILE": str(self.key),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *words],
            cwd=self.folder, env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, out: str) -> int:
        with self.begin(out) as process:
            told, errors = process.communicate(timeout=LIMIT_S)
        assert "Traceback" not in errors, errors
        assert "Doe" not in told + errors
        return process.returncode

    def rows(self, out: str) -> list[dict[str, str]]:
        with (self.folder / out / "worklist.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def products(self, out: str) -> dict[str, bytes]:
        """Everything that a run published, but what differs from run to run."""
        root = self.folder / out
        files = [path for place in root.glob("[a-z][a-z]-*") for path in place.rglob("*") if path.is_file()]
        return {str(path.relative_to(root)): path.read_bytes() for path in files if path.name != "run.json"}

    def published(self, out: str) -> dict[str, str]:
        return {path.name: str(path.readlink()) for path in (self.folder / out).glob("[a-z][a-z]-*")}


def kill_after(process: subprocess.Popen[str], is_there: Path, pattern: str, count: int) -> None:
    """Kill a run and everything that it started once so many files are there."""
    deadline = time.monotonic() + LIMIT_S
    while sum(1 for _ in is_there.glob(pattern)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(
    ("count", "broken"),
    [
        (5, ("missing_slices", "one_uid_two_contents")),
        pytest.param(100, tuple(WAYS), marks=[pytest.mark.slow, pytest.mark.timeout(3 * LIMIT_S)]),
    ],
)
def test_studies_end_in_the_same_bytes_and_broken_ones_in_named_verdicts(tmp_path, data, count, broken):
    hospital = Hospital(tmp_path, data, count, broken)
    killed = hospital.begin("killed")
    kill_after(killed, tmp_path / "killed", "*/dicom/report.dcm", max(1, (count - len(broken)) // 2))
    assert hospital.run("killed") == hospital.run("whole") == 1

    products = hospital.products("whole")
    assert hospital.products("killed") == products
    names = [Path(name).name for name in products]
    assert names.count("segmentation.dcm") == names.count("report.dcm") == count - len(broken)

    rows = hospital.rows("whole")
    codes = {hospital.pseudonyms.study(uid): code for uid, code in hospital.codes.items()}
    assert {row["study"]: row["verdict"] for row in rows if row["status"] == "failed"} == codes
    done = [row for row in rows if row["status"] == "done"]
    assert (len(rows), len(done)) == (count, count - len(broken))
    assert {row["verdict"] for row in done} == {"go"}
    assert all(float(row["seconds"]) > 0 and row["volumes_ml"] and int(row["lesions"]) > 0 for row in done)
    assert all(row["review"] == "yes" and row["reasons"] for row in rows if row["status"] == "failed")
    # One patient came twice.
    assert len({row["patient"] for row in rows}) == count - 1
    (followed,) = [row for row in rows if row["follow_up"]]
    assert followed["patient"] == hospital.pseudonyms.patient("H000001")

    before = hospital.published("whole")
    received = [row["received"] for row in rows]
    assert hospital.run("whole") == 1
    assert hospital.published("whole") == before
    assert [row["received"] for row in hospital.rows("whole")] == received
    assert {path.stat().st_mtime_ns for path in (tmp_path / "whole" / ".products").glob("*/*/run.json")} == {
        path.stat().st_mtime_ns for path in (tmp_path / "whole").glob("[a-z][a-z]-*/run.json")
    }
