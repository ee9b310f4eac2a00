"""The ``nightly`` section of a job: what the schedule looks for, and how long products are kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.section import Section


class Retention(Section):
    """What is deleted at the end of a night; nothing where left out.

    Attributes:
        superseded_days: Products that were replaced go after so many days.
        scenes_days: Products of scenes go when their observation is older than so many days; the ledger keeps their
            numbers, and the inbox is left alone.
    """

    superseded_days: Annotated[int, Field(ge=0)] | None = None
    scenes_days: Annotated[int, Field(ge=1)] | None = None


class Nightly(Section):
    """What ``swathe nightly`` does beside segmenting.

    Attributes:
        retention: What is deleted.
        overdue_hours: After how many hours without a finished night the alarm is raised.
    """

    retention: Retention = Retention()
    overdue_hours: Annotated[float, Field(gt=0)] = 26.0
