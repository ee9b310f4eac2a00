from __future__ import annotations

import gzip
import itertools
import os
import pickle
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.card import Resampling
from models.errors import CardError, SwatheError
from tasks.errors import (
    EmptySceneError,
    OversizedSceneError,
    SceneError,
    UnreadableSceneError,
    UnsupportedSceneError,
)
from tasks.geometry.box import Box, split
from tasks.scenes.volume.frame import frame_of
from tasks.scenes.volume.header import volume_header
from tasks.scenes.volume.scene import VolumeScene, describe_volume, scene_values
from tasks.scenes.volume.spool import spool

LAWS = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[2] / ".." / "shared" / "data"))
CODES = ["".join(codes) for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)]


def write(path, array, affine=None, kind=nib.Nifti1Image, **fields):
    image = kind(array, np.diag([1.0, 1.0, 1.0, 1.0]) if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def affine_of(codes, spacing=(0.9, 1.1, 3.0), tilt=0.0):
    start = nib.orientations.io_orientation(np.eye(4))
    turned = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(codes))
    axes = np.eye(4)
    for file_axis, (world, sign) in enumerate(nib.orientations.axcodes2ornt(codes)):
        axes[:3, file_axis] = 0
        axes[int(world), file_axis] = sign * spacing[file_axis]
    assert len(turned) == 3
    tilted = np.eye(4)
    c, s = np.cos(tilt), np.sin(tilt)
    tilted[:2, :2] = [[c, -s], [s, c]]
    result = tilted @ axes
    result[:3, 3] = (-30.0, 12.5, 7.0)
    return result


def open_scene(path, tmp_path, codes="SAR", spacing=None, resampling=None) -> VolumeScene:
    return describe_volume("scene", path, codes, spacing, tmp_path / "spool", resampling)


def read_all(scene):
    with scene.open() as reader:
        return reader.read(Box.of_shape(scene.frame.model_shape))


def noise(shape, dtype=np.float32, seed=0):
    return (np.random.default_rng(seed).normal(size=shape) * 1000).astype(dtype)


@pytest.mark.parametrize("file_codes", CODES)
def test_every_axis_order_is_turned_as_nibabel_turns_it(tmp_path, file_codes):
    array = noise((3, 4, 5), np.int16)
    path = write(tmp_path / "v.nii", array, affine_of(file_codes, tilt=0.3))
    for wanted in ("SAR", "RAS", "ILP"):
        scene = open_scene(path, tmp_path, wanted)
        image, observed = read_all(scene)
        file = nib.load(path)
        transform = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(file.affine), nib.orientations.axcodes2ornt(wanted)
        )
        expected = file.as_reoriented(transform)
        np.testing.assert_array_equal(image[0], expected.get_fdata())
        np.testing.assert_allclose(scene.affine_mm, expected.affine, atol=1e-9)
        assert observed.all()
        assert scene.frame.is_identity


@LAWS
@given(st.sampled_from(CODES), st.sampled_from(CODES), st.floats(-0.7, 0.7), st.integers(0, 5))
def test_turning_and_turning_back_is_exact(tmp_path, file_codes, wanted, tilt, seed):
    array = noise((2, 3, 4), np.int32, seed)
    scene = open_scene(write(tmp_path / "v.nii", array, affine_of(file_codes, tilt=tilt)), tmp_path, wanted)
    turned = scene.turn.turn(array)
    np.testing.assert_array_equal(scene.turn.turn_back(turned), array)
    for box in split(turned.shape, (1, 2, 3)):
        window = scene.turn.to_file(box)
        np.testing.assert_array_equal(scene.turn.turn(array[window.slices]), turned[box.slices])
        assert scene.turn.from_file(window) == box
    corner = scene.affine_mm @ (0, 0, 0, 1)
    index = np.rint(np.linalg.inv(scene.header.affine_mm) @ corner).astype(int)[:3]
    assert turned[0, 0, 0] == array[tuple(index)]


