"""Single pictures of DICOM are rasters without a CRS, in millimetres only where they are calibrated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from dicoms import ramp, write_slice
from pydicom.dataset import Dataset

from tasks.inputs.listing import list_all_inputs, list_inputs
from tasks.intake.describe import describe, identify
from tasks.intake.request import make_request
from tasks.jobs.job import Job
from tasks.verdict.check import check_files, check_inputs

MODEL = {"name": "threshold", "arguments": {"threshold": 0}}
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def job(bands=None, **rule) -> Job:
    source = {"dicom": rule, **({} if bands is None else {"bands": bands})}
    return Job.model_validate({"job": "t", "kind": "raster", "model": MODEL, "source": source})


def picture(path: Path, pixels=None, **elements) -> Path:
    values = ramp(20, 30, dtype="uint16") if pixels is None else pixels
    defaults = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "modality": "DX"}
    return write_slice(path, values, (0, 0, 0), **(defaults | elements))


def described(folder, tmp_path, bands=None):
    request = make_request(job(bands), tmp_path / "out")
    (item,) = list_inputs([str(folder)], request.job)
    assert item.error is None, item.error
    return request, item, describe(request, item)


def region(down, right, unit=3):
    item = Dataset()
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = unit
    item.PhysicalDeltaY, item.PhysicalDeltaX = down, right
    return item


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"PixelSpacing": [0.2, 0.3], "PixelSpacingCalibrationType": "GEOMETRY"}, (0.2, 0.3)),
        ({"PixelSpacing": [0.2, 0.3], "PixelSpacingCalibrationType": "FIDUCIAL", "modality": "MG"}, (0.2, 0.3)),
        # At the detector, not in the patient.
        ({"PixelSpacing": [0.2, 0.3]}, None),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.3], "modality": "CR"}, None),
        ({"modality": "US", "SequenceOfUltrasoundRegions": [region(0.02, 0.03)]}, (0.2, 0.3)),
        ({"modality": "US", "SequenceOfUltrasoundRegions": [region(0.02, 0.03), region(0.01, 0.01)]}, None),
        ({"modality": "US", "SequenceOfUltrasoundRegions": [region(0.02, 0.03, 4)]}, None),
        ({"modality": "US"}, None),
    ],
)
def test_millimetres_come_from_calibration_alone(elements, expected, tmp_path):
    picture(tmp_path / "in" / "a.dcm", **elements)
    _, item, scene = described(tmp_path / "in", tmp_path)
    with rasterio.open(scene.files[0].path) as dataset:
        assert dataset.crs is None
        down, right = expected or (1.0, 1.0)
        assert (dataset.transform.a, -dataset.transform.e) == pytest.approx((right, down))
        np.testing.assert_array_equal(dataset.read(1), ramp(20, 30, dtype="uint16"))
    (verdict,) = check_inputs([item], job(), ("1",))
    assert verdict.go
    assert verdict.facts["shape"] == [20, 30]
    assert ("uncalibrated" in verdict.facts["codes"]) == (expected is None)


def test_low_values_shown_white_are_turned_round_and_rescaling_is_applied(tmp_path):
    picture(tmp_path / "in", PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11, modality="CR")
    _, _, scene = described(tmp_path / "in", tmp_path)
    with rasterio.open(scene.files[0].path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), 4095 - ramp(20, 30, dtype="uint16"))
    picture(tmp_path / "other", RescaleSlope=0.5, RescaleIntercept=-3)
    _, _, scene = described(tmp_path / "other", tmp_path)
    with rasterio.open(scene.files[0].path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), ramp(20, 30, dtype="uint16") * 0.5 - 3)


def test_colours_are_three_bands(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (12, 14, 3)).astype(np.uint8)
    extra = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "modality": "US"}
    picture(tmp_path / "in" / "a", pixels, **extra)
    # Which of three bands the network is to see, the job has to say.
    _, _, scene = described(tmp_path / "in", tmp_path, bands={"1": {"band": 2}})
    with rasterio.open(scene.files[0].path) as dataset:
        np.testing.assert_array_equal(np.moveaxis(dataset.read(), 0, -1), pixels)


def test_what_is_no_single_picture_is_named(tmp_path):
    frames = np.stack([ramp(8, 9, dtype="uint16")] * 3)

    def each(data):
        data.Rows, data.Columns, data.NumberOfFrames = 8, 9, 3

    picture(tmp_path / "cine", frames, modality="US", change=each)
    (item,) = list_inputs([str(tmp_path / "cine")], job())
    assert item.error.startswith("not_a_picture: 3 frames")
    write_slice(tmp_path / "ct" / "1", ramp(8, 9), (0, 0, 0))
    write_slice(tmp_path / "ct" / "2", ramp(8, 9), (0, 0, 3))
    picture(tmp_path / "ct" / "3")
    items = list_all_inputs([str(tmp_path / "ct")], job())
    assert sorted(item.left_out for item in items) == [False, True]
    (item,) = list_inputs([str(tmp_path / "ct")], job(modality="MG"))
    assert item.error.startswith("none of 2 series is taken")


def test_a_picture_is_identified_by_its_bytes_and_named_by_a_hash(tmp_path):
    picture(tmp_path / "in" / "DOE_JOHN.dcm")
    request, item, scene = described(tmp_path / "in", tmp_path)
    assert item.id.startswith("dx-")
    assert scene.id == item.id
    assert "DOE" not in scene.files[0].path.removeprefix(str(tmp_path))
    known = identify(request, item)
    (tmp_path / "in" / "DOE_JOHN.dcm").rename(tmp_path / "in" / "x")
    (renamed,) = list_inputs([str(tmp_path / "in")], request.job)
    assert identify(request, renamed).sha256 == known.sha256
    assert known.content_hashed


def test_a_picture_has_a_verdict_without_a_job(tmp_path):
    picture(tmp_path / "a.dcm")
    picture(tmp_path / "b.dcm", change=lambda data: setattr(data, "PixelData", data.PixelData[:-8]))
    verdicts = {Path(v.path.split("(")[1].rstrip(")")).name: v for v in check_files([str(tmp_path)])}
    assert (verdicts["a.dcm"].go, verdicts["a.dcm"].kind) == (True, "raster")
    assert verdicts["b.dcm"].message.startswith("damaged_pixel_data: ")


def test_a_folder_of_rasters_is_not_searched_for_pictures(tmp_path):
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8") as out:
        out.write(np.ones((1, 4, 4), np.uint8))
    picture(tmp_path / "deep" / "b.dcm")
    without = Job.model_validate({"job": "t", "kind": "raster", "model": MODEL})
    assert [item.id for item in list_inputs([str(tmp_path)], without)] == ["a"]
    assert len(list_inputs([str(tmp_path)], job(modality="DX"))) == 2
