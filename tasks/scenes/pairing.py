"""The earlier scene of the same site that a scene is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from tasks.job import Pair
from tasks.scenes.input import Input
from tasks.scenes.naming import site_of


def paired(items: Sequence[Input], rule: Pair, dates: Mapping[str, str]) -> list[Input]:
    """Fill the roles of the earlier scene from among the scenes themselves.

    Taken is the newest scene of the same site that is old enough; of one date the first by id. What a table named
    for a role stays.

    Args:
        items: The scenes, each with its date and the files that it brings itself.
        rule: Which roles, from which files, and how much earlier.
        dates: ``source.dates``: where ids carry dates, which a site's name does not have.

    Returns:
        The scenes in the same order; one for which there is no earlier one ``waits``, with the reason as its error.
    """
    by_site: dict[str, list[Input]] = {}
    for item in items:
        if item.error is None and item.date is not None:
            by_site.setdefault(item.site or site_of(item.id, dates), []).append(item)
    return [_with_earlier(item, by_site, rule, dates) for item in items]


def _with_earlier(item: Input, by_site: Mapping[str, list[Input]], rule: Pair, dates: Mapping[str, str]) -> Input:
    if item.error is not None or rule.files.keys() <= item.files.keys():
        return item
    if item.date is None:
        return replace(
            item,
            error=f"{item.id}: no date, so no earlier scene can be found for {', '.join(rule.files)}. Say under "
            "source.dates where the id carries it, or give a table with the column date",
        )
    site = item.site or site_of(item.id, dates)
    earlier = [(_days_between(other, item), other) for other in by_site[site]]
    nearest, furthest = rule.days
    usable = sorted((days, other.id) for days, other in earlier if nearest <= days <= furthest)
    if not usable:
        told = ", ".join(sorted({other.date or "" for days, other in earlier if days > 0})) or "none"
        return replace(
            item,
            error=f"{item.id}: waits for an earlier scene of site '{site}', {nearest} to {furthest} days before "
            f"{item.date}; earlier dates found: {told}. See source.pair.days",
            waits=True,
        )
    chosen = next(other for _, other in earlier if other.id == usable[0][1])
    revision = "\n".join(text for text in (item.revision, chosen.revision) if text) or None
    files = {role: chosen.files[of] for role, of in rule.files.items()} | item.files
    return replace(item, files=files, revision=revision)


def _days_between(earlier: Input, later: Input) -> int:
    return (date.fromisoformat(later.date or "") - date.fromisoformat(earlier.date or "")).days
