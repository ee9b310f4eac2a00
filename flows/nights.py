"""What the Prefect UI and its automations are told of a night."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

from prefect.artifacts import create_markdown_artifact
from prefect.events import Event, Resource

from flows.artifacts import artifact_key, best_effort, link, plain
from flows.events import SENDING, send
from tasks.nights.night import Night, NightScene
from tasks.nights.night_ledger import NightLedger
from tasks.reports.night import FOLDER, counts
from tasks.reports.page_figures import cell, heading

logger = logging.getLogger(__name__)

_MOST_SCENES = 100


def tell_night(night: Night, out: Path) -> None:
    """Show a night's page on the run's page: counts, what failed, what was made, alerts."""
    with best_effort(f"night of {night.date}"):
        key = artifact_key(night.job, "night", night.date)
        create_markdown_artifact(night_text(night, out), key, f"{night.job}: night of {night.date}")


def tell_missed(job: str, ledger: NightLedger) -> None:
    """Send ``swathe.night.missed`` for every night without a run; what is not taken stays for the next run.

    Sent again, an event has the same id.
    """
    try:
        for missed, event in ledger.unsent():
            send(_event(job, missed, "missed", f"{job}: no run in the night of {missed}", {}, UUID(event)))
            ledger.mark_sent(missed)
    except SENDING as error:
        logger.warning("%s: missed nights wait in %s for the next run: %s", job, ledger.path.name, error)


def tell_end(night: Night) -> None:
    """Send ``swathe.night.ended``; an automation that waits for it in vain tells of a missing night.

    One more run of a night sends it again: it says that the schedule lives.
    """
    counted = counts(night)
    text = ", ".join(f"{count} {name.lower()}" for name, count in counted.items() if count) or "nothing came"
    event = _event(night.job, night.date, "ended", f"{night.job}, night of {night.date}: {text}", counted, uuid4())
    try:
        send(event)
    except SENDING as error:
        logger.warning("%s, night of %s: the server could not be told that it ended: %s", night.job, night.date, error)


def night_text(night: Night, out: Path) -> str:
    """Return what the UI says of a night, in Markdown."""
    lines = [f"# {plain(night.job)} · night of {night.date}"]
    told = [f"**{count}** {name.lower()}" for name, count in counts(night).items() if count]
    lines += [", ".join(told) or "Nothing came.", ""]
    lines += [link(out, f"{FOLDER}/{night.date}.html"), link(out, "index.html")]
    lines += _section("Nights without a run", night.missed)
    lines += _section("Alerts", night.alerts)
    lines += _section("Failed", [f"{scene.id}: {scene.error}" for scene in night.failed])
    lines += _products(night.done)
    lines += _section("Waiting", list(night.waiting.values()))
    return "\n".join(lines) + "\n"


def _section(title: str, entries: Sequence[str]) -> list[str]:
    more = [f"- {len(entries) - _MOST_SCENES} more on the page"] if len(entries) > _MOST_SCENES else []
    shown = [f"- {plain(text)}" for text in entries[:_MOST_SCENES]]
    return [f"\n## {title}", *shown, *more] if entries else []


def _products(scenes: Sequence[NightScene]) -> list[str]:
    if not scenes:
        return []
    names = list(dict.fromkeys(name for scene in scenes for name in scene.headline))
    header = ["Scene", "Status", *map(heading, names)]
    rows = [header, ["---", "---", *["---:"] * len(names)]]
    for scene in scenes[:_MOST_SCENES]:
        numbers = [cell(scene.headline[name]) if name in scene.headline else "" for name in names]
        rows.append([plain(text) for text in (scene.id, scene.status, *numbers)])
    more = [f"\n{len(scenes) - _MOST_SCENES} more on the page"] if len(scenes) > _MOST_SCENES else []
    return ["\n## Products", "", *(f"| {' | '.join(row)} |" for row in rows), *more]


def _event(job: str, night: str, kind: str, text: str, payload: dict[str, int], name: UUID) -> Event:
    labels = {
        "prefect.resource.id": f"swathe.nightly.{job}",
        "prefect.resource.name": f"nightly {job}",
        "swathe.night": night,
    }
    resource = Resource.model_validate(labels)
    return Event(event=f"swathe.night.{kind}", resource=resource, payload={"text": text, **payload}, id=name)
