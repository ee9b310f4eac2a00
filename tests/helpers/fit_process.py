"""A fit in a process of its own, which may kill itself in the middle of a step."""

import os
import signal
from pathlib import Path

import torch

from models.card import Card
from models.training.crops import Crops
from models.training.fit import fit
from models.training.settings import Sample, TrainSettings


def run(
    samples: list[Sample], card: Card, settings: TrainSettings, folder: Path, kill_at: int | None, interval: int
) -> None:
    """Fit and write the weights; or end by SIGKILL while the crops of a step, from 0, are prepared.

    ``interval`` takes the place of what the settings would say: the test has replaced it in its own process.
    """
    TrainSettings.interval = property(lambda _: interval)
    drawn = Crops.__getitem__

    def drawn_or_killed(crops: Crops, number: int) -> object:
        if kill_at is not None and number == kill_at * settings.batch * settings.accumulate + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return drawn(crops, number)

    Crops.__getitem__ = drawn_or_killed
    torch.save(fit(samples, card, settings, folder=folder).state_dict, folder / "result.pt")
