"""The analysis section of a job, one kind of it per answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.answers.crop.settings import CropAnalysis
from tasks.answers.fire.settings import FireAnalysis
from tasks.section import Section


class AreaAnalysis(Section):
    """Hectares per class of a raster."""

    kind: Literal["area"]


class TumourAnalysis(Section):
    """Millilitres per connected component of a volume.

    Attributes:
        label: The class that is measured.
        connectivity: Neighbours of a voxel that belong to one component: 6, 18 or 26.
    """

    kind: Literal["tumour"]
    label: int = 1
    connectivity: Literal[6, 18, 26] = 26


Analysis = Annotated[AreaAnalysis | CropAnalysis | FireAnalysis | TumourAnalysis, Field(discriminator="kind")]
