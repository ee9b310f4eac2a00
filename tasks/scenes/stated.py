"""What a catalogue says of files beside where they lie, and what the files of several items of one scene are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Between a role and the number of the item that fills it, where there are several; jobs call no role so.
BENEATH = "@"


@dataclass(frozen=True)
class Stated:
    """What a catalogue says of one band of a file; None is not said.

    Attributes:
        scale: Factor from stored to physical values.
        offset: Summand from stored to physical values.
        nodata: Stored value that is no observation.
    """

    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


# By role, one per band.
StatedBands = Mapping[str, tuple[Stated, ...]]


def role_beneath(role: str, number: int) -> str:
    """Return what the file of the first (0) or a further item is called that fills a role."""
    return role if number == 0 else f"{role}{BENEATH}{number + 1}"


def by_item(roles: Iterable[str]) -> dict[int, list[str]]:
    """Return the roles that each item fills, by its number; the first is 0."""
    found: dict[int, list[str]] = {0: []}
    for name in roles:
        role, mark, number = name.rpartition(BENEATH)
        found.setdefault(int(number) - 1 if mark else 0, []).append(role if mark else name)
    return dict(sorted(found.items()))
