"""STAC catalogues as inboxes: what is found, which of several items counts, where files lie, what is wrong by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import shapely
from catalogues import make_item, served, write_catalogue
from scenes import write_raster

from tasks.errors import CatalogueError, JobError
from tasks.files.fingerprint import Fingerprint
from tasks.inputs.stac import item_date
from tasks.intake.describe import identify
from tasks.intake.request import make_request
from tasks.jobs.job import load_job
from tasks.nights.arrivals import is_catalogue, list_arrivals

JOB = """
job: sky
kind: raster
model: {name: threshold, arguments: {threshold: 100}}
source:
  bands: {red: {file: red, band: 1}, SCL: {file: scl, band: 1}}
  invalid: {band: SCL, values: [9]}
nightly: {stac: {assets: {red: B04, scl: SCL}, collections: [s2], lookback_days: 5}}
"""
TONIGHT = "2026-07-21"


@pytest.fixture
def job(tmp_path):
    def load(*overrides: str):
        path = tmp_path / "sky.yaml"
        path.write_text(JOB)
        return load_job(str(path), overrides)

    return load


def assets(name: str) -> dict[str, str]:
    return {"B04": f"./{name}.tif", "SCL": f"./{name}-scl.tif"}


def put(folder: Path, name: str, day: str, value: int = 150, **told) -> None:
    """Write an item with its rasters into a catalogue's folder, beside what is there."""
    place = folder / "s2" / name
    write_raster(place / f"{name}.tif", np.full((1, 30, 20), value, np.uint8))
    write_raster(place / f"{name}-scl.tif", np.full((1, 30, 20), 4, np.uint8))
    known = list(_items(folder)) if (folder / "catalog.json").exists() else []
    write_catalogue(folder, [*known, make_item(name, day, assets(name), **told)])


def _items(folder: Path):
    for path in sorted((folder / "s2").glob("*/*.json")):
        item = pystac.Item.from_dict(json.loads(path.read_text()))
        item.clear_links()
        yield item


@pytest.fixture
def catalogue(tmp_path):
    folder = tmp_path / "catalogue"
    put(folder, "old", "2026-07-01")
    put(folder, "first", "2026-07-18")
    put(folder, "other", "2026-07-18", site="MGRS-33TUM")
    put(folder, "later", "2026-07-20", cloud=60.0)
    return folder


def found(inbox, job, last: str | None = None) -> dict[str, str]:
    return {item.id: Path(item.files["red"]).stem for item in list_arrivals(str(inbox), job, TONIGHT, last)}


EXPECTED = {"MGRS-32TQM_20260718": "first", "MGRS-33TUM_20260718": "other", "MGRS-32TQM_20260720": "later"}


def test_a_folder_of_linked_files_holds_scenes_by_site_and_date(catalogue, job):
    items = list_arrivals(str(catalogue / "catalog.json"), job(), TONIGHT, None)
    assert {item.id: Path(item.files["red"]).stem for item in items} == EXPECTED
    first = next(item for item in items if item.id == "MGRS-32TQM_20260718")
    assert (first.site, first.date, first.error) == ("MGRS-32TQM", "2026-07-18", None)
    assert first.files == {
        "red": str(catalogue / "s2" / "first" / "first.tif"),
        "scl": str(catalogue / "s2" / "first" / "first-scl.tif"),
    }


def test_the_same_over_http_has_addresses_from_which_the_pixels_come(catalogue, job, tmp_path):
    with served(catalogue) as url:
        items = list_arrivals(f"{url}/catalog.json", job(), TONIGHT, None)
        assert {item.id: Path(item.files["red"]).stem for item in items} == EXPECTED
        assert items[0].files["red"] == f"{url}/s2/first/first.tif"
        known = identify(make_request(job(), tmp_path / "out", None), items[0])
    assert not known.content_hashed


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_api_is_asked_page_by_page_for_what_the_job_looks_for(catalogue, job, method):
    features = [item.to_dict() for item in _items(catalogue)]
    for feature in features:
        for asset in feature["assets"].values():
            asset["href"] = f"https://example.org/{feature['id']}.tif"
    (catalogue / "items.json").write_text(json.dumps(features))
    with served(catalogue, method) as url:
        assert found(url, job("nightly.stac.area=[8.9,44.9,9.3,45.3]")) == EXPECTED
    asked = [json.loads(line) for line in (catalogue / "asked.jsonl").read_text().splitlines()]
    assert len(asked) == 2
    assert asked[0]["datetime"] == "2026-07-16T00:00:00Z/2026-07-21T23:59:59Z"
    assert asked[0]["collections"] in (["s2"], "s2")
    assert asked[0]["bbox"] in ([8.9, 44.9, 9.3, 45.3], "8.9,44.9,9.3,45.3")


