"""Objects matched one to one, and lesions counted as BraTS 2023 does: against slow and plain transcriptions."""

import cc3d
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masks import blobs, cut_slabs, mask_pairs
from monai.metrics import compute_panoptic_quality
from scipy.ndimage import binary_dilation, generate_binary_structure, label

from tasks.answers.metrics.boundary import boundaries
from tasks.answers.metrics.lesionwise import RULES, lesion_scores
from tasks.answers.metrics.objects import object_scores
from tasks.answers.metrics.pair import pair_of
from tasks.answers.metrics.surface import element_distances, hd95_by_area

FULL = {2: 8, 3: 26}


def scores(predicted, reference, connectivity=8, observed=None):
    found = object_scores(pair_of(predicted, reference, observed), 1, connectivity)
    return {key.split("[")[0]: score.value for key, score in found.items()}


def plain(predicted, reference):
    """All pairs of objects, whole masks."""
    neighbours = np.ones((3,) * predicted.ndim)
    (ours, n_ours), (theirs, n_theirs) = label(predicted == 1, neighbours), label(reference == 1, neighbours)
    if not n_ours and not n_theirs:
        return dict.fromkeys(("object_f1", "pq", "rq"))
    ious = np.zeros((n_ours, n_theirs))
    for i in range(n_ours):
        for j in range(n_theirs):
            one, other = ours == i + 1, theirs == j + 1
            ious[i, j] = (one & other).sum() / (one | other).sum()
    matched = ious[ious > 0.5]
    taken, n_true = set(), 0
    for row in ious:
        free = [j for j, iou in enumerate(row) if iou >= 0.5 and j not in taken]
        taken |= set(free[:1])
        n_true += bool(free)
    return {
        "object_f1": 2 * n_true / (n_ours + n_theirs),
        "pq": 2 * matched.sum() / (n_ours + n_theirs),
        "rq": 2 * matched.size / (n_ours + n_theirs),
    }


@given(mask_pairs(), st.integers(1, 60))
def test_objects_are_those_of_whole_masks_however_they_are_cut(pair, pixels):
    predicted, reference = pair
    with pytest.MonkeyPatch.context() as patch:
        cut_slabs(patch, pixels)
        found = scores(predicted, reference, FULL[predicted.ndim])
    for key, value in plain(predicted, reference).items():
        assert found[key] == (value if value is None else pytest.approx(value)), key


@pytest.mark.parametrize("seed", range(3))
def test_objects_of_smooth_shapes_are_found_over_seams(monkeypatch, seed):
    reference = blobs((60, 50), seed, 0.3)
    predicted = np.roll(reference, 1, axis=0) | blobs((60, 50), seed + 50, 0.05)
    whole = scores(predicted, reference)
    cut_slabs(monkeypatch, 100)
    assert scores(predicted, reference) == whole
    assert whole["object_f1"] == pytest.approx(plain(predicted, reference)["object_f1"])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(4))
def test_panoptic_quality_is_that_of_monai(seed):
    reference = blobs((40, 40), seed, 0.3)
    predicted = np.roll(reference, 1, axis=1)
    ours, theirs = (label(mask, np.ones((3, 3)))[0] for mask in (predicted, reference))
    expected = compute_panoptic_quality(
        torch.from_numpy(ours).int(), torch.from_numpy(theirs).int(), match_iou_threshold=0.5, smooth_numerator=0.0
    )
    assert scores(predicted, reference)["pq"] == pytest.approx(float(expected), rel=1e-5)


def test_at_one_half_an_object_is_matched_once():
    halves, whole = np.array([[1, 1, 0, 1, 1]], np.uint8), np.array([[1, 1, 1, 1, 1]], np.uint8)
    # The gap is not observed, so the two halves share the whole exactly.
    observed = halves.astype(bool)
    split = object_scores(pair_of(halves, whole, observed), 1, 8)
    assert split["object_f1[iou>=0.5, 8-connected]"].value == 1.0
    quarters = np.array([[1, 1], [0, 0], [1, 1]], np.uint8), np.array([[1, 1], [1, 1], [0, 0]], np.uint8)
    found = scores(*quarters)
    assert (found["object_f1"], found["pq"], found["sq"]) == (pytest.approx(2 / 3), 0.0, None)


def test_diagonal_neighbours_are_one_object_or_two():
    mask, empty = np.eye(2, dtype=np.uint8), np.zeros((2, 2), np.uint8)
    corner = np.array([[1, 0], [0, 0]], np.uint8)
    assert scores(corner, mask, 4)["object_recall"] == 0.5
    assert scores(corner, mask, 8)["object_recall"] == 1.0
    assert scores(empty, mask, 8) == {
        "object_f1": 0.0, "object_precision": None, "object_recall": 0.0, "pq": 0.0, "sq": None, "rq": 0.0,
    }  # fmt: skip
    assert set(scores(empty, empty).values()) == {None}


def test_more_parts_than_fit_are_refused_by_name():
    mask = np.zeros((20, 20), np.uint8)
    mask[::2, ::2] = 1
    found = object_scores(pair_of(mask, mask), 1, 8, most_parts=50)
    assert {score.value for score in found.values()} == {None}
    assert {score.reason for score in found.values()} == {"a mask falls into more than 50 parts of objects"}


