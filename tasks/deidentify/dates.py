"""Dates that move by whole days: DA, the date in DT, and nothing of a time of day."""

from __future__ import annotations

import re
from datetime import date, timedelta

_DA = re.compile(r"(\d{4})(\d{2})(\d{2})")
# As ACR-NEMA wrote them.
_OLD_DA = re.compile(r"(\d{4})[.\-/](\d{2})[.\-/](\d{2})")
_TM = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?")
_DT = re.compile(r"(\d{4})(?:(\d{2})(?:(\d{2})(.*))?)?")
_DT_REST = re.compile(r"(([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?)?([+-]\d{4})?")
_ZONE = re.compile(r"[+-]\d{4}")


def shifted_date(text: str, days: int) -> str | None:
    """Return a DA value moved by days; None where it is no date."""
    match = _DA.fullmatch(text.strip()) or _OLD_DA.fullmatch(text.strip())
    moved = None if match is None else _moved(match[1], match[2], match[3], days)
    return None if moved is None else moved.strftime("%Y%m%d").zfill(8)


def shifted_datetime(text: str, days: int) -> str | None:
    """Return a DT value moved by days, as precise as it was; None where it is none."""
    match = _DT.fullmatch(text.strip())
    if match is None or not _DT_REST.fullmatch(match[4] or ""):
        return None
    moved = _moved(match[1], match[2] or "01", match[3] or "01", days)
    if moved is None:
        return None
    whole = moved.strftime("%Y%m%d").zfill(8)
    precise = len("".join(part or "" for part in match.groups()[:3]))
    return whole[:precise] + (match[4] or "")


def valid_time(text: str) -> str | None:
    """Return a TM value as it is; None where it is no time."""
    return text.strip() if _TM.fullmatch(text.strip()) else None


def valid_zone(text: str) -> str | None:
    """Return an offset from UTC as it is; None where it is none."""
    return text.strip() if _ZONE.fullmatch(text.strip()) else None


def _moved(year: str, month: str, day: str, days: int) -> date | None:
    try:
        return date(int(year), int(month), int(day)) + timedelta(days)
    except (ValueError, OverflowError):
        return None
