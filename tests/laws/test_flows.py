"""The main flow: products on the input's grid, faults isolated, work not repeated."""

import csv
import json
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import rasterio
from raster_jobs import RASTER_JOB, segmented
from rio_cogeo.cogeo import cog_validate
from scenes import write_raster, write_volume

pytestmark = pytest.mark.usefixtures("shared_worker")

VOLUME_JOB = """
job: test-volume
kind: volume
model: {name: identity, arguments: {n_classes: 4}}
tiling: {tile: 16, halo: 2, overlap: 4}
output: {confidence: true}
analysis: {kind: tumour, label: 1}
"""


@pytest.fixture
def run(segment):
    """Segments inputs; every test runs without a server and on one."""
    return partial(segmented, segment)


@pytest.fixture
def raster_job(tmp_path):
    path = tmp_path / "raster.yaml"
    path.write_text(RASTER_JOB)
    return path


@pytest.fixture
def volume_job(tmp_path):
    path = tmp_path / "volume.yaml"
    path.write_text(VOLUME_JOB)
    return path


def labels(shape, n, seed=0):
    return np.random.default_rng(seed).integers(0, n, shape).astype(np.uint8)


def product_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def test_one_bad_scene_costs_that_scene_only_and_unchanged_scenes_are_skipped(tmp_path, raster_job, run):
    image = labels((1, 300, 500), 7)
    image[0, :40] = 200
    good = write_raster(tmp_path / "in" / "good.tif", image, nodata=200)
    bad = tmp_path / "in" / "bad.tif"
    bad.write_bytes(good.read_bytes()[:900])
    out = tmp_path / "out"

    first = run(raster_job, out, tmp_path / "in")
    assert first["good"].status == "done"
    assert first["bad"].status == "failed"
    assert "UnreadableSceneError" in first["bad"].error
    assert not (out / "bad").exists()
    with (out / "batch.csv").open() as file:
        assert {row["scene"]: row["status"] for row in csv.DictReader(file)} == {"good": "done", "bad": "failed"}

    product = out / "good"
    assert product.is_symlink()
    assert {path.name for path in product.iterdir()} >= {
        "mask.tif",
        "confidence.tif",
        "preview.png",
        "summary.json",
        "run.json",
    }
    with rasterio.open(product / "mask.tif") as mask, rasterio.open(good) as source:
        assert (mask.crs, mask.transform, mask.shape) == (source.crs, source.transform, source.shape)
        assert mask.nodata == 255
        values = mask.read(1)
    assert cog_validate(product / "mask.tif", strict=True, quiet=True)[0]
    assert (values[:40] == 255).all()
    np.testing.assert_array_equal(values[40:], image[0, 40:])

    summary = json.loads((product / "summary.json").read_text())
    total = sum(row["pixels"] for row in summary["classes"].values())
    assert total == 300 * 500
    assert summary["classes"]["value 3"]["pixels"] == int((values == 3).sum())

    before = (product / "mask.tif").stat().st_mtime_ns
    assert run(raster_job, out, good)["good"].status == "skipped"
    assert (product / "mask.tif").stat().st_mtime_ns == before

    write_raster(good, labels((1, 300, 500), 7, seed=9))
    assert run(raster_job, out, good)["good"].status == "done"
    assert len(list((out / ".products" / "good").iterdir())) == 2, "a changed input supersedes, the old product stays"
    assert not (out / ".swathe" / "scenes" / "good").exists()


def test_the_product_has_the_same_bytes_for_every_block_and_number_of_workers(tmp_path, raster_job, run):
    scene = write_raster(tmp_path / "scene.tif", labels((1, 1300, 1100), 7))
    products = []
    for workers, block in [(1, 512), (2, 512), (2, 1024), (1, 2048)]:
        out = tmp_path / f"out-{workers}-{block}"
        overrides = (f"tiling.block={block}", "tiling.tile=192", "tiling.halo=8", "tiling.overlap=16")
        assert run(raster_job, out, scene, workers=workers, overrides=overrides)["scene"].status == "done"
        products.append(product_bytes(out / "scene"))
    for product in products[1:]:
        assert product.keys() == products[0].keys()
        for name, content in product.items():
            assert content == products[0][name], name


def test_the_identity_model_returns_an_oblique_volume_with_its_header(tmp_path, volume_job, run):
    image = labels((33, 21, 40), 4).astype(np.int16)
    source = write_volume(tmp_path / "study.nii.gz", image)
    out = tmp_path / "out"
    assert run(volume_job, out, source)["study"].status == "done"
    mask, original = nib.load(out / "study" / "mask.nii.gz"), nib.load(source)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), image)
    for field in ("dim", "pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b"):
        assert mask.header[field].tobytes() == original.header[field].tobytes(), field
    summary = json.loads((out / "study" / "summary.json").read_text())
    voxel_ml = abs(np.linalg.det(original.affine[:3, :3])) / 1000
    assert summary["headline"]["value_1_ml"] == pytest.approx((image == 1).sum() * voxel_ml, rel=1e-4)
    assert (out / "study" / "lesions.csv").exists()


def test_a_second_run_on_the_same_folder_is_refused_while_the_first_holds_it(tmp_path, raster_job, run):
    from tasks.errors import StoreError
    from tasks.out.folder import OutFolder

    scene = write_raster(tmp_path / "scene.tif", labels((1, 30, 50), 7))
    out = tmp_path / "out"
    with OutFolder(out).locked(), pytest.raises(StoreError, match="another run"):
        run(raster_job, out, scene)
