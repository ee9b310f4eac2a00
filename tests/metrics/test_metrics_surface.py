"""Distances between surfaces: published cases, the libraries' numbers, and laws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masks import blobs, cut_slabs, mask_pairs
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from monai.metrics.utils import get_code_to_measure_table
from scipy.ndimage import binary_erosion, distance_transform_edt

from tasks.answers.metrics.boundary import boundaries
from tasks.answers.metrics.pair import pair_of
from tasks.answers.metrics.surface import Tolerance, element_distances, surface_scores
from tasks.answers.metrics.surface_area import element_sizes

MM = Tolerance(1.0, "mm")
monai = pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")


def scores(predicted, reference, spacing, tolerance=MM, observed=None):
    pair = pair_of(predicted, reference, observed, {"mm": spacing})
    return {key: score.value for key, score in surface_scores(pair, 1, tolerance).items()}


def voxels(shape, *slices):
    mask = np.zeros(shape, np.uint8)
    for where in slices:
        mask[where] = 1
    return mask


def overlaps(predicted, reference, spacing):
    """Shares of the reference's and the prediction's surface within 1 mm, as surface-distance returns them."""
    found = element_distances(*boundaries(pair_of(predicted, reference), 1), spacing)
    pairs = ((found.reference, found.reference_sizes), (found.predicted, found.predicted_sizes))
    return tuple(sizes[distances <= 1].sum() / sizes.sum() for distances, sizes in pairs)


@settings(max_examples=30)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=3))
def test_elements_have_the_sizes_of_the_published_tables(spacing):
    table, _ = get_code_to_measure_table(spacing)
    np.testing.assert_allclose(element_sizes(tuple(spacing)), table.numpy(), rtol=1e-6)


# The cases of surface-distance's own tests, with the numbers that they expect.
def test_published_two_pixels_in_a_plane():
    reference, predicted = voxels((128, 128), (50, 70)), voxels((128, 128), (50, 72))
    found = element_distances(*boundaries(pair_of(predicted, reference), 1), (2.0, 1.0))
    diagonal = math.hypot(2, 1) / 2
    for distances, sizes in ((found.predicted, found.predicted_sizes), (found.reference, found.reference_sizes)):
        np.testing.assert_array_equal(distances, [1, 1, 2, 2])
        np.testing.assert_array_equal(sizes, [diagonal] * 4)
    result = scores(predicted, reference, (2.0, 1.0))
    assert result["asd_mm[surface-distance, reference to predicted]"] == pytest.approx(1.5)
    assert result["asd_mm[surface-distance, predicted to reference]"] == pytest.approx(1.5)
    assert result["hd95_mm[surface-distance]"] == 2.0
    assert result["nsd[surface-distance, 1 mm]"] == pytest.approx(0.5)
    assert overlaps(predicted, reference, (2.0, 1.0)) == pytest.approx((0.5, 0.5))


def test_published_two_squares_shifted_by_a_pixel():
    reference, predicted = voxels((6, 6), np.s_[1:3, 1:3]), voxels((6, 6), np.s_[1:4, 1:3])
    found = element_distances(*boundaries(pair_of(predicted, reference), 1), (2.0, 1.0))
    down, across, slant = 2.0, 1.0, math.hypot(2, 1) / 2
    forth = sorted(
        zip(
            [0] * 5 + [down] * 3 + [0] * 2,
            [slant, across, slant, down, down, slant, across, slant, down, down],
            strict=True,
        )
    )
    back = sorted(
        zip([0] * 5 + [across] + [0] * 2, [slant, across, slant, down, slant, across, slant, down], strict=True)
    )
    np.testing.assert_array_equal(np.transpose([found.predicted, found.predicted_sizes]), forth)
    np.testing.assert_array_equal(np.transpose([found.reference, found.reference_sizes]), back)


def test_published_two_voxels():
    reference, predicted = voxels((128, 128, 128), (50, 60, 70)), voxels((128, 128, 128), (50, 60, 72))
    result = scores(predicted, reference, (3.0, 2.0, 1.0))
    assert result["asd_mm[surface-distance, reference to predicted]"] == pytest.approx(1.5)
    assert result["hd95_mm[surface-distance]"] == 2.0
    assert result["nsd[surface-distance, 1 mm]"] == pytest.approx(0.5)
    assert overlaps(predicted, reference, (3.0, 2.0, 1.0)) == pytest.approx((0.5, 0.5))


def test_published_two_cubes_shifted_by_a_voxel():
    reference, predicted = voxels((100, 100, 100), np.s_[0:50]), voxels((100, 100, 100), np.s_[0:51])
    result = scores(predicted, reference, (2.0, 1.0, 1.0))
    assert result["asd_mm[surface-distance, reference to predicted]"] == pytest.approx(0.322, abs=5e-4)
    assert result["asd_mm[surface-distance, predicted to reference]"] == pytest.approx(0.339, abs=5e-4)
    assert result["hd95_mm[surface-distance]"] == 2.0
    assert result["nsd[surface-distance, 1 mm]"] == pytest.approx(0.836, abs=5e-4)
    assert overlaps(predicted, reference, (2.0, 1.0, 1.0)) == pytest.approx((0.842, 0.830), abs=5e-4)


@pytest.mark.parametrize("shape", [(32, 32), (16, 16, 16)])
def test_an_empty_mask_has_no_distance_and_agrees_nowhere(shape):
    some, none = voxels(shape, (5,) * len(shape)), voxels(shape)
    for predicted, reference in ((some, none), (none, some)):
        pair = pair_of(predicted, reference, None, {"mm": (3.0, 2.0, 1.0)[: len(shape)]})
        found = surface_scores(pair, 1, MM)
        assert {found[key].value for key in found if key.startswith(("hd95", "asd", "assd"))} == {None}
        assert {found[key].value for key in found if key.startswith(("nsd", "boundary_f1"))} == {0.0}
        assert all(score.reason for score in found.values() if score.value is None)
    assert set(scores(none, none, (1.0,) * len(shape)).values()) == {None}


@monai
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("shape", "spacing"), [((33, 41), (2.0, 0.7)), ((14, 17, 19), (3.0, 1.0, 0.6))])
def test_numbers_are_those_of_monai(shape, spacing, seed):
    predicted, reference = blobs(shape, seed), blobs(shape, seed + 100)
    ours, theirs = (torch.from_numpy(mask)[None, None].float() for mask in (predicted, reference))
    found = scores(predicted, reference, spacing, Tolerance(1.5, "mm"))
    shared = {"include_background": True, "spacing": spacing}
    expected = {
        "hd95_mm[monai]": compute_hausdorff_distance(ours, theirs, percentile=95, **shared),
        "assd_mm[monai]": compute_average_surface_distance(ours, theirs, symmetric=True, **shared),
        "nsd[monai, 1.5 mm]": compute_surface_dice(ours, theirs, [1.5], **shared),
        "nsd[surface-distance, 1.5 mm]": compute_surface_dice(ours, theirs, [1.5], use_subvoxels=True, **shared),
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value), rel=1e-5), key


@pytest.mark.parametrize(("shape", "spacing"), [((30, 30), (1.0, 0.3)), ((12, 14, 16), (2.5, 1.0, 1.0))])
def test_numbers_are_those_of_medpy_and_panoptica(shape, spacing):
    """Erosion, distance transform, percentile of the union (medpy 0.5), means of directions (panoptica 2.1)."""
    predicted, reference = blobs(shape, 1).astype(bool), blobs(shape, 2).astype(bool)
    edges = [mask & ~binary_erosion(mask) for mask in (predicted, reference)]
    forth = distance_transform_edt(~edges[1], sampling=spacing)[edges[0]]
    back = distance_transform_edt(~edges[0], sampling=spacing)[edges[1]]
    found = scores(predicted.astype(np.uint8), reference.astype(np.uint8), spacing)
    near = [float(np.mean(distances <= 1)) for distances in (forth, back)]
    assert found["hd95_mm[medpy]"] == pytest.approx(np.percentile(np.hstack([forth, back]), 95))
    assert found["assd_mm[panoptica]"] == pytest.approx((forth.mean() + back.mean()) / 2)
    assert found["nsd[panoptica, 1 mm]"] == pytest.approx(np.mean(near))
    assert found["boundary_precision[1 mm]"] == pytest.approx(near[0])
    assert found["boundary_recall[1 mm]"] == pytest.approx(near[1])
    assert found["boundary_f1[1 mm]"] == pytest.approx(2 * near[0] * near[1] / sum(near))


@settings(max_examples=50)
@given(mask_pairs(), st.sampled_from([0.3, 1.0, 2.5]), st.integers(1, 60))
def test_laws_of_surfaces(pair, depth_mm, pixels):
    """Symmetric, bounded, perfect for a mask with itself, and the same however the masks are cut."""
    one, other = pair
    spacing = (depth_mm, *(1.0 for _ in one.shape[1:]))
    there, back = scores(one, other, spacing), scores(other, one, spacing)
    symmetric = [key for key in there if not key.startswith("asd") and "precision" not in key and "recall" not in key]
    assert {key: there[key] for key in symmetric} == pytest.approx({key: back[key] for key in symmetric})
    assert there["boundary_precision[1 mm]"] == back["boundary_recall[1 mm]"]
    longest = math.hypot(*(size * length for size, length in zip(spacing, one.shape, strict=True)))
    assert all(value is None or 0 <= value <= (longest if "_mm[" in key else 1) for key, value in there.items())
    itself = scores(one, one, spacing)
    assert all(value in (None, 0.0 if "_mm[" in key else 1.0) for key, value in itself.items())
    with pytest.MonkeyPatch.context() as patch:
        cut_slabs(patch, pixels)
        assert scores(one, other, spacing) == there


@pytest.mark.parametrize("shift", [1, 2, 5])
def test_a_plane_moved_by_so_much_is_so_far_away(shift):
    reference, predicted = voxels((40, 400), np.s_[:20]), voxels((40, 400), np.s_[: 20 + shift])
    found = scores(predicted, reference, (2.0, 1.0), Tolerance(2.0 * shift, "mm"))
    assert found["hd95_mm[monai]"] == found["hd95_mm[medpy]"] == found["hd95_mm[surface-distance]"] == 2.0 * shift
    assert found[f"boundary_f1[{2 * shift} mm]"] == 1.0


def test_a_hole_in_what_was_observed_has_no_boundary():
    reference = voxels((30, 30), np.s_[5:25, 5:25])
    observed = np.ones((30, 30), bool)
    observed[10:15, 10:15] = False
    predicted = reference.copy()
    predicted[10:15, 10:15] = 0
    blind, whole = (scores(p, reference, (1.0, 1.0), MM, o) for p, o in ((predicted, observed), (reference, None)))
    assert blind == whole
    found = boundaries(pair_of(predicted, reference, observed), 1)
    clear = boundaries(pair_of(reference, reference), 1)
    assert found[0].edge.shape == found[1].edge.shape == clear[0].edge.shape
    assert found[0].elements.codes.size == found[1].elements.codes.size == clear[0].elements.codes.size


def test_where_all_of_a_boundary_is_hidden_there_is_no_number():
    mask = voxels((5, 5), (2, 2))
    observed = np.ones((5, 5), bool)
    observed[1:4, 1:4] = False
    found = surface_scores(pair_of(mask, mask, observed, {"mm": (1.0, 1.0)}), 1, MM)
    assert {score.value for score in found.values()} == {None}


def test_more_points_than_fit_are_refused_by_name():
    mask = blobs((40, 40), 3)
    found = surface_scores(pair_of(mask, mask), 1, Tolerance(1.0, "px"), most_points=10)
    assert found
    assert {(score.value, score.reason) for score in found.values()} == {(None, "a boundary has more than 10 points")}


def test_a_tolerance_in_a_unit_that_the_masks_lack_has_no_number():
    mask = blobs((20, 20), 4)
    found = surface_scores(pair_of(mask, mask), 1, Tolerance(10.0, "m"))
    assert found["hd95_px[monai]"].value == 0.0
    assert found["boundary_f1[10 m]"].value is None
    assert "no pixel size in m" in found["boundary_f1[10 m]"].reason
