"""The analysis section of a job, one kind of it per answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.jobs.crop import CropAnalysis
from tasks.jobs.fire import FireAnalysis
from tasks.jobs.section import Section
from tasks.jobs.structures import StructuresAnalysis
from tasks.jobs.tumour import TumourAnalysis


class AreaAnalysis(Section):
    """How much each class covers: hectares of a raster, millilitres of a volume."""

    kind: Literal["area"]


Analysis = Annotated[
    AreaAnalysis | CropAnalysis | FireAnalysis | StructuresAnalysis | TumourAnalysis, Field(discriminator="kind")
]
# By what a scene is, the kinds of analysis that can be asked of it.
ANALYSES = {"raster": ("area", "crop", "fire", "structures"), "volume": ("area", "tumour")}
