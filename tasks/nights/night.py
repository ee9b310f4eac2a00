"""One night: what came, what was done, what failed and why, what waits."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Literal, TypeAlias

from tasks.errors import JobError
from tasks.inputs.input import Input
from tasks.out.outcome import SceneOutcome

SceneStatus: TypeAlias = Literal["new", "superseded", "failed"]


@dataclass(frozen=True, kw_only=True)
class NightScene:
    """A scene that something happened to.

    Attributes:
        id: The scene's.
        status: ``new``; ``superseded``: an earlier product was replaced; ``failed``.
        date: ISO date of the observation.
        error: Name and text of what went wrong.
        headline: Numbers by name, units in the names.
        warnings: What a reader has to know before believing them.
    """

    id: str
    status: SceneStatus
    date: str | None = None
    error: str | None = None
    headline: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Night:
    """What the page of a night says; runs of the same night add to it.

    Attributes:
        date: ISO date of the night.
        job: Name of the job.
        scenes: That came, by id; unchanged ones are counted only.
        waiting: Reason by id, of scenes that cannot be done before others come.
        unchanged: Scenes whose product stands.
        missed: Nights since the last one that had no run.
        alerts: Texts of what was told.
        overdue_hours: After how many hours without another night the alarm is raised.
    """

    date: str
    job: str
    scenes: tuple[NightScene, ...] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)
    unchanged: int = 0
    missed: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    overdue_hours: float = 26.0

    @property
    def failed(self) -> tuple[NightScene, ...]:
        """Scenes without a product of their newest input."""
        return tuple(scene for scene in self.scenes if scene.status == "failed")

    @property
    def done(self) -> tuple[NightScene, ...]:
        """Scenes with a product made in this night."""
        return tuple(scene for scene in self.scenes if scene.status != "failed")

    def with_alerts(self, texts: Iterable[str]) -> Night:
        """Return the night with what was told beside what it knows of."""
        return replace(self, alerts=tuple(dict.fromkeys((*self.alerts, *texts))))

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON can say it."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Night:
        """Return the night that ``facts`` were taken from."""
        # Nights of earlier versions know of no warnings.
        scenes = tuple(
            NightScene(**{**scene, "warnings": tuple(scene.get("warnings", ()))}) for scene in facts["scenes"]
        )
        lists = {name: tuple(facts[name]) for name in ("missed", "alerts")}
        return cls(**{**facts, **lists, "scenes": scenes})


def after_run(
    night: Night,
    items: Sequence[Input],
    outcomes: Iterable[SceneOutcome],
    had_product: Container[str],
    untold: Container[str] = (),
) -> Night:
    """Return a night with what a run of it did; a run that had nothing to do changes nothing.

    Args:
        night: As earlier runs of the same night left it.
        items: All that was found, those that wait included.
        outcomes: Of the scenes that do not wait.
        had_product: Scenes that had one before the run.
        untold: Scenes whose product earlier runs made, such as one that died, and that no page tells of.
    """
    dates = {item.id: item.date for item in items}
    scenes, unchanged = {scene.id: scene for scene in night.scenes}, 0
    for outcome in outcomes:
        name = outcome.scene
        if outcome.status == "skipped" and name not in untold:
            unchanged += name not in scenes
            continue
        before = scenes.get(name)
        replaced = before.status == "superseded" if before and before.status != "failed" else name in had_product
        status: SceneStatus = "failed" if outcome.status == "failed" else "superseded" if replaced else "new"
        scenes[name] = NightScene(
            id=name,
            status=status,
            date=dates[name],
            error=outcome.error,
            headline=outcome.headline,
            warnings=outcome.warnings,
        )
    waiting = {item.id: item.error or "" for item in items if item.waits}
    return replace(night, scenes=tuple(scenes[name] for name in sorted(scenes)), waiting=waiting, unchanged=unchanged)


def require_begun(night: str, today: str) -> None:
    """Refuse a night of the future: what is kept, late and missed is counted from the newest one.

    Args:
        night: Its ISO date.
        today: ISO date in UTC.

    Raises:
        JobError: When it has not come yet.
    """
    if night > today:
        raise JobError(
            f"the night of {night} has not come yet: it is {today} in UTC. Leave the night out for tonight's, or "
            "set the clock of this machine"
        )


def missed_nights(last: str | None, tonight: str) -> tuple[str, ...]:
    """Return the nights between the last one that was run and this one."""
    if last is None or last >= tonight:
        return ()
    first = date.fromisoformat(last)
    days = (date.fromisoformat(tonight) - first).days
    return tuple((first + timedelta(days=k)).isoformat() for k in range(1, days))
