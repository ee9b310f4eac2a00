"""``swathe up``, ``down`` and ``status``."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import FAILED_SCENES, HOME, OUT, Home
from flows.display.told import Told, tell, tell_path


def up_command(
    data: Annotated[Path, typer.Option(help="Folder of the inputs: fire/ and crop/ in it are looked at nightly.")],
    out: Annotated[Path, typer.Option(help="Folder of the products, one folder per job in it.")],
    home: Home = HOME,
    port: Annotated[int, typer.Option(min=1, max=65534, help="Of the server; the scheduler has the next one.")] = 4200,
    workers: Annotated[int, typer.Option(min=1, help="Dask workers.")] = 1,
    wait: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that each service may take to come up; as long as it runs where left out."),
    ] = None,
) -> None:
    """Start server, worker and cluster on this machine, with the deployments, for trying them out."""
    from flows.local.up import LocalSettings, password_file, up

    settings = LocalSettings(
        home=home.resolve(), data=data.resolve(), out=out.resolve(), port=port, workers=workers, wait_s=wait
    )
    up(settings, lambda line: tell(OUT, [Told(line, is_flush=True)]))
    tell(OUT, [Told("The server is at", is_flush=True)])
    tell_path(OUT, settings.api.removesuffix("/api"))
    tell(OUT, [Told("User and password stand in", is_flush=True)])
    tell_path(OUT, password_file(settings.home))


def deploy_command(
    data: Annotated[str, typer.Option(envvar="SWATHE_DATA", help="Folder of the inputs, as Prefect's workers see it.")],
    out: Annotated[str, typer.Option(envvar="SWATHE_OUT", help="Folder of the products, as they see it.")],
    server: Annotated[str, typer.Option(envvar="PREFECT_API_URL", help="Address of the Prefect server, with /api.")],
    cluster: Annotated[
        str, typer.Option(envvar="SWATHE_CLUSTER", help="local, or the address of a running Dask scheduler.")
    ] = "local",
    runs: Annotated[
        int, typer.Option(min=1, help="Flow runs at a time, over all Prefect workers, beside those of the queue gpu.")
    ] = 3,
    file: Annotated[Path | None, typer.Option(help="Other deployments than those that ship.")] = None,
) -> None:
    """Make work pool, queues, deployments and automations on a Prefect server, or bring them up to date."""
    from flows.server.deploy import Target, deploy

    folders = {"SWATHE_DATA": data, "SWATHE_OUT": out, "SWATHE_CLUSTER": cluster}
    deploy(
        Target(api=server, auth=os.environ.get("PREFECT_API_AUTH_STRING"), runs=runs, file=file, environment=folders)
    )
    OUT.print(f"deployed to {server.removesuffix('/api')}", highlight=False)


def down_command(home: Home = HOME) -> None:
    """Stop exactly what ``swathe up`` started."""
    from flows.local.up import down

    stopped = down(home.resolve())
    OUT.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running", highlight=False)


def status_command(
    out: Annotated[list[Path] | None, typer.Argument(help="Folders of products.", metavar="OUT...")] = None,
    home: Home = HOME,
    metrics: Annotated[bool, typer.Option("--metrics", help="Print figures for Prometheus instead.")] = False,
) -> None:
    """Tell what runs here, and what the ledgers of folders say; exit code 1 where a night is overdue."""
    from flows.commands import tables
    from flows.local.processes import read_services
    from flows.local.up import SERVICES
    from tasks.nights.status import status_of

    now = datetime.now(UTC).isoformat()
    found = [status_of(folder, now) for folder in out or []]
    if metrics:
        from flows.cluster.gpus import gpus
        from tasks.nights.figures import metrics_text

        sys.stdout.write(metrics_text(found, gpus()))
    else:
        running = [service.name for service in read_services(home.resolve() / SERVICES) if service.runs]
        tell(OUT, tables.services(running, home.resolve()))
        for status in found:
            tell(OUT, tables.status(status))
    if any(status.overdue for status in found):
        raise typer.Exit(FAILED_SCENES)
