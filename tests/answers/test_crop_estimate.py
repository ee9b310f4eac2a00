"""Laws of area estimates: published examples to the digit, intervals that hold the truth, refusals by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.answers.crop.estimate import StratifiedSample, estimate_accuracy
from tasks.errors import SampleError

# Olofsson et al. 2014, section 5: map pixels of 30 m, and the error matrix of 640 samples.
PIXELS = (200_000, 150_000, 3_200_000, 6_450_000)
MATRIX = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
# Stehman 2014, table 2: stratum, map class and reference class of 40 samples.
STRATA, MAP = "A" * 10 + "B" * 10 + "C" * 10 + "D" * 10, "A" * 7 + "BBBA" + "B" * 11 + "C" * 6 + "BB" + "D" * 10
REFERENCE = "AAAAACBABCABBBBBAABBCCCCCDDBBADDDDDDDCCB"


def from_matrix(counts, areas, names=None):
    """The sample behind an error matrix whose strata are the map's classes."""
    mapped, reference = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
    names = names or tuple(f"class {k}" for k in range(len(counts)))
    return StratifiedSample(
        strata=mapped, mapped=mapped, reference=reference, areas_ha=tuple(areas), stratum_names=names, class_names=names
    )


def letters(text):
    return np.array(["ABCD".index(letter) for letter in text])


def stehman(areas=(40_000, 30_000, 20_000, 10_000)):
    return StratifiedSample(
        strata=letters(STRATA),
        mapped=letters(MAP),
        reference=letters(REFERENCE),
        areas_ha=areas,
        stratum_names=tuple("ABCD"),
        class_names=tuple("ABCD"),
    )


def test_the_example_of_olofsson_2014_comes_out_to_the_digit():
    found = estimate_accuracy(from_matrix(MATRIX, np.array(PIXELS) * 0.09))
    assert [(round(area.value), round(area.half_width)) for area in found.areas_ha] == [
        (21_158, 6_158),
        (11_686, 3_756),
        (285_770, 15_510),
        (581_386, 16_282),
    ]
    assert (round(found.overall.value, 3), round(found.overall.half_width, 3)) == (0.947, 0.018)
    users = [(round(e.value, 2), round(e.half_width, 2)) for e in found.users]
    assert users == [(0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)]
    producers = [(round(e.value, 2), round(e.half_width, 2)) for e in found.producers]
    assert producers == [(0.75, 0.21), (0.85, 0.25), (0.93, 0.03), (0.96, 0.02)]


def test_the_example_of_stehman_2014_where_strata_are_not_classes_comes_out():
    found = estimate_accuracy(stehman())
    shares = [area.times(1 / found.total_ha) for area in found.areas_ha]
    assert [round(shares[k].value, 2) for k in (0, 2)] == [0.35, 0.20]
    assert [round(shares[k].standard_error, 3) for k in (0, 2)] == [0.082, 0.064]
    assert (round(found.overall.value, 2), round(found.overall.standard_error, 3)) == (0.63, 0.085)
    assert (round(found.users[1].value, 3), round(found.users[1].standard_error, 3)) == (0.574, 0.125)
    assert (round(found.producers[1].value, 3), round(found.producers[1].standard_error, 3)) == (0.794, 0.117)
    assert found.shares[1, 2] == pytest.approx(0.08)


