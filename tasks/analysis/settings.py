"""The analysis section of a job, one kind of it per answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.answers.crop.settings import CropAnalysis
from tasks.answers.fire.settings import FireAnalysis
from tasks.answers.tumour.settings import TumourAnalysis
from tasks.section import Section


class AreaAnalysis(Section):
    """Hectares per class of a raster."""

    kind: Literal["area"]


Analysis = Annotated[AreaAnalysis | CropAnalysis | FireAnalysis | TumourAnalysis, Field(discriminator="kind")]
