"""How much memory a block may take: what this machine, and the group of processes it is in, have left."""

from __future__ import annotations

import math
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
# Of the memory that is free, blocks may take half; the network, the libraries and the next strip take the rest.
_SHARE = 2
_FLOAT_BYTES = 4


def available_bytes() -> int:
    """Return the memory that this process and its siblings may still take, containers' limits heeded."""
    return min([psutil.virtual_memory().available, *left_in_groups(_GROUPS, _OWN_GROUP)])


def fit_block(
    block: tuple[int, ...], chunk: tuple[int, ...], tile: tuple[int, ...], values: int, slot_bytes: int
) -> tuple[int, ...]:
    """Halve a block's longest axis until what is held for it fits into memory, or it is a single chunk.

    Args:
        block: Shape of the block, multiples of ``chunk``.
        chunk: What is written at a time.
        tile: Shape of a tile; blocks are worked on in strips of tiles along their first axis.
        values: Numbers per pixel of a strip: channels that are read, scores that are blended.
        slot_bytes: Free memory per slot; 0 where it is not known.
    """
    while slot_bytes and _held_bytes(block, tile, values) > slot_bytes // _SHARE:
        ratios = [b // c for b, c in zip(block, chunk, strict=True)]
        if max(ratios) == 1:
            return block
        # Of equals the last: cutting along the first costs no strip twice, but frees none either.
        axis = max(range(len(block)), key=lambda k: (ratios[k], k))
        block = tuple(
            -(-ratio // 2) * c if k == axis else b
            for k, (b, c, ratio) in enumerate(zip(block, chunk, ratios, strict=True))
        )
    return block


def _held_bytes(block: tuple[int, ...], tile: tuple[int, ...], values: int) -> int:
    """Estimate: two strips of floats (one ahead), and of the whole block labels, confidence and what packs them."""
    strip = min(block[0], tile[0]) * math.prod(b + t for b, t in zip(block[1:], tile[1:], strict=True))
    return 2 * strip * values * _FLOAT_BYTES + math.prod(block) * _FLOAT_BYTES


def left_in_groups(root: Path, own: Path) -> list[int]:
    """Return what the control groups of this process leave, of version 2 and 1; nothing where there is no limit."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return []
    left = []
    for _, controllers, path in lines:
        v1 = "memory" in controllers.split(",")
        if controllers and not v1:
            continue
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if v1 else ("memory.max", "memory.current")
        base = root / "memory" if v1 else root
        # In a container the group of this process is what is mounted.
        for folder in {base, base / path.lstrip("/")}:
            left.extend(_left(folder / names[0], folder / names[1]))
    return left


def _left(limit: Path, used: Path) -> list[int]:
    try:
        allowed, taken = limit.read_text().strip(), int(used.read_text())
    except (OSError, ValueError):
        return []
    # No limit is "max", or in version 1 a number beyond all memory.
    return [max(0, int(allowed) - taken)] if allowed.isdigit() else []
