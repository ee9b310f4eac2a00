"""What a run is asked for: by a command, a schedule, or the form in the Prefect UI."""

# No postponed annotations here: Prefect builds the form and the validation of a flow from the real ones.

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field


class Setup(BaseModel):
    """With which job, where to, and on what.

    Attributes:
        job: A name in ``configs/`` or the path of a job file.
        out: Folder for the products; it belongs to one job.
        model: Overrides the job's model.
        overrides: ``key=value`` settings that override the job's.
        cluster: ``local``, or the address of a running Dask scheduler.
        workers: Worker processes of a local cluster.
        device: ``auto``, ``cpu`` or ``cuda``; None for what the job says.
    """

    job: str
    out: Path
    model: str | None = None
    overrides: list[str] = []
    cluster: str = "local"
    workers: int | None = Field(default=None, ge=1)
    device: Literal["auto", "cpu", "cuda"] | None = None

    @property
    def all_overrides(self) -> tuple[str, ...]:
        """Settings that override the job's, the device among them."""
        device = () if self.device is None else (f"run.device={self.device}",)
        return (*self.overrides, *device)


class Batch(Setup):
    """What to segment.

    Attributes:
        inputs: Files, folders or CSV tables.
    """

    inputs: list[str] = Field(min_length=1)
