"""Peak memory does not grow with a raster; for a volume it is a constant and at most 6 bytes per voxel."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from dicoms import write_series
from rasterio.windows import Window
from scenes import write_volume

PROGRAM = Path(__file__).parents[1] / "helpers" / "memory_process.py"
JOB = """
job: test-memory
kind: {kind}
model: {{name: threshold, arguments: {{threshold: 128}}}}
tiling: {{block: {block}}}
output: {{confidence: true}}
analysis: {{kind: {analysis}}}
"""


def write_large_raster(path: Path, rows: int, cols: int) -> Path:
    """Write smooth stripes, which compress, so that it takes no time."""
    profile = {"driver": "GTiff", "height": rows, "width": cols, "count": 1, "dtype": "uint8", "crs": "EPSG:32632"}
    profile |= {"transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "compress": "lzw"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, rows, 512):
            stripe = ((np.arange(row, row + 512)[:, None] // 7 + np.arange(cols) // 5) % 251).astype(np.uint8)
            dataset.write(stripe, 1, window=Window(0, row, cols, 512))
    return path


def peak_bytes(path: Path, job: Path, out: Path) -> int:
    command = [sys.executable, str(PROGRAM), str(path), str(job), str(out)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=250).stdout)


def test_a_raster_eight_times_as_large_takes_as_much_memory(tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(kind="raster", block=2048, analysis="area"))
    small = peak_bytes(write_large_raster(tmp_path / "small.tif", 2048, 4096), job, tmp_path / "a")
    large = peak_bytes(write_large_raster(tmp_path / "large.tif", 16384, 4096), job, tmp_path / "b")
    assert large < 1.1 * small


def nifti(path: Path, image: np.ndarray) -> Path:
    return write_volume(path.with_suffix(".nii.gz"), image)


def dicom(path: Path, image: np.ndarray) -> Path:
    write_series(path, np.moveaxis(image, 2, 0))
    return path


@pytest.mark.parametrize("write", [nifti, pytest.param(dicom, marks=pytest.mark.slow)])
def test_a_volume_takes_at_most_six_bytes_per_voxel_more(write, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(kind="volume", block="[32, 128, 128]", analysis="tumour"))
    rng = np.random.default_rng(0)
    plane = (rng.random((256, 256)) * 100).astype(np.int16)
    peaks = []
    for depth in (64, 448):
        image = np.repeat(plane[:, :, None], depth, axis=2)
        image[60:200, 60:200, 10:-10] += 100
        path = write(tmp_path / f"in-{depth}", image)
        peaks.append(peak_bytes(path, job, tmp_path / str(depth)))
    voxels = (448 - 64) * 256 * 256
    assert (peaks[1] - peaks[0]) / voxels < 6
