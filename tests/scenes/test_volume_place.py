"""Laws of where a volume lies and how large its voxels are: sform, qform and pixdim, held together."""

from __future__ import annotations

import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from flows.commands.app import app
from tasks.errors import GeometryError, UnreadableSceneError, UnsupportedSceneError
from tasks.geometry.box import Box
from tasks.inputs.input import Input
from tasks.jobs.job import Job
from tasks.scenes.volume.header import volume_header
from tasks.scenes.volume.scene import apart_voxels, describe_volume
from tasks.verdict.check import check_inputs

LAWS = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPE = (20, 18, 12)
FIELDS = {
    "pixdim": (76, "8f"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "3f"),
    "srow": (280, "12f"),
}
lengths = st.floats(0.2, 6.0)


def turned(sizes, angles=(0.0, 0.0, 0.0), origin=(-12.0, 5.0, 40.0)):
    a, b, c = angles
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_y = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ about_y @ np.diag(sizes)
    affine[:3, 3] = origin
    return affine


def write(path, affine, array=None, *, sform=1, qform=1, **fields):
    array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) if array is None else array
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=qform)
    image.set_sform(affine, code=sform)
    nib.save(image, path)
    raw = bytearray(path.read_bytes())
    for name, values in fields.items():
        at, form = FIELDS[name]
        struct.pack_into(f"<{form}", raw, at, *np.atleast_1d(values))
    path.write_bytes(raw)
    return path


def ball(radius_mm, affine):
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    centre = np.array(SHAPE) / 2
    return (np.linalg.norm((index - centre) @ affine[:3, :3].T, axis=-1) <= radius_mm).astype(np.uint8)


@LAWS
@given(st.tuples(*[lengths] * 3), st.tuples(*[st.floats(-3, 3)] * 3), st.booleans())
def test_a_header_that_agrees_with_itself_is_read_as_nibabel_reads_it_without_a_word(tmp_path, sizes, angles, flip):
    affine = turned(sizes, angles)
    if flip:
        affine[:3, 2] *= -1
    for codes in ({}, {"sform": 0}, {"qform": 0}):
        path = write(tmp_path / "v.nii", affine, **codes)
        header = volume_header(path)
        np.testing.assert_allclose(header.affine_mm, nib.load(path).affine, atol=2e-5 * max(sizes))
        assert header.notes == ()


@LAWS
@given(st.tuples(*[lengths] * 3), st.tuples(*[st.floats(-3, 3)] * 3), st.integers(0, 2), st.floats(1.011, 4.0))
def test_an_sform_of_another_size_than_pixdim_is_refused_until_somebody_says_which(
    tmp_path, sizes, angles, axis, factor
):
    stated = turned(sizes, angles)
    scaled = stated.copy()
    scaled[:3, axis] *= factor
    path = write(tmp_path / "v.nii", stated, srow=scaled[:3].ravel())
    with pytest.raises(GeometryError, match=r"the sform has voxels of .* pixdim of .* source\.voxel_size"):
        volume_header(path)
    for belief, affine in (("sform", scaled), ("pixdim", stated)):
        header = volume_header(path, belief)
        np.testing.assert_allclose(header.affine_mm, affine, atol=1e-4 * factor * max(sizes))
        assert header.voxel_volume_ml == pytest.approx(abs(np.linalg.det(affine[:3, :3])) / 1000, rel=1e-4)
        (note,) = header.notes
        assert f"{belief} is believed" in note


def test_pixdim_without_a_qform_scales_the_axes_of_the_sform_as_itk_does(tmp_path):
    sizes = (0.865759, 0.865759, 0.796)
    directions = turned((1.0, 1.0, 1.0), (0.3, -0.2, 0.1))
    path = write(tmp_path / "v.nii", turned(sizes), qform=0, srow=directions[:3].ravel())
    header = volume_header(path, "pixdim")
    theirs = SimpleITK.ReadImage(str(path))
    np.testing.assert_allclose(header.spacing_mm, theirs.GetSpacing(), rtol=1e-5)
    from_lps = np.diag([-1.0, -1.0, 1.0])
    direction = from_lps @ np.array(theirs.GetDirection()).reshape(3, 3) * theirs.GetSpacing()
    np.testing.assert_allclose(header.affine_mm[:3, :3], direction, atol=1e-5)
    np.testing.assert_allclose(header.affine_mm[:3, 3], from_lps @ theirs.GetOrigin(), atol=1e-4)


