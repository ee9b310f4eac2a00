"""A row: a stage, a signal, whom it is sent to, and whether the run has a server. What it leaves is looked at."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Literal
from uuid import uuid4

import psutil
from faults.inspection import Product, product_of
from faults.scenes import GOOD, JOB, write_good
from journals import entries

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# From the signal to the end of everything.
LIMIT_S = 10.0
_REACHED_S = 1200.0
_MARK = "SWATHE_SIGNALLED"
_LEFT_BEHIND = ("cluster-*", "seen-*", "*.part", ".try-*", "tickets/*")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One of the 96.

    Attributes:
        stage: At which the signal is sent, or just after it.
        signal: Which.
        target: Whom it is sent to: the command's process, or its group.
        server: Whether the run has a Prefect server.
    """

    stage: str
    signal: signal.Signals
    target: Literal["process", "group"]
    server: bool

    @property
    def name(self) -> str:
        return f"{self.stage}-{self.signal.name}-{self.target}-{'server' if self.server else 'plain'}"


@dataclass
class Found:
    """What a row came to.

    Attributes:
        row: Its name.
        seconds: From the signal to the end of the command.
        problems: What was not as it has to be.
    """

    row: str
    seconds: float
    problems: list[str] = field(default_factory=list)


def _answers(out: Path, process: psutil.Process) -> bool:
    """Whether the command listens to signals."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def _has_run(out: Path, process: psutil.Process) -> bool:
    """Whether the ledger has the run."""
    if not (out / "state.sqlite").exists():
        return False
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(out / "state.sqlite")) as ledger:
        return ledger.execute("SELECT COUNT(*) FROM runs").fetchone()[0] == 1
    return False


def _seen(pattern: str) -> Callable[[Path, psutil.Process], bool]:
    return lambda out, process: any(out.glob(pattern))


STAGES: dict[str, Callable[[Path, psutil.Process], bool]] = {
    "start": _answers,
    "check": _has_run,
    "plan": _seen(".swathe/scenes/*"),
    "blocks": _seen(".swathe/scenes/*/*/blocks/journal/*.json"),
    "finish": _seen(".swathe/scenes/*/*/product-*/*"),
    "publish": _seen(".products/*/*"),
    "report": _seen("batch.csv"),
    "end": _seen("index.html"),
}
ROWS = tuple(
    Row(stage=stage, signal=one, target=target, server=server)
    for server, stage, one, target in product((False, True), STAGES, SIGNALS, ("process", "group"))
)


@dataclass(frozen=True)
class Ground:
    """Scenes, and what they come to when nobody disturbs.

    Attributes:
        folder: All lies in it.
    """

    folder: Path
    expected: dict[str, Product] = field(default_factory=dict)

    @property
    def scenes(self) -> Path:
        return self.folder / "scenes"

    @property
    def job(self) -> Path:
        return self.folder / "signals.yaml"

    def prepare(self, again: Callable[["Ground", Path], None]) -> None:
        """Write scenes and job, and run undisturbed."""
        for one in SIGNALS:
            # What is started in the background is told to ignore some of them, and what it starts would do so as well.
            if signal.getsignal(one) is signal.SIG_IGN:
                signal.signal(one, lambda *_: None)
        for seed, name in enumerate(GOOD):
            write_good(self.scenes / f"{name}.tif", seed)
        self.job.write_text(JOB)
        again(self, self.folder / "untouched")
        self.expected.update({name: product_of(self.folder / "untouched" / name) for name in GOOD})

    def command(self, out: Path) -> list[str]:
        return [
            *(sys.executable, "-P", "-m", "flows.cli", "segment", str(self.scenes), "--job", str(self.job)),
            *("--out", str(out), "--workers", "1", "--device", "cpu"),
        ]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return kept | {"PREFECT_HOME": str(self.folder / "prefect"), "SWATHE_HOME": str(self.folder / "home")}


def run_again(ground: Ground, out: Path) -> None:
    """Give the same command once more, in a process of its own."""
    subprocess.run(ground.command(out), env=ground.environment(), check=True, capture_output=True, timeout=1800)


def try_row(ground: Ground, row: Row, again: Callable[[Ground, Path], None] = run_again) -> Found | None:
    """Send the signal, look at what it leaves, and do what is left to do.

    Returns:
        None where the run ended before the signal could be sent.
    """
    out, mark = ground.folder / f"{row.name}-{uuid4().hex[:6]}", uuid4().hex
    temporary = ground.folder / f"{out.name}-tmp"
    temporary.mkdir()
    environment = ground.environment() | {"TMPDIR": str(temporary), _MARK: mark}
    log = ground.folder / f"{out.name}.txt"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*ground.command(out), *(["--prefect"] if row.server else [])],
            env=environment, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True,
        )  # fmt: skip
    try:
        if not _await(row, out, process):
            return None
        begin = time.monotonic()
        (os.kill if row.target == "process" else os.killpg)(process.pid, row.signal)
        code = process.wait(3 * LIMIT_S)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = Found(row.name, round(time.monotonic() - begin, 2))
    if code == 0:
        return None
    found.problems += _left_running(mark, begin + LIMIT_S)
    if code != 128 + row.signal:
        found.problems.append(f"ended with {code}")
    if found.seconds > LIMIT_S:
        found.problems.append(f"took {found.seconds} s to end")
    found.problems += _said(row, log.read_text()) + _left_lying(out, temporary)
    found.problems += _written_down(row, out) + _server_problems(ground, row, out)
    found.problems += _resumed(ground, out, again)
    return found


def _await(row: Row, out: Path, process: subprocess.Popen) -> bool:
    looked_at, limit = psutil.Process(process.pid), time.monotonic() + _REACHED_S
    while not STAGES[row.stage](out, looked_at):
        if process.poll() is not None:
            return False
        if time.monotonic() > limit:
            raise TimeoutError(f"{row.name}: the stage was not reached in {_REACHED_S:.0f} s")
        time.sleep(0.005)
    return process.poll() is None


def _left_running(mark: str, until: float) -> list[str]:
    while (left := list(_marked(mark))) and time.monotonic() < until:
        time.sleep(0.05)
    for process in left:
        process.kill()
    return [f"process {process.pid} is left" for process in left]


def _marked(mark: str):
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.Error, OSError):
            continue


def _said(row: Row, text: str) -> list[str]:
    lines = [line for line in text.splitlines() if row.signal.name in line]
    problems = [] if len(lines) == 1 else [f"{len(lines)} lines name the signal"]
    after = text.partition(row.signal.name)[2].splitlines()[1:]
    return problems + [f"said after that: {line[:200]}" for line in after if line.strip()]


def _left_lying(out: Path, temporary: Path) -> list[str]:
    left = list(temporary.iterdir())
    for pattern in _LEFT_BEHIND:
        left += (out / ".swathe").rglob(pattern)
    return [f"{path.name} is left" for path in left]


def _written_down(row: Row, out: Path) -> list[str]:
    if not (out / "state.sqlite").exists():
        return [] if row.stage == "start" else ["there is no ledger"]
    with closing(sqlite3.connect(out / "state.sqlite")) as ledger:
        outcomes = [outcome for (outcome,) in ledger.execute("SELECT outcome FROM runs")]
        failed = [scene for (scene,) in ledger.execute("SELECT scene FROM products WHERE status = 'failed'")]
    problems = [] if outcomes == [f"interrupted by {row.signal.name}"] else [f"ledger: {outcomes}"]
    return problems + [f"{scene} is blamed" for scene in failed]


def _server_problems(ground: Ground, row: Row, out: Path) -> list[str]:
    if not row.server or row.stage == "start":
        return []
    with closing(sqlite3.connect(ground.folder / "prefect" / "prefect.db")) as database:
        states = database.execute(
            "SELECT r.state_name, s.message FROM flow_run r JOIN flow_run_state s ON s.id = r.state_id "
            "WHERE r.name LIKE ?",
            (f"%{out.name}",),
        ).fetchall()
        open_tasks = database.execute(
            "SELECT COUNT(*) FROM task_run t JOIN flow_run r ON r.id = t.flow_run_id "
            "WHERE r.name LIKE ? AND t.state_type IN ('RUNNING', 'PENDING')", (f"%{out.name}",),
        ).fetchone()[0]  # fmt: skip
    wanted = [("Interrupted", f"interrupted by {row.signal.name}")]
    problems = [] if states == wanted else [f"server: {states}"]
    return problems + ([f"server: {open_tasks} tasks are still open"] if open_tasks else [])


def _journal(out: Path) -> dict[Path, int]:
    found = {}
    for path in entries(out):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


def _resumed(ground: Ground, out: Path, again: Callable[[Ground, Path], None]) -> list[str]:
    """Give the command again: what was whole is not done again, and the bytes are those of an undisturbed run."""
    before, redone = _journal(out), set()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            again(ground, out)
        except Exception as error:  # noqa: BLE001 - it is told
            errors.append(error)

    # The cluster that the caller has started is found in the context.
    thread = Thread(target=copy_context().run, args=(run,))
    thread.start()
    while thread.is_alive():
        now = _journal(out)
        redone |= {path for path, written in before.items() if now.get(path, written) != written}
        thread.join(0.02)
    problems = [f"the next run: {error}" for error in errors]
    if redone:
        problems.append(f"{len(redone)} of {len(before)} whole blocks were done again")
    different = [name for name in GOOD if not (out / name).exists() or product_of(out / name) != ground.expected[name]]
    return problems + [f"{name}: other bytes" for name in different]


def known(path: Path) -> dict[str, Found]:
    """Return what a file of earlier tries says, by row."""
    if not path.exists():
        return {}
    return {found["row"]: Found(**found) for found in map(json.loads, path.read_text().splitlines())}
