"""How Lightning carries out a fit, and goes on with one that was ended half way."""

from __future__ import annotations

import csv
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from models.device import choose_device, training_dtype
from models.training.averaging import RunningMean
from models.training.checkpoints import AtomicCheckpointIO, Checkpoints
from models.training.crops import Crops
from models.training.module import NETWORK, WATCHED, FitModule
from models.training.settings import Curves, Progress, TrainSettings

logger = logging.getLogger(__name__)

_LARGEST_GRADIENT = 5.0
_PRECISIONS: Mapping[str, Any] = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
_MOST_LOADERS = 8
_CROPS_PER_WATCHED = 16
_LAST, _BEST, _FITTED, _LOGS = "last.ckpt", "best.ckpt", "fitted.ckpt", "logs"


def carry_out(
    module: FitModule,
    crops: Crops,
    watched: Crops | None,
    settings: TrainSettings,
    folder: Path,
    progress: Progress | None = None,
) -> tuple[dict[str, Tensor], Curves]:
    """Fit, from the last checkpoint in a folder where there is one.

    Args:
        module: The network with what it is fitted to.
        crops: To fit on.
        watched: To look at after every entry of the curves, which decides when to stop; None to carry out all steps.
        settings: How.
        folder: For checkpoints and logs of this fit and no other.
        progress: Told at each entry of the curves.

    Returns:
        The running mean of the network's weights, on the CPU, and the curves. On a CPU the same bits for the same
        input, machine and number of threads, however often the fit was ended.

    Raises:
        DeviceError: When the device is not there, or does not compute in the precision.
        WeightsError: When the checkpoint is damaged.
    """
    disk = AtomicCheckpointIO()
    if (folder / _FITTED).exists():
        found = disk.load_checkpoint(folder / _FITTED)
        logger.info("fitted before: %s", folder / _FITTED)
        return found["state_dict"], found["curves"]
    last = folder / _LAST
    begun = int(disk.load_checkpoint(last)["global_step"]) if last.exists() else 0
    callbacks: list[Callback] = [RunningMean(settings.averaging), Checkpoints(last, settings.checkpoint_s)]
    if watched is not None and settings.patience is not None:
        patience = math.ceil(settings.patience / settings.interval)
        best = ModelCheckpoint(folder, Path(_BEST).stem, monitor=WATCHED, mode="max", enable_version_counter=False)
        callbacks += [EarlyStopping(WATCHED, patience=patience, mode="max"), best]
    with _quiet():
        trainer = _trainer(settings, callbacks, _loggers(folder, begun, settings, progress))
        logger.info(
            "fitting on %s in %s, %d threads%s",
            trainer.strategy.root_device,
            trainer.precision,
            torch.get_num_threads(),
            f", from step {begun} on" if begun else "",
        )
        trainer.fit(
            module,
            _loader(crops, _NextCrops(trainer, settings), settings),
            None if watched is None else _loader(watched, _EachCrop(trainer, watched), settings),
            ckpt_path=str(last) if last.exists() else None,
            weights_only=True,
        )
    # Not asked of the callback: of processes of their own none hears what theirs kept.
    kept = folder / _BEST
    weights = disk.load_checkpoint(kept)["state_dict"] if kept.exists() else module.state_dict()
    state = {
        name.removeprefix(NETWORK): value.detach().cpu().clone()
        for name, value in weights.items()
        if name.startswith(NETWORK)
    }
    curves = _curves(folder / _LOGS)
    disk.save_checkpoint({"state_dict": state, "curves": curves}, folder / _FITTED)
    for path in (last, kept):
        path.unlink(missing_ok=True)
    return state, curves