def test_rounded_sizes_are_one_size_and_those_that_may_be_are_said(tmp_path):
    affine = turned((0.9765625, 0.9765625, 3.0))
    fine = write(tmp_path / "fine.nii", affine, pixdim=(1, 0.977, 0.977, 3.0, 1, 0, 0, 0))
    assert volume_header(fine).notes == ()
    rough = write(tmp_path / "rough.nii", affine, pixdim=(1, 0.98, 0.98, 3.0, 1, 0, 0, 0))
    (note,) = volume_header(rough).notes
    assert "0.97656 x 0.97656 x 3 mm, pixdim of 0.98 x 0.98 x 3 mm" in note


@pytest.mark.parametrize("between", [3.0, 3.0 * np.cos(0.35)])
def test_of_sheared_slices_pixdim_may_mean_either_distance(tmp_path, between):
    sheared = turned((0.8, 0.8, 3.0))
    sheared[:3, 2] = (0.0, 3.0 * np.sin(0.35), 3.0 * np.cos(0.35))
    path = write(tmp_path / "v.nii", turned((0.8, 0.8, between)), qform=0, srow=sheared[:3].ravel())
    assert volume_header(path).notes == ()


def test_axes_that_sform_and_qform_turn_to_other_sides_are_said(tmp_path):
    mirrored = turned((0.8, 0.8, 3.0))
    mirrored[0, 0] *= -1
    path = write(tmp_path / "v.nii", turned((0.8, 0.8, 3.0)), srow=mirrored[:3].ravel())
    (note,) = volume_header(path).notes
    assert "Check left and right" in note
    near = turned((0.8, 0.8, 3.0), (np.radians(45.001), 0, 0))
    tie = write(tmp_path / "t.nii", turned((0.8, 0.8, 3.0), (np.radians(44.999), 0, 0)), srow=near[:3].ravel())
    assert volume_header(tie).notes == ()


def test_the_contradiction_costs_its_scene_in_a_check_and_the_job_decides(tmp_path):
    path = write(tmp_path / "v.nii", turned((0.9, 0.9, 0.8)), srow=turned((1, 1, 1))[:3].ravel())
    items = [Input(id="v", files={"image": str(path)})]

    def checked(**source):
        job = Job.model_validate({"job": "j", "kind": "volume", "model": {"name": "identity"}, "source": source})
        return check_inputs(items, job, ("1",))[0]

    assert (checked().go, checked().error) == (False, "GeometryError")
    believed = checked(voxel_size="pixdim")
    assert believed.go
    assert believed.facts["spacing_mm"] == pytest.approx([0.9, 0.9, 0.8], abs=1e-5)
    assert any("pixdim is believed" in warning for warning in believed.warnings)


def test_millilitres_follow_what_is_believed(tmp_path):
    affine = turned((0.9, 0.9, 0.8))
    mask = ball(6.0, affine)
    path = write(tmp_path / "m.nii", affine, mask, srow=turned((1, 1, 1))[:3].ravel())
    per_voxel = {"pixdim": 0.9 * 0.9 * 0.8, "sform": 1.0}
    for belief, voxel_mm3 in per_voxel.items():
        out = tmp_path / belief
        command = ["analyse", "tumour", str(path), "--voxel-size", belief, "--out", str(out)]
        ended = CliRunner().invoke(app, command)
        assert ended.exit_code == 0, ended.output
        summary = (out / "m" / "summary.json").read_text()
        assert f'"volume_ml": {float(f"{mask.sum() * voxel_mm3 / 1000:.5g}")}'[:16] in summary
        assert f"{belief} is believed" in summary
        assert f"{belief} is believed" in (out / "m" / "report.html").read_text()
    refused = CliRunner().invoke(app, ["analyse", "tumour", str(path), "--out", str(tmp_path / "none")])
    assert refused.exit_code == 1
    assert "GeometryError" in (tmp_path / "none" / "batch.csv").read_text()
    pair = ["evaluate", str(path), str(path)]
    assert CliRunner().invoke(app, pair).exit_code == 1
    assert CliRunner().invoke(app, [*pair, "--voxel-size", "pixdim"]).exit_code == 0


