"""Numbers and their names as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# Endings of names that are units, the longer ones first.
_UNITS = {
    "ha_per_day": "ha/day", "km_per_day": "km/day", "m_per_day": "m/day", "km2": "km²", "mm3": "mm³", "mm2": "mm²",
    "percent": "%", "pixels": "pixels", "voxels": "voxels", "days": "days", "ml": "mL", "mm": "mm", "cm": "cm",
    "ha": "ha", "km": "km", "m2": "m²", "m": "m",
}  # fmt: skip
_SPELLED = {
    "dnbr": "dNBR", "rdnbr": "RdNBR", "rbr": "RBR", "nbr": "NBR", "ndvi": "NDVI", "recist": "RECIST", "rano": "RANO",
    "suv": "SUV", "iou": "IoU", "crs": "CRS",
}  # fmt: skip
_DIGITS = 4
_MOST_DECIMALS = 6
_ABSENT = "not computed"


@dataclass(frozen=True)
class Figure:
    """One number with its name.

    Attributes:
        label: What it is.
        value: As it shall be read.
        unit: Or nothing.
    """

    label: str
    value: str
    unit: str = ""


def number(value: float) -> str:
    """Write a number with four significant digits, none of the whole part lost, thousands apart.

    ``12345.67`` is ``12,346``, ``0.0123456`` is ``0.01235``. Whole numbers keep all their digits.
    """
    if isinstance(value, int):
        text = f"{value:,}"
    elif not math.isfinite(value):
        return _ABSENT
    else:
        decimals = _DIGITS - 1 - math.floor(math.log10(abs(value))) if value else 0
        text = f"{value:,.{max(decimals, 0)}f}" if decimals <= _MOST_DECIMALS else f"{value:.{_DIGITS}g}"
        text = text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
    return text.replace("-", "\u2212")


def cell(value: Any) -> str:  # noqa: ANN401 - anything that JSON can say
    """Write what a summary holds: numbers, text, lists, null."""
    if value is None:
        return _ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(part)}" for key, part in value.items())
    return str(value)


def figure(name: str, value: Any) -> Figure:  # noqa: ANN401 - anything that JSON can say
    """Split a key such as ``burned_ha`` into a label and a unit, and write its number."""
    label, unit = _split_unit(name)
    first, *others = (_SPELLED.get(word, word) for word in label.split("_"))
    first = first if first in _SPELLED.values() else first[:1].upper() + first[1:]
    return Figure(" ".join((first, *others)).strip(), cell(value), unit if value is not None else "")


def heading(name: str) -> str:
    """Write a key such as ``burned_ha`` as the heading of a column: ``Burned (ha)``."""
    named = figure(name, 0)
    return f"{named.label} ({named.unit})" if named.unit else named.label


def _split_unit(name: str) -> tuple[str, str]:
    for ending, unit in _UNITS.items():
        if name.endswith(f"_{ending}"):
            return name[: -len(ending) - 1], unit
    return name, ""