@LAWS
@given(st.data(), st.integers(0, 9), st.booleans())
def test_a_window_of_the_model_grid_is_the_cut_of_the_whole(tmp_path, data, seed, holes):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 11, 3))
    array = noise(shape, np.float32, seed)
    if holes:
        array[rng.random(shape) < 0.2] = np.nan
    if shape[0] > 2:
        array[0] = 0
    path = write(tmp_path / "v.nii", array, affine_of("LPS"))
    spacing = data.draw(st.sampled_from([None, (1.5, 0.5, 1.1), (3.0, 1.1, 2.0), (None, 0.6, 0.8)]))
    ways = [None, Resampling(clip=(-500.0, 900.0)), Resampling(order=1, crop="none"), Resampling(nearest_above=None)]
    scene = open_scene(path, tmp_path, "SAR", spacing, data.draw(st.sampled_from(ways)))
    image, observed = read_all(scene)
    assert np.isfinite(image).all()
    assert (image[0][~observed] == 0).all()
    with scene.open() as reader:
        for box in split(scene.frame.model_shape, (3, 4, 5)):
            part, seen = reader.read(box)
            assert part.tobytes() == image[(slice(None), *box.slices)].tobytes()
            np.testing.assert_array_equal(seen, observed[box.slices])


def test_a_spline_past_a_hole_is_pulled_down_by_nothing(tmp_path):
    array = np.full((12, 13, 14), 300.0, np.float32)
    array[4:6, 5, 6:8] = np.nan
    path = write(tmp_path / "v.nii", array, affine_of("LPS"))
    scene = open_scene(path, tmp_path, "kji", (1.7, 0.8, 0.6), Resampling())
    image, observed = read_all(scene)
    assert 0 < (~observed).sum() < observed.size / 10
    np.testing.assert_allclose(image[0][observed], 300, rtol=1e-3)


def test_the_axes_of_the_file_are_taken_as_they_are(tmp_path):
    array = noise((3, 4, 5), np.int16)
    scene = open_scene(write(tmp_path / "v.nii", array, affine_of("LIP", tilt=0.3)), tmp_path, "kij")
    np.testing.assert_array_equal(read_all(scene)[0][0], array.transpose(2, 0, 1))
    assert scene.codes == "PLI"
    with pytest.raises(CardError, match="'kik' names an axis of the file twice"):
        open_scene(tmp_path / "v.nii", tmp_path, "kik")


def test_statistics_are_those_of_the_crop(tmp_path):
    array = np.zeros((6, 7, 8), np.float32)
    array[2:5, 1:6, 3:7] = noise((3, 5, 4))
    scene = open_scene(write(tmp_path / "v.nii", array, affine_of("RPS")), tmp_path, "SAR", None, Resampling())
    assert scene.frame.crop == Box((3, 1, 2), (7, 6, 5))
    assert sorted(scene_values(scene)[0]) == sorted(array[2:5, 1:6, 3:7].ravel())


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", "i8"])
def test_every_stored_form_gives_the_values_nibabel_gives(tmp_path, kind, order, suffix, dtype):
    array = noise((4, 3, 5)).astype(dtype)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    path = tmp_path / f"v{suffix}"
    nib.save(kind(array, affine_of("RAS"), header), path)
    scene = open_scene(path, tmp_path, "RAS")
    assert scene.header.byte_order == order
    np.testing.assert_array_equal(read_all(scene)[0][0], array.astype(np.float32))


def test_compressed_and_plain_are_the_same_scene(tmp_path):
    array = noise((5, 6, 7), np.int16)
    plain = open_scene(write(tmp_path / "v.nii", array), tmp_path)
    zipped = open_scene(write(tmp_path / "v.nii.gz", array), tmp_path)
    assert plain.frame == zipped.frame
    assert plain.header.raw == zipped.header.raw
    np.testing.assert_array_equal(read_all(plain)[0], read_all(zipped)[0])