@pytest.mark.parametrize(
    ("told", "day"),
    [
        ("2026-11-19T23:30:00-05:00", "2026-11-20"),
        ("2026-11-20T00:30:00+02:00", "2026-11-19"),
        ("2026-11-19T23:30:00Z", "2026-11-19"),
        ("2026-11-19T23:30:00", "2026-11-19"),
    ],
)
def test_the_date_of_a_scene_is_that_in_utc_whatever_zone_its_item_tells_the_time_in(told, day):
    facts = make_item("a", "2026-11-19", {}).to_dict()
    facts["properties"]["datetime"] = told
    assert item_date(pystac.Item.from_dict(facts)) == day


def test_after_an_outage_the_days_before_the_last_night_are_looked_at_too(catalogue, job):
    assert "MGRS-32TQM_20260701" in found(catalogue / "catalog.json", job(), "2026-07-06")
    assert "MGRS-32TQM_20260701" not in found(catalogue / "catalog.json", job(), "2026-07-07")


AREAS = {
    "[9.1,45.1,10,46]": 3,
    "[9.3,45.1,10,46]": 0,
    # Across the antimeridian.
    "[170,-60,9.1,60]": 3,
    "[170,-60,-170,60]": 0,
}


@pytest.mark.parametrize("area", AREAS)
def test_what_lies_outside_the_area_is_not_taken(catalogue, job, area):
    assert len(found(catalogue / "catalog.json", job(f"nightly.stac.area={area}"))) == AREAS[area]


@pytest.mark.parametrize(("north", "count"), [(45.05, 3), (44.9, 0)])
def test_the_area_may_be_the_outlines_of_a_vector_file_in_any_crs(catalogue, job, tmp_path, north, count):
    import geopandas

    # A triangle: its box reaches further than itself.
    outline = shapely.Polygon([(8.0, 44.0), (10.0, 44.0), (9.1, north)])
    path = tmp_path / "area.gpkg"
    geopandas.GeoSeries([outline], crs="EPSG:4326").to_crs("EPSG:32632").to_file(path)
    assert len(found(catalogue / "catalog.json", job(f"nightly.stac.area={path}"))) == count


def test_clouded_items_and_other_collections_are_not_taken(catalogue, job):
    assert set(found(catalogue / "catalog.json", job("nightly.stac.max_cloud=50"))) == set(EXPECTED) - {
        "MGRS-32TQM_20260720"
    }
    assert found(catalogue / "catalog.json", job("nightly.stac.collections=[landsat]")) == {}


BETTER = [
    ({"cloud": 40.0}, {"cloud": 20.0}),
    ({"cloud": None}, {"cloud": 90.0}),
    ({"cloud": 20.0, "updated": "2026-07-19T00:00:00Z"}, {"cloud": 20.4, "updated": "2026-07-20T00:00:00Z"}),
    ({"cloud": 20.0}, {"cloud": 20.0, "updated": "2026-07-19T00:00:00Z"}),
    (
        {"cloud": 20.0, "updated": "2026-07-19T12:00:00+02:00"},
        {"cloud": 20.0, "updated": "2026-07-19T11:00:00+00:00"},
    ),
]


@pytest.mark.parametrize(("worse", "better"), BETTER)
@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_one_site_and_date_the_better_item_counts(tmp_path, job, worse, better, names):
    folder = tmp_path / "catalogue"
    put(folder, names[0], "2026-07-20", **worse)
    put(folder, names[1], "2026-07-20", **better)
    assert found(folder / "catalog.json", job()) == {"MGRS-32TQM_20260720": names[1]}


def fingerprint(folder: Path, inbox: str, job, out: Path) -> Fingerprint:
    (item,) = list_arrivals(inbox, job, TONIGHT, None)
    return identify(make_request(job, out, None), item)


def test_a_better_item_changes_the_input_here_and_behind_addresses(tmp_path, job):
    folder, out = tmp_path / "catalogue", tmp_path / "out"
    put(folder, "a", "2026-07-20", cloud=30.0)
    with served(folder) as url:
        for inbox in (str(folder / "catalog.json"), f"{url}/catalog.json"):
            before = fingerprint(folder, inbox, job(), out)
            assert fingerprint(folder, inbox, job(), out) == before
            # The header is the same, and behind an address the header is all that is read.
            put(folder, "b", "2026-07-20", value=90, cloud=10.0)
            assert fingerprint(folder, inbox, job(), out) != before
            (folder / "s2" / "b" / "b.json").unlink()
            write_catalogue(folder, list(_items(folder)))
        remote = fingerprint(folder, f"{url}/catalog.json", job(), out)
        local = fingerprint(folder, str(folder / "catalog.json"), job(), out)
        put(folder, "a", "2026-07-20", cloud=30.0, updated="2026-07-21T00:00:00Z")
        assert fingerprint(folder, f"{url}/catalog.json", job(), out) != remote
        # What is read here tells itself whether it changed.
        assert fingerprint(folder, str(folder / "catalog.json"), job(), out) == local


