"""What a job may say of tumours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from tasks.jobs.analysis_section import AnalysisSection


class TumourAnalysis(AnalysisSection):
    """Lesions of one class of a volume: volumes, diameters, shape, targets and follow-up.

    Attributes:
        label: The class that is measured.
        connectivity: Neighbours of a voxel that belong to one component: 6, 18 or 26.
        organ: Where all lesions of the class lie; None where nobody knows.
        nodal: Whether they are lymph nodes, which RECIST measures by their short axis.
        measured: How many of the largest lesions get more than a volume.
        uncertain_percent: A voxel whose winning class is less probable than this is uncertain.
        uncertain_mm: How far from a lesion uncertain voxels may still belong to it.
        match_mm: How far apart lesions of two dates may be that do not overlap and are still one.
        change_percent: By how much a volume has to change to have grown or shrunk.
        new_mm: Longest axial diameter from which a new lesion counts for a response category; a lymph node also needs a
            short axis of 10 mm.
        modality: ``ct`` is drawn in a soft-tissue window, ``mr`` between percentiles; ``auto`` looks at the values.
        window: Values drawn black and white, instead of what the modality says.
    """

    kind: Literal["tumour"]
    answers: ClassVar[Mapping[str, str]] = {"volume": "tasks.analysis.tumour.analyse:analyse_tumour"}
    over_dates: ClassVar[bool] = True
    label: int = Field(default=1, ge=1)
    connectivity: Literal[6, 18, 26] = 26
    organ: str | None = None
    nodal: bool = False
    measured: int = Field(default=200, ge=1)
    uncertain_percent: int = Field(default=75, ge=1, le=100)
    uncertain_mm: float = Field(default=5.0, ge=0)
    match_mm: float = Field(default=5.0, ge=0)
    change_percent: float = Field(default=25.0, gt=0, lt=100)
    new_mm: float = Field(default=5.0, ge=0)
    modality: Literal["auto", "ct", "mr"] = "auto"
    window: tuple[float, float] | None = None

    @property
    def following(self) -> str:
        """Patients over dates."""
        return "tasks.analysis.tumour.following"

    @property
    def main_class(self) -> int:
        """Number of the class that is measured."""
        return self.label

    def unknown_classes(self, names: Mapping[int, str]) -> str | None:
        """Tell of a class that is to be measured and that the model does not have."""
        return None if self.label in names else f"analysis.label is {self.label}"
