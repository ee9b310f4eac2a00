"""The earlier scene of the same site that a scene is compared with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeAlias

from tasks.inputs.input import Input
from tasks.inputs.naming import site_of
from tasks.jobs.source import Pair
from tasks.scenes.stated import by_item, role_beneath

logger = logging.getLogger(__name__)

# Why a file cannot be read; None where it can be.
Refusal: TypeAlias = Callable[[str], str | None]


def paired(
    items: Sequence[Input], rule: Pair, dates: Mapping[str, str], refusal: Refusal = lambda _: None
) -> list[Input]:
    """Fill the roles of the earlier scene from among the scenes themselves.

    Taken is the newest scene of the same site that is old enough and not refused; of one date the first by id. What a
    table named for a role stays.

    Args:
        items: The scenes, each with its date and the files that it brings itself.
        rule: Which roles, from which files, and how much earlier.
        dates: ``source.dates``: where ids carry dates, which a site's name does not have.
        refusal: Is asked for the files that would be taken; where left out they are not looked at.

    Returns:
        The scenes in the same order; one for which there is no earlier one ``waits``, with the reason as its error.
    """
    by_site: dict[str, list[Input]] = {}
    for item in items:
        if item.error is None and item.date is not None:
            by_site.setdefault(item.site or site_of(item.id, dates), []).append(item)
    return [_with_earlier(item, by_site, rule=rule, dates=dates, refusal=refusal) for item in items]


def _with_earlier(
    item: Input, by_site: Mapping[str, list[Input]], rule: Pair, dates: Mapping[str, str], refusal: Refusal
) -> Input:
    if item.error is not None or rule.files.keys() <= item.files.keys():
        return item
    if item.date is None:
        return replace(
            item,
            error=f"{item.id}: no date, so no earlier scene can be found for {', '.join(rule.files)}. Say under "
            "source.dates where the id carries it, or give a table with the column date",
        )
    site = item.site or site_of(item.id, dates)
    others = sorted(by_site[site], key=lambda other: (_days_between(other, item), other.id))
    earlier = [other for other in others if _days_between(other, item) > 0]
    usable = [other for other in earlier if rule.days[0] <= _days_between(other, item) <= rule.days[1]]
    return _with_first(item, usable, rule, refusal) if usable else _waiting(item, site, rule, earlier)


def _waiting(item: Input, site: str, rule: Pair, earlier: Sequence[Input]) -> Input:
    told = ", ".join(sorted({other.date or "" for other in earlier})) or "none"
    nearest, furthest = rule.days
    # Where there is none of any age, the site is what may be wrong.
    key = "source.pair.days" if earlier else "source.site, where that is not the name of its place"
    return replace(
        item,
        error=f"{item.id}: waits for an earlier scene of site '{site}', {nearest} to {furthest} days before "
        f"{item.date}; earlier dates found: {told}. See {key}",
        waits=True,
    )


def _with_first(item: Input, candidates: Sequence[Input], rule: Pair, refusal: Refusal) -> Input:
    """Take the first that can be read; one that cannot is no reason to wait, because it has come."""
    refused = []
    for other in candidates:
        reasons = (refusal(other.files[taken]) for taken in _taken(other, rule).values())
        why = next((text for text in reasons if text is not None), None)
        if why is None:
            return _filled(item, other, rule)
        refused.append(f"{other.id} ({other.pseudonymised(why)})")
        logger.warning("%s: passed over as its earlier scene: %s", item.id, refused[-1])
    return replace(item, error=f"{item.id}: no earlier scene can be read: {'; '.join(refused)}. Copy one of them again")


def _filled(item: Input, earlier: Input, rule: Pair) -> Input:
    revision = "\n".join(text for text in (item.revision, earlier.revision) if text) or None
    taken = _taken(earlier, rule)
    return replace(
        item,
        files={role: earlier.files[of] for role, of in taken.items()} | item.files,
        stated={role: earlier.stated[of] for role, of in taken.items() if of in earlier.stated} | dict(item.stated),
        remarks=(*item.remarks, *earlier.remarks),
        revision=revision,
    )


def _taken(earlier: Input, rule: Pair) -> dict[str, str]:
    """Return the role of each file of an earlier scene by the role that it fills, whichever of its items it is of."""
    return {
        role_beneath(role, number): role_beneath(of, number)
        for number, roles in by_item(earlier.files).items()
        for role, of in rule.files.items()
        if of in roles
    }


def _days_between(earlier: Input, later: Input) -> int:
    return (date.fromisoformat(later.date or "") - date.fromisoformat(earlier.date or "")).days
