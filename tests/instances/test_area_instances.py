"""Objects of a class map as products: ids, polygons or rows, and numbers that agree, whatever the blocks."""

import csv
import json
from pathlib import Path

import geopandas
import nibabel as nib
import numpy as np
import pytest
import rasterio
from masks import blobs
from rasterio.features import rasterize
from scenes import write_raster, write_volume
from scipy import ndimage

from tasks.analysis.analyse import analyse
from tasks.errors import JobError
from tasks.inputs.listing import list_inputs
from tasks.instances import areas as areas_module
from tasks.instances import split as split_module
from tasks.instances import volume_areas as volume_module
from tasks.instances.lay import assemble
from tasks.instances.layers import NOT_OBSERVED
from tasks.intake.describe import describe, identify
from tasks.intake.request import make_request
from tasks.jobs.job import load_job
from tasks.products.begin import begin_product
from tasks.products.finish import finish
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import prepare

RASTER = """
job: fields
kind: raster
model: {name: identity, arguments: {n_classes: 3}}
output: {instances: {}}
"""
VOLUME = RASTER.replace("raster", "volume")


def request_of(folder: Path, text: str, *overrides: str):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.yaml").write_text(text)
    return make_request(load_job(str(folder / "job.yaml"), overrides), folder / "out")


def product(folder: Path, text: str, path: Path, *overrides: str) -> Path:
    request = request_of(folder, text, *overrides)
    (item,) = list_inputs([str(path)], request.job)
    slot = measure_slot(request.card, None, request.job, 1)
    prepared = prepare(request, describe(request, item), identify(request, item), slot, 1)
    list(PlainEngine().run_blocks(prepared.work, prepared.work.plan.blocks(prepared.scene.frame)))
    assemble(prepared.work)
    made = begin_product(prepared)
    finish(request, prepared, made)
    analyse(request, prepared, made)
    return made


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as opened:
        return opened.read(1)


def discs(shape: tuple[int, int], *places: tuple[int, int, int]) -> np.ndarray:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    return sum((np.hypot(rows - r, cols - c) < radius).astype(np.uint8) for r, c, radius in places).clip(0, 1)


def touching() -> np.ndarray:
    """Discs that touch in pairs, one pair over the corner of four blocks, and a class that touches them."""
    values = discs((560, 600), (500, 500, 22), (525, 532, 22), (100, 100, 30), (100, 155, 30), (300, 40, 5))
    values[60:140, 186:220] = 2
    values[200:204, :] = 255
    return values


def test_ids_polygons_and_summary_agree_and_have_the_same_bytes_for_all_blocks(tmp_path):
    values = touching()
    source = write_raster(tmp_path / "scene.tif", values[None], nodata=255)
    split = ("output.instances.split=distance", "output.instances.min_pixels=100", "output.confidence=true")
    made = [
        product(tmp_path / str(block), RASTER, source, *split, f"tiling.block={block}", "tiling.tile=64")
        for block in (512, 1024)
    ]
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in made]
    assert contents[0] == contents[1]
    ids = read(made[0] / "instances.tif")
    np.testing.assert_array_equal(ids == NOT_OBSERVED, values == 255)
    np.testing.assert_array_equal(read(made[0] / "mask.tif"), values)
    numbers = [number for number in np.unique(ids).tolist() if 0 < number < NOT_OBSERVED]
    assert numbers == [1, 2, 3, 4, 5]
    assert [int(ids[place]) for place in ((100, 200), (100, 100), (100, 155), (500, 500), (525, 532))] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert ids[300, 40] == 0
    table = geopandas.read_file(made[0] / "instances.gpkg")
    assert table["class"].tolist() == ["value 2", *["value 1"] * 4]
    assert table["pixels"].tolist() == [int((ids == number).sum()) for number in numbers]
    assert table["score"].tolist() == [1.0] * 5
    with rasterio.open(made[0] / "instances.tif") as opened:
        burnt = rasterize(zip(table.geometry, table["id"], strict=True), ids.shape, transform=opened.transform)
    np.testing.assert_array_equal(burnt, np.where(ids == NOT_OBSERVED, 0, ids))
    summary = json.loads((made[0] / "summary.json").read_text())
    assert summary["instances"]["found"] == 5
    assert summary["headline"]["value_1_instances"] == 4
    assert summary["warnings"] == []


def test_areas_that_are_too_large_to_be_cut_are_warned_of(tmp_path, monkeypatch):
    source = write_raster(tmp_path / "scene.tif", touching()[None], nodata=255)
    for module in (areas_module, volume_module, split_module):
        monkeypatch.setattr(module, "MOST_PIXELS", 5000)
    made = product(tmp_path, RASTER, source, "output.instances.split=distance")
    summary = json.loads((made / "summary.json").read_text())
    assert summary["instances"]["found"] == 4
    assert summary["warnings"] == ["2 area(s) with more than 5,000 pixels in their box were not cut into objects"]


