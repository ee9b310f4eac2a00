"""``swathe audit``: whether the log of a folder is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flows.commands.options import FAILED_SCENES, OUT


def audit_command(
    out: Annotated[Path, typer.Argument(help="A folder that runs wrote into.", metavar="OUT")],
) -> None:
    """Check the audit log of a folder: no line changed, left out or added, none missing at the end."""
    from tasks.errors import AuditError
    from tasks.files.keys import default_key_path, load_key, require_outside
    from tasks.inputs.naming import AUDIT
    from tasks.out.audit import AuditLog, has_audit
    from tasks.out.folder import OutFolder

    folder = OutFolder(out)
    if not has_audit(folder):
        raise AuditError(f"{out}: has no {AUDIT}. It is kept of volumes and of DICOM files that were freed of names")
    key_path = default_key_path()
    require_outside(key_path, out)
    log = AuditLog(folder, load_key(key_path))
    findings = list(log.findings())
    if not findings:
        told = f"{log.n_lines()} lines of {out / AUDIT} are as they were written"
        OUT.print(told, soft_wrap=True, markup=False, highlight=False)
        return
    table = Table("line", "finding", "what")
    for finding in findings:
        table.add_row(str(finding.line or ""), Text(finding.what, style="red"), Text(finding.text))
    OUT.print(table)
    raise typer.Exit(FAILED_SCENES)
