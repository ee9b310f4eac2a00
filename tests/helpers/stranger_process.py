"""Another user of the machine, who tries whatever listens: run programs, read pages, read files.

It begins as root only to load what it needs from folders that the other user may not enter. Told on standard input what
to try, it tells on standard output what came of it.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import distributed.comm
from distributed import Security
from distributed.core import connect

NOBODY = 65534
# A certificate of one's own making.
OWN = Security.temporary()
LIMIT_S = 15.0
# What Dask and Prefect answer where nobody locks them.
ASKED = [
    ("GET", "/"),
    ("GET", "/info/main/workers.html"),
    ("GET", "/json/counts.json"),
    ("GET", "/metrics"),
    ("GET", "/sitemap.json"),
    ("GET", "/api/admin/settings"),
    ("GET", "/api/admin/version"),
    ("GET", "/docs"),
    *(
        ("POST", f"/api/{kind}/filter")
        for kind in (
            "flow_runs", "task_runs", "artifacts", "logs", "deployments", "events", "work_pools", "block_documents",
            "automations", "variables",
        )
    ),
    ("POST", "/api/admin/database/clear"),
]  # fmt: skip


async def run_code(port: int, scheme: str, name: str, proof: str) -> None:
    """Have whoever listens write down who he is."""
    certificate = OWN.get_connection_args("client") if scheme == "tls" else {}
    comm = await connect(f"{scheme}://127.0.0.1:{port}", timeout=LIMIT_S, **certificate)
    try:
        command = pickle.dumps((f"id -u >> {proof}",))
        await comm.write({"op": name, "function": pickle.dumps(os.system), "args": command, "reply": True})
        await comm.read()
    finally:
        comm.abort()


async def try_code(ports: list[int], folder: Path) -> None:
    tries = [
        asyncio.wait_for(run_code(port, scheme, name, str(folder / str(port))), 2 * LIMIT_S)
        for port in ports
        for scheme in ("tcp", "tls")
        # As workers and their nannies call it, and as schedulers do.
        for name in ("run", "run_function")
    ]
    await asyncio.gather(*tries, return_exceptions=True)


def page(port: int, method: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        body = json.dumps({"confirm": True}) if path.endswith("clear") else "{}"
        connection.request(method, path, body if method == "POST" else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 20).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def pages(ports: list[int]) -> list[list[object]]:
    asked = [(port, *one) for port in ports for one in ASKED]
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda one: page(*one), asked)
        return [[*one, *answer] for one, answer in zip(asked, answers, strict=True)]


def readable(roots: list[str], words: list[str]) -> list[str]:
    """Return files that can be read and hold one of some words."""
    found = []
    files = [path for root in roots for path in (Path(root), *Path(root).rglob("*"))]
    for path in files:
        try:
            content = path.read_bytes()
        except OSError:
            continue
        found += [str(path) for word in words if word.encode() in content or word in path.name]
    return found


def main() -> None:
    asked = json.loads(sys.stdin.read())
    folder = Path(asked["folder"])
    assert {"tcp", "tls"} <= distributed.comm.registry.backends.keys()
    # Whatever is loaded only in use.
    asyncio.run(try_code(asked["open"], folder / "warm"))
    pages(asked["open"])
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    for ports in (asked["open"], asked["ports"]):
        asyncio.run(try_code(ports, folder / "proof"))
    environments = [f"/proc/{pid}/environ" for pid in asked["pids"]]
    told = {
        "pages": pages(asked["ports"]),
        "control": pages(asked["open"]),
        "files": readable([*asked["roots"], *environments], asked["words"]),
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