def test_a_border_between_objects_is_shared_out_the_same_for_all_blocks(tmp_path):
    values = np.ones((600, 700), np.uint8)
    lines = np.zeros(values.shape, bool)
    lines[::100], lines[:, ::90] = True, True
    values[ndimage.binary_dilation(lines, iterations=2)] = 2
    source = write_raster(tmp_path / "scene.tif", values[None])
    border = ("output.instances.split=border", "output.instances.border=value 2")
    first, second = (
        product(tmp_path / str(block), RASTER, source, *border, f"tiling.block={block}") for block in (512, 1024)
    )
    ids = read(first / "instances.tif")
    np.testing.assert_array_equal(ids, read(second / "instances.tif"))
    assert len(np.unique(ids)) == 6 * 8
    assert (ids > 0).all()
    inner = ndimage.label(values == 1)[0]
    assert len(set(zip(inner[values == 1].tolist(), ids[values == 1].tolist(), strict=True))) == 48
    np.testing.assert_array_equal(read(first / "mask.tif"), values)
    nearest = ndimage.distance_transform_edt(inner == 0, return_distances=False, return_indices=True)
    own = ids[tuple(nearest)]
    assert (own == ids).mean() > 0.98


def test_objects_of_a_volume_have_ids_and_rows(tmp_path):
    values = np.zeros((20, 24, 28), np.uint8)
    values[3:9, 4:10, 4:10] = values[3:9, 12:18, 4:10] = values[5:7, 9:13, 6:8] = 1
    values[12:16, 4:8, 16:22] = 2
    source = write_volume(tmp_path / "scan.nii.gz", values.astype(np.int16))
    split = ("output.instances.split=distance", "output.instances.min_distance_mm=4", "output.confidence=true")
    made = [
        product(tmp_path / str(k), VOLUME, source, *split, f"tiling.block={block}")
        for k, block in enumerate(("[32, 64, 64]", "[64, 64, 128]"))
    ]
    assert (made[0] / "instances.nii.gz").read_bytes() == (made[1] / "instances.nii.gz").read_bytes()
    image = nib.load(made[0] / "instances.nii.gz")
    assert image.get_data_dtype() == np.uint32
    np.testing.assert_allclose(image.affine, nib.load(source).affine)
    ids = np.asarray(image.dataobj)
    np.testing.assert_array_equal(ids > 0, values > 0)
    rows = list(csv.DictReader((made[0] / "instances.csv").read_text().splitlines()))
    assert [row["class"] for row in rows].count("value 1") == 2
    assert len(rows) == len(np.unique(ids)) - 1 == 3
    voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    for row in rows:
        places = np.argwhere(ids == int(row["id"]))
        assert int(row["n_voxels"]) == len(places)
        assert float(row["volume_ml"]) == pytest.approx(len(places) * voxel_ml, abs=1e-4)
        centre = nib.affines.apply_affine(image.affine, places.mean(axis=0))
        np.testing.assert_allclose([float(row[f"{axis}_mm"]) for axis in "ras"], centre, atol=0.006)
        assert row["score"] == "1.0000"
    summary = json.loads((made[0] / "summary.json").read_text())
    assert summary["instances"]["by_class"]["value 1"]["instances"] == 2


def test_objects_of_class_0_are_counted_where_they_are_asked_for(tmp_path):
    values = np.ones((20, 24, 28), np.uint8)
    values[3:9, 4:10, 4:10] = values[14:16, 12:18, 4:10] = 0
    asked = "output.instances.classes=[0]"
    raster = write_raster(tmp_path / "scene.tif", np.ascontiguousarray(values[5][None]))
    volume = write_volume(tmp_path / "scan.nii.gz", values.astype(np.int16))
    for job, source, n in ((RASTER, raster, 1), (VOLUME, volume, 2)):
        made = product(tmp_path / source.name.partition(".")[0], job, source, asked)
        summary = json.loads((made / "summary.json").read_text())
        assert summary["instances"]["found"] == n
        assert summary["instances"]["by_class"]["value 0"]["instances"] == n
        assert summary["headline"]["value_0_instances"] == n


def test_no_object_at_all_is_no_error(tmp_path):
    source = write_raster(tmp_path / "scene.tif", np.zeros((1, 30, 30), np.uint8))
    made = product(tmp_path, RASTER, source, "output.instances.split=distance")
    assert not read(made / "instances.tif").any()
    assert len(geopandas.read_file(made / "instances.gpkg")) == 0
    volume = write_volume(tmp_path / "scan.nii.gz", np.zeros((9, 9, 9), np.int16))
    made = product(tmp_path / "volume", VOLUME, volume, "output.instances.split=distance")
    assert len((made / "instances.csv").read_text().splitlines()) == 1


def test_a_job_that_does_not_go_with_its_model_is_refused_before_any_work(tmp_path):
    with pytest.raises(JobError, match="no class 'forest'"):
        request_of(tmp_path, RASTER, "output.instances.classes=[forest]")
    with pytest.raises(JobError, match="finds objects itself"):
        request_of(tmp_path, RASTER.replace("identity", "components"))


def test_smooth_areas_of_real_size_are_those_of_scipy(tmp_path):
    values = blobs((700, 900), 4, 0.4, 6.0)
    made = product(tmp_path, RASTER, write_raster(tmp_path / "scene.tif", values[None]))
    expected, n = ndimage.label(values, np.ones((3, 3)))
    ids = read(made / "instances.tif")
    assert ids.max() == n
    assert len(np.unique(np.stack([ids.ravel(), expected.ravel()]), axis=1).T) == n + 1
