"""What a run is asked for: by a command, a schedule, or the form in the Prefect UI."""

# No postponed annotations here: Prefect builds the form and the validation of a flow from the real ones.

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


def all_overrides(
    overrides: Sequence[str] | None, device: str | None = None, *, strict: bool = False
) -> tuple[str, ...]:
    """Return settings that override a job's, those that commands have options of their own for among them."""
    own = () if device is None else (f"run.device={device}",)
    return (*(overrides or ()), *own, *(("run.strict=true",) if strict else ()))


class Setup(BaseModel):
    """With which job, where to, and how; every field stands on the form in the UI with its description."""

    job: str = Field(description="A name that ships, such as fire or sarcoma, or the path of a job file.")
    out: Path = Field(description="Folder for the products; it belongs to one job.")
    model: str | None = Field(default=None, description="A model's name or path instead of the job's.")
    overrides: list[str] = Field(default=[], description="Settings that override the job's, such as tiling.halo=64.")
    cluster: str = Field(default="local", description="local, or the address of a running Dask scheduler.")
    workers: int | None = Field(default=None, ge=1, description="Worker processes of a local cluster.")
    device: Literal["auto", "cpu", "cuda"] | None = Field(
        default=None, description="What to compute on, instead of what the job says."
    )

    strict: bool = Field(default=False, description="Refuse scenes that the check has a warning about.")

    @property
    def all_overrides(self) -> tuple[str, ...]:
        """Settings that override the job's, those with fields of their own among them."""
        return all_overrides(self.overrides, self.device, strict=self.strict)


class Batch(Setup):
    """What to segment."""

    inputs: list[str] = Field(
        min_length=1,
        description="Files, folders or CSV tables, as the worker sees them. Whoever sees the run sees these names: "
        "where files are called after patients, give a table with ids of its own.",
    )


def _what_users_say_first(schema: dict[str, Any]) -> None:
    """Order the form: what everybody fills in stands above what is for experts."""
    fields = schema["properties"]
    first = ("job", "inputs", "out", "name", "urgent")
    schema["properties"] = {name: fields[name] for name in (*first, *(name for name in fields if name not in first))}


class Submission(Batch):
    """A batch that somebody hands in: it waits for its folder where another run holds that."""

    model_config = ConfigDict(json_schema_extra=_what_users_say_first)

    name: str = Field(default="", description="What the run is called behind the job's name.", max_length=80)
    urgent: bool = Field(default=False, description="Before routine scenes, also before those of a run under way.")
    wait_hours: float = Field(
        default=24, gt=0, le=24 * 14, description="How long to wait for the folder while another run holds it."
    )
    cluster: str = Field(
        default="auto",
        description="auto: the Dask scheduler that the Prefect worker was started with, if any; local: workers of the "
        "run's own; or the address of a running Dask scheduler.",
    )
