from __future__ import annotations

import gzip
import itertools
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import ProductError
from tasks.products import nifti
from tasks.products.nifti import GEOMETRY_FIELDS, write_nifti
from tasks.scenes.volume.scene import describe_volume

LAWS = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[2] / ".." / "shared" / "data"))
CODES = ["".join(codes) for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)]


def affine_of(codes, tilt=0.0):
    affine = np.zeros((4, 4))
    for axis, (world, sign) in enumerate(nib.orientations.axcodes2ornt(codes)):
        affine[int(world), axis] = sign * (0.9, 1.1, 3.3)[axis]
    c, s = np.cos(tilt), np.sin(tilt)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine[:3, :3] = rotation @ affine[:3, :3]
    affine[:, 3] = (-40.3, 12.7, 99.1, 1.0)
    return affine


def image_of(array, affine, kind=nib.Nifti1Image, order="<"):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype.newbyteorder(order))
    image = kind(array, affine, header)
    image.header.set_xyzt_units("mm", "sec")
    return image


def scene_of(path, tmp_path, codes="SAR"):
    return describe_volume("scene", path, codes, None, tmp_path / "spool")


def labels_of(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def assert_same_geometry(one, other):
    first, second = nib.load(one).header, nib.load(other).header
    assert type(first) is type(second)
    assert first.endianness == second.endianness
    for name in GEOMETRY_FIELDS:
        assert first[name].tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("codes", CODES)
def test_the_mask_comes_back_in_file_order_for_every_axis_order(tmp_path, codes):
    shape = (4, 3, 5)
    source, product = tmp_path / "v.nii.gz", tmp_path / "mask.nii.gz"
    nib.save(image_of(labels_of(shape).astype(np.float32), affine_of(codes, 0.3)), source)
    scene = scene_of(source, tmp_path)
    labels = labels_of(shape)
    write_nifti(np.ascontiguousarray(scene.turn.turn(labels)), "uint8", scene, product)
    np.testing.assert_array_equal(np.asanyarray(nib.load(product).dataobj), labels)
    assert_same_geometry(source, product)


@LAWS
@given(
    st.sampled_from(CODES),
    st.floats(-0.7, 0.7),
    st.sampled_from([0, 1, 2, 3, 4]),
    st.sampled_from([0, 1, 2, 3, 4]),
    st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    st.sampled_from("<>"),
)
def test_sform_and_qform_that_differ_are_kept_bit_for_bit(tmp_path, codes, tilt, s_code, q_code, kind, order):
    image = image_of(labels_of((3, 4, 5)).astype(np.int16), affine_of(codes, tilt), kind, order)
    image.header.set_qform(affine_of("LPS", -tilt), q_code)
    image.header["sform_code"] = s_code
    source, product = tmp_path / "v.nii", tmp_path / "mask.nii.gz"
    image.to_filename(source)
    scene = scene_of(source, tmp_path)
    write_nifti(labels_of(scene.frame.native_shape), "uint8", scene, product)
    assert_same_geometry(source, product)


@pytest.mark.parametrize("order", ["<", ">"])
def test_more_than_255_classes_are_kept_in_sixteen_bits(tmp_path, order):
    source, product = tmp_path / "v.nii", tmp_path / "mask.nii.gz"
    nib.save(image_of(np.zeros((3, 4, 5), np.float32), affine_of("LPI"), order=order), source)
    scene = scene_of(source, tmp_path)
    labels = (labels_of((3, 4, 5)).astype(np.uint16) * 257).astype(np.uint16)
    write_nifti(scene.turn.turn(labels), "uint16", scene, product)
    read = nib.load(product)
    assert read.get_data_dtype() == np.dtype(np.uint16).newbyteorder(order)
    np.testing.assert_array_equal(np.asanyarray(read.dataobj), labels)


def test_the_input_s_scaling_does_not_reach_the_mask(tmp_path):
    source, product = tmp_path / "v.nii", tmp_path / "mask.nii.gz"
    image = image_of(np.arange(60, dtype=np.float64).reshape(3, 4, 5), affine_of("RAS"))
    image.header.set_data_dtype(np.int16)
    nib.save(image, source)
    assert nib.load(source).dataobj.slope != 1.0
    scene = scene_of(source, tmp_path)
    write_nifti(labels_of(scene.frame.native_shape), "uint8", scene, product)
    header = nib.load(product).header
    raw = gzip.decompress(product.read_bytes())
    assert (np.frombuffer(raw[112:120], "<f4") == [1.0, 0.0]).all()
    assert (float(header["cal_max"]), float(header["cal_min"])) == (0.0, 0.0)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_nothing_that_names_a_patient_is_carried_over(tmp_path, kind):
    image = image_of(np.zeros((3, 4, 5), np.float32), affine_of("RAS"), kind)
    for name in ("descrip", "aux_file", "db_name", "intent_name", "data_type"):
        if name in image.header:
            image.header[name] = b"DOE^JANE"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"DOE^JANE 1956-04-01"))
    source, product = tmp_path / "v.nii", tmp_path / "mask.nii.gz"
    nib.save(image, source)
    assert b"DOE" in source.read_bytes()
    scene = scene_of(source, tmp_path)
    write_nifti(labels_of(scene.frame.native_shape), "uint8", scene, product)
    assert b"DOE" not in gzip.decompress(product.read_bytes())
    assert_same_geometry(source, product)


