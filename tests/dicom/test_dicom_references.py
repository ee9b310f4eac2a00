"""RTSTRUCT and SEG as references: holes, islands, keyholes, odd contours, and the grids they lie on."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicoms import ramp, rotated, write_series, write_structures
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, contains_xy

from flows.commands.evaluate import Choices, evaluate_pairs
from tasks.dicom.contours import area_of, filled
from tasks.dicom.reader import Reader
from tasks.dicom.references import write_reference
from tasks.dicom.scan import scan
from tasks.errors import GridError, SceneError, UnreadableSceneError, UnsupportedSceneError
from tasks.pairs.reading import Reading, list_pairs

DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[2] / ".." / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the sample data is not here: set SWATHE_SAMPLES")
ONE, STS = DATA / "medical-tumour" / "ibsi-1-ct-phantom", DATA / "medical-tumour" / "ibsi-sts"
SEG = DATA / "dicom-seg"
SHAPE = (12, 16, 20)


def series_in(folder):
    with Reader() as reader:
        (found,) = scan(folder, reader).found
    return found.series


def laid_on(series, source, tmp_path, wanted=None):
    slices, rows, cols = series.shape
    made = write_reference(source, (cols, rows, slices), series.affine_mm, tmp_path / "labels.nii", wanted)
    return made, series.slices_of(np.asarray(nib.load(made.path).dataobj))


def ring(row: float, col: float, half: float) -> np.ndarray:
    return np.array(
        [(row - half, col - half), (row - half, col + half), (row + half, col + half), (row + half, col - half)]
    )


@pytest.fixture(scope="module")
def oblique(tmp_path_factory):
    """A stack that is turned, with pixels that are not square."""
    folder = tmp_path_factory.mktemp("oblique")
    options = {"orientation": rotated((15, -20, 30)), "spacing": (0.8, 1.3), "gap": 3.0, "SliceThickness": 3.0}
    write_series(folder, ramp(*SHAPE), **options)
    return series_in(folder)


# Filling.


@settings(max_examples=60)
@given(
    centre=st.tuples(st.floats(-3, 18), st.floats(-3, 24)),
    radii=st.lists(st.floats(0.3, 12), min_size=3, max_size=12),
    turn=st.floats(0, 6),
)
def test_a_pixel_belongs_to_the_contour_that_holds_its_centre(centre, radii, turn):
    angles = turn + np.arange(len(radii)) * 2 * np.pi / len(radii)
    contour = np.array(centre) + np.array(radii)[:, None] * np.column_stack([np.sin(angles), np.cos(angles)])
    rows, cols = np.mgrid[:16, :20]
    polygon = Polygon(contour)
    expected = contains_xy(polygon, rows.ravel(), cols.ravel()).reshape(rows.shape)
    off_edge = ~contains_xy(polygon.boundary.buffer(1e-6), rows.ravel(), cols.ravel()).reshape(rows.shape)
    found = filled([contour], 16, 20)
    assert (found == expected)[off_edge].all()
    assert (filled([contour[::-1]], 16, 20) == found)[off_edge].all()
    assert area_of(contour) == pytest.approx(polygon.area)


@settings(max_examples=30)
@given(cut=st.integers(1, 14), low=st.integers(0, 5), high=st.integers(7, 15))
def test_contours_with_a_common_edge_through_pixel_centres_share_no_pixel(cut, low, high):
    left = np.array([(low, 0), (low, cut), (high, cut), (high, 0)], float)
    right = np.array([(low, cut), (low, 15), (high, 15), (high, cut)], float)
    whole = np.array([(low, 0), (low, 15), (high, 15), (high, 0)], float)
    one, other = filled([left], 16, 16), filled([right], 16, 16)
    assert not (one & other).any()
    np.testing.assert_array_equal(one | other, filled([whole], 16, 16))


def test_outlines_of_masks_along_pixel_edges_fill_to_the_same_masks():
    rng = np.random.default_rng(5)
    mask = rng.random((14, 17)) > 0.5
    # Each pixel by itself: what is common to two of them cancels.
    contours = [ring(row, col, 0.5) for row, col in zip(*np.nonzero(mask), strict=True)]
    np.testing.assert_array_equal(filled(contours, 14, 17), mask)


# RTSTRUCT.


def test_holes_islands_and_keyholes(oblique, tmp_path):
    keyhole = np.concatenate([ring(8, 9, 5.5), ring(8, 9, 5.5)[:1], ring(8, 9, 2.5)[::-1], ring(8, 9, 2.5)[-1:]])
    drawn = {
        "nested": [(3, ring(8, 9, 6.5)), (3, ring(8, 9, 4.5)), (3, ring(8, 9, 1.5))],
        "keyhole": [(5, keyhole)],
    }
    made, labels = laid_on(oblique, write_structures(tmp_path / "rs.dcm", oblique, drawn), tmp_path)
    square = [int(2 * half) ** 2 for half in (6.5, 4.5, 1.5, 5.5, 2.5)]
    assert [each.n_voxels for each in made.structures] == [square[0] - square[1] + square[2], square[3] - square[4]]
    assert [each.name for each in made.structures] == ["nested", "keyhole"]
    assert labels[3, 8, 9] == 1
    assert labels[3, 8, 12] == 0
    assert labels[3, 8, 15] == 1
    assert labels[5, 8, 9] == 0
    assert labels[5, 8, 13] == 2
    assert set(np.nonzero(labels)[0]) == {3, 5}
    assert made.notes == ()


def test_odd_contours_are_named(oblique, tmp_path):
    drawn = {
        "odd": [
            (0, ring(3, 3, 1.5)),
            (1, ring(3, 3, 1.5)[:2]),
            (2, ring(3, 3, 1.5)[:1]),
            (3, ring(5.5, 5.5, 0.2)),
            (4, ring(-40, 5, 3.0)),
            (5, ring(0, 0, 2.5)),
            (6, np.array([(2.0, 2.5), (7.0, 2.5), (4.0, 2.5)])),
            (40, ring(3, 3, 1.5)),
        ]
    }
    made, labels = laid_on(oblique, write_structures(tmp_path / "rs.dcm", oblique, drawn), tmp_path)
    assert labels[0].sum() == 9
    assert labels[5].sum() == 9
    assert set(np.nonzero(labels)[0]) == {0, 5}
    notes = " | ".join(made.notes)
    for told in (
        "2 contour(s) of one or two points", "1 contour(s) of less than a pixel", "1 contour(s) lie outside",
        "1 contour(s) reach beyond", "1 contour(s) of no area", "1 plane(s) lie above or below",
    ):  # fmt: skip
        assert told in notes, (told, notes)


def test_a_contour_smaller_than_a_pixel_erases_nothing(oblique, tmp_path):
    drawn = {"both": [(2, ring(8, 9, 3.5)), (2, ring(8.5, 9.5, 0.2))]}
    _, labels = laid_on(oblique, write_structures(tmp_path / "rs.dcm", oblique, drawn), tmp_path)
    assert labels[2].sum() == 49


def test_contours_of_another_series_are_refused(oblique, tmp_path):
    source = write_structures(tmp_path / "rs.dcm", oblique, {"a": [(2, ring(8, 9, 3.5)), (2.4, ring(8, 9, 1.5))]})
    with pytest.raises(GridError, match="thinner slices"):
        laid_on(oblique, source, tmp_path)
    write_series(tmp_path / "in", ramp(*SHAPE), gap=3.0)
    with pytest.raises(GridError, match="another series"):
        laid_on(series_in(tmp_path / "in"), source, tmp_path)


def test_structures_that_overlap_are_one_class_or_none(oblique, tmp_path):
    drawn = {"GTV one": [(2, ring(8, 9, 3.5))], "GTV two": [(2, ring(10, 9, 3.5))], "cord": [(4, ring(8, 9, 1.5))]}
    source = write_structures(tmp_path / "rs.dcm", oblique, drawn)
    with pytest.raises(UnsupportedSceneError, match="overlap in 35 voxels"):
        laid_on(oblique, source, tmp_path)
    made, labels = laid_on(oblique, source, tmp_path, "^GTV")
    assert [(each.number, each.class_number, each.n_voxels) for each in made.structures] == [(1, 1, 49), (2, 1, 49)]
    assert labels.sum() == 63
    with pytest.raises(UnsupportedSceneError, match="none of 3 structures"):
        laid_on(oblique, source, tmp_path, "heart")


@needs_data
@pytest.mark.parametrize(
    ("source", "images", "reference"),
    [
        (ONE / "dicom/mask/DCM_RS_00060.dcm", ONE / "dicom/image", ONE / "nifti/mask/mask.nii.gz"),
        (STS / "STS_002/CT/mask/RS.dcm", STS / "STS_002/CT/image", STS / "STS_002/CT_mask.nii.gz"),
        (STS / "STS_002/MR_T1/mask/RS.dcm", STS / "STS_002/MR_T1/image", STS / "STS_002/MR_T1_mask.nii.gz"),
        (STS / "STS_008/CT/mask/RS.dcm", STS / "STS_008/CT/image", STS / "STS_008/CT_mask.nii.gz"),
    ],
    ids=["ibsi", "sts-2-ct", "sts-2-mr", "sts-8-ct"],
)
def test_real_contours_fill_to_their_published_masks(source, images, reference, tmp_path):
    made, _ = laid_on(series_in(images), source, tmp_path)
    ours = nib.as_closest_canonical(nib.load(made.path))
    theirs = nib.as_closest_canonical(nib.load(reference))
    np.testing.assert_array_equal(np.asarray(ours.dataobj) > 0, np.asarray(theirs.dataobj) > 0)
    if source.is_relative_to(ONE):
        volume = made.structures[0].n_voxels * abs(np.linalg.det(ours.affine[:3, :3]))
        # The polygons' own volume.
        assert volume == pytest.approx(358_661, rel=5e-4)


# SEG.


@needs_data
def test_segments_have_the_voxels_that_are_known_of_them(tmp_path):
    import SimpleITK

    series = series_in(SEG / "dcmqi-ct-3slice" / "ct-3slice")
    made, labels = laid_on(series, SEG / "dcmqi-ct-3slice" / "liver.dcm", tmp_path)
    assert [each.n_voxels for each in made.structures] == [107_098]
    known = SimpleITK.ReadImage(SEG / "dcmqi-ct-3slice" / "liver_seg.nrrd")
    np.testing.assert_array_equal(labels, SimpleITK.GetArrayFromImage(known))
    with pytest.raises(UnsupportedSceneError, match="overlap"):
        laid_on(series, SEG / "dcmqi-ct-3slice" / "partial_overlaps.dcm", tmp_path)
    overlapping, _ = laid_on(series, SEG / "dcmqi-ct-3slice" / "partial_overlaps.dcm", tmp_path, ".")
    assert sum(each.n_voxels for each in overlapping.structures) == 43_639
    (mask,) = (SEG / "qin-headneck" / "mask").glob("*.dcm")
    many, _ = laid_on(series_in(SEG / "qin-headneck" / "image"), mask, tmp_path)
    assert [each.n_voxels for each in many.structures] == [1697, 113, 457, 4230, 211, 375, 922, 950, 222, 43, 62]


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_segments_that_another_library_writes_are_read_voxel_for_voxel(kind, oblique, tmp_path):
    import highdicom as hd
    from pydicom import dcmread
    from pydicom.sr.codedict import codes

    mask = np.random.default_rng(4).random(SHAPE) > 0.7
    mask[4] = False
    algorithm = hd.AlgorithmIdentificationSequence("made", codes.DCM.ArtificialIntelligence, "1")
    segment = hd.seg.SegmentDescription(
        1, "blob", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion, "AUTOMATIC", algorithm
    )
    kinds = {"segmentation_type": kind, **({"fractional_type": "PROBABILITY"} if kind == "FRACTIONAL" else {})}
    values = mask.astype(np.float32) if kind == "FRACTIONAL" else mask.astype(np.uint8)
    made = hd.seg.Segmentation(
        [dcmread(path) for path in oblique.paths], hd.Volume.from_components(
            values[...], spacing=oblique.geometry().spacing, coordinate_system="PATIENT",
            direction=oblique.geometry().direction, position=oblique.geometry().position,
            frame_of_reference_uid=oblique.frame_of_reference_uid,
        ),
        **kinds, segment_descriptions=[segment], series_instance_uid="2.25.55", series_number=9,
        sop_instance_uid="2.25.56", instance_number=1, manufacturer="m", manufacturer_model_name="n",
        software_versions="1", device_serial_number="2",
    )  # fmt: skip
    made.save_as(tmp_path / "seg.dcm")
    found, labels = laid_on(oblique, tmp_path / "seg.dcm", tmp_path)
    np.testing.assert_array_equal(labels, mask)
    assert found.structures[0].name == "blob"
    half = oblique.affine_mm.copy()
    half[:3, 3] += 0.5
    with pytest.raises(GridError, match="another grid"):
        write_reference(tmp_path / "seg.dcm", (20, 16, 12), half, tmp_path / "x.nii", None)


# Evaluation.


def test_a_mask_is_compared_with_contours(oblique, tmp_path):
    drawn = {"GTV": [(3, ring(8, 9, 4.5))], "note to self": [(7, ring(8, 9, 2.5))]}
    source = write_structures(tmp_path / "rs.dcm", oblique, drawn)
    mask = np.zeros(SHAPE, np.uint8)
    mask[3, 4:13, 5:14] = 1
    mask[3, 4, 5] = 0
    nib.save(nib.Nifti1Image(oblique.array_of(mask), oblique.affine_mm), tmp_path / "mask.nii.gz")
    pairs = list_pairs(tmp_path / "mask.nii.gz", source)
    report = evaluate_pairs(pairs, Reading(structures="^GTV$"), Choices(None, None, 0, None))
    assert report.failures == ()
    (evaluation,) = report.evaluations
    assert "GTV is class 1" in evaluation.notes
    (scores,) = [each for each in evaluation.classes if each.label == 1]
    assert scores.scores["dice"].value == pytest.approx(2 * 80 / 161)


@pytest.mark.parametrize("content", [b"", b"no DICOM at all", bytes(128) + b"DICM" + b"\xff" * 300])
def test_a_damaged_reference_is_named(content, tmp_path):
    (tmp_path / "rs.dcm").write_bytes(content)
    with pytest.raises((UnreadableSceneError, UnsupportedSceneError)) as caught:
        write_reference(tmp_path / "rs.dcm", (4, 4, 4), np.eye(4), tmp_path / "x.nii", None)
    assert isinstance(caught.value, SceneError)
    assert str(tmp_path) not in str(caught.value)
