"""What the process that writes DICOM objects is asked for. Knows no DICOM library, and travels as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tasks.dicom.series import Series

# In the product.
FOLDER = "dicom"

Kind: TypeAlias = Literal["labelmap", "binary"]
Whose: TypeAlias = Literal["pseudonym", "original"]
Point: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class CodedTerm:
    """A term of a coding scheme: value, scheme and meaning, such as ``10200004``, ``SCT``, ``Liver``."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One segment of a SEG.

    Attributes:
        number: The value that its voxels have in the map.
        label: Its name.
        class_name: What it is, for the coded terms; the name of its class.
        colour: ``#rrggbb``.
    """

    number: int
    label: str
    class_name: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A diameter: its length, and its ends left-posterior-superior."""

    length_mm: float
    ends_lps_mm: tuple[Point, Point]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a report says of one segment.

    Attributes:
        segment: Its number in the layer.
        volume_ml: To the digits of ``lesions.csv``.
        long: The longest axial diameter; None where it was not measured.
        short: The longest line square to it.
    """

    segment: int
    volume_ml: float
    long: Line | None = None
    short: Line | None = None


@dataclass(frozen=True, kw_only=True)
class Total:
    """What a report says of all voxels of one class."""

    class_name: str
    volume_ml: float


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One SEG, and what a report says of its segments.

    Attributes:
        name: Of the file, without its ending.
        kind: ``labelmap`` or ``binary``.
        description: Of the series, in one line.
        labels: Path of a NIfTI file, or of an array of NumPy, on the grid of ``Series.affine_mm``.
        segments: All that the map may hold, by ascending number.
        measured: Of the segments that a report tells of.
        is_whole: Whether frames of nothing are written as well, so that the object covers the whole grid.
    """

    name: str
    kind: Kind
    description: str
    labels: str
    segments: tuple[Segment, ...]
    measured: tuple[Measured, ...] = ()
    is_whole: bool = True


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to write for one series.

    Attributes:
        scene: Its id, which stays when more slices come.
        series: The source.
        layers: The SEGs.
        totals: Of the classes that are there.
        report: Whether to write an SR.
        capture: Whether to draw the largest lesion.
        absent: Names of classes that were looked for and not found, of which the report says so.
        whose: Whether results carry the patient's pseudonym or the source's own identifiers.
        key: The institution's key, in hexadecimal digits.
        made: Hash of input, model, job and plan: with the content, UIDs are made of it.
        model: Name of the model.
        version: Of the weights, or of swathe where there are none.
        swathe: Version of swathe.
        terms: Coded terms by the name of a class, each category and type, where the job gives them.
        folder: Where to; it is there.
    """

    scene: str
    series: Series
    layers: tuple[Layer, ...]
    totals: tuple[Total, ...]
    report: bool
    capture: bool
    absent: tuple[str, ...]
    whose: Whose
    key: str
    made: str
    model: str
    version: str
    swathe: str
    terms: Mapping[str, tuple[CodedTerm, CodedTerm]]
    folder: str

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Order:
        """Return the order whose ``asdict`` went through JSON."""
        terms = {name: (CodedTerm(**one), CodedTerm(**other)) for name, (one, other) in facts["terms"].items()}
        layers = tuple(_layer(layer) for layer in facts["layers"])
        totals = tuple(Total(**total) for total in facts["totals"])
        more = {"layers": layers, "totals": totals, "absent": tuple(facts["absent"]), "terms": terms}
        return cls(**{**facts, **more, "series": Series.from_facts(facts["series"])})


def _layer(facts: Mapping[str, Any]) -> Layer:
    segments = tuple(Segment(**segment) for segment in facts["segments"])
    return Layer(**{**facts, "segments": segments, "measured": tuple(map(_measured, facts["measured"]))})


def _measured(facts: Mapping[str, Any]) -> Measured:
    return Measured(**{**facts, "long": _line(facts["long"]), "short": _line(facts["short"])})


def _line(facts: Mapping[str, Any] | None) -> Line | None:
    if facts is None:
        return None
    start, stop = (tuple(end) for end in facts["ends_lps_mm"])
    return Line(length_mm=facts["length_mm"], ends_lps_mm=(start, stop))
