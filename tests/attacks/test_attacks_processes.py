"""The attack table of docs/security.md on processes: what listens, other users of the machine, the current folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from journals import entries
from listeners import OtherNetwork, Watch, family, other_network
from ports import free_port
from scenes import write_raster

from flows.local.processes import read_services
from flows.local.up import SERVICES
from flows.server.reached import listens_itself
from models.errors import SwatheError
from tasks.files.private import private_file, private_folder, read_private

ROOT = Path(__file__).resolve().parents[2]
STRANGER = Path(__file__).parents[1] / "helpers" / "stranger_process.py"
# On a busy machine starting processes takes most of it.
LIMIT_S = 400
PATIENT = "Mustermann"
JOB = """
job: grey
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
tiling: {tile: 128, halo: 4, overlap: 8, block: 512}
run: {threads: 1}
analysis: {kind: area}
"""
# As installers write it: Dask's workers read it again.
PROGRAM = "import sys\nfrom flows.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
# Pages that anybody may see: Prefect's own, without a word of a run. Its password is asked for by what they load.
OPEN_PAGES = {"/", "/docs"}
# What Dask says where it has no pages.
NO_PAGES = '{"paths": ["/sitemap.json"]}'
# What Python, Prefect and Dask import early, and what swathe's own packages are called.
MODULES = ("random", "secrets", "tempfile", "logging", "uvicorn", "prefect", "dask", "distributed", "yaml", "rasterio")
PACKAGES = ("flows", "models", "tasks")
OPEN_CLUSTER = """
import asyncio, sys
from distributed import Scheduler
async def main():
    async with Scheduler(host="127.0.0.1", port=int(sys.argv[1]), dashboard_address=f"127.0.0.1:{sys.argv[2]}"):
        print("on", flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""

pytestmark = pytest.mark.timeout(4 * LIMIT_S)
needs_services = pytest.mark.skipif(
    not os.environ.get("SWATHE_TEST_SERVICES"), reason="one more whole run that listens like segment's: make services"
)


@dataclass
class Ground:
    """A machine's folders as others see them: everything may be entered that its owner has not closed.

    Attributes:
        root: Holds everything.
        owner: Started here; full of files that want to be run.
        ran: What was run of them.
    """

    root: Path

    @property
    def owner(self) -> Path:
        return self.root / "project"

    @property
    def ran(self) -> Path:
        return self.root / "ran"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def job(self) -> Path:
        return self.root / "job.yaml"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SWATHE_"))}
        return kept | {
            "TMPDIR": str(self.root / "tmp"),
            "PREFECT_HOME": str(self.root / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "SWATHE_HOME": str(self.home),
            "SWATHE_CACHE": str(self.root / "cache"),
            "DO_NOT_TRACK": "1",
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the installed program as a shell does: its file, in the folder full of traps."""
        command = [sys.executable, str(self.root / "bin" / "swathe"), *arguments]
        with (self.root / "said").open("ab") as said:
            run = {"stdout": said, "stderr": said, "start_new_session": True}
            return subprocess.Popen(command, cwd=self.owner, env=self.environment, **run)

    def said(self) -> str:
        logs = [self.root / "said", *self.home.glob("logs/*.log")]
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in logs)

    def wait(self, ready: Callable[[], Any], process: subprocess.Popen[bytes], what: str) -> None:
        limit = time.monotonic() + LIMIT_S
        while not ready():
            if process.poll() is not None or time.monotonic() > limit:
                pytest.fail(f"{what}; exit code {process.poll()}\n{self.said()}")
            time.sleep(0.1)

    def finish(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it did not end\n{self.said()}")


@pytest.fixture
def ground() -> Iterator[Ground]:
    # Not pytest's own folder, which is closed to others.
    root = Path(tempfile.mkdtemp(prefix="swathe-ground-"))
    root.chmod(0o755)
    made = Ground(root)
    for folder in (made.owner, root / "bin", root / "tmp", root / "proof", root / "warm"):
        folder.mkdir()
    for folder in (root / "tmp", root / "proof", root / "warm"):
        folder.chmod(0o1777)
    # The owner's own choice: their scenes, and what is made of them, are nobody else's.
    for folder in (made.inbox, made.out):
        folder.mkdir(mode=0o700)
    made.job.write_text(JOB)
    (root / "bin" / "swathe").write_text(PROGRAM)
    # In the place of the owner's terminal.
    private_file(root / "said", "")
    lay_traps(made.owner, made.ran)
    # Whoever writes packages of ours beside the program could as well write the program.
    lay_modules(root / "bin", made.ran)
    try:
        yield made
    finally:
        shutil.rmtree(root, ignore_errors=True)


def lay_traps(folder: Path, ran: Path) -> None:
    """Fill a folder with files that are run, or believed, where a program trusts its folder."""
    lay_modules(folder, ran)
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"open({str(ran)!r}, 'a').write({name!r} + '\\n')\n")
    logging = folder / "logging.yml"
    logging.write_text(
        "version: 1\nformatters: {trap: {(): os.system, command: " + json.dumps(f"echo logging >> {ran}") + "}}\n"
    )
    (folder / ".env").write_text(f"PREFECT_LOGGING_SETTINGS_PATH={logging}\nPREFECT_SERVER_API_AUTH_STRING=a:b\n")
    (folder / "prefect.toml").write_text('[api]\nurl = "http://127.0.0.1:9/api"\n[server.api]\nhost = "0.0.0.0"\n')
    (folder / "pyproject.toml").write_text('[tool.prefect.api]\nauth_string = "a:b"\n')


def lay_modules(folder: Path, ran: Path) -> None:
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r} + '\\n')\nraise SystemExit(9)\n")


@pytest.fixture(scope="module")
def network() -> Iterator[OtherNetwork]:
    with other_network() as made:
        if made is None:
            pytest.skip("network namespaces cannot be made here: they take root and iproute2")
        with socket.create_server(("0.0.0.0", 0)) as everywhere:
            port = everywhere.getsockname()[1]
            assert made.reaches([port]) == {port}, "what listens everywhere has to be reached, or nothing is shown"
        yield made


@pytest.fixture(scope="module")
def open_cluster() -> Iterator[list[int]]:
    """Ports of a scheduler that lets everybody in: what the stranger can do where nobody stops them."""
    ports = [free_port(), free_port()]
    command = [sys.executable, "-c", OPEN_CLUSTER, *map(str, ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        yield ports
        process.kill()


def try_as_stranger(ground: Ground, watch: Watch, control: list[int], words: list[str]) -> None:
    """Try everything as another user of the machine, on a cluster that is open as well, which has to show it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    pids = [process.pid for process in family(watch.roots())]
    ports = sorted({listener.port for listener in watch.look()})
    assert ports
    assert pids
    asked = {
        "folder": str(ground.root), "open": control, "ports": ports, "pids": pids, "roots": [str(ground.root)],
        "words": words,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(STRANGER)],
        input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    ran = {int(path.name): path.read_text().split() for path in (ground.root / "proof").iterdir()}
    assert ran.pop(control[0], None) == [str(os.geteuid())], f"the open scheduler runs programs\n{done.stderr}"
    assert ran == {}, "programs ran as the owner"
    assert any(status == 200 and "clients" in body for *_, status, body in told["control"]), "an open one shows pages"
    shown = [page for page in told["pages"] if 200 <= page[3] < 400 and page[2] not in OPEN_PAGES]
    assert [page for page in shown if page[4] != NO_PAGES] == [], "pages without a password"
    bodies = "".join(body for *_, body in told["pages"])
    assert not [word for word in words if word in bodies or word in "".join(watch.commands)]
    assert told["files"] == []


def require_shut(watch: Watch, network: OtherNetwork) -> None:
    """See that nothing listened but on loopback at any time, nor answers from another network now."""
    assert len(watch.seen) >= 2, "at least a scheduler and a worker listened"
    assert [listener for listener in watch.seen if not listener.is_local] == []
    ports = {listener.port for listener in watch.look()}
    assert network.reaches(ports or {free_port()}) == set()


def passwords(watch: Watch) -> list[str]:
    """Return what the processes were told to ask for."""
    found = set()
    for process in family(watch.roots()):
        environment = process.environ()
        found |= {environment[name] for name in environment if name.endswith("API_AUTH_STRING")}
    return sorted(found)


def write_scene(ground: Ground, side: int) -> None:
    values = np.random.default_rng(0).integers(0, 200, (1, 64, side)).astype(np.uint8)
    write_raster(ground.inbox / f"{PATIENT}.tif", np.tile(values, (1, side // 64, 1)))


@pytest.mark.parametrize("options", [(), pytest.param(("--prefect",), marks=needs_services)], ids=["plain", "prefect"])
def test_what_segment_starts_is_open_to_nobody_and_runs_nothing_that_lies_about(ground, network, open_cluster, options):
    write_scene(ground, 16384)
    process = ground.start("segment", str(ground.inbox), "--job", str(ground.job), "--out", str(ground.out),
                           "--workers", "1", "--device", "cpu", *options)  # fmt: skip
    watch = Watch(lambda: [process.pid])
    try:
        with watch.kept():
            ground.wait(lambda: entries(ground.out), process, "no block was done")
            require_shut(watch, network)
            found = passwords(watch)
            assert len(found) == len(options), "a server has one password, and no run without one has any"
            assert all(len(password) >= 30 for password in found)
            try_as_stranger(ground, watch, open_cluster, [PATIENT, *(one.partition(":")[2] for one in found)])
            assert process.poll() is None, "the run was over before the attack was"
            process.send_signal(signal.SIGINT)
            ground.finish(process)
        require_shut(watch, network)
    finally:
        end(process)
    assert not ground.ran.exists(), ground.ran.read_text()


def end(process: subprocess.Popen[bytes]) -> None:
    for one in family([process.pid]):
        one.kill()
    process.wait()


@pytest.mark.slow
def test_what_up_starts_is_open_to_nobody_and_runs_nothing_that_lies_about(ground, network, open_cluster):
    write_scene(ground, 2048)
    port = free_port(2)
    up = ground.start("up", "--data", str(ground.inbox), "--out", str(ground.out), "--port", str(port))
    watch = Watch(lambda: [up.pid, *(service.pid for service in read_services(ground.home / SERVICES))])
    try:
        with watch.kept():
            assert ground.finish(up) == 0, ground.said()
            require_shut(watch, network)
            order = ground.start("submit", str(ground.inbox), "--job", str(ground.job), "--out",
                                 str(ground.out / "grey"), "--name", "one")  # fmt: skip
            assert ground.finish(order) == 0, ground.said()
            password = (ground.home / "password").read_text().partition(":")[2]
            limit = time.monotonic() + LIMIT_S
            while not entries(ground.out) and not (ground.out / "grey" / PATIENT).exists():
                assert time.monotonic() < limit, ground.said()
                time.sleep(0.1)
            try_as_stranger(ground, watch, open_cluster, [PATIENT, password])
            while not (ground.out / "grey" / PATIENT / "mask.tif").exists():
                assert time.monotonic() < limit, ground.said()
                time.sleep(0.1)
            require_shut(watch, network)
    finally:
        down = ground.start("down")
        ground.finish(down)
    assert [listener for listener in watch.seen if not listener.is_local] == []
    assert not ground.ran.exists(), ground.ran.read_text()
    assert read_services(ground.home / SERVICES) == []


@pytest.mark.parametrize("name", ["demo", pytest.param("nightly", marks=needs_services)])
def test_what_other_commands_start_listens_on_loopback_alone(ground, network, name):
    write_scene(ground, 4096)
    words = {
        "demo": ["demo", "--out", str(ground.out), "--workers", "1"],
        "nightly": ["nightly", "--job", str(ground.job), "--inbox", str(ground.inbox), "--out", str(ground.out),
                    "--workers", "1"],
    }  # fmt: skip
    process = ground.start(*words[name])
    watch = Watch(lambda: [process.pid])
    try:
        with watch.kept():
            ground.wait(lambda: entries(ground.out), process, "no block was done")
            require_shut(watch, network)
            if name == "demo":
                # Its large scene takes minutes.
                process.send_signal(signal.SIGINT)
            code = ground.finish(process)
    finally:
        end(process)
    assert name == "demo" or code == 0, ground.said()
    assert [listener for listener in watch.seen if not listener.is_local] == []
    assert not ground.ran.exists(), ground.ran.read_text()


def test_check_believes_nothing_that_lies_in_the_current_folder(ground):
    """A Celery project's own ``tasks.py`` made every scene fail as damaged."""
    write_scene(ground, 64)
    (ground.owner / "tasks.py").write_text(f"open({str(ground.ran)!r}, 'a').write('tasks')\n")
    shutil.rmtree(ground.owner / "tasks")
    process = ground.start("check", str(ground.inbox), "--job", str(ground.job))
    assert ground.finish(process) == 0, ground.said()
    assert not ground.ran.exists(), ground.ran.read_text()


def test_the_installed_program_is_the_one_with_a_safe_path():
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert described["project"]["scripts"] == {"swathe": "flows.cli:main"}


def test_every_python_that_is_started_by_module_has_a_safe_path():
    """``-m`` puts the current folder first, ``-P`` takes it away."""
    pattern = re.compile(r'sys\.executable,([^\]]*?)"-[mc]"')
    sources = [path for folder in ("flows", "tasks", "models") for path in (ROOT / folder).rglob("*.py")]
    found = [(path.name, words.strip()) for path in sources for words in pattern.findall(path.read_text())]
    assert {name for name, _ in found} >= {"child_process.py", "up.py", "deploy.py"}
    assert [one for one in found if one[1] != "SAFE,"] == []


# Files and folders of one user alone


def test_a_folder_that_was_open_is_closed(tmp_path):
    (tmp_path / "logs").mkdir(mode=0o755)
    assert private_folder(tmp_path / "logs").stat().st_mode & 0o777 == 0o700
    assert private_folder(tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_a_private_folder_or_file_is_refused(tmp_path):
    (tmp_path / "there").mkdir(mode=0o755)
    (tmp_path / "secret").write_text("known to others")
    (tmp_path / "logs").symlink_to(tmp_path / "there")
    (tmp_path / "password").symlink_to(tmp_path / "secret")
    with pytest.raises(SwatheError, match="is a link"):
        private_folder(tmp_path / "logs")
    with pytest.raises(SwatheError, match="is a link"):
        read_private(tmp_path / "password")
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_password_that_somebody_else_has_laid_there_is_refused(tmp_path):
    private_file(tmp_path / "password", "swathe:known")
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    os.chown(tmp_path / "password", 65534, 65534)
    with pytest.raises(SwatheError, match="belongs to another user"):
        read_private(tmp_path / "password")


def test_a_password_that_others_could_read_is_closed_to_them(tmp_path):
    (tmp_path / "password").write_text("swathe:old")
    (tmp_path / "password").chmod(0o644)
    assert read_private(tmp_path / "password") == "swathe:old"
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600


def test_a_port_that_somebody_else_has_is_not_taken_for_the_servers_own():
    """Whoever reads the port in a command line may take it first, and would be told the password."""
    with socket.create_server(("127.0.0.1", 0)) as here:
        port = here.getsockname()[1]
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            assert listens_itself(os.getpid(), port)
            assert not listens_itself(other.pid, port)
            other.kill()
    assert not listens_itself(os.getpid(), port)
    assert not listens_itself(psutil.Process().pid + 2**22, port)
