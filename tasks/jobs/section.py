"""What every section of a job file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen part of a job file; a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
