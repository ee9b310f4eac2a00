"""What a run has entered into the journals of its scenes, looked at while it goes on."""

from __future__ import annotations

from glob import glob
from pathlib import Path


def entries(out: Path) -> list[Path]:
    """Return the entries of all blocks that lie in an OUT folder, or in OUT folders below it.

    A run removes the folder of a scene that it has published: ``Path.glob`` of Python 3.11 raises where that happens
    between two of its looks, ``glob.glob`` goes on.
    """
    pattern = "**/.swathe/scenes/*/*/blocks/journal/*.json"
    return [out / name for name in glob(pattern, root_dir=out, recursive=True)]  # noqa: PTH207 - as said above