def _trainer(settings: TrainSettings, callbacks: list[Callback], loggers: list[Logger]) -> Trainer:
    device = choose_device(settings.device)
    if device.type == "cpu":
        torch.set_num_threads(settings.threads or _usable_cores())
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=settings.devices,
        strategy="auto" if settings.devices == 1 else "ddp_spawn_find_unused_parameters_true",
        precision=_PRECISIONS[training_dtype(settings.precision, device)],
        max_steps=settings.steps,
        max_epochs=-1,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=_LARGEST_GRADIENT,
        callbacks=callbacks,
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        # Processes of their own can tell nobody here, and have Lightning's bar.
        enable_progress_bar=settings.devices > 1,
        enable_model_summary=False,
    )


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0))


class _NextCrops(Sampler[int]):
    """The numbers of an epoch's crops for one device, from the step on that the fit has reached."""

    def __init__(self, trainer: Trainer, settings: TrainSettings) -> None:
        self._trainer, self._settings = trainer, settings

    def __len__(self) -> int:
        settings = self._settings
        return settings.interval * settings.accumulate * settings.batch

    def __iter__(self) -> Iterator[int]:
        settings, trainer = self._settings, self._trainer
        begun = trainer.global_step
        end = (begun // settings.interval + 1) * settings.interval
        for number in range(begun * settings.accumulate, end * settings.accumulate):
            first = (number * trainer.world_size + trainer.global_rank) * settings.batch
            yield from range(first, first + settings.batch)


class _EachCrop(Sampler[int]):
    """The numbers of crops by which watched scenes are judged, shared out to the devices."""

    def __init__(self, trainer: Trainer, watched: Crops) -> None:
        self._trainer, self._n_crops = trainer, _CROPS_PER_WATCHED * watched.n_scenes

    def __len__(self) -> int:
        return len(self._share)

    def __iter__(self) -> Iterator[int]:
        return iter(self._share)

    @property
    def _share(self) -> range:
        return range(self._trainer.global_rank, self._n_crops, self._trainer.world_size)


def _loader(crops: Crops, sampler: Sampler[int], settings: TrainSettings) -> DataLoader[tuple[Tensor, Tensor, int]]:
    n_loaders = settings.loaders
    if n_loaders is None:
        is_gpu = choose_device(settings.device).type == "cuda"
        n_loaders = min(_MOST_LOADERS, _usable_cores() // 2) if is_gpu else 0
    return DataLoader(crops, settings.batch, sampler=sampler, num_workers=n_loaders, persistent_workers=n_loaders > 0)


class _Teller(Logger):
    """Tells of each entry of the curves."""

    def __init__(self, progress: Progress, steps: int) -> None:
        super().__init__()
        self._progress, self._steps = progress, steps

    @property
    def name(self) -> None:
        """None: nothing is written."""

    @property
    def version(self) -> None:
        """None: nothing is written."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Tell of the loss."""
        if step is not None and "loss" in metrics:
            self._progress(step, self._steps, metrics["loss"])

    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Do nothing: the job has them."""


def _loggers(folder: Path, begun: int, settings: TrainSettings, progress: Progress | None) -> list[Logger]:
    # What a fit that was killed entered behind its last checkpoint is entered again, in a file of its own.
    version = f"from-step-{begun}"
    logs = folder / _LOGS
    told: list[Logger] = [_Teller(progress, settings.steps)] if progress and settings.devices == 1 else []
    return [
        CSVLogger(logs, name="csv", version=version, flush_logs_every_n_steps=1),
        TensorBoardLogger(logs, name="tensorboard", version=version),
        *told,
    ]


def _curves(logs: Path) -> Curves:
    """Return what was entered, per number of steps; of two entries that of the later attempt."""
    found: dict[int, dict[str, float]] = {}
    for path in sorted(logs.glob("csv/from-step-*/metrics.csv"), key=lambda one: int(one.parent.name.split("-")[-1])):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                values = {name: float(value) for name, value in row.items() if value and name not in {"step", "epoch"}}
                found.setdefault(int(row["step"]), {}).update(values)
    return dict(sorted(found.items()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Lightning says of itself, and its advice: how crops are made and kept is decided here."""
    theirs = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [one.level for one in theirs]
    for one in theirs:
        one.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
            yield
    finally:
        for one, level in zip(theirs, levels, strict=True):
            one.setLevel(level)
