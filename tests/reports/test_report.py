"""Pages say what they were given and nothing else, need nothing beside them, and are the same for the same input."""

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pages import HOSTILE, LONG, Page, full_report
from PIL import Image

from tasks.analysis.subject import Findings
from tasks.analysis.summary import write_findings
from tasks.reports.blocks import Picture, Section, Table
from tasks.reports.legend import Caption, LegendEntry
from tasks.reports.page import Report, render_report
from tasks.reports.page_figures import figure, heading, number
from tasks.reports.page_layout import table_view
from tasks.reports.page_record import record_tables
from tasks.reports.pictures.charts import Bar, Line, bar_chart, line_chart, round_steps
from tasks.reports.pictures.maps import map_picture
from tasks.reports.pictures.quicklook import quicklook

STYLE = Path(__file__).parents[2] / "tasks" / "reports" / "page.css"
EMPTY = Report(title="", scene="", lines=(), headline={}, sections=())
FACTS = {"scene": "CREEK", "job": "fire", "shape": (3, 4), "warnings": ["clouds"], "plan": {"versions": {"numpy": "2"}}}


def policy(page: Page) -> dict[str, list[str]]:
    found = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert len(found) == 1
    return {name: rest for name, *rest in (part.split() for part in found[0].split(";"))}


@pytest.mark.parametrize("text", [HOSTILE, LONG, "\u65e5\u672c {x} %s $a$ \u202e"])
def test_a_page_holds_what_it_was_given_as_text_and_no_element_of_it(text):
    page, plain = Page.read(render_report(full_report(text))), Page.read(render_report(full_report("burned")))
    assert [tag for tag, _ in page.elements if tag not in {"p", "b"}] == [
        tag for tag, _ in plain.elements if tag not in {"p", "b"}
    ]
    assert page.all("script") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    shown = text.replace("\x00", "\ufffd").replace("\ud800", "?")
    assert shown.strip() in "".join(page.text)


def test_a_page_needs_nothing_beside_it():
    content = render_report(full_report())
    page = Page.read(content)
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert all(source["srcset"].startswith("data:image/") for source in page.all("source"))
    assert page.all("link") == page.all("iframe") == page.all("script") == []
    rules = policy(page)
    assert rules["default-src"] == ["'none'"]
    assert rules["img-src"] == ["data:"]
    style = re.search(rb"<style>(.*?)</style>", content, re.DOTALL)[1]
    assert rules["style-src"] == [f"'sha256-{base64.b64encode(hashlib.sha256(style).digest()).decode()}'"]
    assert b"url(" not in style
    assert b"@import" not in style
    assert not [attributes for _, attributes in page.elements if "style" in attributes]


def test_links_stay_in_the_folder_or_on_the_page():
    page = Page.read(render_report(full_report("javascript:alert(1)")))
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [link["href"] for link in page.all("a")]
    assert "javascript%3Aalert%281%29" in links
    assert all(link[1:] in anchors for link in links if link.startswith("#"))
    assert not [link for link in links if ":" in link or link.startswith("/")]


def test_pictures_and_tables_have_names_and_ids_are_unique():
    page = Page.read(render_report(full_report()))
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        assert attributes.get("aria-labelledby", ids[0]) in ids
    assert [html.get("lang") for html in page.all("html")] == ["en"]


def test_the_same_report_gives_the_same_bytes_and_another_gives_others():
    first = render_report(full_report())
    assert first == render_report(full_report.__wrapped__())
    assert first != render_report(replace(full_report(), warnings=()))


def test_a_report_of_nothing_is_a_page():
    assert Page.read(render_report(EMPTY)).all("h1")


