"""Whether a worker is the equal of this process: the same Python, packages and code, and the same files."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import requires
from typing import Any

from flows.cluster import probe

# What only commands and flows need; a worker may lack it or have another.
_NOT_ON_WORKERS = {
    *("fastapi", "httpx", "platformdirs", "prefect", "pystac", "pystac-client", "rich", "sqlalchemy", "typer")
}
# What neither swathe's requirements nor torch's name says, and what blocks travel with.
_BESIDE = ("swathe", "distributed", "cloudpickle", "msgpack")
_CODE = ("models", "tasks")
_MEND = "Give it the same image, or the same swathe with the same constraints.txt, and start it again"


@dataclass(frozen=True)
class Shared:
    """What every worker has to see as this process does.

    Attributes:
        paths: Absolute paths by what they are called in errors.
        marker: A file under OUT that this process has written.
        token: What stands in it.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    marker: str | None = None
    token: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker said of itself, see ``flows.cluster.probe.report``."""

    python: str
    packages: Mapping[str, str | None]
    code: str
    replaced: bool = False
    imports: tuple[str, ...] = ()
    storage: tuple[str, ...] = ()
    host: str = ""
    folders: tuple[str, ...] = ()

    @property
    def build(self) -> tuple[str | None, ...]:
        """Versions with their local labels, which tell builds for CPUs from those for GPUs."""
        return tuple(version for _, version in sorted(self.packages.items()))


@cache
def decisive_packages() -> tuple[str, ...]:
    """Return the distributions whose versions decide what a worker makes of a block."""
    required = (
        re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requires("swathe") or () if "extra ==" not in line
    )
    return tuple(sorted({name.lower() for name in required} - _NOT_ON_WORKERS | set(_BESIDE)))


def question(modules: tuple[str, ...], shared: Shared) -> dict[str, Any]:
    """Return what a worker is asked."""
    return {
        "packages": list(decisive_packages()),
        "code": list(_CODE),
        "imports": list(modules),
        "paths": dict(shared.paths),
        "marker": shared.marker,
        "token": shared.token,
    }


def asked(ask: dict[str, Any]) -> str:
    """Return a question as an expression that any Python of ours can evaluate to its answer."""
    source = inspect.getsource(probe)
    return f"(lambda space: (exec({source!r}, space), space['report']({ask!r}))[1])({{}})"


def parsed(answer: Mapping[str, Any]) -> Report:
    """Return an answer as a report."""
    return Report(
        python=answer["python"],
        packages=answer["packages"],
        code=answer["code"],
        replaced=answer["replaced"],
        imports=tuple(answer["imports"]),
        storage=tuple(answer["storage"]),
        host=answer["host"],
        folders=tuple(answer["folders"]),
    )


def own_report() -> Report:
    """Return what this process would answer."""
    return parsed(probe.report(question((), Shared())))


def differences(here: Report, there: Report) -> str | None:
    """Return how a worker differs from this process and how to mend it; None where it does not.

    Local labels of versions (``+cpu``, ``+cu126``) are left out: a worker may have a GPU where this process has none.
    """
    found = []
    if there.python != here.python:
        found.append(f"Python {there.python} there, {here.python} here")
    for name, version in here.packages.items():
        other = there.packages.get(name)
        if _public(other) != _public(version):
            found.append(f"{name} {other or 'missing'} there, {version or 'missing'} here")
    if not found and there.code != here.code:
        # A folder named like a package of ours, where the worker was started, may stand before what is installed.
        found.append(
            f"another state of swathe's code there ({there.code} from {' and '.join(there.folders)}; "
            f"{here.code} from {' and '.join(here.folders)} here)"
        )
    elif not found and there.replaced:
        found.append("swathe was replaced there after the worker had started")
    found.extend(there.imports)
    if found:
        return f"{'; '.join(found)}. {_MEND}"
    if there.storage:
        return f"{'; '.join(there.storage)}. Mount it there under the same path, with the same rights"
    return None


def _public(version: str | None) -> str | None:
    return None if version is None else version.partition("+")[0]
