"""Laws of fires over nights: growth is exact, ids stay, late scenes correct, alerts are told once."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import shapely
from fire_sites import GRID, UTM, Site
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.analysis.fire import events as fire_events
from tasks.analysis.fire import growth_file as growth
from tasks.answers.area import PixelAreas
from tasks.answers.fire import events
from tasks.answers.fire.alerts import AlertState, Reading, crossings, fire_readings
from tasks.answers.fire.events import Observation, Rules, Seen, carry_ids, fold
from tasks.answers.fire.geodesy import Earth
from tasks.errors import StoreError
from tasks.geometry.box import Box
from tasks.jobs.fire import AlertRules, Level
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder
from tasks.out.sightings import Sighting
from tasks.products.vectors import write_gpkg
from tasks.scenes.vectors import VectorTable, read_vectors

EARTH = Earth(UTM)
RULES = Rules(same_event_days=60, join_m=100)


def pixels(top, left, bottom, right):
    """The polygon of a block of pixels."""
    (x0, x1), (y0, y1) = GRID.pixel_to_world(np.array([top, bottom], float), np.array([left, right], float))
    return shapely.box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def night(day, *blocks, scene=None):
    fires = tuple(
        Seen(
            id=f"{day:02d}-{k}", geometry=pixels(*block), severity_ha={"severity_high_ha": 1.0}, observed_percent=100.0
        )
        for k, block in enumerate(blocks)
    )
    return Observation(scene or f"S_{day:02d}", f"2024-07-{day:02d}", fires)


def ground_ha(*blocks):
    areas = np.broadcast_to(PixelAreas(GRID).window(Box((0, 0), (100, 100))), (100, 100))
    burned = np.zeros((100, 100), bool)
    for top, left, bottom, right in blocks:
        burned[top:bottom, left:right] = True
    return areas[burned].sum() / 1e4


def test_growth_of_a_constructed_sequence_is_exact():
    history = fold([night(1, (40, 40, 60, 60)), night(3, (40, 40, 60, 65)), night(4, (40, 40, 60, 65))], EARTH, RULES)
    (event,) = history.events
    assert (event.id, event.first, event.last, len(event.members)) == ("01-0", "2024-07-01", "2024-07-04", 3)
    assert event.area_ha == pytest.approx(ground_ha((40, 40, 60, 65)), rel=1e-5)
    first, grown, still = history.steps
    assert (first.days, first.ha_per_day, first.reason) == (None, None, "first detection")
    assert grown.days == 2
    assert grown.area_ha == pytest.approx(ground_ha((40, 60, 60, 65)), rel=1e-5)
    assert grown.ha_per_day == pytest.approx(grown.area_ha / 2, rel=1e-6)
    # Five pixels to the east of the map, which at the central meridian is east; UTM's scale there is 0.9996.
    assert grown.direction_deg == pytest.approx(90, abs=0.1)
    assert grown.front_max_m == pytest.approx(5 * 20 / 0.9996, rel=1e-3)
    assert grown.front_m <= grown.front_max_m
    assert grown.front_m_per_h == pytest.approx(grown.front_m / 48, abs=1e-4)
    assert (still.area_ha, still.ha_per_day, still.direction_deg, still.reason) == (0.0, 0.0, None, "no new ground")


def test_an_event_says_what_its_newest_detections_say():
    def seen(name, block, high, percent, dnbr):
        return Seen(
            id=name,
            geometry=pixels(*block),
            severity_ha={"severity_high_ha": high},
            observed_percent=percent,
            **dict(zip(("mean_dnbr", "max_dnbr"), dnbr, strict=False)),
        )

    first = seen("a", (10, 10, 20, 20), 7.0, 90.0, (0.9, 0.95))
    # Two parts at the last date: of 100 pixels and of 300.
    small, large = (10, 10, 20, 20), (10, 22, 20, 52)
    last = (seen("b", small, 1.0, 40.0, (0.2, 0.8)), seen("c", large, 2.0, 80.0, (0.6, 0.7)))
    nights = [Observation("S1", "2024-07-01", (first,)), Observation("S2", "2024-07-02", last)]
    (event,) = fold(nights, EARTH, RULES).events
    assert event.severity_ha == {"severity_high_ha": 3.0}
    assert event.observed_percent == 40.0
    assert event.mean_dnbr == pytest.approx((0.2 + 3 * 0.6) / 4, abs=1e-4)
    assert event.max_dnbr == 0.8
    assert [(one.id, one.scene, one.date) for one in event.members] == [
        ("a", "S1", "2024-07-01"), ("b", "S2", "2024-07-02"), ("c", "S2", "2024-07-02"),
    ]  # fmt: skip
    unknown = Observation("S3", "2024-07-03", (seen("d", small, 1.0, 100.0, (None, None)), last[1]))
    (event,) = fold([*nights, unknown], EARTH, RULES).events
    assert (event.mean_dnbr, event.max_dnbr) == (None, None)


def test_two_events_join_through_a_detection_only():
    touching = [pixels(10, 10, 20, 20), pixels(10, 20, 20, 30)]
    far, between = pixels(60, 60, 70, 70), pixels(20, 15, 25, 25)
    # Which of them are events: the first two; what else is there was detected.
    groups = [group.tolist() for group in events._groups([*touching, far], 2, EARTH, 100)]
    assert groups == [[0], [1], [2]]
    groups = [group.tolist() for group in events._groups([*touching, between, far], 2, EARTH, 100)]
    assert groups == [[0, 1, 2], [3]]
    assert [group.tolist() for group in events._groups(touching, 1, EARTH, 100)] == [[0, 1]]


def test_the_front_is_the_95th_percentile_of_the_way_that_the_outline_went():
    # Ground 20 pixels long beside 40 rows of old ground, all but two rows of it a single pixel wide.
    old, strip, tongue = (10, 10, 50, 20), (10, 20, 50, 21), (48, 21, 50, 40)
    (event,) = fold([night(1, old), night(2, old, strip, tongue)], EARTH, RULES).events
    ground = shapely.union_all([pixels(*strip), pixels(*tongue)])
    points = np.linspace(0, ground.exterior.length, 20_001)
    ways = shapely.distance(shapely.line_interpolate_point(ground.exterior, points), pixels(*old))
    assert event.growth.front_m == pytest.approx(np.percentile(ways, 95), rel=0.02)
    assert event.growth.front_m > 3 * np.median(ways)


@given(st.permutations(range(5)))
@settings(max_examples=8)
def test_the_order_in_which_scenes_come_changes_nothing(order):
    nights = [
        night(1, (10, 10, 20, 20)),
        night(2, (10, 10, 20, 25), (50, 50, 60, 60)),
        night(2, (70, 70, 80, 80), scene="T_02"),
        night(4, (10, 10, 30, 25), (50, 50, 60, 70)),
        night(5),
    ]
    expected = fold(nights, EARTH, RULES)
    assert fold([nights[k] for k in order], EARTH, RULES) == expected
    assert len(expected.events) == 3


def test_events_merge_into_the_first_and_never_split():
    history = fold(
        [
            night(1, (10, 10, 20, 20)),
            night(2, (10, 10, 20, 20), (10, 40, 40, 60)),
            night(3, (10, 10, 20, 60)),
            night(4, (10, 10, 12, 12), (10, 55, 12, 60)),
        ],
        EARTH,
        RULES,
    )
    kept, merged = history.events
    assert (kept.id, kept.merged_into, kept.last) == ("01-0", None, "2024-07-04")
    assert (merged.id, merged.merged_into, merged.last) == ("02-1", "01-0", "2024-07-02")
    assert kept.area_ha == pytest.approx(ground_ha((10, 10, 20, 60), (10, 40, 40, 60)), rel=1e-5)
    merging = next(step for step in history.steps if step.date == "2024-07-03")
    assert merging.area_ha == pytest.approx(ground_ha((10, 20, 20, 40)), rel=1e-5)


@pytest.mark.parametrize(
    ("gap", "when", "n_events"),
    [(5, "2024-07-02", 1), (6, "2024-07-02", 2), (0, "2024-07-31", 1), (0, "2024-08-01", 2)],
)
def test_what_is_one_event_is_a_matter_of_distance_and_days(gap, when, n_events):
    first = night(1, (10, 10, 20, 20))
    second = Observation(
        "later",
        when,
        (Seen(id="later", geometry=pixels(10, 20 + gap, 20, 30 + gap), severity_ha={}, observed_percent=100.0),),
    )
    # 100 m reach over five pixels of 20 m on the map, which are 100.04 m on the ground.
    found = fold([first, second], EARTH, Rules(same_event_days=30, join_m=101))
    assert len(found.events) == n_events


def test_ids_that_were_published_stay_when_an_earlier_scene_comes_late():
    published = fold([night(2, (10, 10, 20, 20))], EARTH, RULES)
    known = {event.id: event.geometry for event in published.events}
    late = fold([night(1, (10, 10, 15, 15)), night(2, (10, 10, 20, 20))], EARTH, RULES)
    assert [event.id for event in late.events] == ["01-0"]
    carried = carry_ids(late, known)
    assert [event.id for event in carried.events] == ["02-0"]
    assert {step.event for step in carried.steps} == {"02-0"}
    assert carried.events[0].first == "2024-07-01"
    again = carry_ids(late, {event.id: event.geometry for event in carried.events})
    assert again == carried


def reading(value, falling=False, key="rule|site|fire", clear=5.0):
    return Reading(
        key=key,
        rule="rule",
        site="site",
        event="fire",
        value=value,
        level=Level(at=10, clear=clear),
        unit="ha",
        text="text",
        falling=falling,
    )


@given(st.lists(st.floats(0, 20), max_size=30))
@settings(max_examples=50)
def test_an_alert_is_told_once_until_it_is_over(values):
    state, told = AlertState(active=False, count=0), []
    for value in values:
        alerts = crossings([reading(value)], {"rule|site|fire": state})
        for alert in alerts:
            state = AlertState(alert.kind == "raised", alert.count)
            told.append(alert)
        assert crossings([reading(value)], {"rule|site|fire": state}) == []
        assert not (value >= 10 and not state.active)
        assert not (value < 5 and state.active)
    kinds = [alert.kind for alert in told]
    assert kinds == ["raised", "cleared"] * (len(kinds) // 2) + ["raised"] * (len(kinds) % 2)
    assert len({alert.id for alert in told}) == len(told)


def test_small_values_alarm_where_distance_is_what_counts_and_what_is_gone_is_over():
    near = crossings([reading(8.0, falling=True, clear=15)], {})
    assert [alert.kind for alert in near] == ["raised"]
    standing = {"rule|site|fire": AlertState(active=True, count=1)}
    assert crossings([reading(14.0, falling=True, clear=15)], standing) == []
    assert [alert.kind for alert in crossings([reading(16.0, falling=True, clear=15)], standing)] == ["cleared"]
    assert [alert.kind for alert in crossings([], standing)] == ["cleared"]
    assert [alert.payload["text"] for alert in crossings([], standing)] == ["site: fire fire is no longer there"]


def test_what_was_told_after_a_decision_does_not_depend_on_the_clock(tmp_path):
    ledger = FireLedger(tmp_path / "state.sqlite")
    assert ledger.last_told() == 0
    ledger.decide(crossings([reading(20.0, key="first|site|fire")], {}), "2026-07-20T00:00:00+00:00")
    earlier = ledger.last_told()
    ledger.decide(crossings([reading(20.0, key="second|site|fire")], {}), "2026-07-20T00:00:00+00:00")
    assert (len(ledger.told_after(0)), len(ledger.told_after(earlier))) == (2, 1)
    assert ledger.told_after(ledger.last_told()) == []


ALERTS = {"new_fire_ha": 5, "growth_ha_per_day": {"at": 3, "clear": 1}, "late_days": 7}


def test_a_better_scene_that_comes_late_corrects_what_follows_from_it(tmp_path):
    site = Site(tmp_path)
    first = site.publish("S1", 1, (40, 40, 60, 60), cloud=(40, 50, 60, 60))
    second = site.publish("S2", 2, (40, 40, 60, 65))
    site.fold(first, second)
    (event,) = site.events
    assert event["growth_area_ha"] == pytest.approx(ground_ha((40, 50, 60, 65)), rel=1e-5)
    before = (site.out.root / "fires" / "valley").resolve()
    site.fold(site.publish("S1", 1, (40, 40, 60, 60)))
    (corrected,) = site.events
    assert corrected["growth_area_ha"] == pytest.approx(ground_ha((40, 60, 60, 65)), rel=1e-5)
    assert corrected["id"] == event["id"]
    assert (site.out.root / "fires" / "valley").resolve() != before
    fresh = Site(tmp_path / "fresh")
    fresh.fold(fresh.publish("S1", 1, (40, 40, 60, 60)), fresh.publish("S2", 2, (40, 40, 60, 65)))
    names = ("growth_area_ha", "area_ha", "first_detection", "growth_direction_deg", "growth_front_m")
    assert [fresh.events[0][name] for name in names] == [corrected[name] for name in names]


def test_the_growth_layer_holds_the_date_of_each_pixel_and_what_was_not_observed(tmp_path):
    site = Site(tmp_path)
    site.fold(site.publish("S1", 1, (40, 40, 60, 60)), site.publish("S2", 4, (40, 40, 60, 65), cloud=(0, 0, 50, 45)))
    with rasterio.open(site.out.root / "fires" / "valley" / "growth.tif") as dataset:
        dates = dataset.read(1)
    expected = np.zeros((100, 100), np.uint8)
    expected[0:50, 0:45] = 255
    expected[40:60, 40:60], expected[40:60, 60:65] = 1, 2
    np.testing.assert_array_equal(dates, expected)
    table = read_vectors(site.out.root / "fires" / "valley" / "events.gpkg", "growth")
    assert table.columns["date"].tolist() == ["2024-07-01", "2024-07-04"]


def test_each_fire_of_each_scene_leads_to_its_event(tmp_path):
    site = Site(tmp_path)
    site.fold(
        site.publish("S1", 1, (10, 10, 20, 20), (10, 40, 20, 60)),
        site.publish("S2", 2, (10, 10, 20, 60), (70, 70, 80, 80)),
    )
    found = read_vectors(site.out.root / "fires" / "valley" / "events.gpkg", "detections")
    objects = {}
    for scene in ("S1", "S2"):
        table = read_vectors(site.out.link(scene) / "objects.gpkg")
        objects |= {name: (scene, one.area) for name, one in zip(table.columns["id"], table.geometries, strict=True)}
    names = found.columns["id"].tolist()
    assert sorted(names) == sorted(objects)
    assert [(scene, one.area) for scene, one in zip(found.columns["scene"], found.geometries, strict=True)] == [
        objects[name] for name in names
    ]
    own = {event["id"]: event for event in site.events}
    assert {own[name]["status"] for name in found.columns["event"]} == {"new", "growing"}
    assert sorted(own[name]["first_detection"] for name in found.columns["event"]) == ["2024-07-01"] * 3 + [
        "2024-07-02"
    ]
    assert [event["mean_dnbr"] for event in site.events] == [None] * 3


def test_folding_again_changes_nothing_and_tells_nothing(tmp_path):
    site = Site(tmp_path, alerts=ALERTS)
    sightings = [site.publish("S1", 1, (40, 40, 60, 60)), site.publish("S2", 2, (40, 40, 60, 80))]
    alerts = site.fold(*sightings).alerts
    raised = sorted(alert.payload["rule"] for alert in alerts)
    assert raised == ["growth_ha_per_day", "new_fire_ha"]
    folder = (site.out.root / "fires" / "valley").resolve()
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert site.fold(*sightings).alerts == ()
    assert (site.out.root / "fires" / "valley").resolve() == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == content
    assert len(FireLedger(site.out.ledger).unsent()) == 2
    for message in FireLedger(site.out.ledger).unsent():
        FireLedger(site.out.ledger).mark_sent(message)
    assert FireLedger(site.out.ledger).unsent() == []
    # No growth the night after: that alert is over, the one on size stands.
    after = site.fold(site.publish("S3", 3, (40, 40, 60, 80))).alerts
    assert [(alert.payload["rule"], alert.kind) for alert in after] == [("growth_ha_per_day", "cleared")]
    late = site.fold(now="2024-07-20T06:00:00+00:00").alerts
    assert [(alert.payload["rule"], alert.kind) for alert in late] == [("late_days", "raised")]


def test_a_scene_whose_product_never_arrived_is_no_observation(tmp_path):
    site = Site(tmp_path, alerts={"late_days": 7})
    failed = Sighting("S9", "valley", "2024-07-09")
    followed = site.fold(site.publish("S1", 1, (40, 40, 60, 60)), failed, now="2024-07-10T06:00:00+00:00")
    assert [alert.payload["text"] for alert in followed.alerts] == [
        "valley: nothing observed for 9 days, since 2024-07-01"
    ]
    assert site.fold(Sighting("T1", "hill", "2024-01-01"), now="2024-07-10T06:00:00+00:00").alerts == ()


def test_assets_near_a_fire_are_told_of_and_a_file_without_crs_is_refused(tmp_path):
    # The eastern edge of the fire lies at x = 501 200; the house 400 m beyond it, the farm 5 km.
    points = np.array([shapely.Point(501_600, 4_999_000), shapely.Point(506_200, 4_999_000)], dtype=object)
    names = {"name": ["house", "farm"]}
    write_gpkg(
        tmp_path / "assets.gpkg",
        VectorTable(name="assets", crs_wkt=UTM, geometries=points, columns=names, geometry_type="Point"),
    )
    site = Site(tmp_path, alerts={"asset_km": 1, "assets": str(tmp_path / "assets.gpkg")})
    (alert,) = site.fold(site.publish("S1", 1, (40, 40, 60, 60))).alerts
    assert "from house" in alert.payload["text"]
    assert alert.payload["value"] == pytest.approx(0.4 / 0.9996, rel=1e-3)
    write_gpkg(
        tmp_path / "assets.gpkg",
        VectorTable(name="assets", crs_wkt=None, geometries=points, columns=names, geometry_type="Point"),
    )
    followed = site.fold(Sighting("S1", "valley", "2024-07-01"))
    # What stood stands: a file that cannot be read says nothing of where the fire is.
    assert followed.alerts == ()
    assert ["no CRS" in problem for problem in followed.problems] == [True]


def test_alerts_become_prefect_events_with_lasting_ids(tmp_path, prefect_api):
    from flows.batch import alerts

    site = Site(tmp_path, alerts=ALERTS)
    sighting = site.publish("S1", 1, (40, 40, 60, 60))
    (alert,) = site.fold(sighting).alerts
    for _ in range(2):
        alerts.send_alerts(FireLedger(site.out.ledger))
    # When the call is back the server has the event, once.
    (event,) = prefect_api.events
    assert event.event == "swathe.fire.new_fire_ha.raised"
    assert event.id == str(alert.id)
    assert event.resource["prefect.resource.id"] == f"swathe.fire.valley.{alert.payload['event']}"
    assert event.payload["value"] == pytest.approx(ground_ha((40, 40, 60, 60)), rel=1e-5)


def test_an_alert_that_no_server_took_is_sent_by_the_next_run(tmp_path, prefect_api, caplog):
    from flows.batch import alerts

    site = Site(tmp_path, alerts=ALERTS)
    site.fold(site.publish("S1", 1, (40, 40, 60, 60)))
    ledger = FireLedger(site.out.ledger)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        alerts.send_alerts(ledger)
    prefect_api.status = 500
    alerts.send_alerts(ledger)
    assert prefect_api.asked == ["/api/events"]
    assert caplog.text.count("for the next run") == 2
    assert len(ledger.unsent()) == 1
    prefect_api.status = 204
    alerts.send_alerts(ledger)
    assert ledger.unsent() == []
    assert [event.event for event in prefect_api.events] == ["swathe.fire.new_fire_ha.raised"]


def test_a_batch_follows_the_scenes_that_have_a_product_and_a_date(tmp_path, monkeypatch):
    from flows.batch import following
    from tasks.analysis.fire import following as fire_following
    from tasks.inputs.input import Input
    from tasks.intake.request import make_request
    from tasks.jobs.job import Job
    from tasks.out.outcome import SceneOutcome

    job = Job.model_validate(
        {"job": "t", "kind": "raster", "model": {"name": "identity"}, "analysis": {"kind": "fire"},
         "source": {"dates": {"post": "{scene:%Y%m%d}"}}}
    )  # fmt: skip
    request = make_request(job, tmp_path)
    items = [
        Input(id="CREEK_20240726", files={}, date="2024-07-26"),
        Input(id="x", files={}, site="valley", date="2024-07-27"),
        Input(id="broken_20240726", files={}, date="2024-07-26"),
        Input(id="undated", files={}),
    ]
    outcomes = [SceneOutcome(scene=item.id, status="failed" if "broken" in item.id else "done") for item in items]
    asked = []
    sent = []
    monkeypatch.setattr(following, "send_alerts", sent.append)

    def folded(out, settings, sightings, now, today):
        asked.extend(sightings)
        raise StoreError("a mistake here costs the events, never the batch")

    monkeypatch.setattr(fire_following, "fold_fires", folded)
    following.follow(request, items, outcomes)
    assert asked == [Sighting("CREEK_20240726", "CREEK", "2024-07-26"), Sighting("x", "valley", "2024-07-27")]
    # What earlier runs decided is sent all the same.
    assert [ledger.path for ledger in sent] == [request.out.ledger]


@pytest.mark.parametrize("damage", ['{"site": "val', "[]"])
def test_damaged_events_cost_the_events_never_the_batch_until_they_are_deleted(tmp_path, monkeypatch, damage):
    from flows.batch import following
    from tasks.analysis.fire import following as fire_following
    from tasks.intake.request import make_request
    from tasks.jobs.job import Job

    site = Site(tmp_path)
    site.fold(site.publish("S1", 1, (40, 40, 60, 60)))
    link = site.out.root / "fires" / "valley"
    (link / "events.json").write_text(damage)
    job = Job.model_validate(
        {"job": "t", "kind": "raster", "model": {"name": "identity"}, "analysis": {"kind": "fire", "min_area_ha": 0}}
    )
    request = make_request(job, site.out.root)
    monkeypatch.setattr(fire_following, "fold_fires", lambda *_, **__: site.fold())
    told = []
    monkeypatch.setattr(following.logger, "error", lambda text, *about: told.append(text % about))
    assert following.follow(request, [], []) == ()
    assert f"Delete the link {link} and the folder {link.resolve()}" in told[0]
    shutil.rmtree(link.resolve())
    link.unlink()
    (trail,) = following.follow(request, [], [])
    assert trail.rows[0][0] == "valley"
    assert len(site.events) == 1


def test_a_scene_whose_run_died_before_the_fold_is_followed_by_the_next_one(tmp_path):
    site = Site(tmp_path, alerts=ALERTS)
    # What the publish step does, and no fold after it.
    FireLedger(site.out.ledger).enter([site.publish("W1", 1, (40, 40, 60, 60), site="west")])
    FireLedger(site.out.ledger).enter([site.publish("S1", 1, (40, 40, 60, 60))])
    followed = site.fold(site.publish("S2", 2, (40, 40, 60, 65)))
    assert [one.site for one in followed.sites] == ["valley", "west"]
    assert [event["first_detection"] for event in site.events] == ["2024-07-01"]
    assert {alert.payload["site"] for alert in followed.alerts} == {"valley", "west"}
    # Sites that are up to date are not folded again.
    assert [one.site for one in site.fold().sites] == []


def test_a_fold_that_died_before_it_published_is_done_again_and_tells_nothing_twice(tmp_path, monkeypatch):
    site = Site(tmp_path, alerts=ALERTS)
    sighting = site.publish("S1", 1, (40, 40, 60, 60))
    with monkeypatch.context() as patch:
        patch.setattr(fire_events, "_publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            site.fold(sighting)
    assert len(FireLedger(site.out.ledger).unsent()) == 1
    followed = site.fold()
    assert [one.site for one in followed.sites] == ["valley"]
    assert (followed.alerts, len(site.events)) == ((), 1)
    assert len(FireLedger(site.out.ledger).unsent()) == 1


def test_the_publish_step_enters_what_a_scene_shows_before_its_product(tmp_path, monkeypatch):
    from flows.batch import steps

    out, sighting = OutFolder(tmp_path), Sighting("S1", "valley", "2024-07-01")

    def died(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "publish_product", died)
    monkeypatch.setattr(steps, "write_run_record", lambda *_: None)
    monkeypatch.setattr(steps, "scene_made", lambda *_, **__: None)
    prepared = SimpleNamespace(scene=SimpleNamespace(id="S1"), product_key="k", work=SimpleNamespace(plan=None))
    with pytest.raises(KeyboardInterrupt):
        steps.publish(
            SimpleNamespace(out=out),
            prepared,
            tmp_path,
            steps.RunFacts(run="r", headline={}, reports=(), sighting=sighting),
        )
    assert FireLedger(out.ledger).sightings("valley") == [sighting]


def test_what_is_not_observed_neither_raises_nor_clears(tmp_path):
    site = Site(tmp_path, alerts=ALERTS)
    site.fold(site.publish("S1", 1, (40, 40, 60, 60)), site.publish("S2", 2, (40, 40, 60, 80)))
    # A corner below the cloud, where it may burn on.
    assert site.fold(site.publish("S3", 3, cloud=(30, 30, 45, 45))).alerts == ()
    (over,) = site.fold(site.publish("S4", 4, cloud=(0, 0, 39, 39))).alerts
    assert (over.payload["rule"], over.kind, over.payload["value"]) == ("growth_ha_per_day", "cleared", 0.0)


@pytest.mark.parametrize(
    ("severity", "unobserved", "told"),
    [({"severity_high_ha": 2.0}, (), ["cleared"]), ({}, (), []), ({"severity_high_ha": 2.0}, ("01-0",), []),
     ({"severity_high_ha": 9.0}, (), []), ({"severity_high_ha": 5.0}, (), [])],
)  # fmt: skip
def test_high_severity_is_over_where_it_is_known_to_be(severity, unobserved, told):
    rules = AlertRules.model_validate({"high_severity_ha": {"at": 10, "clear": 5}})
    ground = pixels(10, 10, 20, 20)
    history = fold(
        [
            Observation(
                "S", "2024-07-01", (Seen(id="01-0", geometry=ground, severity_ha=severity, observed_percent=100.0),)
            )
        ],
        EARTH,
        RULES,
    )
    (read,) = fire_readings("valley", history, rules, ("severity_high_ha",), unobserved)
    standing = {read.key: AlertState(active=True, count=1)}
    assert [alert.kind for alert in crossings([read], standing)] == told


def test_an_event_that_is_seen_no_more_on_observed_ground_does_not_grow():
    rules = AlertRules.model_validate({"growth_ha_per_day": 3})
    history = fold([night(1, (10, 10, 20, 20)), night(2, (10, 10, 40, 40)), night(3)], EARTH, RULES)
    (event,) = history.events
    assert event.growth.ha_per_day > 3
    values = [fire_readings("s", history, rules, (), hidden)[0].value for hidden in ((), (event.id,))]
    assert values == [0.0, None]


@pytest.mark.parametrize(("geometry", "seen"), [
    ((10, 10, 20, 20), True), ((35, 35, 45, 45), False), ((0, 0, 100, 100), False), ((95, 95, 105, 105), False),
])  # fmt: skip
@pytest.mark.parametrize("window", [7, 2048])
def test_ground_is_observed_where_all_of_it_is(monkeypatch, geometry, seen, window):
    observed = np.ones((100, 100), bool)
    observed[40:60, 40:60] = False
    monkeypatch.setattr(growth, "_WINDOW", window)
    assert growth.is_observed(pixels(*geometry), lambda box: observed[box.slices], GRID) is seen


def test_sites_of_any_name_have_folders_and_alerts_of_their_own(tmp_path):
    names = ["a b", "a_b", "a|b", "..", "a/b", "100%"]
    site = Site(tmp_path, alerts=ALERTS)
    shown = [site.publish(f"S{k}", 1, (40, 40, 60, 60), site=name) for k, name in enumerate(names)]
    followed = site.fold(*shown)
    assert sorted(alert.payload["site"] for alert in followed.alerts) == sorted(names)
    found = {json.loads(path.read_text())["site"]: path for path in (site.out.root / "fires").glob("*/events.json")}
    assert sorted(found) == sorted(names)
    assert found["a_b"].parent.name == "a_b"
    assert site.fold(*shown).alerts == ()


def test_an_event_of_a_site_of_any_name_says_which_site(tmp_path, prefect_api):
    from flows.batch import alerts

    site = Site(tmp_path, alerts=ALERTS)
    (alert,) = site.fold(site.publish("S1", 1, (40, 40, 60, 60), site="a|b%")).alerts
    alerts.send_alerts(FireLedger(site.out.ledger))
    assert prefect_api.events[0].resource["swathe.site"] == "a|b%"
    assert prefect_api.events[0].resource["prefect.resource.id"].endswith(alert.payload["event"])


def test_a_site_that_no_scene_shows_any_more_is_published_no_more(tmp_path):
    site = Site(tmp_path, alerts=ALERTS)
    site.fold(site.publish("S1", 1, (40, 40, 60, 60), site="alpha"))
    FireLedger(site.out.ledger).enter([Sighting("S1", "beta", "2024-07-01")])
    followed = site.fold()
    assert [path.name for path in (site.out.root / "fires").iterdir() if path.is_symlink()] == ["beta"]
    assert [(alert.key.split("|")[1], alert.kind) for alert in followed.alerts] == [
        ("beta", "raised"), ("alpha", "cleared"),
    ]  # fmt: skip


def test_a_broken_file_of_assets_silences_no_other_rule(tmp_path):
    site = Site(tmp_path, alerts={**ALERTS, "asset_km": 1, "assets": str(tmp_path / "none.gpkg")})
    followed = site.fold(site.publish("S1", 1, (40, 40, 60, 60)))
    assert [alert.payload["rule"] for alert in followed.alerts] == ["new_fire_ha"]
    assert len(followed.problems) == 1
    assert len(site.events) == 1


def test_ids_carry_over_none_and_many_and_are_never_given_twice():
    assert carry_ids(fold([], EARTH, RULES), {}).events == ()
    now = fold([night(1, (10, 10, 20, 20), (50, 50, 60, 60))], EARTH, RULES)
    # Known under each other's names: both take the name that lay there before.
    known = {"01-1": pixels(10, 10, 20, 20), "old": pixels(50, 50, 60, 58), "gone": pixels(80, 80, 90, 90)}
    carried = carry_ids(now, known)
    assert {event.id: event.area_ha for event in carried.events} == {
        "01-1": next(event.area_ha for event in now.events if event.id == "01-0"),
        "old": next(event.area_ha for event in now.events if event.id == "01-1"),
    }
    alone = carry_ids(now, {"01-1": pixels(10, 10, 20, 20)})
    assert len({event.id for event in alone.events}) == 2