def plain_lesions(predicted, reference, spacing, rules):
    """The published procedure on whole volumes: dilate, label, match, measure each lesion alone."""
    structure = generate_binary_structure(3, 2)
    parts = cc3d.connected_components(predicted, connectivity=26)
    grown = binary_dilation(reference, structure, rules.dilations)
    lesions = cc3d.connected_components(grown.astype(np.uint8), connectivity=26) * reference
    matched, rows = set(), []
    for number in range(1, int(lesions.max()) + 1):
        lesion = lesions == number
        touching = set(np.unique(parts[binary_dilation(lesion, structure, rules.dilations)])) - {0}
        matched |= touching
        ours = np.isin(parts, list(touching))
        volume = lesion.sum() * np.prod(spacing)
        both = boundaries(pair_of(ours.astype(np.uint8), lesion.astype(np.uint8)), 1)
        far = hd95_by_area(element_distances(*both, spacing)) if touching else 374.0
        rows.append((volume, bool(touching), 2 * (ours & lesion).sum() / (ours.sum() + lesion.sum()), far))
    rows = [row for row in rows if row[0] > rules.least_mm3]
    n_invented = int(parts.max()) - len(matched)
    n_found, whole = sum(row[1] for row in rows), len(rows) + n_invented
    dice = sum(row[2] for row in rows) / whole if whole else 1.0
    far = (sum(row[3] for row in rows) + 374.0 * n_invented) / whole if whole else 0.0
    return [dice, far, n_found, len(rows) - n_found, n_invented]


def lesions(predicted, reference, spacing, challenge):
    found = lesion_scores(pair_of(predicted, reference, None, {"mm": spacing}), 1, RULES[challenge])
    return [score.value for score in found.values()]


@pytest.mark.parametrize("challenge", ["gli", "men", "met"])
@pytest.mark.parametrize("seed", range(3))
def test_lesions_are_counted_as_published(seed, challenge):
    shape, spacing = (20, 24, 28), (2.0, 1.0, 0.8)
    reference, predicted = blobs(shape, seed, 0.08), blobs(shape, seed + 9, 0.04)
    predicted |= reference & blobs(shape, seed + 20, 0.6)
    expected = plain_lesions(predicted, reference, spacing, RULES[challenge])
    assert lesions(predicted, reference, spacing, challenge) == pytest.approx(expected)


def cube(*corners, size=5):
    mask = np.zeros((30, 30, 30), np.uint8)
    for corner in corners:
        mask[tuple(slice(start, start + size) for start in corner)] = 1
    return mask


@pytest.mark.parametrize(
    ("predicted", "reference", "expected"),
    [
        (cube((5, 5, 5)), cube((5, 5, 5)), [1.0, 0.0, 1, 0, 0]),
        (cube(), cube(), [1.0, 0.0, 0, 0, 0]),
        (cube((5, 5, 5)), cube(), [0.0, 374.0, 0, 0, 1]),
        (cube(), cube((5, 5, 5), (20, 20, 20)), [0.0, 374.0, 0, 2, 0]),
        (cube((5, 5, 5), (20, 20, 20)), cube((5, 5, 5)), [0.5, 187.0, 1, 0, 1]),
        # Fragments three voxels apart are one lesion.
        (cube((5, 5, 5)), cube((5, 5, 5), (5, 5, 13)), [2 / 3, 8.0, 1, 0, 0]),
        # A lesion of 27 mm3 is not scored, and what it is matched by is not invented.
        (cube((5, 5, 5), size=3), cube((5, 5, 5), size=3), [1.0, 0.0, 0, 0, 0]),
    ],
)
def test_lesions_of_cubes(predicted, reference, expected):
    assert lesions(predicted, reference, (1.0, 1.0, 1.0), "gli") == pytest.approx(expected)


def test_a_class_too_wide_for_memory_is_refused_by_name():
    mask = cube((0, 0, 0), (25, 25, 25))
    found = lesion_scores(pair_of(mask, mask, None, {"mm": (1.0, 1.0, 1.0)}), 1, RULES["gli"], most_voxels=1000)
    assert {(score.value, score.reason) for score in found.values()} == {
        (None, "the class spans more than 1,000 voxels")
    }


def test_a_lesion_with_too_long_a_boundary_is_refused_by_name():
    mask = cube((5, 5, 5), (20, 20, 20))
    found = lesion_scores(pair_of(mask, mask, None, {"mm": (1.0, 1.0, 1.0)}), 1, RULES["gli"], most_points=50)
    assert len(found) == 5
    assert {(score.value, score.reason) for score in found.values()} == {(None, "a boundary has more than 50 points")}


def test_rules_are_those_of_the_challenges():
    # rachitsaluja/BraTS-2023-Metrics: steps of dilation, and the volume in mm3 up to which lesions are left out.
    assert {name: (rules.name, rules.dilations, rules.least_mm3) for name, rules in RULES.items()} == {
        "gli": ("gli", 3, 50.0),
        "ssa": ("ssa", 3, 50.0),
        "ped": ("ped", 3, 50.0),
        "men": ("men", 1, 50.0),
        "met": ("met", 1, 2.0),
    }
