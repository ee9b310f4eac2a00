"""The analysis section of a job, one kind of it per answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.jobs.crop import CropAnalysis
from tasks.jobs.fire import FireAnalysis
from tasks.jobs.section import Section
from tasks.jobs.tumour import TumourAnalysis


class AreaAnalysis(Section):
    """Hectares per class of a raster."""

    kind: Literal["area"]


Analysis = Annotated[AreaAnalysis | CropAnalysis | FireAnalysis | TumourAnalysis, Field(discriminator="kind")]
