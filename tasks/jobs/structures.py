"""What a job may say of the structures of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tasks.jobs.analysis_section import AnalysisSection

_Millimetres = Annotated[float, Field(gt=0, lt=1000)]


class StructuresAnalysis(AnalysisSection):
    """Shape, position and size of every structure of a picture: each connected part of each class but the first.

    Attributes:
        connectivity: Neighbours of a pixel that belong to one part: 4 or 8.
        smallest_pixels: Parts with fewer pixels are counted, and not measured.
        spacing_mm: From one row, and from one column, to the next; what the file says where left out.
    """

    kind: Literal["structures"]
    answers: ClassVar[Mapping[str, str]] = {"raster": "tasks.analysis.structures:analyse_structures"}
    connectivity: Literal[4, 8] = 8
    smallest_pixels: int = Field(default=1, ge=1)
    spacing_mm: tuple[_Millimetres, _Millimetres] | None = None
