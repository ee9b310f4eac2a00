"""Inputs behind URLs: read in place or fetched once, and known again only while they are the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import rasterio
from scenes import write_raster

from tasks.errors import UndeclaredError, UnreachableSceneError
from tasks.files.remote import content_sha256, fetch, first_bytes, url_of
from tasks.scenes.raster.scene import describe_raster, fingerprint

pytestmark = pytest.mark.usefixtures("shared_worker")

JOB = """
job: remote
kind: {kind}
model: {{name: threshold, arguments: {{threshold: 100}}}}
{rest}
"""


@pytest.fixture
def store(tmp_path) -> Iterator[str]:
    (tmp_path / "store").mkdir()
    (tmp_path / "sent").touch()
    command = [sys.executable, str(Path(__file__).parents[1] / "helpers" / "store_process.py"), str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def sent(folder: Path) -> list[int]:
    """Return how many bytes each answer of the store had."""
    return [int(line.split()[1]) for line in (folder / "sent").read_text().splitlines()]


def write_scene(path: Path, seed: int) -> None:
    write_raster(path, np.random.default_rng(seed).integers(0, 200, (1, 60, 50)).astype(np.uint8))


def raster_fingerprint(url: str) -> str:
    from tasks.jobs.source import Source

    return fingerprint(describe_raster("a", {"file": url}, Source(), ("1",))).sha256


@pytest.mark.parametrize("tells", [True, False], ids=["etag", "nothing"])
@pytest.mark.parametrize("handler", ["", "/vsicurl/"])
def test_a_raster_that_changed_behind_its_address_is_noticed(store, tmp_path, tells, handler):
    if not tells:
        (tmp_path / "store" / "silent").touch()
    write_scene(tmp_path / "store" / "a.tif", 1)
    url = f"{handler}{store}/a.tif"
    first = raster_fingerprint(url)
    assert raster_fingerprint(url) == first
    write_scene(tmp_path / "store" / "b.tif", 2)
    (tmp_path / "store" / "b.tif").replace(tmp_path / "store" / "a.tif")
    assert raster_fingerprint(url) != first


def test_a_copy_is_made_once_per_content(store, tmp_path):
    (tmp_path / "store" / "a.nii.gz").write_bytes(b"one" * 1000)
    url = f"{store}/a.nii.gz?signature=x/y"
    first = fetch(url, tmp_path / "copies")
    assert first.name == "a.nii.gz"
    assert first.read_bytes() == b"one" * 1000
    n_sent = len(sent(tmp_path))
    assert fetch(url, tmp_path / "copies") == first
    assert len(sent(tmp_path)) == n_sent, "the second time nothing is fetched"
    (tmp_path / "store" / "a.nii.gz").write_bytes(b"two" * 1000)
    assert fetch(url, tmp_path / "copies").read_bytes() == b"two" * 1000
    assert first_bytes(url, 3) == (b"two", 3000)


def test_what_is_not_there_is_unreachable(store, tmp_path):
    with pytest.raises(UnreachableSceneError, match=r"gone\.nii: cannot be read"):
        fetch(f"{store}/gone.nii", tmp_path)
    with pytest.raises(UnreachableSceneError, match="cannot be read"):
        content_sha256("http://127.0.0.1:9/a.nii")
    with pytest.raises(UndeclaredError):
        content_sha256("/vsizip//vsicurl/http://127.0.0.1:9/a.zip")


def test_handlers_of_gdal_are_urls():
    assert url_of("/vsis3/bucket/a.tif") == "s3://bucket/a.tif"
    assert url_of("/vsicurl/https://x/a.tif") == url_of("https://x/a.tif") == "https://x/a.tif"


@pytest.mark.parametrize("kind", ["raster", "volume"])
def test_a_remote_input_gives_the_product_of_a_local_one(store, tmp_path, kind):
    from flows.batch.orders import Batch
    from flows.batch.segment import segment_batch

    folder, name = tmp_path / "store", {"raster": "a.tif", "volume": "a.nii.gz"}[kind]
    write = {"raster": write_scene, "volume": write_volume}[kind]
    write(folder / name, 1)
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(kind=kind, rest="analysis: {kind: area}" if kind == "raster" else ""))

    def run(given: str, out: str) -> str:
        batch = Batch(inputs=[given], job=str(job), out=tmp_path / out, workers=1, device="cpu")
        outcomes = segment_batch(batch)
        assert [outcome.error for outcome in outcomes] == [None]
        return str(outcomes[0].status)

    assert run(str(folder / name), "local") == "done"
    assert run(f"{store}/{name}", "remote") == "done"
    mask = {"raster": "mask.tif", "volume": "mask.nii.gz"}[kind]
    np.testing.assert_array_equal(*(pixels(tmp_path / out / "a" / mask) for out in ("remote", "local")))
    (tmp_path / "sent").write_text("")
    assert run(f"{store}/{name}", "remote") == "skipped"
    if kind == "volume":
        assert sum(sent(tmp_path)) <= 2 * (folder / name).stat().st_size, "the check alone looks at it"
    write(folder / name, 2)
    assert run(f"{store}/{name}", "remote") == "done"


def write_volume(path: Path, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 200, (20, 24, 16)).astype(np.int16)
    image = nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0]))
    part = path.with_name(f"part-{path.name}")
    nibabel.save(image, part)
    shutil.move(part, path)


def pixels(mask: Path) -> np.ndarray:
    if mask.name.endswith(".tif"):
        with rasterio.open(mask) as dataset:
            return dataset.read()
    return np.asarray(nibabel.load(mask).dataobj)
