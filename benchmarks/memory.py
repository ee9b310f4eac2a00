"""Peak memory of the process tree for rasters of three sizes under one plan; the product is published each time."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.run import run_batch
from benchmarks.scenes import write_grey_raster

_SIDES = (4096, 16384, 32768)
_BLOCK = 2048
_JOB = """
job: memory
kind: raster
model: {name: threshold, arguments: {threshold: 128}}
analysis: {kind: area}
"""


def run(folder: Path, sides: tuple[int, ...] = _SIDES) -> None:
    """Print the peak per size, and what the largest size adds to the one before."""
    job = folder / "memory.yaml"
    job.write_text(_JOB)
    peaks, largest = [], []
    for side in sides:
        path = folder / f"grey-{side}.tif"
        write_grey_raster(path, side)
        batch = {
            "inputs": [str(path)], "job": str(job), "out": str(folder / "out"), "device": "cpu", "workers": 1,
            "overrides": [f"tiling.block={_BLOCK}"],
        }  # fmt: skip
        times = run_batch(batch)
        peaks.append(times.peak_mb)
        largest.append(times.largest_mb)
        stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in times.stages_s.items())
        print(
            f"{side} x {side}: process tree {times.peak_mb:.0f} MB, largest process {times.largest_mb:.0f} MB; "
            f"{times.inside_s:.1f} s ({stages}; others used {times.foreign_cores:.2f} cores)",
            flush=True,
        )
        path.unlink()
        shutil.rmtree(folder / "out")
    if len(peaks) > 1:
        print(f"largest over the one before: tree {peaks[-1] / peaks[-2]:.3f}, process {largest[-1] / largest[-2]:.3f}")
