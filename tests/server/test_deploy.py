"""What ``swathe deploy`` does with a server that is busy, and with one that refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from flows.server.deploy import Target, deploy, places, shipped
from models.errors import SwatheError


class Server(ThreadingHTTPServer):
    """Knows the pool and the queues already; answers as it is told to the first changes."""

    def __init__(self, *first_answers: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.first_answers = list(first_answers)
        self.changes: list[tuple[str, dict[str, int]]] = []


class Handler(BaseHTTPRequestHandler):
    """Of a ``Server``."""

    server: Server

    def do_POST(self) -> None:
        self._body()
        self._answer(200 if self.path.startswith("/automations") else 409, [])

    def do_PATCH(self) -> None:
        body = self._body()
        status = self.server.first_answers.pop(0) if self.server.first_answers else 204
        if status == 204:
            self.server.changes.append((self.path, body))
        self._answer(status, {"exception_message": "Service Unavailable"})

    def _body(self) -> dict[str, int]:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, status: int, body: object) -> None:
        content = b"" if status == 204 else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Keep the terminal for pytest."""


@pytest.fixture
def serve(monkeypatch) -> Iterator:
    monkeypatch.setattr("flows.server.deploy._deploy_flows", lambda target: None)
    running: list[Server] = []

    def start(*first_answers: int) -> tuple[Server, Target]:
        running.append(server := Server(*first_answers))
        Thread(target=server.serve_forever, daemon=True).start()
        return server, Target(api=f"http://127.0.0.1:{server.server_port}", auth=None, runs=3)

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_server_that_is_busy_is_asked_again(serve):
    server, target = serve(503, 503)
    deploy(target)
    assert server.changes[0] == ("/work_pools/swathe", {"concurrency_limit": 4})
    queues = [path.rpartition("/")[2] for path, _ in server.changes[1:]]
    assert queues == ["urgent", "routine", "gpu"], "none is left out"


def test_a_server_that_refuses_is_named_with_what_it_says(serve):
    _, target = serve(500)
    with pytest.raises(SwatheError, match=r"refuses /work_pools/swathe: .*Service Unavailable"):
        deploy(target)


@pytest.mark.parametrize("runs", [2, 3, 8])
def test_routine_runs_and_those_with_a_gpu_together_leave_a_place_for_an_urgent_one(serve, runs):
    server, target = serve()
    deploy(replace(target, runs=runs))
    (_, pool), *queues = server.changes
    limits = {path.rpartition("/")[2]: change["concurrency_limit"] for path, change in queues}
    assert pool["concurrency_limit"] == places(runs)
    assert sum(limits[name] for name in ("routine", "gpu")) == places(runs) - 1
    assert limits["urgent"] == runs


def test_queues_that_are_there_already_get_their_priorities_too(serve):
    server, target = serve()
    deploy(target)
    changed = {path.rpartition("/")[2]: change.get("priority") for path, change in server.changes[1:]}
    queues = shipped("prefect.yaml")["definitions"]["queues"]
    assert changed == {name: queue["priority"] for name, queue in queues.items()}
