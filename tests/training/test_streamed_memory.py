"""A raster that need not fit in memory is fitted in as much of it as a small one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from models.card import Card, ClassEntry, FixedNormalization, Network, Tiling

PROGRAM = Path(__file__).parents[1] / "helpers" / "fit_memory_process.py"
COLS, SMALL, LARGE = 2048, 2048, 8192
# What numpy, torch, GDAL and the allocator may differ by from run to run.
BOUND = 1.1


def write(path, rows, dtype, values):
    profile = {"driver": "GTiff", "height": rows, "width": COLS, "count": 1, "dtype": dtype, "crs": "EPSG:32632"}
    profile |= {"transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "compress": "lzw"}
    with rasterio.open(path, "w", **profile, tiled=True, blockxsize=512, blockysize=512) as dataset:
        for row in range(0, rows, 512):
            stripe = values(np.arange(row, row + 512)[:, None], np.arange(COLS)).astype(dtype)
            dataset.write(stripe, 1, window=Window(0, row, COLS, 512))
    return path


def peak_bytes(folder, rows):
    folder.mkdir()
    image = write(folder / "image.tif", rows, "uint8", lambda row, col: (row * 7 + col * 3) % 251)
    labels = write(folder / "labels.tif", rows, "uint8", lambda row, col: (row // 64 + col // 64) % 2)
    card = Card(
        name="small",
        title="Small",
        kind="raster",
        network=Network(name="unet", arguments={"widths": [4, 8]}),
        channels=("1",),
        classes=tuple(ClassEntry(name=name, colour="#000000") for name in ("background", "thing")),
        normalization=FixedNormalization(clip=(), mean=(), std=()),
        tiling=Tiling(tile=(64, 64), halo=(8, 8), overlap=(0, 0)),
        licence="Apache-2.0",
        origin="test",
    )
    (folder / "card.json").write_text(card.model_dump_json())
    ended = subprocess.run(
        [sys.executable, PROGRAM, image, labels, folder / "card.json"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


@pytest.mark.slow
def test_four_times_the_raster_takes_no_more_memory(tmp_path):
    small, large = (peak_bytes(tmp_path / str(rows), rows) for rows in (SMALL, LARGE))
    # Held in memory, the larger one would take 400 MB more.
    assert large < BOUND * small, f"{small / 2**20:.0f} and {large / 2**20:.0f} MiB"
