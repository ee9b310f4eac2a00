"""How a batch ended, scene by scene: ``batch.csv`` and ``batch.json``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tasks.files.durable import replace_file


@dataclass(frozen=True, kw_only=True)
class SceneOutcome:
    """One row of the batch table.

    Attributes:
        scene: Its id.
        status: ``done``, ``skipped`` (unchanged since an earlier run) or ``failed``.
        error: Name and text of what went wrong.
        product: Folder of the product, relative to OUT.
        headline: Numbers by name, units in the names.
        warnings: What a reader has to know before believing the numbers; those of the check among them, word for word.
    """

    scene: str
    status: Literal["done", "skipped", "failed"]
    error: str | None = None
    product: str | None = None
    headline: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> SceneOutcome:
        """Return the outcome that ``asdict`` made a row of."""
        return cls(**{**row, "warnings": tuple(row.get("warnings", ()))})


def write_batch(root: Path, job: str, outcomes: Sequence[SceneOutcome]) -> None:
    """Write both tables, each in one step."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.headline))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["scene", "status", "error", "product", "warnings", *names])
    for outcome in outcomes:
        numbers = [outcome.headline.get(name, "") for name in names]
        known = [outcome.scene, outcome.status, outcome.error or "", outcome.product or ""]
        table.writerow([*known, " | ".join(outcome.warnings), *numbers])
    replace_file(root / "batch.csv", text.getvalue().encode())
    rows = {"job": job, "scenes": [asdict(outcome) for outcome in outcomes]}
    replace_file(root / "batch.json", (json.dumps(rows, indent=2) + "\n").encode())
