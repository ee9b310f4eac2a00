"""The batch that every fault meets: two whole scenes, small ones, and one that is cut off."""

from pathlib import Path

import numpy as np
from scenes import write_raster

GOOD = ("alpha", "beta")
BAD = "torn"
JOB = """
job: faults
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
tiling: {tile: 128, halo: 4, overlap: 8, block: 512}
run: {threads: 1, device: cpu}
output: {confidence: true}
analysis: {kind: area}
"""
SIDE, PATCH = 1120, 16


def write_inputs(folder: Path) -> tuple[Path, Path]:
    """Write scenes and job; return both."""
    scenes = folder / "scenes"
    for seed, name in enumerate(GOOD):
        write_good(scenes / f"{name}.tif", seed)
    (scenes / f"{BAD}.tif").write_bytes((scenes / f"{GOOD[0]}.tif").read_bytes()[:900])
    job = folder / "faults.yaml"
    job.write_text(JOB)
    return scenes, job


def write_good(path: Path, seed: int) -> Path:
    patches = np.random.default_rng(seed).integers(0, 200, (1, SIDE // PATCH, SIDE // PATCH)).astype(np.uint8)
    return write_raster(path, np.kron(patches, np.ones((1, PATCH, PATCH), np.uint8)))