def test_the_earlier_scene_of_a_pair_may_be_older_than_what_is_new(catalogue, tmp_path):
    text = JOB.replace("  invalid:", "  pair: {files: {pre: red}, days: [5, 30]}\n  invalid:")
    path = tmp_path / "pair.yaml"
    path.write_text(text)
    items = list_arrivals(str(catalogue / "catalog.json"), load_job(str(path)), TONIGHT, None)
    assert {item.id for item in items} == set(EXPECTED)
    by_id = {item.id: item for item in items}
    assert Path(by_id["MGRS-32TQM_20260718"].files["pre"]).stem == "old"
    assert "old" in by_id["MGRS-32TQM_20260718"].revision
    assert by_id["MGRS-33TUM_20260718"].waits


SITES = {
    "T32TQM": {"s2:mgrs_tile": "T32TQM"},
    "32TQM": {"mgrs:utm_zone": 32, "mgrs:latitude_band": "T", "mgrs:grid_square": "QM"},
    "044034": {"landsat:wrs_path": "044", "landsat:wrs_row": "034"},
    "my_place": {"place": "my place"},
}


@pytest.mark.parametrize("site", SITES)
def test_a_catalogue_without_grid_codes_names_sites_otherwise(tmp_path, job, site):
    folder = tmp_path / "catalogue"
    item = make_item("a", "2026-07-20", assets("a"), site=None)
    item.properties |= SITES[site]
    write_catalogue(folder, [item])
    wanted = job("nightly.stac.site=place") if site == "my_place" else job()
    (found_item,) = list_arrivals(str(folder / "catalog.json"), wanted, TONIGHT, None)
    assert found_item.id == f"{site}_20260720"


def test_an_item_that_cannot_be_used_costs_itself_alone(tmp_path, job):
    folder = tmp_path / "catalogue"
    write_catalogue(
        folder,
        [
            make_item("whole", "2026-07-20", assets("whole")),
            make_item("lacking", "2026-07-20", {"B03": "x.tif", "SCL": "y.tif"}, site="MGRS-33TUM"),
            make_item("nowhere", "2026-07-20", assets("nowhere"), site=None),
            make_item("damaged", "2026-07-20", assets("damaged"), site="MGRS-34TUM"),
            make_item("gone", "2026-07-20", assets("gone"), site="MGRS-35TUM"),
        ],
    )
    (folder / "s2" / "damaged" / "damaged.json").write_text("{")
    (folder / "s2" / "gone" / "gone.json").unlink()
    errors = {item.id: item.error for item in list_arrivals(str(folder / "catalog.json"), job(), TONIGHT, None)}
    assert errors.pop("MGRS-32TQM_20260720") is None
    assert "lacking: no asset 'B04'; found B03, SCL" in errors.pop("MGRS-33TUM_20260720")
    assert "nowhere: no property 'grid:code' names its site; found datetime" in errors.pop("nowhere")
    assert "damaged.json: not a readable STAC item" in errors.pop("damaged")
    assert "gone.json: not a readable STAC item" in errors.pop("gone")
    assert errors == {}


@pytest.mark.parametrize("href", ["/etc/passwd", "/vsizip/x.zip/a.tif", "file:///etc/passwd", "ftp://x/a.tif"])
def test_a_catalogue_of_others_names_no_files_of_this_machine(tmp_path, job, href):
    item = make_item("a", "2026-07-20", {"B04": href, "SCL": href}).to_dict()
    (tmp_path / "items.json").write_text(json.dumps([item]))
    with served(tmp_path) as url:
        (scene,) = list_arrivals(url, job(), TONIGHT, None)
    assert "assets are read from http, https, s3, gs" in scene.error
    assert scene.files == {}


def test_what_is_no_catalogue_is_named(tmp_path, job):
    other = tmp_path / "other.json"
    other.write_text('{"type": "FeatureCollection"}')
    text = tmp_path / "text.json"
    text.write_text("hello")
    with served(tmp_path) as url:
        inboxes = [other, text, tmp_path / "absent.json", f"{url}/absent.json", "http://127.0.0.1:9/catalog.json"]
        for inbox in inboxes:
            with pytest.raises(CatalogueError, match=r"no STAC catalogue can be read there \("):
                list_arrivals(str(inbox), job(), TONIGHT, None)
        with pytest.raises(CatalogueError, match=r"search does not answer \(APIError"):
            list_arrivals(url, job(), TONIGHT, None)
        with pytest.raises(CatalogueError, match=r"nightly\.stac\.area: .*cannot be read"):
            list_arrivals(url, job("nightly.stac.area=/absent.gpkg"), TONIGHT, None)
    with pytest.raises(JobError, match=r"other\.json is a STAC catalogue; say under nightly\.stac"):
        list_arrivals(str(other), job("nightly.stac=null", "source={}"), TONIGHT, None)


def test_an_address_or_a_json_file_is_a_catalogue_and_else_a_folder():
    assert [is_catalogue(text) for text in ("https://x/stac", "a/catalog.json", "in", "/vsis3/bucket")] == [
        True,
        True,
        False,
        False,
    ]
