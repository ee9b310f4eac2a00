"""What the operations guide says about backups: its lines are run, and what they saved is used."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from faults.world import World, postgres
from ports import free_port
from raster_jobs import RASTER_JOB, segmented
from scenes import write_raster

GUIDE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
SAVE = {line.split()[0]: line for line in re.findall(r"^\$ ((?:tar|sqlite3|pg_dump) .*)$", GUIDE, re.MULTILINE)}
(RESTORE,) = re.findall(r"`(pg_restore [^`]*)`", GUIDE)


def shell(command: str, folder: Path, **environment: str) -> None:
    subprocess.run(["bash", "-ec", command], cwd=folder, env=os.environ | environment, check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("sqlite3"), reason="the program sqlite3 is not installed")
def test_products_and_ledger_that_were_unpacked_elsewhere_are_skipped(tmp_path):
    from flows.batch.segment import segment_batch

    job = tmp_path / "job.yaml"
    job.write_text(RASTER_JOB)
    scene = write_raster(tmp_path / "in" / "field.tif", np.random.default_rng(0).integers(0, 7, (1, 90, 70), np.uint8))
    out = tmp_path / "out"
    assert segmented(segment_batch, job, out, scene)["field"].status == "done"
    for program in ("tar", "sqlite3"):
        shell(SAVE[program].replace("/out/fire", str(out)), tmp_path)

    elsewhere = tmp_path / "elsewhere" / "out"
    elsewhere.mkdir(parents=True)
    shell(f"tar -xzf {tmp_path}/fire.tar.gz", elsewhere)
    (tmp_path / "state-backup.sqlite").replace(elsewhere / "state.sqlite")
    shutil.rmtree(out)
    assert (elsewhere / "field" / "mask.tif").exists()
    assert segmented(segment_batch, job, elsewhere, scene)["field"].status == "skipped"


def has_postgres() -> bool:
    try:
        return postgres("pg_dump").exists()
    except FileNotFoundError:
        return False


@pytest.fixture
def world():
    # Not below pytest's own folder, which PostgreSQL's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="swathe-backup-"))
    folder.chmod(0o755)
    found = World(folder, free_port(3))
    try:
        found.start_database()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder)


@pytest.mark.skipif(not has_postgres(), reason="PostgreSQL is not installed")
@pytest.mark.parametrize("emptied", [False, True])
def test_the_database_of_the_server_comes_back(world, emptied):
    folder = world.folder
    database = f"postgresql://postgres@127.0.0.1:{world.port + 2}/postgres"
    path = f"{postgres('pg_dump').parent}{os.pathsep}{os.environ['PATH']}"
    shell(f'psql "{database}" -c "create table flow_run (name text)"', folder, PATH=path)
    shell(f'psql "{database}" -c "insert into flow_run values (\'fire\')"', folder, PATH=path)
    shell(SAVE["pg_dump"], folder, PATH=path, DATABASE=database)
    lost = "drop table flow_run" if emptied else "delete from flow_run"
    shell(f'psql "{database}" -c "{lost}"', folder, PATH=path)
    shell(RESTORE, folder, PATH=path, DATABASE=database)
    shell(f'test "$(psql -At "{database}" -c "select name from flow_run")" = fire', folder, PATH=path)
