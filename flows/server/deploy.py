"""``swathe deploy``: what a Prefect server has to know: work pool, queues, deployments, automations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import yaml

from flows.server.profiles import load_prefect
from models.errors import SwatheError
from tasks.files.safe_path import NEUTRAL, SAFE, SAFE_PATH

POOL = "swathe"
_TRYING_S = 15.0
# After 2, 4, 8, 16 s.
_ASKED_AGAIN = 4


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server, and what is made on it.

    Attributes:
        api: Address of the server.
        auth: ``user:password`` where it asks for them.
        runs: How many flow runs at a time, over all Prefect workers, beside those of queues with a limit of their own.
        file: Deployments; those that ship with swathe where left out.
        environment: Of the deployments' templates: ``SWATHE_DATA``, ``SWATHE_OUT``, ``SWATHE_CLUSTER``.
    """

    api: str
    auth: str | None
    runs: int
    file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def deploy(target: Target) -> None:
    """Make pool, queues, deployments and automations; those that are there already get this file's settings.

    An automation that is there already stays as it is: somebody may have changed it.

    Raises:
        SwatheError: When the server cannot be reached, refuses, or a file does not describe deployments.
    """
    try:
        with _server(target) as server:
            _make_pool(server, target.runs)
            _deploy_flows(target)
            _make_automations(server)
    except httpx.HTTPStatusError as error:
        raise SwatheError(f"{target.api}: refuses {error.request.url.path}: {error.response.text[:300]}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SwatheError(f"{target.api}: no Prefect server answers there ({error}). Check PREFECT_API_URL") from error


@contextmanager
def _server(target: Target) -> Iterator[httpx.Client]:
    # Here, because the command line need not wait for Prefect where it does not deploy.
    load_prefect()
    from prefect.client.base import PrefectHttpxSyncClient
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    user, _, password = (target.auth or "").partition(":")
    auth = (user, password) if target.auth else None
    # A server on SQLite whose own services write at the moment answers 503: Prefect's client asks again.
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: _ASKED_AGAIN}),
        PrefectHttpxSyncClient(
            base_url=target.api.rstrip("/"), auth=auth, timeout=_TRYING_S, raise_on_all_errors=False
        ) as client,
    ):
        yield client


def _make_pool(server: httpx.Client, runs: int) -> None:
    _make(server, "/work_pools/", {"name": POOL, "type": "process", "concurrency_limit": places(runs)})
    for name, queue in _queues().items():
        limit = queue.get("limit", max(1, runs - queue.get("leaves_free", 0)))
        wanted = {"name": name, "priority": queue["priority"], "concurrency_limit": limit}
        _make(server, f"/work_pools/{POOL}/queues", wanted)


def places(runs: int) -> int:
    """Return how many flow runs the pool holds at a time.

    Args:
        runs: Those that are urgent or routine. What has a queue with a limit of its own does not take their places.
    """
    return runs + sum(queue.get("limit", 0) for queue in _queues().values())


def _queues() -> dict[str, dict[str, int]]:
    queues: dict[str, dict[str, int]] = shipped("prefect.yaml")["definitions"]["queues"]
    return queues


def _make(server: httpx.Client, path: str, wanted: dict[str, Any]) -> None:
    answer = server.post(path, json=wanted)
    if answer.status_code == httpx.codes.CONFLICT:
        # What a pool is called, and of which type it is, cannot be changed.
        settings = {key: value for key, value in wanted.items() if key not in ("name", "type")}
        answer = server.patch(f"{path.rstrip('/')}/{wanted['name']}", json=settings)
    answer.raise_for_status()


def _make_automations(server: httpx.Client) -> None:
    known = {entry["name"] for entry in server.post("/automations/filter", json={}).raise_for_status().json()}
    for automation in shipped("automations.yaml")["automations"]:
        if automation["name"] not in known:
            server.post("/automations/", json=automation).raise_for_status()


def _deploy_flows(target: Target) -> None:
    file = target.file or Path(str(files("flows").joinpath("prefect.yaml")))
    # Prefect imports flows from the folder that it is started in: one's own may lie beside their file.
    folder = NEUTRAL if target.file is None else target.file.resolve().parent
    prefect = [sys.executable, SAFE, "-m", "prefect", "--no-prompt"]
    command = [*prefect, "deploy", "--all", "--prefect-file", str(file.resolve())]
    auth = {} if target.auth is None else {"PREFECT_API_AUTH_STRING": target.auth}
    environment = {**os.environ, **target.environment, **auth, **SAFE_PATH, "PREFECT_API_URL": target.api}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SwatheError(f"{file}: could not be deployed: {f'{done.stdout}{done.stderr}'.strip()[-600:]}")


def shipped(name: str) -> dict[str, Any]:
    """Return one of the YAML files beside this module."""
    loaded: dict[str, Any] = yaml.safe_load(files("flows").joinpath(name).read_text(encoding="utf-8"))
    return loaded
