"""Series of DICOM become volumes that equal what other programs read."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicoms import AXIAL, ramp, rotated, write_series, write_slice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import DataElement, Dataset, dcmread
from pydicom.config import IGNORE, disable_value_validation
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tasks.dicom.findings import SeriesError
from tasks.dicom.instance import Slice
from tasks.dicom.naming import scene_id
from tasks.dicom.reader import Reader
from tasks.dicom.scan import scan, series_of
from tasks.dicom.series import Series
from tasks.dicom.stack import normal_of, squared, stacked
from tasks.errors import ChangedSceneError

DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[2] / ".." / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the sample data is not here: set SWATHE_SAMPLES")
needs_dcm2niix = pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
STS, ONE = "medical-tumour/ibsi-sts", "medical-tumour/ibsi-1-ct-phantom"
# Folder of a series, and the NIfTI file that lies beside it; None where dcm2niix makes one.
REAL = {
    "sarcoma-ct-2": (f"{STS}/STS_002/CT/image", f"{STS}/STS_002/CT_image.nii.gz"),
    "sarcoma-mr-2": (f"{STS}/STS_002/MR_T1/image", f"{STS}/STS_002/MR_T1_image.nii.gz"),
    "sarcoma-ct-8": (f"{STS}/STS_008/CT/image", f"{STS}/STS_008/CT_image.nii.gz"),
    "ibsi": (f"{ONE}/dicom/image", f"{ONE}/nifti/image/phantom.nii.gz"),
    "torchio-ct": ("dicom-series/torchio-ct", None),
    "ct-beside-rtstruct": ("dicom-series/rt-utils-mock", None),
    "oblique-t1": ("dicom-series/oblique-mr/Study3/11-T1post-18670", None),
    "oblique-flair": ("dicom-series/oblique-mr/Study3/36468-FLAIRreg-58706", None),
    "hippocampus": ("dicom-series/oblique-mr/Study3/11_HCropVolume", None),
    "three-slices": ("dicom-seg/dcmqi-ct-3slice/ct-3slice", None),
    "enhanced-xa10": ("dicom-series/dcm_qa_enh-XA10/In", "dicom-series/dcm_qa_enh-XA10/Ref/*.nii"),
    "mosaic-60": ("dicom-series/dcm_qa-AP8/In", "dicom-series/dcm_qa-AP8/Ref/*.nii"),
    "mosaic-5": ("dicom-series/dcm_qa_nih-Si3/In", "dicom-series/dcm_qa_nih-Si3/Ref/*.nii"),
    "ge-epi": ("dicom-series/dcm_qa_nih-GE4/In", "dicom-series/dcm_qa_nih-GE4/Ref/*.nii"),
}
LAWS = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def reader():
    with Reader() as reader:
        yield reader


def volumes(folder, reader) -> list[Series]:
    found = scan(Path(folder), reader).found
    return [each.series for each in found if each.series is not None]


def the_volume(folder, reader) -> Series:
    (series,) = volumes(folder, reader)
    return series


def codes(folder, reader) -> list[str]:
    found = scan(Path(folder), reader).found
    return [each.refusal.code for each in found if each.refusal is not None]


def read(series, reader, folder, factor=1.0):
    """Values of the converted file as NIfTI has them, and its affine."""
    path = Path(folder) / f"{series.key}.nii"
    reader.convert(series, path, factor)
    image = nib.load(path)
    assert not path.with_suffix(".part").exists()
    np.testing.assert_allclose(image.affine, series.affine_mm, atol=1e-4)
    return np.asarray(image.dataobj), image.affine


def canonical(values, affine):
    """The same voxels in the nearest order of right, anterior, superior."""
    image = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(values, np.float64), affine))
    return np.asarray(image.dataobj), image.affine


def converted_by_dcm2niix(folder, out):
    out.mkdir()
    subprocess.run(["dcm2niix", "-f", "%s", "-z", "n", "-o", out, folder], check=True, capture_output=True)
    return sorted(out.glob("*.nii"))


@needs_data
@needs_dcm2niix
@pytest.mark.parametrize("name", REAL)
def test_real_series_equal_their_reference_voxel_for_voxel(name, reader, tmp_path):
    folder, beside = REAL[name]
    (reference,) = (
        converted_by_dcm2niix(DATA / folder, tmp_path / "out") if beside is None else sorted(DATA.glob(beside))
    )
    image = nib.load(reference)
    expected = np.atleast_3d(np.asarray(image.dataobj))
    expected = expected[..., np.newaxis] if expected.ndim == 3 else expected
    found = volumes(DATA / folder, reader)
    assert len(found) == expected.shape[3]
    times = sorted(found, key=lambda series: (len(series.label), series.label))
    for series, values in zip(times, np.moveaxis(expected, 3, 0), strict=True):
        ours, affine = canonical(*read(series, reader, tmp_path))
        theirs, their_affine = canonical(values, image.affine)
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(affine, their_affine, atol=1e-3)


@needs_data
@needs_dcm2niix
@pytest.mark.parametrize("name", ["torchio-ct", "oblique-t1"])
def test_files_lie_on_the_very_grid_that_dcm2niix_makes(name, reader, tmp_path):
    (reference,) = converted_by_dcm2niix(DATA / REAL[name][0], tmp_path / "out")
    image = nib.load(reference)
    values, affine = read(the_volume(DATA / REAL[name][0], reader), reader, tmp_path)
    np.testing.assert_array_equal(values, np.asarray(image.dataobj))
    np.testing.assert_allclose(affine, image.affine, atol=1e-3)


@needs_data
def test_the_order_and_the_names_of_files_change_nothing(reader, tmp_path):
    source = DATA / REAL["torchio-ct"][0]
    names = sorted(path for path in source.rglob("*") if path.is_file())
    shuffled = random.Random(3).sample(names, len(names))
    (tmp_path / "deep").mkdir()
    for k, path in enumerate(shuffled):
        shutil.copy(path, tmp_path / ("deep" if k % 2 else ".") / f"{k}")
    ours, theirs = the_volume(tmp_path, reader), the_volume(source, reader)
    assert ours.key == theirs.key
    np.testing.assert_array_equal(read(ours, reader, tmp_path)[0], read(theirs, reader, tmp_path)[0])


@LAWS
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    flips=st.tuples(st.booleans(), st.booleans()),
    spacing=st.tuples(st.sampled_from([0.5, 0.7, 2.0]), st.sampled_from([0.4, 1.1, 3.0])),
    gap=st.sampled_from([0.625, 2.5, 7.0]),
    backwards=st.booleans(),
)
def test_every_voxel_lies_where_the_standard_puts_it(angles, flips, spacing, gap, backwards, reader, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("law")
    volume = ramp(4, 3, 5)
    orientation = rotated(angles, flips)
    names = (lambda k: f"{9 - k}.dcm") if backwards else "{}.dcm".format
    write_series(tmp_path, volume, orientation=orientation, spacing=spacing, gap=gap, names=names)
    series = the_volume(tmp_path, reader)
    values, affine = read(series, reader, tmp_path)
    normal = np.cross(orientation[:3], orientation[3:])
    for depth, row, col in [(0, 0, 0), (3, 2, 4), (1, 0, 3), (2, 2, 0)]:
        # PS3.3 C.7.6.2.1.1: columns count along the row's direction by the distance between columns.
        place = np.array([-10.0, -20.0, 30.0]) + depth * gap * normal
        place += col * spacing[1] * np.array(orientation[:3]) + row * spacing[0] * np.array(orientation[3:])
        voxel = np.linalg.inv(affine) @ [-place[0], -place[1], place[2], 1.0]
        np.testing.assert_allclose(voxel[:3], np.rint(voxel[:3]), atol=1e-3)
        assert values[tuple(np.rint(voxel[:3]).astype(int))] == volume[depth, row, col]
    geometry = series.geometry()
    np.testing.assert_allclose(geometry.affine, series.affine_lps_mm, atol=1e-9)
    assert geometry.spatial_shape == series.shape
    np.testing.assert_array_equal(series.array_of(series.slices_of(values)), values)
    np.testing.assert_array_equal(series.slices_of(values)[1], volume[1])


@needs_dcm2niix
def test_unequal_spacings_and_an_oblique_stack_are_read_as_dcm2niix_reads_them(reader, tmp_path):
    write_series(
        tmp_path / "in", ramp(6, 16, 24), orientation=rotated((20, -15, 10), (True, False)), spacing=(0.6, 1.4), gap=3.0
    )
    (reference,) = converted_by_dcm2niix(tmp_path / "in", tmp_path / "out")
    values, affine = read(the_volume(tmp_path / "in", reader), reader, tmp_path)
    np.testing.assert_array_equal(values, np.asarray(nib.load(reference).dataobj))
    np.testing.assert_allclose(affine, nib.load(reference).affine, atol=1e-3)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name
)
@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint8", "int32"])
def test_native_transfer_syntaxes(syntax, dtype, reader, tmp_path):
    volume = ramp(3, 6, 8, dtype=dtype)
    write_series(tmp_path, volume, syntax=syntax)
    series = the_volume(tmp_path, reader)
    values, _ = read(series, reader, tmp_path)
    np.testing.assert_array_equal(series.slices_of(values), volume)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_lossless_transfer_syntaxes(syntax, dtype, reader, tmp_path):
    volume = ramp(3, 64, 72, dtype=dtype)
    for path in write_series(tmp_path, volume, BitsStored=16):
        data = dcmread(path)
        data.compress(syntax, generate_instance_uid=False)
        data.save_as(path)
    series = the_volume(tmp_path, reader)
    assert series.transfer_syntax_uids == (syntax,)
    values, _ = read(series, reader, tmp_path)
    np.testing.assert_array_equal(series.slices_of(values), volume)


@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize("option", ["+e1", "+el"], ids=["lossless-sv1", "lossless"])
def test_lossless_jpeg_of_another_program(option, reader, tmp_path):
    volume = ramp(3, 16, 24, dtype="uint16")
    for path in write_series(tmp_path, volume, BitsStored=12, HighBit=11):
        subprocess.run(["dcmcjpeg", option, "+ua", path, path.with_suffix(".jpg.dcm")], check=True)
        path.unlink()
    series = the_volume(tmp_path, reader)
    values, _ = read(series, reader, tmp_path)
    np.testing.assert_array_equal(series.slices_of(values), volume)


def test_a_transfer_syntax_that_nothing_decodes_is_named(reader, tmp_path):
    def each(_, data):
        data.PixelData = encapsulate([b"\0" * 16])
        data["PixelData"].VR = "OB"

    write_series(tmp_path, ramp(3, 4, 4), each=each, syntax=HTJ2KLossless)
    for path in tmp_path.iterdir():
        # JPEG XL, for which no decoder is here.
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1.2.840.10008.1.2.4.201", b"1.2.840.10008.1.2.4.110"))
    with pytest.raises(SeriesError, match=r"^unknown_transfer_syntax: .*4\.110"):
        read(the_volume(tmp_path, reader), reader, tmp_path)


def test_each_slice_has_its_own_rescaling(reader, tmp_path):
    volume = ramp(3, 4, 5)

    def each(k, data):
        data.RescaleSlope, data.RescaleIntercept = 0.25 * (k + 1), -3 * k

    write_series(tmp_path, volume, each=each, modality="PT")
    values, _ = read(series := the_volume(tmp_path, reader), reader, tmp_path)
    expected = volume * np.array([0.25, 0.5, 0.75])[:, None, None] - np.array([0, 3, 6])[:, None, None]
    np.testing.assert_array_equal(series.slices_of(values), expected.astype(np.float32))


def test_one_rescaling_keeps_the_stored_numbers(reader, tmp_path):
    volume = ramp(3, 4, 5)
    write_series(tmp_path, volume, RescaleSlope=2, RescaleIntercept=-1024)
    series = the_volume(tmp_path, reader)
    values, _ = read(series, reader, tmp_path)
    np.testing.assert_array_equal(series.slices_of(values), volume * 2.0 - 1024)
    assert nib.load(tmp_path / f"{series.key}.nii").get_data_dtype() == np.int16


@pytest.mark.parametrize("is_signed", [True, False])
def test_bits_that_do_not_count_are_cut_off_and_padding_is_kept(is_signed, reader, tmp_path):
    low = -2048 if is_signed else 0
    true = np.random.default_rng(1).integers(low, low + 4096, (3, 6, 7)).astype(np.int16)
    rubbish = np.random.default_rng(2).integers(0, 16, true.shape).astype(np.uint16) << 12
    stored = (true.astype(np.uint16) & 0x0FFF) | rubbish
    padding = -3024 if is_signed else 63_536
    stored[:, 0, 0] = np.array(padding).astype(np.int16).view(np.uint16)
    stored = stored.view(np.int16) if is_signed else stored

    def each(_, data):
        data.BitsStored, data.HighBit = 12, 11
        data.add_new("PixelPaddingValue", "SS" if is_signed else "US", padding)

    write_series(tmp_path, stored, each=each)
    values, _ = read(series := the_volume(tmp_path, reader), reader, tmp_path)
    expected = true.astype(np.int64)
    expected[:, 0, 0] = padding
    np.testing.assert_array_equal(series.slices_of(values), expected)


def test_slices_of_different_storage_are_one_volume(reader, tmp_path):
    volume = np.concatenate([ramp(1, 4, 5, dtype="uint16").astype(np.int32), ramp(2, 4, 5).astype(np.int32)])
    for k, plane in enumerate(volume):
        write_slice(tmp_path / f"{k}", plane.astype("uint16" if k == 0 else "int16"), (0, 0, 2.0 * k))
    values, _ = read(series := the_volume(tmp_path, reader), reader, tmp_path)
    np.testing.assert_array_equal(series.slices_of(values), volume)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_low_values_shown_white_are_turned_round_where_they_have_no_unit(modality, reader, tmp_path):
    volume = ramp(3, 4, 5, dtype="uint16")
    write_series(
        tmp_path, volume, modality=modality, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11
    )
    values, _ = read(series := the_volume(tmp_path, reader), reader, tmp_path)
    np.testing.assert_array_equal(series.slices_of(values), volume if modality == "CT" else 4095 - volume)


# What is wrong with a stack, and what it is called.


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"without": (3,)}, "missing_slices"),
        ({"without": (2, 5, 6)}, "missing_slices"),
        ({"offsets": {3: 0.6}}, "uneven_slices"),
        ({"offsets": {3: -2.45}}, "duplicate_slices"),
        ({"without": tuple(range(1, 8))}, "too_few_slices"),
    ],
)
def test_uneven_stacks_are_refused_by_name(options, code, reader, tmp_path):
    write_series(tmp_path, ramp(8, 4, 5), **options)
    assert codes(tmp_path, reader) == [code]
    assert volumes(tmp_path, reader) == []


def test_a_slice_that_lies_in_the_place_of_another_is_refused(reader, tmp_path):
    write_series(tmp_path, ramp(5, 4, 5))
    write_slice(tmp_path / "again.dcm", ramp(4, 5), (-10.0, -20.0, 32.5), InstanceNumber=2)
    assert codes(tmp_path, reader) == ["duplicate_slices"]


def test_rounded_positions_are_even(reader, tmp_path):
    gaps = {k: round(0.625 * k, 1) - 0.625 * k for k in range(12)}
    write_series(tmp_path, ramp(12, 4, 5), gap=0.625, offsets=gaps)
    series = the_volume(tmp_path, reader)
    assert series.spacing_mm[0] == pytest.approx(0.625, abs=0.01)


@LAWS
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    gap=st.floats(1.8, 6.0),
    n_slices=st.integers(3, 40),
    start=st.tuples(*[st.floats(-99, 99)] * 3),
)
def test_stacks_that_a_header_rounds_to_a_tenth_are_even_and_lean_nowhere(angles, gap, n_slices, start):
    orientation = squared(rotated(angles))
    places = [np.round(np.array(start) + k * gap * normal_of(orientation), 1) for k in range(n_slices)]
    stack = stacked([Slice(path=f"{k}", sop_instance_uid=f"{k}", position_mm=tuple(p)) for k, p in enumerate(places)],
                    orientation)  # fmt: skip
    assert [plane.path for plane in stack.slices] == [f"{k}" for k in range(n_slices)]
    assert "gantry_tilt" not in {note.code for note in stack.notes}
    np.testing.assert_allclose(np.cross(stack.step_mm, normal_of(orientation)), 0, atol=1e-9)
    assert np.linalg.norm(stack.step_mm) == pytest.approx(gap, abs=0.2 / (n_slices - 1))


def test_a_slice_that_lies_beside_the_others_is_uneven(reader, tmp_path):
    for k, plane in enumerate(ramp(6, 4, 5)):
        write_slice(tmp_path / f"{k}", plane, (0.4 * (k == 4), 0.0, 3.0 * k))
    assert codes(tmp_path, reader) == ["uneven_slices"]


def test_a_tilted_gantry_is_read_with_a_sheared_affine(reader, tmp_path):
    volume = ramp(5, 4, 6)
    for k, plane in enumerate(volume):
        write_slice(tmp_path / f"{k}", plane, (0.0, 0.9 * k, 3.0 * k))
    series = the_volume(tmp_path, reader)
    assert [note.code for note in series.notes] == ["gantry_tilt"]
    values, affine = read(series, reader, tmp_path)
    np.testing.assert_allclose(affine @ [0, 3, 4, 1], [0, -0.9 * 4, 12.0, 1], atol=1e-4)
    assert values[0, 3, 4] == volume[4, 0, 0]
    with pytest.raises(SeriesError, match="gantry_tilt"):
        series.geometry()


def test_a_tilted_gantry_with_unequal_gaps_is_refused(reader, tmp_path):
    for k, z in enumerate((0.0, 3.0, 6.0, 10.0)):
        write_slice(tmp_path / f"{k}", ramp(4, 6), (0.0, 0.3 * z, z))
    assert codes(tmp_path, reader) == ["gantry_tilt"]


def test_slices_that_lean_more_than_any_gantry_are_refused(reader, tmp_path):
    for k in range(4):
        write_slice(tmp_path / f"{k}", ramp(4, 6), (0.0, 3.0 * k, 2.0 * k))
    assert codes(tmp_path, reader) == ["gantry_tilt"]


@pytest.mark.parametrize("wrong", ["NaN", "1e400", "0", "one", "table"])
def test_values_that_cannot_be_told_are_not_guessed(reader, tmp_path, wrong):
    def spoil(k, data):
        if wrong == "table":
            data.ModalityLUTSequence = [Dataset()]
        elif k == 2:
            vr = "LO" if wrong == "one" else "DS"
            data["RescaleSlope"] = DataElement(0x00281053, vr, wrong, validation_mode=IGNORE)

    write_series(tmp_path, ramp(6, 4, 5), each=spoil)
    assert codes(tmp_path, reader) == ["not_scaled"]


def test_slices_of_two_patients_under_one_uid_are_refused(reader, tmp_path):
    write_series(tmp_path, ramp(6, 4, 5), each=lambda k, data: setattr(data, "PatientID", f"P{k // 3}"))
    assert codes(tmp_path, reader) == ["mixed_patients"]


def test_two_orientations_under_one_uid_are_two_volumes_unless_one_is_too_small(reader, tmp_path):
    sagittal = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    write_series(tmp_path / "a", ramp(4, 4, 5))
    write_series(tmp_path / "b", ramp(5, 4, 5), orientation=sagittal)
    found = volumes(tmp_path, reader)
    assert {series.plane for series in found} == {"axial", "sagittal"}
    assert len({scene_id(each) for each in scan(tmp_path, reader).found}) == 2
    for path in sorted((tmp_path / "b").iterdir())[2:]:
        path.unlink()
    assert codes(tmp_path, reader) == ["mixed_orientation"]


def test_another_matrix_under_one_uid_is_named(reader, tmp_path):
    write_series(tmp_path, ramp(6, 4, 5))
    write_slice(tmp_path / "odd", ramp(8, 5), (0, 0, 90.0))
    assert codes(tmp_path, reader) == ["mixed_matrix"]


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"SeriesDescription": "3-plane scout"}, "localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "projection"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary_capture"),
        ({"QualityControlImage": "YES"}, "quality_control"),
        ({"Modality": "SR"}, "not_an_image"),
        ({"ImagePositionPatient": None}, "not_placed"),
    ],
)
def test_what_is_no_volume_is_named(elements, code, reader, tmp_path):
    write_series(tmp_path, ramp(5, 4, 5), **elements)
    assert codes(tmp_path, reader) == [code]


def test_a_scout_among_slices_costs_itself_only(reader, tmp_path):
    write_series(tmp_path, ramp(5, 4, 5))
    (before,) = scan(tmp_path, reader).found
    write_slice(tmp_path / "scout", ramp(4, 5), (0, 0, 300), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert codes(tmp_path, reader) == ["localizer"]
    assert the_volume(tmp_path, reader).shape == (5, 4, 5)
    assert scene_id(before) in {scene_id(each) for each in scan(tmp_path, reader).found}


@pytest.mark.parametrize(
    "elements",
    [
        {"ImagePositionPatient": [0, 0, 1e300]},
        {"PixelSpacing": [1e-9, 1.0]},
        {"PixelSpacing": [0, 0]},
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImageOrientationPatient": [2, 0, 0, 0, 2, 0]},
    ],
)
def test_places_that_cannot_be_are_refused(elements, reader, tmp_path):
    write_series(tmp_path, ramp(4, 4, 5), **elements)
    assert codes(tmp_path, reader) == ["not_placed"]


def test_more_frames_than_a_file_can_hold_are_refused(reader, tmp_path):
    write_series(tmp_path, ramp(1, 4, 5), NumberOfFrames=1_000_000)
    (unread,) = scan(tmp_path, reader).unread
    assert "1000000 frames in" in str(unread.error)


def test_images_without_pixels_are_named(reader, tmp_path):
    def each(_, data):
        del data.PixelData

    write_series(tmp_path, ramp(4, 4, 5), each=each)
    assert codes(tmp_path, reader) == ["no_pixel_data"]


def test_pixels_that_end_early_are_named(reader, tmp_path):
    def each(k, data):
        if k == 2:
            data.PixelData = data.PixelData[:-10]

    write_series(tmp_path, ramp(4, 4, 5), each=each)
    series = the_volume(tmp_path, reader)
    with pytest.raises(SeriesError, match=r"^damaged_pixel_data: ") as caught:
        reader.look(series, 5.0)
    assert [Path(path).name for path in caught.value.finding.paths] == ["002.dcm"]
    with pytest.raises(SeriesError, match=r"^damaged_pixel_data: "):
        read(series, reader, tmp_path)


def test_copies_are_read_once_and_other_contents_under_one_uid_are_refused(reader, tmp_path):
    paths = write_series(tmp_path, ramp(4, 4, 5))
    shutil.copy(paths[1], tmp_path / "copy")
    series = the_volume(tmp_path, reader)
    assert [note.code for note in series.notes] == ["duplicate_files"]
    assert len(series.slices) == 4
    data = dcmread(tmp_path / "copy")
    data.PatientComments = "another"
    data.save_as(tmp_path / "copy")
    assert codes(tmp_path, reader) == ["one_uid_two_contents"]


# Several volumes in one series.


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("EchoTime", [4.6, 9.2]),
        ("ImageType", [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]),
        ("DiffusionBValue", [0.0, 50.0, 800.0]),
        ("TemporalPositionIdentifier", [1, 2]),
        ("TriggerTime", [10.0, 250.0, 500.0]),
        ("AcquisitionNumber", [3, 4]),
        ("ContentTime", ["101500", "101600"]),
    ],
)
def test_volumes_of_one_series_are_told_apart(name, values, reader, tmp_path):
    stack = [ramp(5, 4, 6) + 100 * k for k in range(len(values))]
    for k, (value, volume) in enumerate(zip(values, stack, strict=True)):
        number = {"ContentDate": "20240102"} if name == "ContentTime" else {}
        write_series(tmp_path / str(k), volume, modality="MR", **{name: value}, **number)
    found = volumes(tmp_path, reader)
    assert len(found) == len(values)
    read_back = sorted((read(series, reader, tmp_path)[0].min(), series) for series in found if series.label)
    for (_, series), volume in zip(read_back, stack, strict=True):
        np.testing.assert_array_equal(series.slices_of(read(series, reader, tmp_path)[0]), volume)
    assert len({series.key for series in found}) == len({series.label for series in found}) == len(values)


def test_a_trigger_time_that_differs_from_slice_to_slice_splits_nothing(reader, tmp_path):
    def each(k, data):
        data.TriggerTime, data.AcquisitionTime, data.AcquisitionDate = 40.0 * k, f"1015{k:02d}", "20240102"

    write_series(tmp_path, ramp(6, 4, 5), modality="MR", each=each)
    assert the_volume(tmp_path, reader).label == ""


@pytest.mark.parametrize("by_place", [True, False])
def test_times_that_only_numbers_tell_apart(by_place, reader, tmp_path):
    for time in range(3):
        numbers = [k * 3 + time + 1 if by_place else time * 5 + k + 1 for k in range(5)]

        def each(k, data, numbers=numbers):
            data.InstanceNumber = numbers[k]

        write_series(tmp_path / str(time), ramp(5, 4, 6) + 10 * time, each=each)
    found = sorted(volumes(tmp_path, reader), key=lambda series: series.label)
    assert [series.label for series in found] == ["time=1", "time=2", "time=3"]
    for time, series in enumerate(found):
        np.testing.assert_array_equal(series.slices_of(read(series, reader, tmp_path)[0]), ramp(5, 4, 6) + 10 * time)


def test_the_last_volume_of_a_scan_that_was_broken_off_costs_itself_only(reader, tmp_path):
    for time in range(3):
        write_series(
            tmp_path / str(time),
            ramp(6, 4, 5),
            TemporalPositionIdentifier=time + 1,
            without=(1, 2) if time == 2 else (),
        )
    assert len(volumes(tmp_path, reader)) == 2
    assert codes(tmp_path, reader) == ["missing_slices"]


def test_a_volume_is_found_again_among_its_files_by_its_key(reader, tmp_path):
    for echo in (5.0, 10.0):
        write_series(tmp_path / str(echo), ramp(4, 4, 5), modality="MR", EchoTime=echo)
    for series in volumes(tmp_path, reader):
        again = series_of(series.paths, series.key, reader)
        assert replace(again, label=series.label) == series
        with pytest.raises(ChangedSceneError):
            series_of(series.paths[:-1], series.key, reader)


def test_named_files_of_a_dicomdir_are_read_and_none_outside_its_folder(reader, tmp_path):
    from pydicom.fileset import FileSet

    files = write_series(tmp_path / "in", ramp(4, 4, 5))
    write_series(tmp_path / "secret", ramp(3, 4, 5), SeriesInstanceUID="2.25.9")
    index = FileSet()
    for path in files:
        index.add(path)
    index.write(tmp_path / "disc")
    # Its folder of drafts, which pydicom leaves to the garbage collector with a warning.
    index._stage["t"].cleanup()
    assert len(the_volume(tmp_path / "disc" / "DICOMDIR", reader).slices) == 4
    data = dcmread(tmp_path / "disc" / "DICOMDIR")
    last = [record for record in data.DirectoryRecordSequence if "ReferencedFileID" in record][-1]
    with disable_value_validation():
        last.ReferencedFileID = ["..", "secret", "000.dcm"]
        data.save_as(tmp_path / "disc" / "DICOMDIR")
    found = scan(tmp_path / "disc" / "DICOMDIR", reader)
    assert ["outside its folder" in str(unread.error) for unread in found.unread] == [True]
    assert all("secret" not in path for each in found.found for path in each.paths)


def test_header_reading_takes_no_longer_the_longer_the_pixels_are(reader, tmp_path):
    """Headers are read up to the pixels: what stands there may be missing."""
    paths = write_series(tmp_path, ramp(3, 64, 64))
    whole = reader.header(str(paths[0]))
    cut = paths[0].read_bytes()
    paths[0].write_bytes(cut[: len(cut) - 64 * 64 * 2 + 4])
    assert reader.header(str(paths[0])) == whole


def test_a_plane_has_the_name_of_the_body_axis_that_it_is_across(reader, tmp_path):
    for name, orientation in {
        "axial": AXIAL,
        "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
        "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
        "oblique": rotated((45, 0, 0)),
    }.items():
        write_series(tmp_path / name, ramp(3, 4, 5), orientation=orientation, SeriesInstanceUID=f"2.25.{len(name)}")
        assert the_volume(tmp_path / name, reader).plane == name
