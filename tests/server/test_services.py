"""What docker/compose.yaml starts, as plain processes in the same order: a schedule fires by itself, a batch runs.

On PostgreSQL where it is installed, and on SQLite otherwise.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from listeners import Watch
from ports import free_port
from scenes import write_raster

from flows.server.deploy import Target, _make_automations, _make_pool, _server, shipped

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
AUTH = ("swathe", "correct horse")
JOB = """
job: {name}
kind: raster
model: {{name: threshold, arguments: {{threshold: 100}}}}
analysis: {{kind: area}}
"""


def require_postgres() -> None:
    if not all(map(shutil.which, ("postgres", "initdb"))):
        pytest.skip("PostgreSQL is not installed: install postgres and initdb on PATH")
    if os.geteuid() == 0 and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres'")


class Services:
    """The services of the compose file as processes of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("database", "server", "scheduler", "health")}
        self.processes: dict[str, subprocess.Popen] = {}
        self.places = {
            "/run/secrets": str(folder / "secrets"),
            "http://server:4200": f"http://127.0.0.1:{self.ports['server']}",
            "http://127.0.0.1:4200": f"http://127.0.0.1:{self.ports['server']}",
            "tls://scheduler:8786": f"tls://127.0.0.1:{self.ports['scheduler']}",
            "0.0.0.0": "127.0.0.1",
        }
        self.whole = {
            "4200": str(self.ports["server"]),
            "--port=8786": f"--port={self.ports['scheduler']}",
            "--dashboard-address=127.0.0.1:8787": "--dashboard-address=127.0.0.1:0",
            "5432": str(self.ports["database"]),
            "database": "127.0.0.1",
            "/data": str(folder / "data"),
            "/out": str(folder / "out"),
            "--local-directory=/tmp": f"--local-directory={folder / 'dask'}",
        }
        self.cluster = f"tls://127.0.0.1:{self.ports['scheduler']}"
        self.api = f"http://127.0.0.1:{self.ports['server']}/api"

    def start(self, name: str, service: str | None = None) -> subprocess.Popen:
        """Start a service by its own command and environment, through the image's entrypoint."""
        said = COMPOSE[service or name]
        words = [self._here(word) for word in said["command"]]
        # On this machine something else may have the port.
        command = [word for word in words if word != "--with-healthcheck"]
        environment = self._environment(said.get("environment", {}))
        return self.begin(name, [str(ROOT / "docker" / "entrypoint.sh"), *command], environment)

    def begin(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen:
        """Start a process in a group of its own, and keep what it says."""
        with (self.folder / f"{name}.log").open("ab") as log:
            run = {"stdout": log, "stderr": log, "start_new_session": True}
            self.processes[name] = subprocess.Popen(command, env=environment, cwd=self.folder, **run)
        return self.processes[name]

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def logs(self) -> str:
        return "\n".join(f"== {path.stem}\n{path.read_text()[-1500:]}" for path in self.folder.glob("*.log"))

    def _environment(self, said: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SWATHE_"))}
        image = {
            "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_PROFILES_PATH": str(ROOT / "flows" / "profiles.toml"),
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(self.folder / "ui"),
            "DO_NOT_TRACK": "1",
        }
        return kept | image | {name: self._here(value) for name, value in said.items()}

    def _here(self, text: str) -> str:
        # ${NAME:-default}, as compose does without such a variable.
        text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)
        if text in self.whole:
            return self.whole[text]
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text


def wait_for(services: Services, condition, limit_s: float, what: str) -> None:
    limit = time.monotonic() + limit_s
    while not condition():
        dead = [name for name, process in services.processes.items() if process.poll()]
        if time.monotonic() > limit or dead:
            pytest.fail(f"{what}; ended: {dead}\n{services.logs()}")
        time.sleep(0.25)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def start_postgres(services: Services) -> None:
    """Make a cluster with a password, as the image's own entrypoint does, and start it."""
    folder = services.folder / "database"
    folder.mkdir()
    owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if owner:
        shutil.chown(folder, "postgres", "postgres")
        for parent in (services.folder, *services.folder.parents[:3]):
            parent.chmod(parent.stat().st_mode | 0o011)
    secret = services.folder / "database-password"
    shutil.copy(services.folder / "secrets" / "database_password", secret)
    secret.chmod(0o644)
    made = [
        "initdb",
        "--pgdata",
        str(folder),
        "--username",
        "prefect",
        "--pwfile",
        str(secret),
        "--auth",
        "scram-sha-256",
    ]
    subprocess.run([*owner, *made, "--no-sync"], check=True, capture_output=True, cwd="/")
    single = [*owner, "postgres", "--single", "-D", str(folder), "postgres"]
    subprocess.run(single, input=b"CREATE DATABASE prefect;\n", check=True, capture_output=True, cwd="/")
    port = str(services.ports["database"])
    command = ["postgres", "-D", str(folder), "-p", port, "-h", "127.0.0.1", "-k", str(folder), "-F"]
    services.begin("database", [*owner, *command])
    wait_for(services, lambda: listens(services.ports["database"]), 30, "the database did not come up")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def services(tmp_path) -> Iterator[Services]:
    require_postgres()
    started = Services(tmp_path)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "database_password").write_text("of the database")
    (secrets / "server_auth").write_text(":".join(AUTH))
    make_certificates(secrets)
    try:
        yield started
    finally:
        started.stop()


