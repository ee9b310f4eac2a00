"""A network and what it is fitted to, as Lightning takes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from models.networks.layout import memory_layout
from models.training.crops import IGNORED, random_generator
from models.training.settings import TrainSettings

# From the network, images (batch, inputs, *crop) and labels (batch, *crop) to a scalar.
Objective: TypeAlias = Callable[[nn.Module, Tensor, Tensor], Tensor]

WATCHED = "watched_dice"
# What stands before the names of the network's own weights.
NETWORK = "network."
_Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]


class FitModule(LightningModule):
    """One fit.

    Args:
        network: To be fitted.
        objective: What is minimised.
        settings: Of optimiser and schedule.
        n_classes: Of the scores that watched scenes get.
    """

    def __init__(self, network: nn.Module, objective: Objective, settings: TrainSettings, n_classes: int) -> None:
        super().__init__()
        self.network = network
        self._objective, self._settings = objective, settings
        # Since the last entry of the curves.
        self._losses: list[Tensor] = []
        self._sizes = torch.zeros(3, n_classes, dtype=torch.int64)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own type takes half of its package
        """Return AdamW, and a learning rate that rises in a line and falls along a cosine."""
        settings = self._settings
        optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_share(step, settings.steps, settings.warm_up)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Choose how images lie in memory; here, because what says so does not travel to other processes."""
        self._layout = memory_layout(self.network, len(self._settings.crop), self.device)

    def training_step(self, batch: _Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        images, labels, numbers = batch
        # What a network drops out is a function of the crops' numbers, as the crops are.
        torch.manual_seed(random_generator(self._settings.seed, 2, int(numbers[0])).initial_seed())
        loss = self._objective(self.network, images.contiguous(memory_format=self._layout), labels)
        # Not as a number: that would wait for the device at every step.
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        """Enter what was seen since the last epoch into the curves."""
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        entries = {"loss": math.fsum(map(float, self._losses)) / len(self._losses), "learning_rate": rate}
        self._losses = []
        self.log_dict({**entries, "step": float(self.global_step)}, sync_dist=True)

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self._sizes.zero_()

    def validation_step(self, batch: _Batch, batch_idx: int) -> None:
        """Count pixels that were found, that are labelled, and both, for each class."""
        images, labels, _ = batch
        found = self.network(images.contiguous(memory_format=self._layout)).argmax(1)
        counted = labels != IGNORED
        for number in range(self._sizes.shape[1]):
            here, there = (found == number) & counted, labels == number
            for row, part in enumerate((here, there, here & there)):
                self._sizes[row, number] += int(part.sum())

    def on_validation_epoch_end(self) -> None:
        """Enter the Dice of all watched scenes together, mean over the classes but the first that there are."""
        gathered = cast("Tensor", self.all_gather(self._sizes.to(self.device)))
        sizes = gathered.reshape(-1, *self._sizes.shape).sum(0).double().cpu()
        found, labelled, both = sizes[:, 1:]
        there = found + labelled > 0
        dice = (2 * both[there] / (found + labelled)[there]).mean() if bool(there.any()) else torch.tensor(1.0)
        self.log_dict({WATCHED: dice.float(), "step": float(self.global_step)})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the next entry of the curves needs."""
        checkpoint["losses"] = [float(loss) for loss in self._losses]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it."""
        self._losses = [torch.tensor(loss) for loss in checkpoint["losses"]]


def learning_rate_share(step: int, steps: int, warm_up: float) -> float:
    """Return the share of the highest learning rate that a step has: up in a line, then down along half a cosine.

    Args:
        step: From 0.
        steps: Of the fit.
        warm_up: Share of them on the way up.
    """
    rising = warm_up * steps
    if step + 1 <= rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step + 1 - rising) / max(1.0, steps - rising))))
