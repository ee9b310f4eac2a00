"""``swathe forget``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import FAILED_SCENES, HOME, OUT, Home

_ASKED = "-"


def forget_command(
    patient: Annotated[
        str, typer.Argument(help="Pseudonym (P-...), or - to read the patient's id from the input.", metavar="PATIENT")
    ],
    out: Annotated[Path, typer.Option("--out", help="A folder that runs, or swathe deidentify, wrote into.")],
    home: Home = HOME,
) -> None:
    """Delete one patient: products, ledger, freed files, crosswalk, Prefect's runs; and say what is not reached."""
    from datetime import UTC, datetime

    from flows.batch.forgetting import UNREACHED, forget
    from flows.commands.orchestrated import use_server
    from tasks.deidentify.crosswalk import Crosswalk, crosswalk_path
    from tasks.errors import StoreError
    from tasks.files.keys import institution_key
    from tasks.files.pseudonyms import Pseudonyms
    from tasks.out.audit import AuditLog
    from tasks.out.erasing import Eraser
    from tasks.out.folder import OutFolder

    folder = OutFolder(out.resolve())
    if not folder.scratch.is_dir():
        raise StoreError(f"{out}: no folder of swathe's. Name the --out of the runs")
    pseudonyms = Pseudonyms(institution_key(folder.root))
    said = (sys.stdin.readline() if patient == _ASKED else patient).strip()
    # Patients whom a table names are called so here.
    is_listed = folder.ledger.is_file() and bool(Eraser(folder.ledger).scenes_of(said))
    name = said if is_listed else pseudonyms.named(said)
    crosswalk = Crosswalk(crosswalk_path(folder.root), datetime.now(UTC).date().isoformat())
    done = forget(folder, name, AuditLog(folder, pseudonyms.key), crosswalk, has_server=use_server(home))
    if done.is_nothing:
        _print(f"nothing is known of {name} here")
        raise typer.Exit(FAILED_SCENES)
    runs = "no Prefect server was asked" if done.runs is None else f"{done.runs} runs on the Prefect server"
    counts = f"{done.products} products of {done.scenes} scenes, {done.freed} folders of freed files"
    _print(f"{name}: {counts}, {done.studies} studies in the crosswalk deleted; {runs}")
    _print("not reached, and yours to look at:")
    for text in UNREACHED:
        _print(f"  {text}")


def _print(text: str) -> None:
    OUT.print(text, soft_wrap=True, markup=False, highlight=False)
