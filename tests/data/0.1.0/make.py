"""``python tests/data/0.1.0/make.py``: makes what lies here again, by the swathe that is installed; see README.md."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import nibabel as nib
import numpy as np
import rasterio
from rasterio.transform import Affine

HERE = Path(__file__).resolve().parent
# Its name is kept in run records and in the database.
WORK = Path("/tmp/swathe-0.1.0")
PREFECT = {
    "PREFECT_HOME": str(WORK / "prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The machine may be busy.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",
    "DO_NOT_TRACK": "1",
}


def write_heat(path: Path, burned_rows: int) -> None:
    """Write 60 x 40 pixels at 20 m, with a fire of full rows of ten pixels."""
    heat = np.full((1, 60, 40), 50, np.uint8)
    heat[0, 5 : 5 + burned_rows, 5:15] = 130
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "height": 60, "width": 40, "count": 1, "dtype": "uint8", "crs": "EPSG:32632",
               "transform": Affine(20, 0, 500_000, 0, -20, 5_000_000), "compress": "deflate"}  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(heat)


def write_scan(path: Path, radius_mm: float) -> None:
    """Write 32 x 30 x 12 voxels with a ball of ones."""
    offsets = np.stack(np.meshgrid(*map(np.arange, (32, 30, 12)), indexing="ij"), axis=-1) - (16, 15, 6)
    ball = np.linalg.norm(offsets * (1.0, 1.0, 3.0), axis=-1) <= radius_mm
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(ball.astype(np.int16), np.diag([-1.0, -1.0, 3.0, 1.0])), path)


def swathe(*arguments: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SWATHE_"))}
    command = [sys.executable, "-m", "flows.cli", *arguments, "--workers", "1", "--device", "cpu"]
    code = subprocess.run(command, env=kept | PREFECT, cwd=WORK, check=False).returncode
    # 1: the damaged scene.
    if code not in (0, 1):
        raise SystemExit(f"{' '.join(arguments)}: ended with status {code}")


def main() -> None:
    """Two nights of fires, one scene of them damaged, and two scans of a patient."""
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(HERE / "jobs", WORK / "jobs")
    inbox, scans = WORK / "inbox", WORK / "scans"
    write_heat(inbox / "A_20260718.tif", 30)
    (inbox / "B_20260718.tif").write_bytes(b"II*\0 and then the line broke")
    nights = ("nightly", "--job", "jobs/nights.yaml", "--inbox", str(inbox), "--out", str(WORK / "nights"))
    swathe(*nights, "--night", "2026-07-19")
    write_heat(inbox / "A_20260719.tif", 45)
    swathe(*nights, "--night", "2026-07-20")

    for day, radius_mm in (("20260105", 8.0), ("20260305", 11.0)):
        write_scan(scans / f"P1_{day}.nii.gz", radius_mm)
    swathe("segment", str(scans), "--job", "jobs/scans.yaml", "--out", str(WORK / "patients"))

    with closing(sqlite3.connect(WORK / "prefect" / "prefect.db")) as database:
        # What still stands in the journal comes along.
        database.execute("VACUUM INTO ?", (str(WORK / "prefect.db"),))
    with tarfile.open(HERE / "made.tar.xz", "w:xz") as archive:
        for name in ("inbox", "scans", "nights", "patients", "prefect.db"):
            archive.add(WORK / name, name, filter=_of_nobody)


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
