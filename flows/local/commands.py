"""``swathe up``, ``down`` and ``status``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from flows import tables
from flows.local.processes import read_services
from flows.local.up import SERVICES, LocalSettings, down, password_file, up
from flows.options import FAILED_SCENES, OUT
from tasks.nights.status import status_of

HOME = Path(platformdirs.user_state_dir("swathe"))

Home = Annotated[Path, typer.Option(envvar="SWATHE_HOME", help="Database, logs, password, and what runs.")]


def up_command(
    data: Annotated[Path, typer.Option(help="Folder of the inputs: fire/ and crop/ in it are looked at nightly.")],
    out: Annotated[Path, typer.Option(help="Folder of the products, one folder per job in it.")],
    home: Home = HOME,
    port: Annotated[int, typer.Option(min=1, max=65534, help="Of the server; the scheduler has the next one.")] = 4200,
    workers: Annotated[int, typer.Option(min=1, help="Dask workers.")] = 1,
) -> None:
    """Start server, worker and cluster on this machine, with the deployments, for trying them out."""
    settings = LocalSettings(home.resolve(), data.resolve(), out.resolve(), port, workers)
    up(settings, lambda line: OUT.print(line, highlight=False))
    OUT.print(f"The server is at {settings.api.removesuffix('/api')}", highlight=False, soft_wrap=True)
    OUT.print(f"User and password stand in {password_file(settings.home)}", highlight=False, soft_wrap=True)


def down_command(home: Home = HOME) -> None:
    """Stop exactly what ``swathe up`` started."""
    stopped = down(home.resolve())
    OUT.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running", highlight=False)


def status_command(
    out: Annotated[list[Path] | None, typer.Argument(help="Folders of products.", metavar="OUT...")] = None,
    home: Home = HOME,
) -> None:
    """Tell what runs here, and what the ledgers of folders say; exit code 1 where a night is overdue."""
    running = [service.name for service in read_services(home.resolve() / SERVICES) if service.runs]
    OUT.print(tables.services(running, home.resolve()))
    now = datetime.now(UTC).isoformat()
    found = [status_of(folder, now) for folder in out or []]
    for status in found:
        OUT.print(tables.status(status))
    if any(status.overdue for status in found):
        raise typer.Exit(FAILED_SCENES)
