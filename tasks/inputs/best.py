"""One scene per site and date: which of several counts, and what it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.errors import SceneError
from tasks.inputs.input import Input
from tasks.inputs.naming import observation_id, site_of


def newest_of(items: Sequence[Input], dates: Mapping[str, str]) -> list[Input]:
    """Keep, of the scenes of one site and date in a folder, the one whose files arrived last.

    Args:
        items: Scenes; those that cannot be used, or have no date, stay as they are.
        dates: ``source.dates``: where ids carry dates, which a site's name does not have.

    Returns:
        Scenes in the order of the first of each site and date, called after both: one that takes the place of another
        has its id, and with it its product.
    """
    sited = [item if item.site else replace(item, site=site_of(item.id, dates)) for item in items]
    return best_of(sited, lambda item: (_arrived(item), item.id))


def best_of(items: Sequence[Input], merit: Callable[[Input], Any]) -> list[Input]:
    """Keep the best scene of every site and date, called after both.

    Args:
        items: Scenes with their sites; those that cannot be used, or have no date, stay as they are.
        merit: Is larger for the better scene.
    """
    kept: dict[object, Input] = {}
    for item in items:
        if item.error is not None or item.date is None or item.site is None:
            kept[("as it is", len(kept))] = item
            continue
        known = kept.get((item.site, item.date))
        if known is None or merit(item) > merit(known):
            kept[(item.site, item.date)] = item
    return [_called(item) for item in kept.values()]


def _called(item: Input) -> Input:
    if item.error is not None or item.date is None or item.site is None:
        return item
    try:
        return replace(item, id=observation_id(item.site, item.date))
    except SceneError as error:
        return replace(item, error=str(error))


def _arrived(item: Input) -> int:
    """Return the newest time of change of a scene's files, in ns; 0 where none is a local file."""
    times = [Path(path).stat().st_mtime_ns for path in item.files.values() if Path(path).is_file()]
    return max(times, default=0)
