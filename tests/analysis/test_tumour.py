from __future__ import annotations

import csv
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tasks.analysis.tumour.lesion_files import write_lesions_csv
from tasks.answers.tumour.components import find_components, lesions, total_ml
from tasks.answers.tumour.measure import Sources, measure
from tasks.geometry.box import Box
from tasks.jobs.tumour import TumourAnalysis
from tasks.scenes.volume.scene import describe_volume

SETTINGS = TumourAnalysis(kind="tumour")
NAMES = ["background", "tumour"]
LAWS = settings(max_examples=30)
DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[2] / ".." / "shared" / "data"))
STRUCTURES = {6: 1, 18: 2, 26: 3}
# Volumes in mm3 as counted from the published masks.
IBSI_MM3 = {"STS_002": 53295.4, "STS_003": 80123.9, "STS_008": 27636.3, "STS_012": 78783.0, "STS_025": 30109.2}


def oblique():
    affine = np.diag([0.9, 1.1, 3.0, 1.0])
    c, s = np.cos(0.4), np.sin(0.4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ affine[:3, :3]
    affine[:3, 3] = (-10.0, 20.0, 5.0)
    return affine


@LAWS
@given(st.integers(0, 99), st.sampled_from([6, 18, 26]), st.floats(0.02, 0.6), st.sampled_from([1, 7]))
def test_lesions_are_the_components_that_scipy_finds(seed, connectivity, share, label):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 12, 3))
    mask = rng.choice([0, 1, 7, 255], shape, p=[1 - share, share / 3, share / 3, share / 3]).astype(np.uint8)
    components = find_components(mask, oblique(), label, connectivity)
    found = components.lesions
    structure = ndimage.generate_binary_structure(3, STRUCTURES[connectivity])
    numbered, n = ndimage.label(mask == label, structure)
    assert len(found) == n
    expected = {}
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        where = np.argwhere(numbered == number)
        key = tuple((part.start, part.stop) for part in box), len(where)
        expected.setdefault(key, []).append(where.mean(axis=0))
    for lesion in found:
        key = tuple(zip(lesion.box.start, lesion.box.stop, strict=True)), lesion.n_voxels
        distances = [np.abs(centre - lesion.centroid_voxel).max() for centre in expected[key]]
        assert min(distances) < 1e-6
        world = oblique() @ (*lesion.centroid_voxel, 1.0)
        np.testing.assert_allclose(lesion.centroid_ras_mm, world[:3], atol=1e-9)
        assert lesion.volume_ml == pytest.approx(lesion.n_voxels * 0.9 * 1.1 * 3.0 / 1000)
        edges = [0 in pair or pair[1] == n for pair, n in zip(key[0], shape, strict=True)]
        own = np.zeros(shape, bool)
        own[lesion.box.slices] = components.part(lesion).planes(0, lesion.box.shape[0])[:, 1:-1, 1:-1]
        is_open = (ndimage.binary_dilation(own, structure) & (mask == 255)).any()
        assert lesion.touches_border == (any(edges) or is_open)
    sizes = [lesion.n_voxels for lesion in found]
    assert sizes == sorted(sizes, reverse=True)
    assert [lesion.id for lesion in found] == list(range(1, n + 1))
    assert sum(sizes) == (mask == label).sum()


@pytest.mark.parametrize("shape", [(1, 1, 7), (1, 9, 1), (5, 1, 1), (1, 7, 9), (7, 7, 7)])
@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_as_many_lesions_as_a_volume_can_hold_are_counted(shape, connectivity):
    mask = np.zeros(shape, np.uint8)
    mask[::2, ::2, ::2] = 1
    assert len(lesions(mask, np.eye(4), 1, connectivity)) == mask.sum()


@pytest.mark.parametrize("empty", [np.zeros((3, 4, 5), np.uint8), np.full((3, 4, 5), 255, np.uint8)])
def test_an_empty_mask_has_no_lesion_and_a_csv_with_a_header(tmp_path, empty):
    components = find_components(empty, np.eye(4), 1)
    assert components.lesions == []
    assert total_ml(components.lesions) == 0.0
    measured = measure(components, Sources(empty.shape), SETTINGS)
    write_lesions_csv(measured, NAMES, (), tmp_path / "lesions.csv")
    assert (tmp_path / "lesions.csv").read_text().startswith("id,label,class,n_voxels,volume_ml")
    assert (tmp_path / "lesions.csv").read_text().count("\n") == 1


def test_the_table_says_what_was_found_and_why_a_cell_is_empty(tmp_path):
    mask = np.zeros((9, 9, 9), np.uint8)
    mask[1:4, 1:4, 1:4] = 1
    mask[6:9, 6:8, 6:8] = 1
    mask[0, 8, 8] = 1
    components = find_components(mask, np.eye(4), 1)
    measured = measure(components, Sources(mask.shape), SETTINGS.model_copy(update={"measured": 2}))
    write_lesions_csv(measured, NAMES, (1,), tmp_path / "lesions.csv")
    with (tmp_path / "lesions.csv").open() as file:
        first, second, third = csv.DictReader(file)
    assert (first["class"], first["n_voxels"], first["volume_ml"]) == ("tumour", "27", "0.0270")
    assert (first["r_mm"], first["l_mm"], first["touches_border"], first["target"]) == ("2.00", "-2.00", "no", "yes")
    assert first["intensity_mean"] == first["mean_probability"] == first["volume_low_ml"] == ""
    assert "no image was given" in first["empty_because"]
    assert (second["id"], second["n_voxels"], second["touches_border"]) == ("2", "12", "yes")
    assert (third["longest_axial_mm"], third["mesh_volume_ml"]) == ("", "")
    assert "analysis.measured" in third["empty_because"]


def test_it_holds_at_most_six_bytes_per_voxel():
    shape = (96, 128, 128)
    mask = (np.random.default_rng(0).random(shape) < 0.3).astype(np.uint8)
    tracemalloc.start()
    try:
        lesions(mask, np.eye(4), 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak + mask.nbytes <= 6 * mask.size + (2 << 20)


def test_measuring_a_lesion_as_large_as_the_volume_holds_six_bytes_per_voxel_and_a_constant():
    mask = np.ones((192, 160, 160), np.uint8)
    mask[::16, ::16, ::16] = 0
    components = find_components(mask, np.eye(4), 1)

    def read(box):
        return mask[box.slices].astype(np.float32), np.ones(box.shape, bool)

    tracemalloc.start()
    try:
        measure(components, Sources(mask.shape, 0, read, lambda box: 60 * mask[box.slices]), SETTINGS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The mask is gone by then, and at most four bytes per voxel hold the numbers of the components.
    assert peak <= 2 * mask.size + (40 << 20)


def test_volumes_of_expert_masks_are_the_published_ones(tmp_path):
    folder = DATA / "medical-tumour" / "ibsi-sts"
    if not folder.is_dir():
        pytest.skip("no medical-tumour/ibsi-sts under SWATHE_SAMPLES")
    for name, volume_mm3 in IBSI_MM3.items():
        scene = describe_volume(name, folder / name / "CT_mask.nii.gz", "SAR", None, tmp_path)
        with scene.open() as reader:
            mask = reader.native(Box.of_shape(scene.frame.native_shape))[0].astype(np.uint8)
        found = lesions(mask, scene.affine_mm, 1)
        assert total_ml(found) * 1000 == pytest.approx(volume_mm3, abs=0.1)
