"""One small fire scene: the whole command beside a bare script, and what the quick commands take.

Everything that a user would get is made: mask, confidence, polygons, numbers, pictures, report, ledger.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import rasterio

from benchmarks.machine import ForeignLoad
from models.registry import ZOO
from tasks.samples.synthetic import write_synthetic_fire

_SIDE = 225
_BARE = Path(__file__).with_name("bare.py")


@dataclass(frozen=True)
class _Taken:
    """What a command took, with all processes that it started and waited for."""

    wall_s: float
    cpu_s: float


def run(folder: Path, repeats: int = 5) -> None:
    """Time the commands in turns and print the fastest of each, and their ratios to the bare script."""
    post, dnbr, _ = write_synthetic_fire(folder, "small", _SIDE)
    table = folder / "small.csv"
    table.write_text(f"scene,post,dnbr\nsmall,{post},{dnbr}\n")
    mask, out = folder / "bare.tif", folder / "out"
    swathe = [sys.executable, "-P", "-m", "flows.cli"]
    commands = {
        "bare script": [sys.executable, "-P", str(_BARE), str(post), str(dnbr), str(ZOO / "fire-unet.json"), str(mask)],
        "import torch": [sys.executable, "-c", "import torch"],
        "swathe segment": [*swathe, "segment", str(table), "--job", "fire", "--out", str(out), "--device", "cpu"],
        "swathe --help": [*swathe, "--help"],
        "swathe check": [*swathe, "check", str(post)],
    }
    taken: dict[str, list[_Taken]] = {name: [] for name in commands}
    others = ForeignLoad()
    for _ in range(repeats):
        for name, command in commands.items():
            if name == "swathe segment":
                shutil.rmtree(out, ignore_errors=True)
            taken[name].append(_time(command, folder / "cache"))
    bare = _fastest(taken["bare script"])
    for name, times in taken.items():
        best = _fastest(times)
        print(
            f"  {name:16s} {best.wall_s:6.2f} s wall = {best.wall_s / bare.wall_s:4.2f} x bare, "
            f"{best.cpu_s:6.2f} s CPU = {best.cpu_s / bare.cpu_s:4.2f} x bare",
            flush=True,
        )
    print(f"  others used {others.cores():.2f} cores; masks agree in {_agreement(mask, out):.2%} of the pixels")


def _time(command: list[str], cache: Path) -> _Taken:
    # What was kept of the model by an earlier run is not there.
    shutil.rmtree(cache, ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"SWATHE_CACHE": str(cache)})
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return _Taken(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _fastest(times: list[_Taken]) -> _Taken:
    return _Taken(min(one.wall_s for one in times), min(one.cpu_s for one in times))


def _agreement(mask: Path, out: Path) -> float:
    with rasterio.open(mask) as bare, rasterio.open(next(out.glob("small/mask.tif"))) as ours:
        return float((bare.read(1) == ours.read(1)).mean())