@LAWS
@given(st.tuples(*[lengths] * 3), st.tuples(*[st.floats(-3, 3)] * 3))
def test_a_factor_of_zero_is_read_as_one(tmp_path, sizes, angles):
    affine = turned(sizes, angles)
    path = write(tmp_path / "v.nii", affine, sform=0, pixdim=(0, *sizes, 1, 0, 0, 0), srow=np.zeros(12))
    np.testing.assert_allclose(volume_header(path).affine_mm, affine, atol=2e-5 * max(sizes))
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_allclose(volume_header(path).spacing_mm, image.GetSpacing(), rtol=1e-5)


@LAWS
@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1), st.floats(0, 9e-4))
def test_a_quaternion_that_rounding_made_too_long_is_a_half_turn(tmp_path, axis, excess):
    unit = np.array(axis) / np.linalg.norm(axis)
    path = write(
        tmp_path / "v.nii", turned((1.0, 1.0, 3.0)), sform=0, quatern=unit * np.sqrt(1 + excess), srow=np.zeros(12)
    )
    half_turn = (2 * np.outer(unit, unit) - np.eye(3)) * (1.0, 1.0, 3.0)
    np.testing.assert_allclose(volume_header(path).affine_mm[:3, :3], half_turn, atol=4e-3)


def test_a_quaternion_longer_than_rounding_makes_it_is_damage(tmp_path):
    path = write(tmp_path / "v.nii", turned((1.0, 1.0, 3.0)), sform=0, quatern=(0.8, 0.8, 0.0), srow=np.zeros(12))
    with pytest.raises(UnreadableSceneError, match="quaternion"):
        volume_header(path)


def test_negative_sizes_with_a_qform_are_read_by_their_absolute_values_and_said(tmp_path):
    affine = turned((0.8, 0.9, 3.0), (0.2, 0.1, -0.3))
    fields = {"pixdim": (1, -0.8, 0.9, -3.0, 1, 0, 0, 0), "srow": np.zeros(12)}
    path = write(tmp_path / "v.nii", affine, sform=0, **fields)
    header = volume_header(path)
    np.testing.assert_allclose(header.affine_mm, affine, atol=1e-5)
    np.testing.assert_allclose(header.affine_mm, nib.load(path).affine, atol=1e-5)
    assert header.notes == ("pixdim is negative; its absolute values are used",)


def test_a_single_slice_needs_no_thickness(tmp_path):
    array = np.zeros((20, 18, 1), np.int16)
    affine = turned((0.8, 0.9, 1.0), (0.2, 0.1, -0.3))
    thin = (1, 0.8, 0.9, 0.0, 1, 0, 0, 0)
    by_qform = volume_header(write(tmp_path / "q.nii", affine, array, sform=0, pixdim=thin, srow=np.zeros(12)))
    np.testing.assert_allclose(by_qform.affine_mm, affine, atol=1e-5)
    flat = affine.copy()
    flat[:3, 2] = 0
    by_sform = volume_header(write(tmp_path / "s.nii", affine, array, qform=0, pixdim=thin, srow=flat[:3].ravel()))
    np.testing.assert_allclose(by_sform.affine_mm, affine, atol=1e-5)
    for header in (by_qform, by_sform):
        assert any("thickness of the single slice" in note for note in header.notes)
    thick = write(tmp_path / "t.nii", affine, sform=0, pixdim=thin, srow=np.zeros(12))
    with pytest.raises(UnreadableSceneError, match="singular"):
        volume_header(thick)


