"""What tests of pages share: a strict reader of HTML, and a report that holds every kind of block."""

from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser

import numpy as np

from tasks.reports.blocks import Paragraph, Section, Table
from tasks.reports.legend import LegendEntry
from tasks.reports.page import Report
from tasks.reports.pictures.charts import Bar, Line, bar_chart, line_chart
from tasks.reports.pictures.maps import map_picture

VOID = {"meta", "img", "br", "source", "rect", "path"}
HOSTILE = "<script>alert(1)</script>\" onload='x' &amp; $x$ `{{ 7*7 }}` \x00\ud800 javascript:alert(1)"
LONG = "a_name_without_any_place_to_break_" * 6


@dataclass
class Page(HTMLParser):
    """A page's elements and text; a tag that is not closed in its turn is an error."""

    text: list[str] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []

    @classmethod
    def read(cls, content: bytes) -> "Page":
        page = cls()
        page.feed(content.decode())
        page.close()
        assert page.open == [], "left open"
        return page

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag}: an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@cache
def full_report(text: str = "burned") -> Report:
    """A report with every kind of block, in which ``text`` stands wherever text may come from outside."""
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 10:40], labels[:5] = 1, 255
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    legend = {1: LegendEntry(text, "#d7301f", "360.3 ha")}
    blocks = (
        Paragraph(text),
        Paragraph(text, "warning"),
        map_picture(image, labels, legend, (20.0, 20.0), text, text),
        map_picture(None, labels, legend, (0.0, 0.0), text),
        Table(text, (text, "ha", *(f"column {k}" for k in range(14))), ((text, "1,234.5", *["12"] * 14),) * 3, text),
        bar_chart(text, "ha", [Bar(text, 3.0, interval=(2.0, 4.0)), Bar("none", None)], text),
        line_chart(text, "ha", [0, 1], ["8 Jan", text], [Line(text, (1.0, None)), Line("b", (0.0, 2.0))], text),
    )
    return Report(
        title=text,
        scene=text,
        lines=(text,),
        headline={f"{text}_ha": 360.31, "note": text, "absent_ml": None},
        sections=(Section(text, blocks), Section(text, (Paragraph(text),))),
        warnings=(text,),
        record=(Table(text, (), ((text, text),)),),
        files=(text, "mask.tif"),
        attribution=text,
    )
