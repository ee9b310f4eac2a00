"""The state of a fit on disk, from which a killed one goes on to the same bits."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from models.errors import WeightsError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Puts a checkpoint in the place of the one before in one step: whatever ends the process, one of them is whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What torch can save.
            path: Where.
            storage_options: Not used.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.partial")
        with part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def load_checkpoint(
        self, path: str | Path, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; arguments as of torch.

        Raises:
            WeightsError: When it is damaged.
        """
        try:
            found: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except Exception as error:
            raise WeightsError(
                f"{path}: this checkpoint cannot be read: {error}. Remove it, and the fit begins anew"
            ) from error
        return found


class Checkpoints(Checkpoint):
    """Writes the state of a fit now and then, never more often than it is told.

    Args:
        path: Of the file.
        interval_s: Least time between two checkpoints.
    """

    def __init__(self, path: Path, interval_s: float) -> None:
        self._path, self._interval_s = path, interval_s
        self._written = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Write before a step, never after one: what follows the last of an epoch would be left out by who goes on."""
        is_due = time.monotonic() - self._written >= self._interval_s
        if batch_idx % trainer.accumulate_grad_batches == 0 and trainer.strategy.broadcast(is_due):
            trainer.save_checkpoint(self._path)
            self._written = time.monotonic()
