"""The folder that a product is put together in."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from tasks.segment.prepare import Prepared
from tasks.segment.store import BlockStore

_FOLDER = "product"


def begin_product(prepared: Prepared) -> Path:
    """Make the empty folder that a product is put together in; what earlier runs left of theirs is cleared away.

    Args:
        prepared: The scene, every block of which is in the store.

    Returns:
        The folder, in the scratch space, with a name that no other has; ``publish`` moves it.

    Raises:
        StoreError: When a block is missing.
    """
    work = prepared.work
    BlockStore(work.store).require_complete(work.plan.blocks(work.scene.frame))
    for left in work.store.parent.glob(f"{_FOLDER}*"):
        # As far as that goes: on a cluster, what a cancelled run began may write there still.
        shutil.rmtree(left, ignore_errors=True)
    folder = work.store.parent / f"{_FOLDER}-{uuid.uuid4().hex}"
    folder.mkdir()
    return folder
