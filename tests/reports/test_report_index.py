"""The index of a batch: failed scenes on top, then outliers, links that work from where it lies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import HOSTILE, Page
from scipy.stats import median_abs_deviation

from tasks.out.outcome import SceneOutcome
from tasks.reports.index import render_index, write_index
from tasks.reports.index_rank import ranked, robust_z


def done(scene: str, **headline) -> SceneOutcome:
    return SceneOutcome(scene=scene, status="done", error=None, product=f".products/{scene}/key", headline=headline)


def batch() -> list[SceneOutcome]:
    areas = {"a": 100.0, "b": 102.0, "far": 5.0, "c": 98.0, "d": 101.0, "farther": 900.0, "e": 99.0}
    return [
        *(done(scene, burned_ha=area, observed_percent=100.0) for scene, area in areas.items()),
        SceneOutcome(scene="torn", status="failed", error="UnreadableSceneError: torn: ends early"),
        done("unmeasured", burned_ha=None, response="SD"),
    ]


def test_failed_scenes_come_first_then_outliers_the_farthest_first_then_the_rest_by_name():
    found = ranked(batch())
    assert [row.outcome.scene for row in found] == ["torn", "farther", "far", "a", "b", "c", "d", "e", "unmeasured"]
    assert [set(row.outlying) for row in found[:4]] == [set(), {"burned_ha"}, {"burned_ha"}, set()]


@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 6)), min_size=5, max_size=40))
def test_robust_z_is_the_distance_from_the_median_in_scaled_median_deviations(values):
    expected = median_abs_deviation(values)
    found = robust_z(values)
    middle = np.median(values)
    for value, score in zip(values, found, strict=True):
        if abs(value - middle) <= 0.01 * abs(middle):
            assert score == 0
        elif expected > 0:
            assert score == pytest.approx(0.6745 * (value - middle) / expected, rel=1e-9)
        else:
            assert score == pytest.approx((value - middle) / (1.253314 * np.mean(np.abs(values - middle))), rel=1e-9)


def test_where_most_scenes_agree_the_one_that_does_not_is_an_outlier_and_rounding_is_none():
    assert [abs(score) > 3.5 for score in robust_z([100.0] * 9 + [60.0])] == [False] * 9 + [True]
    assert robust_z([100.0] * 9 + [99.99]) == [0.0] * 10


def test_of_few_scenes_none_is_called_far():
    assert robust_z([1.0, 1.0, 1.0, 1e9]) == [0.0] * 4


def test_the_order_does_not_depend_on_the_order_of_the_batch():
    assert ranked(batch()[::-1]) == ranked(batch())


def test_links_lead_to_files_from_where_the_page_lies_and_errors_stand_on_top(tmp_path):
    for scene in ("far", "a", "torn"):
        (tmp_path / scene).mkdir()
        for name in ("report.html", "preview.png"):
            (tmp_path / scene / name).write_bytes(b"")
    for name in ("batch.csv", "batch.json"):
        (tmp_path / name).write_bytes(b"")
    write_index(tmp_path, "Burned area", batch())
    assert sorted(path.name for path in tmp_path.glob("*index*")) == ["index.html"]
    page = Page.read((tmp_path / "index.html").read_bytes())
    links = [link["href"] for link in page.all("a")] + [image["src"] for image in page.all("img")]
    assert {"far/report.html", "a/report.html", "torn/report.html", "far/preview.png"} <= set(links)
    assert all((tmp_path / link).is_file() for link in links)
    text = "".join(page.text)
    assert text.index("torn") < text.index("ends early")
    assert text.index("ends early") < text.index("farther") < text.index("unmeasured")
    assert all(image["alt"] for image in page.all("img"))


def test_names_and_errors_are_text(tmp_path):
    rows = [done(HOSTILE, burned_ha=1.0), SceneOutcome(scene=HOSTILE, status="failed", error=HOSTILE)]
    page = Page.read(render_index(tmp_path, HOSTILE, rows))
    plain = Page.read(
        render_index(tmp_path, "t", [done("a", burned_ha=1.0), SceneOutcome(scene="b", status="failed", error="e")])
    )
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]


def test_the_same_outcomes_give_the_same_page(tmp_path):
    assert render_index(tmp_path, "t", batch()) == render_index(tmp_path, "t", batch())


def test_an_empty_batch_has_a_page(tmp_path):
    assert Page.read(render_index(tmp_path, "t", [])).all("h1")


def test_values_that_differ_by_less_than_a_float_can_divide_by_are_no_outliers():
    assert robust_z([0.0, 0.0, 0.0, 0.0, 5e-324]) == [0.0] * 5