def test_the_same_labels_give_the_same_bytes_however_they_are_read(tmp_path, monkeypatch):
    source = tmp_path / "v.nii.gz"
    nib.save(image_of(np.zeros((6, 7, 8), np.float32), affine_of("PIR")), source)
    scene = scene_of(source, tmp_path)
    labels = labels_of(scene.frame.native_shape)
    write_nifti(labels, "uint8", scene, tmp_path / "a.nii.gz")
    monkeypatch.setattr(nifti, "_SLAB_VOXELS", 100)
    write_nifti(lambda box: labels[box.slices], "uint8", scene, tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_labels_on_another_grid_are_refused(tmp_path):
    source = tmp_path / "v.nii"
    nib.save(image_of(np.zeros((3, 4, 5), np.float32), affine_of("RAS")), source)
    with pytest.raises(ProductError, match="grid"):
        write_nifti(labels_of((3, 4, 5)), "uint8", scene_of(source, tmp_path), tmp_path / "mask.nii.gz")


def test_a_mask_that_does_not_read_back_is_not_published(tmp_path, monkeypatch):
    source, product = tmp_path / "v.nii", tmp_path / "mask.nii.gz"
    nib.save(image_of(np.zeros((3, 4, 5), np.float32), affine_of("RAS")), source)
    scene = scene_of(source, tmp_path)
    monkeypatch.setattr(nifti, "_checksum", lambda path: -1)
    with pytest.raises(ProductError, match="read back"):
        write_nifti(labels_of(scene.frame.native_shape), "uint8", scene, product)
    assert not product.exists()


def test_masks_of_real_volumes_lie_on_their_grid(tmp_path):
    paths = sorted((DATA / "medical-organ").rglob("*.nii.gz"))
    paths += sorted((DATA / "medical-tumour" / "ibsi-sts").rglob("*.nii.gz"))[:6]
    paths += sorted((DATA / "hostile-nifti").rglob("reoriented*.nii"))
    if not paths:
        pytest.skip("no volumes under SWATHE_SAMPLES")
    for path in paths:
        scene = scene_of(path, tmp_path)
        labels = labels_of(scene.turn.file_shape)
        write_nifti(scene.turn.turn(labels), "uint8", scene, tmp_path / "mask.nii.gz")
        assert_same_geometry(path, tmp_path / "mask.nii.gz")
        np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / "mask.nii.gz").dataobj), labels)
