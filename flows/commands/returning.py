"""``swathe return``: SEG and SR back into the study that they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import FAILED_SCENES, OUT


def return_command(
    out: Annotated[Path, typer.Argument(help="A folder that a job with deidentify wrote into.", metavar="OUT")],
    to: Annotated[Path, typer.Option("--to", help="Folder for results with the hospital's identifiers.")],
) -> None:
    """Write SEG and SR of freed studies with the identifiers of the original study, as long as these are known."""
    from datetime import UTC, datetime

    from tasks.deidentify.crosswalk import Crosswalk, crosswalk_path
    from tasks.errors import StoreError
    from tasks.files.keys import institution_key
    from tasks.files.pseudonyms import Pseudonyms
    from tasks.out.audit import AuditLog
    from tasks.out.folder import OutFolder
    from tasks.products.dicom.returning import return_results

    if to.resolve().is_relative_to(out.resolve()):
        raise StoreError(f"{to}: lies in {out}, whose readers shall not know whom it shows. Name a folder elsewhere")
    folder = OutFolder(out)
    pseudonyms = Pseudonyms(institution_key(out))
    log = AuditLog(folder, pseudonyms.key)
    log.require_whole()
    now = datetime.now(UTC)
    crosswalk = Crosswalk(crosswalk_path(out), now.date().isoformat())
    found = list(return_results(folder, to, crosswalk, pseudonyms))
    known = [one for one in found if one.patient is not None]
    facts = {
        "scenes": [one.scene for one in known],
        "patients": sorted({one.patient for one in known if one.patient}),
        "unknown": [one.scene for one in found if one.patient is None],
    }
    log.append("results returned", now.isoformat(timespec="seconds"), facts)
    n_files = sum(len(one.files) for one in known)
    told = f"{n_files} files of {len(known)} scenes in {to}"
    OUT.print(told, soft_wrap=True, markup=False, highlight=False)
    for one in found:
        if one.patient is None:
            text = f"{one.scene}: nobody knows its study: it was never in the crosswalk, or its time is over"
            OUT.print(text, soft_wrap=True, markup=False, highlight=False)
    if len(known) < len(found) or not found:
        raise typer.Exit(FAILED_SCENES)