def test_variances_are_those_that_stehman_2014_writes_out():
    """Equation 28, with variances and covariances per stratum as numpy has them."""
    sample, areas = stehman(), np.array([40_000, 30_000, 20_000, 10_000])
    found = estimate_accuracy(sample)
    for k in range(4):
        hit = ((sample.mapped == k) & (sample.reference == k)).astype(float)
        for estimate, whole in ((found.users[k], sample.mapped == k), (found.producers[k], sample.reference == k)):
            ratio, total, variance = estimate.value, 0.0, 0.0
            for stratum, area in enumerate(areas):
                y, x = hit[sample.strata == stratum], whole[sample.strata == stratum].astype(float)
                (s_yy, s_xy), (_, s_xx) = np.cov(y, x)
                total += area * x.mean()
                variance += area**2 * (s_yy + ratio**2 * s_xx - 2 * ratio * s_xy) / len(y)
            assert estimate.standard_error == pytest.approx(np.sqrt(variance) / total)


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(2, 40), min_size=3, max_size=3), min_size=3, max_size=3), st.integers(1, 9))
def test_matrix_areas_and_accuracies_agree_and_do_not_depend_on_the_unit(rows, factor):
    counts, areas = np.array(rows), np.array([10.0, 200.0, 35.5])
    found, scaled = (estimate_accuracy(from_matrix(counts, areas * unit)) for unit in (1, factor))
    hectares = found.shares * found.total_ha
    assert hectares.sum(axis=1) == pytest.approx(areas)
    assert hectares.sum(axis=0) == pytest.approx([area.value for area in found.areas_ha])
    assert np.trace(found.shares) == pytest.approx(found.overall.value)
    assert [e.value for e in found.users] == pytest.approx(np.diag(counts) / counts.sum(axis=1))
    # Olofsson et al. 2014, equation 7: what the ratio's residuals come to where strata are the classes.
    for j in range(3):
        own, others = found.users[j].value, [i for i in range(3) if i != j]
        sizes = counts.sum(axis=1)
        wrong = sum(
            areas[i] ** 2 * counts[i, j] / sizes[i] * (1 - counts[i, j] / sizes[i]) / (sizes[i] - 1) for i in others
        )
        right = areas[j] ** 2 * (1 - found.producers[j].value) ** 2 * own * (1 - own) / (sizes[j] - 1)
        expected = (right + found.producers[j].value ** 2 * wrong) / found.areas_ha[j].value ** 2
        assert found.producers[j].standard_error ** 2 == pytest.approx(expected)
    assert scaled.overall.value == pytest.approx(found.overall.value)
    assert scaled.overall.standard_error == pytest.approx(found.overall.standard_error)
    assert scaled.areas_ha[0].standard_error == pytest.approx(factor * found.areas_ha[0].standard_error)


@pytest.mark.parametrize("same", [True, False])
def test_intervals_hold_the_truth_as_often_as_they_say(same):
    """Samples of 150 per stratum from a known population, whose map errs; 95 % intervals hold 93-97 % of the time."""
    rng = np.random.default_rng(20140205)
    truth_in_stratum = np.array([[0.80, 0.15, 0.05], [0.06, 0.88, 0.06], [0.04, 0.10, 0.86]])
    areas = np.array([120.0, 300.0, 580.0])
    truth = areas @ truth_in_stratum
    held = np.zeros(3)
    trials = 600
    for _ in range(trials):
        strata = np.repeat(np.arange(3), 150)
        reference = np.concatenate([rng.choice(3, 150, p=p) for p in truth_in_stratum])
        mapped = strata if same else rng.integers(0, 3, len(strata))
        sample = StratifiedSample(
            strata=strata,
            mapped=mapped,
            reference=reference,
            areas_ha=tuple(areas),
            stratum_names=tuple("abc"),
            class_names=tuple("abc"),
        )
        intervals = [area.interval for area in estimate_accuracy(sample).areas_ha]
        held += [low <= value <= high for (low, high), value in zip(intervals, truth, strict=True)]
    assert np.all((held / trials >= 0.93) & (held / trials <= 0.97)), held / trials


def test_a_stratum_with_fewer_than_two_samples_is_refused_by_name():
    thin = from_matrix(np.array([[5, 1, 0], [1, 0, 0], [0, 0, 0]]), (4.0, 2.0, 9.0), ("wheat", "maize", "rape"))
    with pytest.raises(SampleError, match=r"maize \(1\), rape \(0\)"):
        estimate_accuracy(thin)
    empty = from_matrix(np.array([[5, 1, 0], [1, 4, 0], [0, 0, 0]]), (4.0, 2.0, 0.0), ("wheat", "maize", "rape"))
    found = estimate_accuracy(empty)
    assert found.users[2] is None
    assert found.producers[2] is None
    assert found.areas_ha[2].value == 0.0
