"""What a job may say of the structures of a picture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.jobs.section import Section

_Millimetres = Annotated[float, Field(gt=0, lt=1000)]


class StructuresAnalysis(Section):
    """Shape, position and size of every structure of a picture: each connected part of each class but the first.

    Attributes:
        connectivity: Neighbours of a pixel that belong to one part: 4 or 8.
        smallest_pixels: Parts with fewer pixels are counted, and not measured.
        spacing_mm: From one row, and from one column, to the next; what the file says where left out.
    """

    kind: Literal["structures"]
    connectivity: Literal[4, 8] = 8
    smallest_pixels: int = Field(default=1, ge=1)
    spacing_mm: tuple[_Millimetres, _Millimetres] | None = None
