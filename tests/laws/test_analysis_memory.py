"""Peak memory of analysing a raster does not grow with the raster, for as many fires, fields and samples."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.windows import Window

from tasks.products.vectors import write_gpkg
from tasks.scenes.vectors import VectorTable

PROGRAM = Path(__file__).parents[1] / "helpers" / "analysis_memory_process.py"
LEFT, TOP, SIDE = 500_000, 5_000_000, 10
COLS, SMALL, LARGE = 2048, 2048, 6144
# What numpy, GDAL and the allocator may differ by from run to run.
BOUND = 1.1
JOB = """
job: test-memory
kind: raster
source:
  files: {post: "{scene}-dnbr.tif"}
  bands: {dNBR: {file: post, band: 1, scale: 1.0e-3}}
model: {name: threshold, arguments: {threshold: 128}}
analysis: {kind: fire, dnbr: dNBR, min_area_ha: 1}
"""


def write_stripes(path: Path, rows: int, dtype: str, values) -> Path:
    profile = {"driver": "GTiff", "height": rows, "width": COLS, "count": 1, "dtype": dtype, "crs": "EPSG:32632"}
    profile |= {"transform": rasterio.Affine(SIDE, 0, LEFT, 0, -SIDE, TOP), "compress": "lzw"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, rows, 512):
            stripe = values(np.arange(row, row + 512)[:, None], np.arange(COLS)).astype(dtype)
            dataset.write(stripe, 1, window=Window(0, row, COLS, 512))
    return path


def peak_bytes(*arguments) -> int:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def fire_peak(folder: Path, rows: int) -> int:
    """A grid of 8 x 8 fires that is as large as the raster; seams of all windows run through them."""
    folder.mkdir()
    job = folder / "job.yaml"
    job.write_text(JOB)

    def burned(row, col):
        return (row // (rows // 16)) % 2 * ((col // (COLS // 16)) % 2)

    mask = write_stripes(folder / "scene.tif", rows, "uint8", burned)
    write_stripes(folder / "scene-dnbr.tif", rows, "int16", lambda row, col: (row // 7 + col // 5) % 900 - 100)
    return peak_bytes("fire", mask, folder / "out", job, folder / "scene-dnbr.tif")


def crop_peak(folder: Path, rows: int) -> int:
    """As many fields and samples, spread over the raster."""
    folder.mkdir()
    mask = write_stripes(folder / "scene.tif", rows, "uint8", lambda row, col: (row // 70 + col // 50) % 5)
    height = rows / 16 * SIDE
    corners = [(LEFT + i * 1250, TOP - j * height) for i in range(16) for j in range(16)]
    fields = np.array([shapely.box(x + 100, y - height + 100, x + 1150, y - 100) for x, y in corners], dtype=object)
    crs = rasterio.crs.CRS.from_epsg(32632).to_wkt()
    columns = {"id": [str(number) for number in range(len(fields))]}
    write_gpkg(
        folder / "fields.gpkg",
        VectorTable(name="fields", crs_wkt=crs, geometries=fields, columns=columns, geometry_type="Polygon"),
    )
    rng = np.random.default_rng(0)
    places = np.stack((rng.integers(0, rows, 400), rng.integers(0, COLS, 400)), axis=1)
    lines = [
        f"{LEFT + (col + 0.5) * SIDE},{TOP - (row + 0.5) * SIDE},class {(row // 70 + col // 50) % 5}"
        for row, col in places.tolist()
    ]
    samples = folder / "samples.csv"
    samples.write_text("x,y,reference\n" + "\n".join(lines) + "\n")
    return peak_bytes("crop", mask, folder / "out", folder / "fields.gpkg", samples)


@pytest.mark.parametrize("peak", [fire_peak, crop_peak])
def test_a_raster_three_times_as_large_takes_as_much_memory_to_analyse(tmp_path, peak):
    small, large = peak(tmp_path / "small", SMALL), peak(tmp_path / "large", LARGE)
    assert large < BOUND * small, f"{small / 2**20:.0f} MiB, {large / 2**20:.0f} MiB"
