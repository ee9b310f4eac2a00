"""The scenes of a batch that was checked, in a file: what a run is told of instead of the names of their files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from models.parsed import from_json
from tasks.errors import JobError
from tasks.inputs.input import Input
from tasks.out.folder import OutFolder

_SUFFIX = ".scenes.json"


def keep_manifest(out: OutFolder, items: Sequence[Input]) -> str:
    """Write scenes into a folder, and return what stands for them among inputs.

    Raises:
        StoreError: When the folder cannot be written to.
    """
    return f"@{out.keep_list(json.dumps([asdict(item) for item in items], indent=1), _SUFFIX)}"


def is_manifest(text: str) -> bool:
    """Tell whether an input is what ``keep_manifest`` returned."""
    return text.startswith("@") and text.endswith(_SUFFIX)


def read_manifest(text: str) -> list[Input]:
    """Return the scenes of a manifest.

    Raises:
        JobError: When it is gone or damaged.
    """
    try:
        return [Input.from_facts(fields) for fields in from_json(Path(text[1:]).read_bytes())]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise JobError(
            f"{text[1:]}: the list of scenes cannot be read ({error}). Submit them again; .swathe/ may be deleted only "
            "when no run uses the folder or waits for it"
        ) from error
