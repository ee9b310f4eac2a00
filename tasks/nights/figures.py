"""What Prometheus is told of an OUT folder: figures of its ledger, as a text file that the node exporter reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from tasks.nights.status import Status


@dataclass(frozen=True)
class Gpu:
    """How busy a GPU of this machine is.

    Attributes:
        index: Its number.
        busy_percent: Of the last moments.
        memory_used: Bytes.
        memory_total: Bytes.
    """

    index: str
    busy_percent: float
    memory_used: int
    memory_total: int


def metrics_text(found: Sequence[Status], gpus: Iterable[Gpu] = ()) -> str:
    """Return the figures of folders in the text format of Prometheus, one time series per folder.

    Times are absolute: how old a night is follows from the clock of whoever asks, also when nobody writes any more.

    Args:
        found: Of the folders; their names are labels.
        gpus: Of this machine.
    """
    registry = CollectorRegistry()
    folder = _Figures(registry, ("out", "job"))
    for status in found:
        labels = (status.root.resolve().name, status.run.job if status.run else "")
        _tell_scenes(folder, labels, status)
        _tell_run(folder, labels, status)
        _tell_nights(folder, labels, status)
    _tell_gpus(_Figures(registry, ("gpu",)), gpus)
    return generate_latest(registry).decode()


class _Figures:
    """Gauges by name, made when they are first set."""

    def __init__(self, registry: CollectorRegistry, labels: tuple[str, ...]) -> None:
        self._registry, self._labels = registry, labels
        self._gauges: dict[str, Gauge] = {}

    def set(
        self, name: str, text: str, labels: tuple[str, ...], value: float, more: tuple[str, str] | None = None
    ) -> None:
        names = self._labels if more is None else (*self._labels, more[0])
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"swathe_{name}", text, names, registry=self._registry)
        self._gauges[name].labels(*labels, *(() if more is None else (more[1],))).set(value)


def _tell_scenes(figures: _Figures, labels: tuple[str, ...], status: Status) -> None:
    text = "Scenes by the newest word of the ledger."
    figures.set("scenes", text, labels, status.done, ("status", "done"))
    figures.set("scenes", text, labels, len(status.failed), ("status", "failed"))
    figures.set("blocks", "Blocks of the products that are shown.", labels, status.effort.blocks)
    figures.set("tiles", "Tiles of the products that are shown.", labels, status.effort.tiles)
    figures.set("block_seconds", "Seconds of workers that their blocks took.", labels, status.effort.block_s)
    for stage, seconds in sorted(status.effort.stages_s.items()):
        figures.set("stage_seconds", "Seconds that their stages took.", labels, seconds, ("stage", stage))
    figures.set("disk_free_bytes", "Space left where products go.", labels, status.disk.free)
    figures.set("disk_total_bytes", "Space where products go.", labels, status.disk.total)


def _tell_run(figures: _Figures, labels: tuple[str, ...], status: Status) -> None:
    figures.set("run_active", "Whether a run is under way.", labels, status.running)
    if status.run is not None:
        figures.set("run_started_seconds", "When the newest run began.", labels, _seconds(status.run.started))
    text = "Scenes that the run under way has still to do."
    figures.set("queue_scenes", text, labels, status.backlog.waiting if status.backlog else 0, ("state", "waiting"))
    figures.set("queue_scenes", text, labels, status.backlog.under_way if status.backlog else 0, ("state", "under way"))


def _tell_nights(figures: _Figures, labels: tuple[str, ...], status: Status) -> None:
    figures.set("alerts", "Alerts that stand.", labels, len(status.alerts))
    if status.night_ended is not None:
        figures.set("nights", "Nights that had a run.", labels, status.nights)
        figures.set("night_ended_seconds", "When the newest night ended.", labels, _seconds(status.night_ended))
    if status.night_ended is not None or status.overdue:
        figures.set("night_overdue", "Whether a night should have ended since.", labels, status.overdue)


def _tell_gpus(figures: _Figures, gpus: Iterable[Gpu]) -> None:
    for gpu in gpus:
        figures.set("gpu_busy_percent", "Use of a GPU of this machine.", (gpu.index,), gpu.busy_percent)
        figures.set("gpu_memory_used_bytes", "Memory in use on it.", (gpu.index,), gpu.memory_used)
        figures.set("gpu_memory_total_bytes", "Memory that it has.", (gpu.index,), gpu.memory_total)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
