"""What is kept of a DICOM file beside what the basic profile of PS3.15 keeps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.jobs.section import Section

Option = Literal[
    "clean-descriptors",
    "clean-structured-content",
    "modified-dates",
    "patient-characteristics",
    "safe-private",
    "device",
]


class Deidentification(Section):
    """The options of PS3.15 E.3 that a job names, and what becomes of images with text in their pixels.

    Attributes:
        options: What is kept or cleaned beside the basic profile; an empty list is the basic profile alone.
        crosswalk_days: How long it is known at most which pseudonyms stand for whom, so that ``swathe return`` brings
            results into the original study; nobody can where left out.
        burnt_in: ``refuse`` images whose pixels hold text, or may; ``allow`` them where somebody has looked.
    """

    options: tuple[Option, ...] = (
        "clean-descriptors",
        "clean-structured-content",
        "modified-dates",
        "patient-characteristics",
        "safe-private",
    )
    burnt_in: Literal["refuse", "allow"] = "refuse"
    crosswalk_days: Annotated[int, Field(ge=1, le=3650)] | None = None
