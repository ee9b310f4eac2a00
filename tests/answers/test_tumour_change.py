"""Lesions over dates: matching through affines, classes of change, proposed responses."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from tasks.answers.tumour.burden import Burden, Sizes, burden
from tasks.answers.tumour.changes import Change, changes
from tasks.answers.tumour.components import Components, find_components
from tasks.answers.tumour.field import Field, fields_meet
from tasks.answers.tumour.matching import match
from tasks.answers.tumour.measure import Sources, measure
from tasks.answers.tumour.response import RANO, RECIST, propose
from tasks.answers.tumour.series import Study, begin, follow, study
from tasks.answers.tumour.targets import rano_targets, recist_targets
from tasks.errors import GridError
from tasks.jobs.tumour import TumourAnalysis

LAWS = settings(max_examples=30)
SETTINGS = TumourAnalysis(kind="tumour")
PLAIN = np.diag([1.5, 1.0, 1.0, 1.0])


def turned() -> np.ndarray:
    """Another grid over the same 60 mm: oblique, flipped, finer in one axis and coarser in the others."""
    angle = 0.2
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.1, -0.8, 1.3])
    affine[:3, 3] = (-5.0, 75.0, -12.0)
    return affine


GRIDS = {"plain": (PLAIN, (40, 60, 60)), "turned": (turned(), (70, 110, 70))}


def balls(grid: str, *places) -> Components:
    """Spheres ``(centre in mm, radius in mm)`` on a grid."""
    affine, shape = GRIDS[grid]
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    mask = np.zeros(shape, np.uint8)
    for centre, radius in places:
        mask |= (np.linalg.norm(world - centre, axis=-1) <= radius).astype(np.uint8)
    return find_components(mask, affine, 1)


def compare(prior: Components, current: Components, shape, **options) -> list[Change]:
    known = SETTINGS.model_copy(update=options)
    matching = match(prior, current, shape, known.match_mm)
    return changes(prior.lesions, current.lesions, matching, known.change_percent)


@pytest.mark.parametrize("grids", [("plain", "plain"), ("plain", "turned"), ("turned", "plain")])
def test_every_class_of_change_is_found_on_any_grid(grids):
    before = [
        ((12, 12, 12), 5.0),  # stable
        ((12, 12, 40), 4.0),  # grown
        ((12, 40, 12), 6.0),  # shrunk
        ((40, 12, 12), 4.0),  # gone
        ((40, 40, 12), 7.0),  # split
        ((40, 34, 38), 4.0), ((40, 46, 38), 4.0),  # merged
        ((28, 12, 28), 3.0),  # moved
    ]  # fmt: skip
    after = [
        ((12, 12, 12), 5.0),
        ((12, 12, 40), 6.0),
        ((12, 40, 12), 4.0),
        ((40, 36, 12), 2.5), ((40, 44, 12), 2.5),
        ((40, 40, 38), 9.5),
        ((28, 20, 28), 3.0),
        ((12, 40, 40), 3.0),  # new
    ]  # fmt: skip
    prior, current = balls(grids[0], *before), balls(grids[1], *after)
    found = compare(prior, current, GRIDS[grids[1]][1])
    kinds = sorted(change.kind for change in found)
    assert kinds == ["gone", "grown", "merged", "new", "shrunk", "split", "stable", "stable"]
    by_kind = {change.kind: change for change in found}
    assert len(by_kind["split"].current) == 2
    assert len(by_kind["merged"].prior) == 2
    assert by_kind["gone"].change_percent == -100.0
    assert (by_kind["new"].prior_ml, by_kind["new"].change_percent) == (None, None)
    assert by_kind["grown"].change_percent == pytest.approx(100 * (6**3 / 4**3 - 1), rel=0.15)
    apart = [change for change in found if change.distance_mm is not None]
    assert len(apart) == 1
    assert apart[0].overlap_ml == 0.0
    assert 1.0 < apart[0].distance_mm <= 4.0
    assert sorted(key for change in found for key in change.prior) == [lesion.id for lesion in prior.lesions]
    assert sorted(key for change in found for key in change.current) == [lesion.id for lesion in current.lesions]


def test_nothing_is_matched_over_a_distance_that_is_not_allowed():
    prior, current = balls("plain", ((28, 12, 28), 3.0)), balls("plain", ((28, 20, 28), 3.0))
    assert [c.kind for c in compare(prior, current, GRIDS["plain"][1])] == ["stable"]
    assert [c.kind for c in compare(prior, current, GRIDS["plain"][1], match_mm=1.0)] == ["gone", "new"]


def test_a_lesion_whose_nearest_is_taken_goes_with_the_next():
    prior, current = np.zeros((2, 3, 20, 40), np.uint8)
    prior[1, 5, (10, 16)] = 1
    # 1 and 3 from the first, 5 and 3 from the second.
    current[1, 5, (11, 13)] = 1
    old, new = (find_components(mask, np.eye(4), 1) for mask in (prior, current))
    found = compare(old, new, prior.shape)
    assert [(change.kind, change.prior, change.current, change.distance_mm) for change in found] == [
        ("stable", (1,), (1,), 1.0),
        ("stable", (2,), (2,), 3.0),
    ]


@LAWS
@given(st.integers(0, 999), st.floats(0.5, 9.0))
@example(594, 8.0)  # Two lie exactly that far apart.
def test_lesions_apart_are_paired_nearest_first_among_all_pairs(seed, match_mm):
    rng = np.random.default_rng(seed)
    dates = np.zeros((2, 3, 24, 24), np.uint8)
    for mask in dates:
        mask[tuple(rng.integers(0, mask.shape, (6, 3)).T)] = 1
    both = dates.all(axis=0)
    dates[:, both] = 0
    old, new = (find_components(mask, PLAIN, 1, 6) for mask in dates)
    places = []
    for components in (old, new):
        voxels = [
            np.argwhere(components.numbers == components.number_of[lesion.id - 1]) for lesion in components.lesions
        ]
        places.append([(item + components.window.start) * (1.5, 1.0, 1.0) for item in voxels])
    apart = {
        (i, j): np.linalg.norm(one[:, None] - other, axis=-1).min()
        for i, one in enumerate(places[0], 1)
        for j, other in enumerate(places[1], 1)
    }
    expected: dict[int, int] = {}
    for i, j in sorted(apart, key=lambda pair: (apart[pair], pair)):
        if apart[i, j] <= match_mm and i not in expected and j not in expected.values():
            expected[i] = j
    found = [
        change for change in compare(old, new, dates.shape[1:], match_mm=match_mm) if change.prior and change.current
    ]
    assert {change.prior[0]: change.current[0] for change in found} == expected
    assert all(change.distance_mm == pytest.approx(apart[change.prior[0], change.current[0]]) for change in found)


def test_a_lesion_outside_the_later_scan_is_not_seen_rather_than_gone():
    prior = balls("plain", ((12, 12, 12), 4.0), ((45, 12, 12), 4.0))
    affine, shape = PLAIN, (20, 60, 60)
    current = find_components(np.zeros(shape, np.uint8), affine, 1)
    found = compare(prior, current, shape)
    assert sorted(change.kind for change in found) == ["gone", "not seen"]
    unseen = next(change for change in found if change.kind == "not seen")
    assert (unseen.current_ml, unseen.seen_share) == (None, 0.0)


def hidden(components: Components, shape, affine, share: float, dtype=np.uint8) -> Components:
    """A later scan that shows nothing, and did not observe that share of the planes of the largest lesion."""
    box = components.lesions[0].box
    mask = np.zeros(shape, dtype)
    mask[box.start[0] : box.start[0] + round(share * box.shape[0]), :, :] = np.iinfo(dtype).max
    return find_components(mask, affine, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_lesion_that_was_not_observed_again_is_not_seen_rather_than_gone(dtype):
    prior = balls("plain", ((28, 30, 30), 10.0))
    affine, shape = GRIDS["plain"]
    for share, seen in ((1.0, 0.0), (0.5, 0.5), (0.2, 0.9)):
        (change,) = compare(prior, hidden(prior, shape, affine, share, dtype).packed(), shape)
        assert (change.kind, change.current_ml) == ("not seen", None)
        assert change.seen_share == pytest.approx(seen, abs=0.06)
    (change,) = compare(prior, hidden(prior, shape, affine, 0.0), shape)
    assert (change.kind, change.current_ml, change.seen_share) == ("gone", 0.0, 1.0)
    first = dated(prior, shape, SETTINGS)
    again = dated(hidden(prior, shape, affine, 1.0, dtype), shape, SETTINGS)
    step, _ = follow(begin(first, SETTINGS), again, SETTINGS)
    assert (step.recist.category, step.rano.category) == (None, None)
    assert "not observed" in step.recist.reason


@LAWS
@given(st.integers(0, 999), st.floats(0.05, 0.95))
def test_the_share_that_was_seen_counts_observed_voxels_of_the_same_grid(seed, share):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 20, 3))
    prior = find_components((rng.random(shape) < 0.3).astype(np.uint8), PLAIN, 1)
    missing = rng.random(shape) < share
    current = find_components(np.where(missing, 255, 0).astype(np.uint8), PLAIN, 1)
    found = match(prior, current, shape, 0.0).seen_share
    for lesion, seen in zip(prior.lesions, found, strict=True):
        inside = prior.part(lesion).planes(0, lesion.box.shape[0])[:, 1:-1, 1:-1]
        assert seen == pytest.approx((inside & ~missing[lesion.box.slices]).sum() / lesion.n_voxels)


@LAWS
@given(st.integers(0, 999), st.floats(0.05, 0.5))
def test_the_same_mask_turned_and_saved_again_is_stable(seed, share):
    rng = np.random.default_rng(seed)
    mask = (rng.random(rng.integers(1, 10, 3)) < share).astype(np.uint8)
    order = rng.permutation(3)
    flips = rng.integers(0, 2, 3) * 2 - 1
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ np.diag([3.0, 0.8, 1.1])
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1.0
    for new, old in enumerate(order):
        to_old[old, new] = flips[new]
        to_old[old, 3] = mask.shape[old] - 1 if flips[new] < 0 else 0
    again = mask.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    prior, current = find_components(mask, affine, 1), find_components(np.array(again), affine @ to_old, 1)
    found = compare(prior, current.packed(), again.shape)
    assert [change.kind for change in found] == ["stable"] * len(prior.lesions)
    assert sum(change.overlap_ml for change in found) == pytest.approx(sum(item.volume_ml for item in prior.lesions))
    assert all(change.change_percent == pytest.approx(0.0, abs=1e-9) for change in found)


def dated(components: Components, shape, known: TumourAnalysis) -> Study:
    measured = measure(components, Sources(shape), known)
    return study("scene", shape, components, measured, 1.5, known)


def responses(*dates, **options):
    known = SETTINGS.model_copy(update=options)
    shape = GRIDS["plain"][1]
    studies = [dated(balls("plain", *places), shape, known) for places in dates]
    history = begin(studies[0], known)
    found = []
    for current in studies[1:]:
        step, history = follow(history, current, known)
        found.append(step)
    return found


def test_a_shrinking_and_then_growing_lesion_goes_from_partial_response_to_progression_from_the_nadir():
    place = (28, 30, 30)
    found = responses(*([(place, radius)] for radius in (14.0, 8.0, 7.0, 10.0)))
    assert [step.recist.category for step in found] == ["PR", "PR", "PD"]
    assert [step.recist.nadir_date for step in found] == [0, 1, 2]
    last = found[-1].recist
    assert last.nadir == pytest.approx(14.0, abs=1.0)
    assert last.current < 0.8 * last.baseline
    assert last.from_nadir == pytest.approx(last.current - last.nadir)
    assert [step.rano.category for step in found] == ["PR", "PR", "PD"]
    assert found[0].since_previous is None
    assert [change.kind for change in found[-1].since_previous] == ["grown"]


def test_parts_of_a_split_target_are_added():
    (step,) = responses([((28, 30, 30), 10.0)], [((28, 24, 30), 4.0), ((28, 36, 30), 4.0)])
    assert [change.kind for change in step.since_baseline] == ["split"]
    assert step.recist.current == pytest.approx(16.0, abs=1.0)


def test_disappearance_is_complete_response_and_what_comes_back_is_progression():
    place = (28, 30, 30)
    found = responses([(place, 8.0)], [], [(place, 6.0)])
    assert [step.recist.category for step in found] == ["CR", "PD"]
    assert found[-1].recist.from_nadir_percent is None
    assert found[-1].recist.from_nadir == pytest.approx(12.0, abs=1.0)


def test_a_new_lesion_is_progression_unless_it_is_too_small_to_count():
    old, new = ((28, 30, 30), 8.0), ((28, 10, 10), 4.0)
    (step,) = responses([old], [old, new])
    assert (step.recist.category, len(step.recist.new)) == ("PD", 1)
    (step,) = responses([old], [old, new], new_mm=10.0)
    assert (step.recist.category, step.recist.new) == ("SD", ())
    assert [change.kind for change in step.since_baseline] == ["stable", "new"]


def test_without_measurable_lesions_only_disappearance_and_new_lesions_are_told():
    small = ((28, 30, 30), 3.0)
    still = responses([small], [small])[0].recist
    assert (still.category, still.baseline, still.current, still.from_nadir) == ("non-CR/non-PD", None, None, None)
    assert responses([small], [])[0].recist.category == "CR"
    assert responses([small], [small, ((28, 10, 10), 4.0)])[0].recist.category == "PD"


def test_a_baseline_without_lesions_can_only_be_followed_by_new_ones():
    for step in responses([], [], []):
        for found in (step.recist, step.rano):
            assert (found.category, found.reason) == (None, "the baseline holds no lesion")
    (step,) = responses([], [((28, 30, 30), 6.0)])
    assert (step.recist.category, step.rano.category) == ("PD", "PD")
    (step,) = responses([], [((28, 30, 30), 6.0)], new_mm=50.0)
    assert (step.recist.category, step.recist.new) == (None, ())


@pytest.mark.parametrize(
    ("sums", "category"),
    [
        ((100.0, 71.0), "SD"),
        ((100.0, 70.0), "PR"),
        ((100.0, 60.0, 71.9), "SD"),
        ((100.0, 40.0, 48.0), "PD"),
        ((20.0, 24.9), "SD"),  # 24.5 % but not 5 mm
        ((20.0, 25.0), "PD"),
        ((100.0, 119.0), "SD"),
        ((100.0, 120.0), "PD"),
        ((100.0, 50.0, 58.0), "PR"),
    ],
)
def test_recist_limits(sums, category):
    dates = [Burden(sum=total, targets_present=True) for total in sums]
    assert propose(RECIST, dates, has_targets=True).category == category


@pytest.mark.parametrize(
    ("sums", "category"),
    [((100.0, 51.0), "SD"), ((100.0, 50.0), "PR"), ((100.0, 124.0), "SD"), ((100.0, 125.0), "PD")],
)
def test_rano_limits(sums, category):
    dates = [Burden(sum=total, targets_present=True) for total in sums]
    assert propose(RANO, dates, has_targets=True).category == category


def change(kind, prior=(), current=()) -> Change:
    return Change(
        kind=kind,
        prior=prior,
        current=current,
        prior_ml=1.0,
        current_ml=1.0,
        change_ml=0.0,
        change_percent=0.0,
        overlap_ml=0.0,
        distance_mm=None,
        seen_share=1.0,
        is_whole=True,
    )


def test_a_target_outside_the_scan_leaves_no_category():
    found = burden({1}, [change("not seen", (1,)), change("stable", (2,), (1,))], Sizes({1: 20.0}, {1}))
    assert (found.sum, found.others_present) == (None, (1,))
    proposed = propose(RECIST, [Burden(sum=30.0, targets_present=True), found], has_targets=True)
    assert (proposed.category, proposed.current) == (None, None)
    assert "outside this scan" in proposed.reason
    new = burden({1}, [change("not seen", (1,)), change("new", (), (3,))], Sizes({3: 20.0}, {3}))
    assert propose(RECIST, [Burden(sum=30.0, targets_present=True), new], has_targets=True).category == "PD"


def crop(mask: np.ndarray, planes: slice, unseen: slice | None = None) -> tuple[Components, tuple[int, ...]]:
    """What a scan of fewer planes shows, some of which it did not observe."""
    seen, affine = mask.copy(), PLAIN.copy()
    if unseen is not None:
        seen[unseen] = 255
    affine[:3, 3] += affine[:3, 0] * (planes.start or 0)
    seen = seen[planes]
    return find_components(seen, affine, 1), seen.shape


def ball_mask(radius: float, *centres_mm) -> np.ndarray:
    mask = np.zeros(GRIDS["plain"][1], np.uint8)
    for place in centres_mm:
        found = balls("plain", (place, radius))
        mask[found.lesions[0].box.slices] |= found.part(found.lesions[0]).planes(0, found.lesions[0].box.shape[0])[
            :, 1:-1, 1:-1
        ]
    return mask


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ((12.0, slice(0, 20), None), (8.0, slice(0, 40), None), "of the baseline reach the edge"),
        ((12.0, slice(0, 40), slice(10, 14)), (8.0, slice(0, 40), None), "of the baseline reach the edge"),
        ((12.0, slice(0, 40), None), (12.0, slice(0, 15), None), "lie partly outside this scan"),
        ((12.0, slice(0, 40), None), (12.0, slice(0, 40), slice(18, 40)), "lie partly outside this scan"),
        ((8.0, slice(0, 40), None), (12.0, slice(13, 40), None), "reach, at one of both dates"),
    ],
)
def test_a_target_that_a_scan_shows_only_in_part_leaves_no_category(first, second, why):
    place = (30, 30, 30)
    studies = []
    for radius, planes, unseen in (first, second):
        components, shape = crop(ball_mask(radius, place), planes, unseen)
        studies.append(dated(components, shape, SETTINGS))
    # Cut or not, sizes alone would propose a response.
    step, _ = follow(begin(studies[0], SETTINGS), studies[1], SETTINGS)
    for found in (step.recist, step.rano):
        assert found.category is None
        assert why in found.reason


def test_a_target_that_is_cut_at_one_date_is_no_nadir_and_is_told_again_later():
    place = (30, 30, 30)
    studies = [
        dated(*crop(ball_mask(radius, place), planes), SETTINGS)
        for radius, planes in ((12.0, slice(0, 40)), (12.0, slice(0, 15)), (12.0, slice(0, 40)))
    ]
    history, found = begin(studies[0], SETTINGS), []
    for current in studies[1:]:
        step, history = follow(history, current, SETTINGS)
        found.append(step.recist)
    assert [one.category for one in found] == [None, "SD"]
    assert (found[0].current, found[1].nadir_date) == (None, 0)


def test_what_reached_the_edge_cannot_be_called_gone():
    left, _ = crop(ball_mask(4.0, (1, 30, 30)), slice(0, 40))
    empty = dated(*crop(np.zeros(GRIDS["plain"][1], np.uint8), slice(0, 40)), SETTINGS)
    step, _ = follow(begin(dated(left, GRIDS["plain"][1], SETTINGS), SETTINGS), empty, SETTINGS)
    assert [change.kind for change in step.since_baseline] == ["gone"]
    assert step.recist.category is None
    assert "cannot be called gone" in step.recist.reason


def test_a_lesion_where_the_baseline_did_not_look_is_new_with_a_caveat():
    old, new = (12, 15, 30), (45, 45, 30)
    base = dated(*crop(ball_mask(8.0, old), slice(0, 20)), SETTINGS)
    both = dated(*crop(ball_mask(8.0, old, new), slice(0, 40)), SETTINGS)
    step, _ = follow(begin(base, SETTINGS), both, SETTINGS)
    assert step.recist.category == "PD"
    assert "did not observe" in step.recist.reason
    base = dated(*crop(ball_mask(8.0, old), slice(0, 40)), SETTINGS)
    step, _ = follow(begin(base, SETTINGS), both, SETTINGS)
    assert (step.recist.category, step.recist.reason) == ("PD", "1 new lesion(s)")


def test_scans_that_do_not_meet_are_refused():
    mask = ball_mask(8.0, (12, 15, 30))
    near, far = (dated(*crop(mask, planes), SETTINGS) for planes in (slice(0, 20), slice(20, 40)))
    with pytest.raises(GridError, match="do not meet in space"):
        follow(begin(near, SETTINGS), far, SETTINGS)


@LAWS
@given(st.integers(0, 9999))
def test_two_fields_meet_where_a_point_lies_in_both(seed):
    rng = np.random.default_rng(seed)
    fields = []
    for _ in range(2):
        affine = np.eye(4)
        affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 3, 3)
        affine[:3, 3] = rng.uniform(-12, 12, 3)
        fields.append(Field(tuple(rng.integers(2, 9, 3).tolist()), affine))
    one, other = (field.affine_mm for field in fields)
    # A place in voxels of both: one point of the world.
    same = np.hstack([one[:3, :3], -other[:3, :3]])
    within = [(-0.5, n - 0.5) for field in fields for n in field.shape]
    point = linprog(np.zeros(6), A_eq=same, b_eq=other[:3, 3] - one[:3, 3], bounds=within)
    assert fields_meet(*fields) == fields_meet(*fields[::-1]) == (point.status == 0)


def test_lymph_nodes_below_ten_millimetres_are_normal():
    found = burden({1}, [change("shrunk", (1,), (1,))], Sizes({1: 8.0}, {1}, normal={1}))
    assert found.sum == 8.0
    assert propose(RECIST, [Burden(sum=20.0, targets_present=True), found], has_targets=True).category == "CR"


def test_normal_lymph_nodes_are_neither_new_nor_left():
    target, other = (28, 15, 15), (28, 45, 45)
    (step,) = responses([(target, 10.0)], [(target, 10.0), (other, 3.5)], nodal=True)
    assert [change.kind for change in step.since_baseline] == ["stable", "new"]
    assert (step.recist.category, step.recist.new) == ("SD", ())
    (step,) = responses([(target, 10.0)], [(target, 10.0), (other, 6.0)], nodal=True)
    assert (step.recist.category, step.recist.new) == ("PD", (2,))
    # A target and another node of the baseline, both below 10 mm by now: RECIST 1.1, section 4.3.1.
    (step,) = responses([(target, 10.0), (other, 6.0)], [(target, 4.0), (other, 4.0)], nodal=True)
    assert (step.recist.category, step.recist.others_present) == ("CR", ())
    assert step.recist.current == pytest.approx(8.0, abs=1.0)
    (step,) = responses([(target, 10.0), (other, 6.0)], [(target, 4.0), (other, 6.0)], nodal=True)
    assert (step.recist.category, step.recist.others_present) == ("PR", (1,))
    (step,) = responses([(other, 4.0)], [(other, 4.0)], nodal=True)
    assert (step.recist.category, step.recist.reason) == (None, "the baseline holds no lesion")
    # The same that are no nodes.
    (step,) = responses([(target, 10.0), (other, 6.0)], [(target, 4.0), (other, 4.0)])
    assert step.recist.category == "PR"


def test_targets_are_the_largest_measurable_ones():
    radii = (9.0, 8.0, 7.0, 6.5, 6.0, 5.6, 3.0)
    places = [(10, 12, 12), (10, 40, 12), (10, 12, 40), (10, 40, 40), (45, 12, 12), (45, 40, 12), (45, 12, 40)]
    components = balls("plain", *zip(places, radii, strict=True))
    measured = measure(components, Sources(GRIDS["plain"][1]), SETTINGS)
    anywhere = recist_targets(measured, 1.5)
    assert (anywhere.lesions, anywhere.measurable) == ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6))
    assert anywhere.sum_mm == pytest.approx(sum(2 * radius for radius in radii[:5]), abs=3)
    assert "organs are not known" in anywhere.note
    assert recist_targets(measured, 1.5, "liver").lesions == (1, 2)
    assert recist_targets(measured, 7.0).measurable == (1, 2)
    assert recist_targets(measured, 1.5, None, nodal=True).measurable == (1, 2)


def test_a_lesion_on_one_slice_is_not_measurable_by_rano():
    mask = np.zeros((6, 40, 40), np.uint8)
    mask[1, 5:20, 5:20] = 1
    mask[3:5, 25:37, 25:37] = 1
    measured = measure(find_components(mask, PLAIN, 1), Sources(mask.shape), SETTINGS)
    assert [item.n_slices for item in measured] == [2, 1]
    assert measured[1].short.length_mm >= 10.0
    assert rano_targets(measured).measurable == (1,)
    assert rano_targets(measured).sum_mm2 == measured[0].product_mm2
    assert recist_targets(measured, 1.5).measurable == (2, 1)