@LAWS
@given(st.floats(-4e-5, 4e-5), st.floats(-4e-5, 4e-5), st.booleans())
def test_two_headers_of_one_grid_are_turned_alike_however_they_were_rounded(tmp_path, first, second, stored_otherwise):
    sizes = (1.0, 1.0, 3.0)
    image = write(tmp_path / "image.nii", turned(sizes, (np.radians(45 + first), 0, 0)))
    mask = write(tmp_path / "mask.nii", turned(sizes, (np.radians(45 + second), 0, 0)))
    if stored_otherwise:
        other = nib.load(mask).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
        mask = tmp_path / "other.nii"
        nib.save(other, mask)
    scene = describe_volume("v", image, "SAR", None, tmp_path)
    beside = describe_volume("v", mask, "SAR", None, tmp_path, like=scene)
    assert beside.codes == scene.codes
    assert apart_voxels(beside, scene) < 0.001
    with scene.open() as one, beside.open() as two:
        whole = Box.of_shape(scene.frame.native_shape)
        np.testing.assert_array_equal(one.native(whole)[0], two.native(whole)[0])


def test_a_mask_rounded_by_another_program_is_compared_and_analysed_on_its_grid(tmp_path):
    sizes = (1.0, 1.0, 3.0)
    labels = ball(7.0, turned(sizes))
    image, mask = (
        write(tmp_path / f"{name}.nii", turned(sizes, (np.radians(45 + off), 0, 0)), labels)
        for name, off in (("image", 4e-6), ("mask", -4e-6))
    )
    assert volume_header(image).nearest_axes != volume_header(mask).nearest_axes
    table = tmp_path / "t.json"
    ended = CliRunner().invoke(app, ["evaluate", str(mask), str(image), "--json", str(table)])
    assert ended.exit_code == 0, ended.output
    assert '"dice": { "value": 1.0 }' in " ".join(table.read_text().split())
    ended = CliRunner().invoke(
        app, ["analyse", "tumour", str(mask), "--image", str(image), "--out", str(tmp_path / "out")]
    )
    assert ended.exit_code == 0, ended.output


def test_another_grid_is_turned_by_itself(tmp_path):
    scene = describe_volume("v", write(tmp_path / "a.nii", turned((1, 1, 3))), "SAR", None, tmp_path)
    shifted = write(tmp_path / "b.nii", turned((1, 1, 3), (np.radians(30), 0, 0)))
    alone = describe_volume("v", shifted, "SAR", None, tmp_path)
    assert describe_volume("v", shifted, "SAR", None, tmp_path, like=scene) == alone


@pytest.mark.parametrize("row", [(0.0,) * 4, (float("nan"),) * 4])
def test_an_sform_without_three_axes_is_refused_by_name_whatever_the_qform_says(tmp_path, row):
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([1.0, 1, 2, 1]))
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 1)
    path = tmp_path / "v.nii"
    image.to_filename(path)
    with path.open("r+b") as file:
        file.seek(312)
        file.write(np.array(row, "<f4").tobytes())
    with pytest.raises(UnreadableSceneError, match="singular or not finite"):
        volume_header(path)


@pytest.mark.parametrize(("factor", "told"), [(1000, "unusual"), (1e-3, "unusual"), (1e6, None), (1e-6, None)])
def test_sizes_that_few_voxels_have_are_said_wherever_a_volume_is_read(tmp_path, factor, told):
    path = tmp_path / "v.nii"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([factor, factor, 2.0 * factor, 1])), path)
    if told is None:
        with pytest.raises(UnreadableSceneError, match="are not believed"):
            volume_header(path)
    else:
        assert told in volume_header(path).notes[0]


@pytest.mark.parametrize(
    ("start", "told"),
    [(b"BZh9", "bzip2 archive, not NIfTI; unpack"), (b"ObjectType = Image", "MetaImage"), (b"\0" * 9, "pair")],
)
def test_files_of_other_formats_are_named(tmp_path, start, told):
    (tmp_path / "v.hdr").write_bytes(b"")
    path = tmp_path / ("v.img" if told == "pair" else "v.nii.gz")
    path.write_bytes(start.ljust(600, b"\0"))
    with pytest.raises(UnsupportedSceneError, match=told):
        volume_header(path)
