"""The training job file: which scenes, their labels, the card to be, and how long to fit."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tasks.jobs.reading import load_section
from tasks.jobs.section import Section
from tasks.jobs.source import Pattern, Source


def _not_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("one fold leaves nothing to fit on: give 0, or 2 and more")
    return folds


class TrainingSource(Section):
    """Scenes with labels.

    Attributes:
        folder: Folder that holds them; ``{data}`` is the folder of the sample data.
        labels: Pattern of the label file, relative to the folder: a raster, polygons, NIfTI, RTSTRUCT or SEG.
        attribute: Column of polygons that says their class; None where all are of class 1.
        classes: Numbers of what that column holds, or of structures, by regular expressions of their names.
        unmarked: Class of what lies in no polygon and no structure; None for no label.
        exclude: Scene ids that are left out of training and validation alike.
        held: Scene ids that no fit sees; the last fit is scored on them.
        fitted: Scene ids that fits see; all but ``held`` where left out.
        split_by: What is always on one side of a split: a scene; all scenes of one place; of one patient.
        ignore: Value of pixels without a label, beside what the label file declares as nodata; None for no other.
    """

    folder: str
    labels: Pattern
    exclude: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    fitted: tuple[str, ...] = ()
    split_by: Literal["scene", "place", "patient"] = "scene"
    ignore: Annotated[int | None, Field(ge=0)] = None
    attribute: str | None = None
    classes: dict[str, Annotated[int, Field(ge=0)]] = Field(default={})
    unmarked: Annotated[int | None, Field(ge=0)] = 0


class Baseline(Section):
    """A simple method to compare with: class 1 on one side of a value of one channel.

    Attributes:
        kind: ``threshold`` takes ``value``; ``otsu`` finds it in each scene (Otsu 1979).
        channel: Number of the channel, from 0.
        value: Physical; for ``threshold``.
        side: Where class 1 lies.
    """

    kind: Literal["threshold", "otsu"]
    channel: Annotated[int, Field(ge=0)] = 0
    value: Annotated[float | None, Field(allow_inf_nan=False)] = None
    side: Literal["above", "below"] = "above"

    @model_validator(mode="after")
    def _value_where_it_counts(self) -> Self:
        if (self.kind == "threshold") != (self.value is not None):
            raise ValueError("'value' goes with kind: threshold, and with no other")
        return self


class TrainingJob(Section):
    """A file such as ``configs/train-fire.yaml``: what to fit, on what, and for how long.

    Attributes:
        card: Card fields that do not come out of training: name, network, channels, classes, tiling, origin.
        baseline: What the network is compared with; None for nothing.
        folds: Cross-validation folds over scenes before the final fit; 0 leaves it out.
        settings: Fields of ``models.training.settings.TrainSettings``.
    """

    job: str
    kind: Literal["raster", "volume"]
    source: Source = Source()
    training: TrainingSource
    card: dict[str, Any]
    baseline: Baseline | None = None
    folds: Annotated[int, Field(ge=0), AfterValidator(_not_one)] = 4
    settings: dict[str, Any] = Field(default={})

    @model_validator(mode="after")
    def _scored_in_one_way(self) -> Self:
        if self.training.held and self.folds:
            raise ValueError("'training.held' and 'folds' both say what is scored: give folds: 0, or no held scenes")
        wrong = {"raster": "patient", "volume": "place"}[self.kind]
        if self.training.split_by == wrong:
            raise ValueError(f"'training.split_by: {wrong}' does not go with kind: {self.kind}")
        return self


def load_training_job(name_or_path: str, overrides: tuple[str, ...] = ()) -> TrainingJob:
    """Read a training job; arguments and errors are those of ``load_job``."""
    return load_section(name_or_path, TrainingJob, overrides)
