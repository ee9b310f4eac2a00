"""The machine in words, and how busy others keep it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe_machine() -> str:
    """Return cores, memory and the instruction sets that decide the speed of a network."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    found = ", ".join(name for name in _INSTRUCTIONS if name in flags) or "none of the wide ones"
    memory = psutil.virtual_memory().total / 2**30
    return f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {found}"


class ForeignLoad:
    """Measures how many cores processes outside this one's tree used between two points in time."""

    def __init__(self) -> None:
        self._begin = _busy_s(), _own_s(), _now_s()

    def cores(self) -> float:
        """Return the mean since construction; children that have ended are counted as own."""
        busy, own, now = _busy_s() - self._begin[0], _own_s() - self._begin[1], _now_s() - self._begin[2]
        return max(0.0, (busy - own) / max(now, 1e-3))


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


def _own_s() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _now_s() -> float:
    return os.times().elapsed
