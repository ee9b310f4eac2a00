"""``swathe deidentify``: no server and no job needed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from flows.commands.options import FAILED_SCENES, OUT, Overrides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.deidentify.journal import FileVerdict
    from tasks.jobs.deidentify import Deidentification

_STYLES = {"done": "green", "same": "cyan", "left out": "yellow", "refused": "red"}


def deidentify_command(
    source: Annotated[Path, typer.Argument(help="A DICOM file, or a folder of them at any depth.", metavar="IN")],
    out: Annotated[Path, typer.Argument(help="Folder for what may be shown; apart from IN.", metavar="OUT")],
    job: Annotated[str | None, typer.Option("--job", help="Take the section 'deidentify' of this job.")] = None,
    burnt_in: Annotated[
        Literal["refuse", "allow"] | None, typer.Option(help="Images with text in their pixels, or that may have.")
    ] = None,
    find: Annotated[
        str | None, typer.Option(help="Only print the path of the file that the table calls so.", metavar="F-...")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Write DICOM files without what names a patient, and a table that says what became of each."""
    from flows.batch.freeing import free_folder
    from tasks.deidentify.folder import find_source
    from tasks.files.keys import institution_key
    from tasks.files.pseudonyms import Pseudonyms
    from tasks.inputs.naming import FREED
    from tasks.out.audit import AuditLog
    from tasks.out.folder import OutFolder

    folder = OutFolder(out)
    settings = _settings(job, burnt_in, overrides or [])
    pseudonyms = Pseudonyms(institution_key(out))
    if find is not None:
        path = find_source(source, find, pseudonyms)
        OUT.print("not in IN" if path is None else str(path), soft_wrap=True, markup=False, highlight=False)
        raise typer.Exit(FAILED_SCENES if path is None else 0)
    verdicts = free_folder(
        [source], folder, settings=settings, pseudonyms=pseudonyms, log=AuditLog(folder, pseudonyms.key)
    )
    OUT.print(verdict_table(verdicts))
    patients = {verdict.patient for verdict in verdicts if verdict.patient}
    told = f"{len(verdicts)} files of {len(patients)} patients, key {pseudonyms.key.id}; {out / FREED}"
    OUT.print(told, soft_wrap=True, markup=False, highlight=False)
    if any(verdict.status == "refused" for verdict in verdicts):
        raise typer.Exit(FAILED_SCENES)


def _settings(job: str | None, burnt_in: str | None, overrides: list[str]) -> Deidentification:
    """Return what the job says, or what holds without one."""
    from tasks.jobs.deidentify import Deidentification
    from tasks.jobs.job import load_job
    from tasks.jobs.reading import build_section

    if job is None:
        short = tuple(override.removeprefix("deidentify.") for override in overrides)
        settings = build_section({}, "the command line", Deidentification, short)
    else:
        settings = load_job(job, tuple(overrides)).deidentify or Deidentification()
    return settings if burnt_in is None else settings.model_copy(update={"burnt_in": burnt_in})


def verdict_table(verdicts: Sequence[FileVerdict]) -> Table:
    """Return a row per thing that became of files."""
    table = Table("files", "status", "code", "why")
    groups = Counter((verdict.status, verdict.code) for verdict in verdicts)
    for (status, code), count in sorted(groups.items()):
        example = next(verdict for verdict in verdicts if (verdict.status, verdict.code) == (status, code))
        why = f"{example.message} (such as {example.source})" if code else ""
        table.add_row(str(count), Text(status, style=_STYLES[status]), code, Text(why))
    return table