def test_slope_and_intercept_are_applied_in_double_precision(tmp_path):
    stored = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
    path = write(tmp_path / "v.nii", stored)
    raw = bytearray(path.read_bytes())
    raw[112:120] = struct.pack("<2f", 0.1, -1024.0)
    path.write_bytes(raw)
    image, _ = read_all(open_scene(path, tmp_path, "RAS"))
    expected = nib.load(path).get_fdata(dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(image[0], expected)


def test_large_integers_pass_exactly(tmp_path):
    array = np.array([[[2**24, 2**24 - 1, -(2**24)]]], np.int32)
    assert read_all(open_scene(write(tmp_path / "v.nii", array), tmp_path, "RAS"))[0].ravel().tolist() == [
        2**24,
        2**24 - 1,
        -(2**24),
    ]


def test_what_is_not_finite_is_not_valid(tmp_path):
    array = noise((3, 4, 5), np.float64)
    array[0, 0, 0], array[1, 2, 3], array[2, 3, 4], array[0, 1, 1] = np.nan, np.inf, -np.inf, 1e300
    scene = open_scene(write(tmp_path / "v.nii", array), tmp_path, "RAS")
    image, observed = read_all(scene)
    with np.errstate(over="ignore"):
        expected = np.isfinite(array.astype(np.float32))
    np.testing.assert_array_equal(observed, expected)
    np.testing.assert_array_equal(image[0] == 0, ~expected)
    with scene.open() as reader:
        np.testing.assert_array_equal(reader.valid(Box.of_shape(array.shape)), expected)


def test_holes_do_not_darken_their_neighbours_when_resampled(tmp_path):
    array = np.full((8, 8, 8), 700.0, np.float32)
    array[2:4, 3:5, :] = np.nan
    image, observed = read_all(open_scene(write(tmp_path / "v.nii", array), tmp_path, "RAS", (0.7, 1.3, 1.0)))
    assert not observed.all()
    np.testing.assert_allclose(image[0][observed], 700.0, rtol=1e-6)


def test_a_volume_with_trailing_dimensions_of_one_is_a_volume(tmp_path):
    array = noise((3, 4, 5, 1, 1))
    scene = open_scene(write(tmp_path / "v.nii", array), tmp_path, "RAS")
    np.testing.assert_array_equal(read_all(scene)[0][0], array[..., 0, 0])


def test_units_other_than_millimetres_are_converted(tmp_path):
    path = write(tmp_path / "v.nii", noise((2, 2, 2)), np.diag([0.001, 0.001, 0.003, 1.0]), xyzt_units=1)
    assert volume_header(path).spacing_mm == pytest.approx((1.0, 1.0, 3.0))


@LAWS
@given(st.tuples(*[st.integers(1, 300)] * 3), st.tuples(*[st.floats(0.3, 6)] * 3), st.tuples(*[st.floats(0.3, 6)] * 3))
def test_the_model_grid_covers_the_volume_and_not_more(shape, native, model):
    frame = frame_of(shape, native, model)
    for length, size, own, wanted in zip(shape, frame.model_shape, native, model, strict=True):
        assert size * wanted >= length * own - 0.02 * wanted
        assert size == 1 or (size - 1) * wanted < length * own


def test_a_spacing_equal_up_to_float32_is_not_resampled():
    spacing = tuple(float(np.float32(value)) for value in (3.27, 0.9766, 0.9766))
    assert frame_of((40, 512, 512), spacing, (3.27, 0.9766, 0.9766)).is_identity


def test_a_scene_is_small_and_survives_pickling(tmp_path):
    scene = open_scene(write(tmp_path / "v.nii.gz", noise((30, 30, 30))), tmp_path)
    packed = pickle.dumps(scene)
    assert len(packed) < 4096
    assert pickle.loads(packed) == scene


def test_statistics_are_those_of_all_finite_voxels_or_of_a_fixed_lattice(tmp_path, monkeypatch):
    array = noise((6, 7, 8))
    array[0, 0, 0] = np.nan
    scene = open_scene(write(tmp_path / "v.nii", array), tmp_path)
    np.testing.assert_array_equal(np.sort(scene_values(scene)[0]), np.sort(array[np.isfinite(array)]))
    monkeypatch.setattr("tasks.scenes.volume.scene._STATISTICS_VOXELS", 50)
    lattice = array[::2, ::2, ::2]
    np.testing.assert_array_equal(np.sort(scene_values(scene)[0]), np.sort(lattice[np.isfinite(lattice)]))


def test_a_volume_without_a_finite_voxel_has_no_statistics(tmp_path):
    scene = open_scene(write(tmp_path / "v.nii", np.full((2, 2, 2), np.nan, np.float32)), tmp_path)
    with pytest.raises(EmptySceneError, match="finite"):
        scene_values(scene)


def test_an_interrupted_spool_is_started_again_and_a_complete_one_reused(tmp_path):
    path = write(tmp_path / "v.nii.gz", noise((9, 9, 9)))
    scene = open_scene(path, tmp_path)
    whole = scene.data_path.read_bytes()
    part = scene.data_path.with_suffix(".part")
    scene.data_path.unlink()
    part.write_bytes(whole[:100])
    again = open_scene(path, tmp_path)
    assert again == scene
    assert again.data_path.read_bytes() == whole
    assert not part.exists()
    first = again.data_path.stat()
    assert open_scene(path, tmp_path).data_path.stat().st_ino == first.st_ino


def test_a_changed_source_is_spooled_again(tmp_path):
    path = write(tmp_path / "v.nii.gz", noise((4, 4, 4)))
    first = open_scene(path, tmp_path)
    write(path, noise((4, 4, 4), seed=1))
    os.utime(path, (1, 1))
    assert open_scene(path, tmp_path).data_path != first.data_path


def test_a_truncated_gzip_leaves_nothing_under_a_finished_name(tmp_path):
    path = write(tmp_path / "v.nii.gz", noise((20, 20, 20)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableSceneError, match="truncated"):
        open_scene(path, tmp_path)
    assert not list((tmp_path / "spool").glob("*.nii"))


def test_a_gzip_shorter_than_its_header_says_is_refused(tmp_path):
    path = write(tmp_path / "v.nii", noise((9, 9, 9)))
    short = tmp_path / "short.nii.gz"
    short.write_bytes(gzip.compress(path.read_bytes()[:-100]))
    with pytest.raises(UnreadableSceneError, match="truncated"):
        open_scene(short, tmp_path)


def test_a_damaged_checksum_is_refused(tmp_path):
    path = write(tmp_path / "v.nii.gz", noise((9, 9, 9)))
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(UnreadableSceneError, match="CRC"):
        spool(path, volume_header(path).n_bytes, tmp_path / "spool")


def broken(tmp_path, name, edit):
    path = write(tmp_path / name, noise((4, 4, 4)))
    raw = bytearray(path.read_bytes())
    return path, edit(raw) or path.write_bytes(raw)


def patch(at, form, *values):
    def edit(raw):
        struct.pack_into(form, raw, at, *values)

    return edit


@pytest.mark.parametrize(
    ("edit", "error", "text"),
    [
        (patch(42, "<h", 0), EmptySceneError, "no voxel"),
        (patch(42, "<h", -3), UnreadableSceneError, "lengths"),
        (patch(40, "<h", 9), UnreadableSceneError, "9 dimensions"),
        (patch(40, "<5h", 4, 2, 2, 4, 4), UnsupportedSceneError, "4-dimensional"),
        (patch(42, "<3h", 30000, 30000, 30000), OversizedSceneError, "cannot hold"),
        (patch(42, "<3h", 5, 5, 5), UnreadableSceneError, "truncated"),
        (patch(70, "<h", 32), UnsupportedSceneError, "complex"),
        (patch(70, "<h", 128), UnsupportedSceneError, "RGB"),
        (patch(70, "<h", 5), UnreadableSceneError, "datatype 5"),
        (patch(68, "<h", 3001), UnsupportedSceneError, "CIFTI"),
        (patch(344, "<4s", b"ni1\0"), UnsupportedSceneError, "pair"),
        (patch(344, "<4s", b"\0\0\0\0"), UnsupportedSceneError, "Analyze"),
        (patch(280, "<12f", *[0.0] * 12), UnreadableSceneError, "singular"),
        (patch(280, "<12f", *[np.nan] * 12), UnreadableSceneError, "not finite"),
        (patch(108, "<f", np.nan), UnreadableSceneError, "offset"),
        (patch(112, "<2f", 1.0, np.inf), UnreadableSceneError, "scl_inter"),
        (patch(0, "<i", 77), UnreadableSceneError, "not a NIfTI"),
        (patch(0, "<4s", b"NRRD"), UnsupportedSceneError, "NRRD"),
    ],
)
def test_a_header_that_lies_is_refused_by_name(tmp_path, edit, error, text):
    path, _ = broken(tmp_path, "patient.nii", edit)
    with pytest.raises(error, match=text):
        volume_header(path)


@LAWS
@given(st.integers(0, 351), st.integers(0, 255))
def test_any_byte_of_a_header_may_be_wrong_without_an_unnamed_error(tmp_path, at, value):
    path, _ = broken(tmp_path, "v.nii", patch(at, "<B", value))
    try:
        scene = open_scene(path, tmp_path, "SAR", (1.0, 1.0, 1.0))
    except SwatheError:
        return
    assert scene.frame.native_shape


def test_an_empty_and_a_missing_file_are_refused_by_name(tmp_path):
    (tmp_path / "empty.nii").touch()
    with pytest.raises(UnreadableSceneError, match="empty"):
        volume_header(tmp_path / "empty.nii")
    with pytest.raises(UnreadableSceneError, match="cannot be opened"):
        volume_header(tmp_path / "missing.nii.gz")


def test_an_orientation_that_names_an_axis_twice_is_a_card_error(tmp_path):
    with pytest.raises(CardError, match="twice"):
        open_scene(write(tmp_path / "v.nii", noise((2, 2, 2))), tmp_path, "SIR")


def real(*parts):
    folder = DATA.joinpath(*parts)
    if not folder.is_dir():
        pytest.skip(f"no {'/'.join(parts)} under SWATHE_SAMPLES")
    return folder


@pytest.mark.parametrize("name", ["medical-organ", "medical-tumour/ibsi-sts"])
def test_real_volumes_read_as_nibabel_reads_them(tmp_path, name):
    for path in sorted(real(name).rglob("*.nii.gz"))[:8]:
        scene = open_scene(path, tmp_path, "RAS")
        expected = nib.as_closest_canonical(nib.load(path))
        np.testing.assert_array_equal(read_all(scene)[0][0], expected.get_fdata(dtype=np.float32))
        np.testing.assert_allclose(scene.affine_mm, expected.affine, atol=1e-9)


def test_hostile_files_are_read_or_refused_by_name(tmp_path):
    verdicts = {}
    for path in sorted(p for p in real("hostile-nifti").rglob("*") if p.is_file()):
        try:
            read_all(open_scene(path, tmp_path))
            verdicts[path.name] = "go"
        except SceneError as error:
            verdicts[path.name] = type(error).__name__
    assert verdicts == {
        "example_nifti2.nii.gz": "UnsupportedSceneError",
        "liver_0.nii.gz": "UnreadableSceneError",
        "reoriented_anat_moved.nii": "go",
        "rgb_test_file.nii.gz": "UnsupportedSceneError",
        "row_major.dconn.nii": "UnsupportedSceneError",
        "sub-unf02_T1w.nii.gz": "go",
        "test.mgz": "UnsupportedSceneError",
    }
