"""How a fitted network does on whole scenes: Dice of each class, classes that it never finds, masks to look at."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import Card
from tasks.geometry.box import Box
from tasks.intake.request import Request
from tasks.jobs.job import Job
from tasks.jobs.training import Baseline
from tasks.out.folder import OutFolder
from tasks.reports.legend import LegendEntry
from tasks.reports.pictures.fits import Example, example_picture
from tasks.scenes.raster.scene import RasterScene
from tasks.training.baseline import baseline_overlaps
from tasks.training.labelled import LabelledScene
from tasks.training.scores import Collapse, DiceScores, Overlaps, summarise
from tasks.training.whole import segmented

logger = logging.getLogger(__name__)

MOST_EXAMPLES = 6


@dataclass(frozen=True)
class Figures:
    """What was measured on scenes that a network has not seen.

    Attributes:
        network: Of the masks that the engine makes.
        baseline: Of the simple method on the same scenes; None without one.
    """

    network: DiceScores
    baseline: DiceScores | None


@dataclass(frozen=True)
class Scored:
    """Scenes that networks have not seen.

    Attributes:
        dice: Of each scene that of every class but the first.
        examples: Of some scenes, a JPEG of picture, reference and mask.
    """

    dice: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    examples: dict[str, bytes] = field(default_factory=dict)

    def score(self, job: Job, card: Card, folder: Path, scenes: list[LabelledScene], told: str) -> None:
        """Take in more scenes.

        Masks come from the engine, with the weights as they are written, on the native grid: what a user would get.

        Args:
            job: Segments.
            card: Of the model.
            folder: Of its weights; work in progress lies there, too.
            scenes: That it has not seen.
            told: What these are called.

        Raises:
            FitError: When the network does not tell classes apart in them.
        """
        classes = [entry.name for entry in card.classes]
        collapse = Collapse(card.name, classes)
        request = Request(job=job, card=card, card_folder=folder, out=OutFolder(folder))
        for scene in scenes:
            read, overlaps = segmented(request, scene.scene), Overlaps(card.n_classes)
            for box, labels in scene.native_windows():
                mask = read(box)
                collapse.look_at(mask, labels)
                overlaps.look_at(mask, labels)
            found = self.dice[scene.name] = overlaps.dice
            each = ", ".join(f"{name} {value:.3f}" for name, value in zip(classes[1:], found, strict=True))
            logger.info("not seen, %s: Dice %s", scene.name, each)
            if len(self.examples) < MOST_EXAMPLES:
                self.examples[scene.name] = example_picture(_example(scene, read), _legend(card))
        collapse.refuse(told)

    def figures(self, card: Card, baseline: Baseline | None, scenes: list[LabelledScene]) -> Figures:
        """Return what all of them have in common, and what a simple method does on the same ones."""
        classes = [entry.name for entry in card.classes[1:]]
        simple = None
        if baseline is not None:
            scored = [scene for scene in scenes if scene.name in self.dice]
            compared = {scene.name: baseline_overlaps(baseline, scene, card.n_classes).dice for scene in scored}
            simple = summarise(compared, classes)
        return Figures(summarise(self.dice, classes), simple)


def refuse_collapse(job: Job, card: Card, scenes: list[LabelledScene], folder: Path) -> None:
    """Look at the masks of scenes that a network was fitted on.

    Raises:
        FitError: When it does not tell classes apart.
    """
    collapse = Collapse(card.name, [entry.name for entry in card.classes])
    for scene in scenes:
        with tempfile.TemporaryDirectory(prefix="swathe-whole-") as scratch:
            request = Request(job=job, card=card, card_folder=folder, out=OutFolder(Path(scratch)))
            read = segmented(request, scene.scene)
            for box, labels in scene.native_windows():
                collapse.look_at(read(box), labels)
    collapse.refuse(f"the {len(scenes)} scenes that it was fitted on")


def _legend(card: Card) -> dict[int, LegendEntry]:
    return {number: LegendEntry(entry.name, entry.colour) for number, entry in enumerate(card.classes) if number}


def _example(scene: LabelledScene, read: Callable[[Box], NDArray[np.unsignedinteger[Any]]]) -> Example:
    """Return the window of a raster, or the slice of a volume, that holds most of what is not the first class."""
    box, labels = max(scene.native_windows(), key=lambda window: int(np.count_nonzero(window[1] > 0)))
    if isinstance(scene.scene, RasterScene):
        window = scene.window(box)
        image = np.moveaxis(window.image[:3], 0, -1) if len(window.image) >= 3 else window.image[0]
        return Example(scene=scene.name, image=image, valid=window.valid, labels=labels, mask=read(box))
    fullest = int(np.argmax((labels > 0).sum(axis=(1, 2))))
    plane = Box((fullest, 0, 0), (fullest + 1, *labels.shape[1:]))
    with scene.scene.open() as reader:
        image, valid = reader.native(plane)
    return Example(scene=scene.name, image=image[0], valid=valid[0], labels=labels[fullest], mask=read(plane)[0])
