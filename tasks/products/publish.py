"""One atomic step from a finished folder to what users open, and what such a folder says, read back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from models.parsed import from_json
from tasks.errors import ProductError
from tasks.files.durable import sync
from tasks.files.room import writing
from tasks.out.folder import OutFolder


def publish(out: OutFolder, scene_id: str, key: str, finished: Path) -> Path:
    """Move a finished folder in place and point the scene's link at it.

    A reader of ``OUT/<scene>`` sees the old product or the new one, never half of one.

    Begun again after an error of the file system, it goes on where it was.

    Args:
        out: Where products go.
        scene_id: Name of the link.
        key: Name of the product's folder.
        finished: A complete folder on the same file system; it is moved.

    Returns:
        The product's folder.

    Raises:
        ProductError: When something that is no link of ours has the scene's name.
        DiskFullError: When there is no room for it; what is finished stays in the scratch space.
        StoreError: When links lead out of the folder.
    """
    with writing("the product", out.root):
        return _publish(out, scene_id, key, finished)


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


def warnings_of(product: Path) -> tuple[str, ...]:
    """Return what a finished product says before its numbers are believed.

    Raises:
        ProductError: When its summary is damaged, or cannot be read.
    """
    return tuple(read_published(product / "summary.json", "warnings")["warnings"])


def _mend(path: Path) -> str:
    link = path.parent
    # The folder as well: a product that lies under its key is taken for whole.
    return f"Delete the link {link} and the folder {link.resolve()}; the next run makes both again"


def _publish(out: OutFolder, scene_id: str, key: str, finished: Path) -> Path:
    product = out.product(scene_id, key)
    product.parent.mkdir(parents=True, exist_ok=True)
    out.require_own(product.parent, product)
    if not product.exists():
        _sync_tree(finished)
        finished.replace(product)
    elif finished.exists():
        # The same key holds the same bytes; only run.json tells the two runs apart.
        shutil.rmtree(finished)
    sync(product.parent)
    sync(product.parent.parent)
    link = out.link(scene_id)
    if link.exists() and not link.is_symlink():
        raise ProductError(f"{link}: is in the way of the product's link. Move it away, or name another --out")
    fresh = out.scratch / "links" / scene_id
    fresh.parent.mkdir(exist_ok=True)
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(product, link.parent))
    fresh.replace(link)
    sync(out.root)
    return product


def is_published(out: OutFolder, scene_id: str, key: str) -> bool:
    """Tell whether the scene's link points at this very product."""
    link = out.link(scene_id)
    return link.is_symlink() and link.resolve() == out.product(scene_id, key).resolve() and link.is_dir()


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)
