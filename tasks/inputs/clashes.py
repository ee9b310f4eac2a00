"""Scenes that have one name: the product of the one would stand where that of the other belongs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.inputs.input import Input


def fail_clashes(items: Iterable[Input], remedy: str) -> list[Input]:
    """Return scenes, each once; those of one id as one that cannot be used, so that they cost no others.

    Args:
        items: Scenes in any order.
        remedy: How to tell them apart, a sentence without its full stop.
    """
    return [group[0] if len(group) == 1 else _clashing(group, remedy) for group in _by_id(items)]


def _by_id(items: Iterable[Input]) -> list[list[Input]]:
    groups: dict[str, list[Input]] = {}
    for item in items:
        group = groups.setdefault(item.id, [])
        if not any(_is_same(item, other) for other in group):
            group.append(item)
    return list(groups.values())


def _is_same(item: Input, other: Input) -> bool:
    return item.files == other.files and (bool(item.files) or item.error == other.error)


def _clashing(group: Sequence[Input], remedy: str) -> Input:
    errors = [item.error for item in group if item.error is not None]
    # Where none can be used, its name is not what is wrong.
    error = "; ".join(errors) if len(errors) == len(group) else f"{_told(group)}. {remedy}"
    sites, dates = {item.site for item in group}, {item.date for item in group}
    site = sites.pop() if len(sites) == 1 else None
    beside = tuple(path for item in group for path in (*item.files.values(), *item.beside))
    return Input(
        id=group[0].id, files={}, site=site, date=dates.pop() if len(dates) == 1 else None, error=error, beside=beside
    )


def _told(group: Sequence[Input]) -> str:
    sites = {item.site for item in group}
    names = [next(iter(item.files.values()), item.error or item.id) for item in group]
    if len(sites) > 1:
        names = [f"{name} (site '{item.site}')" for name, item in zip(names, group, strict=True)]
    return f"{len(group)} scenes are called '{group[0].id}': {' and '.join(names)}"
