"""Pages in a real browser: nothing is refused or missing, nothing is wider than the window, everything has a name."""

import re
from pathlib import Path

import pytest
from pages import HOSTILE, LONG, full_report
from PIL import Image

from tasks.nights.night import Night, NightScene
from tasks.out.outcome import SceneOutcome
from tasks.reports.index import write_index
from tasks.reports.night import write_night
from tasks.reports.page import render_report

WIDTHS = (400, 1600)
THEMES = ("light", "dark")
NIGHTS = ("2026-11-19", "2026-11-20", "2026-11-21")
# What the page's elements are, to those who do not see them.
NAMELESS = """() => [...document.querySelectorAll('img')].filter(e => !e.alt.trim()).length
    + [...document.querySelectorAll('table')].filter(e => !e.caption || !e.caption.textContent.trim()).length"""
BROKEN = "() => [...document.images].filter(e => !e.complete || e.naturalWidth === 0).map(e => e.src.slice(0, 60))"
WIDER = "() => document.documentElement.scrollWidth - window.innerWidth"
# Letters that are cut off by a box that does not scroll.
CUT = """() => [...document.querySelectorAll('p, h1, h2, h3, dt, dd, li, figcaption, td, th')]
    .filter(e => e.offsetParent && !e.closest('.scroll') && e.scrollWidth > e.clientWidth + 1)
    .map(e => e.tagName + ' ' + e.textContent.slice(0, 40))"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll('p, li, td, th, dt, dd, figcaption, caption, small')]
    .filter(e => e.offsetParent).map(e => parseFloat(getComputedStyle(e).fontSize)))"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, text in {"plain": "burned", "hostile": HOSTILE, "long": LONG}.items():
        (folder / f"{name}.html").write_bytes(render_report(full_report(text)))
    rows = [
        SceneOutcome(
            scene=f"scene-{k}", status="done", error=None, product="p", headline={"burned_ha": 10.0 + k, "note": LONG}
        )
        for k in range(6)
    ]
    rows += [
        SceneOutcome(scene="far", status="done", error=None, product="p", headline={"burned_ha": 9e5}),
        SceneOutcome(scene=LONG, status="failed", error=LONG + HOSTILE),
    ]
    for row in rows[:7]:
        (folder / row.scene).mkdir()
        (folder / row.scene / "report.html").write_bytes(b"<!doctype html><title>report</title>")
        Image.new("RGB", (120, 70), "#884422").save(folder / row.scene / "preview.png")
    write_index(folder, "Burned area", rows)
    nights = [
        write_night(folder, text, night_of(text, day)) for text, day in ((HOSTILE, 19), (LONG, 20), ("fires", 21))
    ]
    return {path.stem: path for path in (*folder.glob("*.html"), *nights)}


def night_of(text: str, day: int) -> Night:
    """A night to which everything happened, with ``text`` wherever text may come from outside."""
    numbers = {"fires": 3, "burned_ha": 1234.5, "largest_fire_ha": 900.0, "high_severity_ha": 1.5, text: text}
    scenes = (
        NightScene(id="T32TQM_20261118", status="new", date="2026-11-18", error=None, headline=numbers),
        NightScene(id=text, status="failed", date=None, error=text),
    )
    facts = {"waiting": {"w": text}, "unchanged": 41, "missed": ("2026-11-17",), "alerts": (text,)}
    return Night(date=f"2026-11-{day}", job="fires", scenes=scenes, **facts)


@pytest.fixture
def visit(browser):
    """Open a page; what the browser complains of or fetches is kept."""
    contexts = []

    def open_page(path: Path, width: int, theme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.complaints, page.fetched = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
        page.on("request", lambda request: page.fetched.append(request.url))
        page.goto(path.as_uri(), wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["plain", "hostile", "long", "index", *NIGHTS])
def test_a_page_is_shown_whole_at_any_width_and_theme(visit, pages, name, width, theme):
    page = visit(pages[name], width, theme)
    page.evaluate("() => document.querySelectorAll('img').forEach(e => { e.loading = 'eager' })")
    page.wait_for_function("() => [...document.images].every(e => e.complete)")
    assert page.complaints == []
    assert page.evaluate(WIDER) <= 0
    assert page.evaluate(CUT) == []
    assert page.evaluate(BROKEN) == []
    assert page.evaluate(NAMELESS) == 0
    assert page.evaluate(SMALLEST) >= 12


def test_names_and_dates_of_a_night_stay_in_one_line_and_lead_to_their_reports(visit, pages):
    page = visit(pages["2026-11-21"], WIDTHS[1])
    link = page.get_by_role("link", name="T32TQM_20261118")
    assert link.get_attribute("href") == "../T32TQM_20261118/report.html"
    lines = "e => Math.round(e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).lineHeight))"
    assert link.evaluate(lines) == 1
    assert page.get_by_text("2026-11-18", exact=True).evaluate("e => e.getClientRects().length") == 1
    for heading in ("Nights without a run", "Alerts", "Failed scenes", "Products of this night", "Waiting"):
        assert page.get_by_role("heading", name=heading).count() == 1


@pytest.mark.parametrize("name", ["plain", "hostile", "2026-11-19"])
def test_a_report_fetches_nothing_but_itself(visit, pages, name):
    page = visit(pages[name], WIDTHS[0])
    assert [url for url in page.fetched if not url.startswith("data:")] == [pages[name].as_uri()]


def test_the_index_fetches_nothing_but_the_previews_beside_it(visit, pages):
    page = visit(pages["index"], WIDTHS[1])
    root = pages["index"].parent.as_uri()
    assert all(url.startswith(f"{root}/") for url in page.fetched)
    page.click("text=far")
    page.wait_for_url(re.compile(r".*/far/report\.html$"))
    assert page.title() == "report"


def test_the_theme_follows_the_reader(visit, pages):
    papers = []
    for theme in THEMES:
        page = visit(pages["plain"], WIDTHS[1], theme)
        papers.append(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
        drawn = page.evaluate("() => document.querySelector('figure.chart img').currentSrc")
        papers.append(drawn)
    assert len(set(papers)) == len(papers)


@pytest.mark.parametrize("width", WIDTHS)
def test_readers_of_the_screen_find_pictures_tables_and_regions_by_name(visit, pages, width):
    page = visit(pages["plain"], width)
    for role, count in {"img": 4, "table": 2, "navigation": 1, "main": 1, "heading": 5}.items():
        found = page.get_by_role(role).all()
        assert len(found) >= count, role
    assert page.get_by_role("img", name=re.compile(r"\S")).count() == page.get_by_role("img").count()
    assert page.get_by_role("table", name=re.compile(r"\S")).count() == page.get_by_role("table").count()
    assert page.get_by_role("heading", level=1).count() == 1


def test_wide_tables_can_be_scrolled_with_the_keyboard(visit, pages):
    page = visit(pages["plain"], WIDTHS[0])
    region = page.locator("section .scroll").first
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('section .scroll').scrollLeft > 0")
