"""The ``nightly`` section of a job: what the schedule looks for, and how long products are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tasks.jobs.section import Section


class Retention(Section):
    """What is deleted at the end of a night; nothing where left out.

    Attributes:
        superseded_days: Products that were replaced go after so many days.
        scenes_days: Products of scenes go when their observation is older than so many days; the ledger keeps their
            numbers, and the inbox is left alone.
    """

    superseded_days: Annotated[int, Field(ge=0)] | None = None
    scenes_days: Annotated[int, Field(ge=1)] | None = None


class StacSearch(Section):
    """What is looked for in a STAC catalogue.

    Attributes:
        assets: Key of the asset by the role that it fills.
        collections: Ids of collections; all where left out.
        area: ``west, south, east, north`` in degrees, or a vector file whose outlines a scene has to touch.
        max_cloud: Cloud cover in percent above which an item is not taken; one that does not tell is taken.
        lookback_days: How many days before the last night that ended an observation may be: late ones come in.
        site: Property that names the site of an item.
    """

    assets: dict[str, str] = Field(min_length=1)
    collections: tuple[str, ...] = ()
    area: tuple[float, float, float, float] | str | None = None
    max_cloud: Annotated[float, Field(ge=0, le=100)] = 100.0
    lookback_days: Annotated[int, Field(ge=0)] = 10
    site: str = "grid:code"

    @field_validator("area")
    @classmethod
    def _is_a_box(cls, area: tuple[float, float, float, float] | str | None) -> object:
        if isinstance(area, tuple):
            west, south, east, north = area
            # West may lie beyond east, or east beyond 180: such a box crosses the antimeridian.
            if not (-90 <= south < north <= 90 and -360 <= west <= 360 and -360 <= east <= 360 and west != east):
                raise ValueError("is west, south, east, north in degrees")
        return area


class Nightly(Section):
    """What ``swathe nightly`` does beside segmenting.

    Attributes:
        retention: What is deleted.
        overdue_hours: After how many hours without a finished night the alarm is raised.
        best: ``newest``: of several scenes of one site and date in a folder, only the one that arrived last counts.
        stac: What is looked for where the inbox is a STAC catalogue.
    """

    retention: Retention = Retention()
    overdue_hours: Annotated[float, Field(gt=0)] = 26.0
    best: Literal["newest"] | None = None
    stac: StacSearch | None = None