def make_certificates(secrets: Path) -> None:
    """Make what the top of the compose file says, and call it as compose does."""
    made = secrets.parent / "certificates"
    subprocess.run([ROOT / "docs" / "clusters" / "certificates.sh", made], check=True, capture_output=True)
    for name, secret in yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["secrets"].items():
        if name.startswith("dask_"):
            shutil.copy(made / Path(secret["file"]).name, secrets / name)


def lets_in(host: str, port: int) -> bool:
    """Tell whether a part of Dask speaks to somebody without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), 10) as plain:
            if plain.recv(1):
                return True
    except OSError:
        pass
    try:
        with socket.create_connection((host, port), 10) as plain, context.wrap_socket(plain) as secured:
            return bool(secured.recv(1))
    except OSError:
        return False


def require_shut(services: Services, watch: Watch) -> None:
    """See that whatever is reached from outside asks for a certificate."""
    open_ones = [one for one in watch.look() if not one.is_local]
    assert all("dask" in one.command or "multiprocessing" in one.command for one in open_ones), open_ones
    assert len(open_ones) >= 2, "containers reach workers and their nannies"
    assert [one for one in open_ones if lets_in("127.0.0.1", one.port)] == []
    assert not lets_in("127.0.0.1", services.ports["scheduler"])


def flow_runs(services: Services, deployment: str) -> list[dict]:
    wanted = {"deployments": {"name": {"any_": [deployment]}}, "sort": "START_TIME_ASC"}
    return httpx.post(f"{services.api}/flow_runs/filter", json=wanted, auth=AUTH, timeout=10).raise_for_status().json()


def completed(services: Services, deployment: str) -> list[dict]:
    runs = flow_runs(services, deployment)
    failed = [run for run in runs if run["state_type"] in ("FAILED", "CRASHED")]
    assert not failed, f"{failed[0]['state']}\n{services.logs()}"
    return [run for run in runs if run["state_type"] == "COMPLETED"]


def deployment(services: Services, name: str) -> dict:
    found = httpx.get(f"{services.api}/deployments/name/{name}", auth=AUTH, timeout=30)
    return dict(found.raise_for_status().json())


def every_minute(services: Services, order: dict) -> None:
    """Deploy what the nightly deployment does once more, with a schedule that a test can wait for."""
    shipped = deployment(services, "nightly/fire")
    kept = ("flow_id", "entrypoint", "work_pool_name", "work_queue_name", "parameter_openapi_schema", "pull_steps")
    wanted = {name: shipped[name] for name in kept} | {"name": "every-minute", "parameters": {"order": order}}
    wanted["schedules"] = [{"active": True, "schedule": {"cron": "* * * * *", "timezone": "UTC"}}]
    httpx.post(f"{services.api}/deployments/", json=wanted, auth=AUTH, timeout=30).raise_for_status()


def submit(services: Services, order: dict) -> None:
    found = deployment(services, "batch/batch")
    body = {"parameters": {"order": order}, "state": {"type": "SCHEDULED"}}
    url = f"{services.api}/deployments/{found['id']}/create_flow_run"
    httpx.post(url, json=body, auth=AUTH, timeout=30).raise_for_status()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_schedule_fires_and_a_batch_runs_on_the_services_of_the_compose_file(services, tmp_path):
    values = np.random.default_rng(0).integers(0, 200, (1, 90, 70)).astype(np.uint8)
    for name in ("inbox", "batch"):
        write_raster(tmp_path / "data" / name / "scene.tif", values)
        (tmp_path / f"{name}.yaml").write_text(JOB.format(name=name))

    start_postgres(services)
    services.start("server")
    services.start("scheduler")
    for number in (1, 2):
        services.start(f"cpu-worker-{number}", "cpu-worker")
    wait_for(services, lambda: answers(f"{services.api}/health"), 240, "the server was not healthy")
    assert httpx.post(f"{services.api}/flow_runs/filter", json={}).status_code == httpx.codes.UNAUTHORIZED

    services.start("deploy")
    assert services.processes["deploy"].wait(240) == 0, services.logs()
    services.start("worker")
    order = {"job": str(tmp_path / "inbox.yaml"), "inbox": str(tmp_path / "data" / "inbox")}
    order |= {"out": str(tmp_path / "out" / "nightly"), "cluster": services.cluster, "overrides": ["run.threads=1"]}
    every_minute(services, order)
    order = {"job": str(tmp_path / "batch.yaml"), "out": str(tmp_path / "out" / "batch")}
    submit(services, {**order, "inputs": [str(tmp_path / "data" / "batch")], "overrides": ["run.threads=1"]})

    watch = Watch(lambda: [process.pid for process in services.processes.values()])
    require_shut(services, watch)

    with watch.kept():
        wait_for(services, lambda: completed(services, "batch"), 240, "the batch was not completed")
    assert (tmp_path / "out" / "batch" / "scene" / "mask.tif").is_file()
    wait_for(services, lambda: completed(services, "every-minute"), 240, "no scheduled run was completed")
    first = completed(services, "every-minute")[0]
    assert first["auto_scheduled"]
    assert (tmp_path / "out" / "nightly" / "scene" / "mask.tif").is_file()
    assert list((tmp_path / "out" / "nightly" / "nights").glob("*.html"))
    require_shut(services, watch)
    assert {one.port for one in watch.seen if not one.is_local} <= {one.port for one in watch.look()}

    assert limits(services) == {"swathe": 4, "urgent": 3, "routine": 2, "gpu": 1}
    names = automations(services)
    with _server(Target(api=services.api, auth=":".join(AUTH), runs=4)) as server:
        # What `swathe deploy` does on a server that it was run on before.
        _make_pool(server, 4)
        _make_automations(server)
    assert limits(services) == {"swathe": 5, "urgent": 4, "routine": 3, "gpu": 1}
    assert automations(services) == names
    assert names == sorted(entry["name"] for entry in shipped("automations.yaml")["automations"])


def limits(services: Services) -> dict[str, int]:
    pool = httpx.get(f"{services.api}/work_pools/swathe", auth=AUTH, timeout=30).json()
    queues = httpx.post(f"{services.api}/work_pools/swathe/queues/filter", json={}, auth=AUTH, timeout=30).json()
    found = {queue["name"]: queue["concurrency_limit"] for queue in queues if queue["name"] != "default"}
    return {"swathe": pool["concurrency_limit"], **found}


def automations(services: Services) -> list[str]:
    found = httpx.post(f"{services.api}/automations/filter", json={}, auth=AUTH, timeout=30).json()
    return sorted(entry["name"] for entry in found)
