"""What a command asks about masks made elsewhere: a job's analysis, or the defaults of its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from tasks.errors import JobError
from tasks.jobs.analysis import Analysis
from tasks.jobs.job import Job, load_job
from tasks.jobs.reading import build_section
from tasks.jobs.section import Section

_S = TypeVar("_S", bound=Section)


class _Question(Section):
    """What is asked where no job is named."""

    analysis: Analysis


def settings_asked(
    job: str | None, kind: tuple[str, type[_S]], options: Mapping[str, Any], overrides: Sequence[str]
) -> tuple[Job | None, _S]:
    """Return the job, and what it asks.

    Args:
        job: A name in ``configs/``, a path, or None for the defaults.
        kind: Of the analysis, and its section.
        options: Keys of the analysis section that the command has options for; None leaves the job's.
        overrides: ``analysis.key=value``, as ``--set`` has them.

    Raises:
        JobError: When the job asks about something else, or a key is wrong.
    """
    name, section = kind
    given = {key: value for key, value in options.items() if value is not None}
    if job is None:
        raw = {"analysis": {"kind": name, **given}}
        asked = build_section(raw, "the command", _Question, tuple(overrides)).analysis
        return None, _of_kind(asked, section, "the command", name)
    loaded = load_job(job, tuple(overrides))
    settings = _of_kind(loaded.analysis, section, f"job '{loaded.job}'", name)
    if given:
        raw = {"analysis": {**settings.model_dump(), **given}}
        changed = build_section(raw, f"job '{loaded.job}'", _Question, ()).analysis
        settings = _of_kind(changed, section, f"job '{loaded.job}'", name)
    return loaded, settings


def _of_kind(settings: Analysis | None, section: type[_S], origin: str, name: str) -> _S:
    if not isinstance(settings, section):
        found = "nothing" if settings is None else settings.kind
        raise JobError(f"{origin} asks about {found}, not {name}s. Name one whose analysis is of kind {name}")
    return settings
