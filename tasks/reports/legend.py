"""The words on a preview: what its legend and its caption say."""

from __future__ import annotations

from dataclasses import dataclass

NOT_OBSERVED = "not observed"


@dataclass(frozen=True)
class LegendEntry:
    """One class in the legend.

    Attributes:
        name: Of the class.
        colour: ``#rrggbb``.
        text: Its extent, such as ``360.3 ha`` or ``53.3 mL``.
    """

    name: str
    colour: str
    text: str = ""


@dataclass(frozen=True)
class Caption:
    """The words round a preview.

    Attributes:
        title: One line.
        lines: Below it, smaller.
        attribution: At the foot: whose data it is.
    """

    title: str
    lines: tuple[str, ...] = ()
    attribution: str = ""
