"""What a published folder says of itself, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.parsed import from_json
from tasks.errors import ProductError


def read_published(path: Path, *keys: str) -> dict[str, Any]:
    """Return what a JSON file of a published folder says.

    Args:
        path: Of the file, through the link that users open.
        keys: That it has where it is whole.

    Raises:
        ProductError: When it is damaged, or cannot be read.
    """
    try:
        found = from_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ProductError(f"{path}: cannot be read ({error}). {_mend(path)}") from error
    if not isinstance(found, dict) or not set(keys) <= set(found):
        raise ProductError(f"{path}: is damaged: {', '.join(keys) or 'its content'} not there. {_mend(path)}")
    return found


def _mend(path: Path) -> str:
    link = path.parent
    # The folder as well: a product that lies under its key is taken for whole.
    return f"Delete the link {link} and the folder {link.resolve()}; the next run makes both again"
