"""The training job file: which scenes, their labels, the card to be, and how long to fit."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.jobs.reading import load_section
from tasks.jobs.section import Section
from tasks.jobs.source import Pattern, Source


class TrainingSource(Section):
    """Scenes with full labels.

    Attributes:
        folder: Folder that holds them; ``{data}`` is the folder of the sample data.
        labels: Pattern of the label file, relative to the folder.
        exclude: Scene ids that are left out of training and validation alike.
    """

    folder: str
    labels: Pattern
    exclude: tuple[str, ...] = ()


class TrainingJob(Section):
    """A file such as ``configs/train-fire.yaml``: what to fit, on what, and for how long.

    Attributes:
        card: Card fields that do not come out of training: name, network, channels, classes, tiling, origin.
        folds: Cross-validation folds over scenes before the final fit; 0 leaves it out.
        settings: Fields of ``models.training.settings.TrainSettings``.
    """

    job: str
    kind: Literal["raster", "volume"]
    source: Source = Source()
    training: TrainingSource
    card: dict[str, Any]
    baseline: dict[str, Any] = Field(default={})
    folds: Annotated[int, Field(ge=0)] = 4
    settings: dict[str, Any] = Field(default={})


def load_training_job(name_or_path: str, overrides: tuple[str, ...] = ()) -> TrainingJob:
    """Read a training job; arguments and errors are those of ``load_job``."""
    return load_section(name_or_path, TrainingJob, overrides)