def contrast(one: str, other: str) -> float:
    """WCAG 2.1, relative luminance and contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_told_from_its_paper(theme):
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    ]
    colours = themes[theme]
    for ink in ("ink", "muted", "link", "good", "bad"):
        for paper in ("paper", "panel"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    assert contrast(colours["warn"], colours["warn-paper"]) >= 4.5
    assert contrast(colours["bad"], colours["bad-paper"]) >= 4.5


@given(st.floats(-1e12, 1e12))
def test_a_number_as_written_is_the_number_to_four_digits(value):
    read = float(number(value).replace(",", "").replace("\u2212", "-"))
    assert math.isclose(read, value, rel_tol=6e-4, abs_tol=1e-320)


@given(st.integers(-(10**18), 10**18))
def test_a_count_loses_no_digit(value):
    assert int(number(value).replace(",", "").replace("\u2212", "-")) == value


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("burned_ha", 12345.67, ("Burned", "12,346", "ha")),
        ("growth_ha_per_day", 0.0123456, ("Growth", "0.01235", "ha/day")),
        ("lesions", 3, ("Lesions", "3", "")),
        ("sum_of_diameters_mm", None, ("Sum of diameters", "not computed", "")),
        ("is_new", True, ("Is new", "yes", "")),
        ("response", "SD", ("Response", "SD", "")),
        ("recist_sum_mm", 370.5, ("RECIST sum", "370.5", "mm")),
        ("dnbr_offset", -0.0001, ("dNBR offset", "\u22120.0001", "")),
    ],
)
def test_a_headline_number_is_split_into_label_number_and_unit(name, value, expected):
    found = figure(name, value)
    assert (found.label, found.value, found.unit) == expected


def test_a_heading_holds_the_unit():
    assert [heading("burned_ha"), heading("lesions")] == ["Burned (ha)", "Lesions"]


def test_columns_of_numbers_are_found_and_names_of_rows_are_none():
    rows = (("1", "1,234.5", "12 %", "not computed", "7 of 9"), ("2", "\u22120.3", "3.5 %", "4 to 5.5 mm", "x"))
    view = table_view(Table("t", ("a", "b", "c", "d", "e"), rows))
    assert view.numeric == (False, True, True, True, False)


def test_a_table_under_its_own_name_says_it_once_to_the_eye():
    tables = tuple(Table(caption, ("a",), (("1",),)) for caption in ("Fields", "Others"))
    page = Page.read(
        render_report(Report(title="t", scene="s", lines=(), headline={}, sections=(Section("Fields", tables),)))
    )
    assert [caption.get("class") for caption in page.all("caption")] == ["unseen", None]


def test_a_chart_says_its_numbers_and_does_not_draw_what_is_absent():
    chart = bar_chart("Area", "ha", [Bar("a", 10.0, interval=(8.0, 12.5)), Bar("b", None)])
    assert chart.alt == "Area: a 10 ha (8 to 12.5); b not computed"
    assert chart.light != chart.dark
    assert len(_drawn(chart, "rect")) == 1
    assert {"a", "b", "10", "not computed", "ha"} <= {text.text for text in _drawn(chart, "text")}


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9, allow_subnormal=False)), min_size=1, max_size=12),
    st.text(max_size=40),
)
def test_everything_of_a_chart_is_inside_it_whatever_its_numbers_and_names(values, name):
    days = tuple(range(len(values)))
    bars = bar_chart("a", name, [Bar(name, v, interval=None if v is None else (v - 1.0, v + 1.0)) for v in values])
    lines = line_chart("a", name, days, [name] * len(days), [Line(name, tuple(values)), Line("b", tuple(values))])
    for chart in (bars, lines):
        width, height = (float(part) for part in ET.fromstring(chart.light).attrib["viewBox"].split()[2:])
        for element in _drawn(chart):
            cols = [float(element.attrib[key]) for key in ("x", "x1", "x2", "cx") if key in element.attrib]
            rows = [float(element.attrib[key]) for key in ("y", "y1", "y2", "cy") if key in element.attrib]
            assert all(0 <= col <= width for col in cols)
            assert all(0 <= row <= height for row in rows)
    assert len(_drawn(lines, "circle")) == 2 * sum(value is not None for value in values)


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12))
def test_steps_of_an_axis_are_round_few_and_inside(low, span):
    high = low + span
    assume(high - low > 1e-9 * max(abs(low), abs(high)))
    steps = round_steps(low, high)
    slack = 1e-6 * (high - low) + 1e-9 * max(abs(low), abs(high))
    assert len(steps) <= 6
    assert all(low - slack <= step <= high + slack for step in steps)
    if len(steps) > 1:
        assert f"{steps[1] - steps[0]:.3e}"[0] in "125" or high - low < 1e-6 * abs(low)


def _drawn(chart, tag=""):
    return [element for element in ET.fromstring(chart.light).iter() if element.tag.endswith(f"}}{tag}" if tag else "")]


def test_a_map_has_a_scale_bar_where_the_ground_is_known_and_hatches_what_was_not_observed():
    labels = np.zeros((50, 80), np.uint8)
    image = np.full((50, 80, 3), 90, np.uint8)
    legend = {1: LegendEntry("burned", "#d7301f")}
    with_bar = map_picture(image, labels, legend, (10.0, 10.0), "map")
    assert with_bar.png != map_picture(image, labels, legend, (0.0, 0.0), "map").png
    assert [entry.name for entry in with_bar.legend] == ["burned"]
    labels[:9] = 255
    assert [entry.name for entry in map_picture(image, labels, legend, (10.0, 10.0), "map").legend] == [
        "burned",
        "not observed",
    ]


@pytest.mark.parametrize(("side", "drawn"), [(50, 560), (225, 562), (300, 750), (560, 900)])
def test_small_scenes_are_drawn_large_enough_for_eyes_and_no_larger(side, drawn):
    picture = map_picture(
        np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8), {}, (10.0, 10.0), "map"
    )
    with Image.open(io.BytesIO(picture.png)) as image:
        assert image.size == (drawn, drawn)


def test_a_page_of_a_scene_of_225_by_225_weighs_at_most_300_kb():
    # Of a photograph that is noise in its finest details, as satellites see the ground.
    ground = np.random.default_rng(0).normal(120, 15, (225, 225, 3)).clip(0, 255).astype(np.uint8)
    labels = (np.hypot(*(np.mgrid[:225, :225] - 112)) < 60).astype(np.uint8)
    legend = {1: LegendEntry("burned", "#d7301f")}
    maps = tuple(map_picture(ground, labels, shown, (20.0, 20.0), "map") for shown in ({}, legend, legend))
    bars = [Bar(f"class {k}", float(k)) for k in range(8)]
    sections = (Section("Map", maps), Section("Bars", (bar_chart("Area", "ha", bars),)))
    page = render_report(replace(EMPTY, sections=sections))
    assert len(page) <= 300_000


def test_findings_become_a_summary_and_a_page_with_the_preview_in_front(tmp_path):
    Image.new("RGB", (60, 30), "#336699").save(tmp_path / "preview.png")
    (tmp_path / "mask.tif").write_bytes(b"")
    findings = Findings({"burned_ha": 12.5}, {"fires": [1, 2]}, warnings=("clouds",))
    write_findings(tmp_path, findings, FACTS, Caption("Burned area · CREEK", ("fire-unet",), "Whose data"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["headline"] == {"burned_ha": 12.5}
    assert summary["fires"] == [1, 2]
    page = Page.read((tmp_path / "report.html").read_bytes())
    text = " ".join("".join(page.text).split())
    for shown in ("Burned area", "CREEK", "12.5 ha", "clouds", "3 x 4 (rows, cols)", "numpy", "Whose data"):
        assert shown.lower() in text.lower()
    assert [image["width"] for image in page.all("img")] == ["60"]
    links = {link["href"] for link in page.all("a")}
    assert {"mask.tif", "preview.png", "summary.json"} <= links
    assert "run.json" not in links, "nobody says that it will be there"


def test_the_record_names_every_fact_that_is_set_and_nested_facts_have_tables_of_their_own():
    facts = FACTS | {
        "inputs_sha256": {"mask": "ab12"},
        "settings": {
            "crs": None,
            "zone_m": 8,
            "classes": [],
            "offset": 0,
            "exact": False,
            "bands": {"red": {"a": None}},
        },
        "note": None,
    }
    tables = {table.caption: dict(table.rows) for table in record_tables(facts)}
    assert tables["SHA-256 of the inputs"] == {"Mask": "ab12"}
    assert tables["Settings"] == {"Zone (m)": "8", "Offset": "0", "Exact": "no"}
    assert "Red" not in tables
    assert "Note" not in tables["Input"]
    assert tables["Input"]["Shape"] == "3 x 4 (rows, cols)"
    assert tables["Versions that decide the bits of the mask"] == {"Numpy": "2"}


def test_a_page_does_not_depend_on_how_far_the_masks_beside_it_are_written(tmp_path):
    pages = []
    for present in ((), ("mask.tif",), ("mask.tif", "mask.tif.aux.xml", "confidence.tif", ".mask.tif.part")):
        folder = tmp_path / str(len(present))
        folder.mkdir()
        for name in ("objects.gpkg", *present):
            (folder / name).write_bytes(b"")
        write_findings(folder, Findings({}, {}), FACTS, Caption("t"), beside=("mask.tif", "confidence.tif", "run.json"))
        pages.append((folder / "report.html").read_bytes())
    assert pages[0] == pages[1] == pages[2]
    links = {link["href"] for link in Page.read(pages[0]).all("a")}
    assert {"mask.tif", "confidence.tif", "objects.gpkg", "run.json"} <= links


def test_a_summary_that_json_cannot_say_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_findings(tmp_path, Findings({"burned_ha": math.nan}, {}), FACTS, Caption("t"))


def test_sections_with_pictures_of_their_own_need_no_preview(tmp_path):
    Image.new("RGB", (60, 30)).save(tmp_path / "preview.png")
    own = Picture((tmp_path / "preview.png").read_bytes(), "own")
    write_findings(tmp_path, Findings({}, {}, (Section("s", (own,)),)), FACTS, Caption("t"))
    page = Page.read((tmp_path / "report.html").read_bytes())
    assert [image["alt"] for image in page.all("img")] == ["own"]


@settings(max_examples=4)
@given(st.tuples(st.integers(1, 3000), st.integers(1, 2000)))
def test_a_quick_look_is_small_and_keeps_the_shape(tmp_path_factory, size):
    path = tmp_path_factory.mktemp("look") / "preview.png"
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(noise).save(path, compress_level=1)
    content = quicklook(path)
    assert content is None or len(content) <= 150_000
    assert quicklook(path.with_name("absent.png")) is None
