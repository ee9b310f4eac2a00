"""The analysis section of a job, one kind of it per answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator

from tasks.errors import JobError
from tasks.jobs.analysis_section import AnalysisSection
from tasks.jobs.crop import CropAnalysis
from tasks.jobs.fire import FireAnalysis
from tasks.jobs.structures import StructuresAnalysis
from tasks.jobs.tumour import TumourAnalysis

# Where another package names its kinds of analysis: ``[project.entry-points."swathe.analyses"]``, one line per kind.
ENTRY_POINTS = "swathe.analyses"


class AreaAnalysis(AnalysisSection):
    """How much each class covers: hectares of a raster, millilitres of a volume."""

    kind: Literal["area"]
    answers: ClassVar[Mapping[str, str]] = {
        "raster": "tasks.analysis.area:analyse_area",
        "volume": "tasks.analysis.volumes:analyse_volumes",
    }


# What answers a job without an analysis.
AREA = AreaAnalysis(kind="area")
_OURS: Mapping[str, type[AnalysisSection]] = {
    "area": AreaAnalysis,
    "crop": CropAnalysis,
    "fire": FireAnalysis,
    "structures": StructuresAnalysis,
    "tumour": TumourAnalysis,
}


@cache
def _others() -> Mapping[str, type[AnalysisSection]]:
    """Return the kinds of analysis that installed packages bring, by name.

    Raises:
        JobError: When one of them cannot be loaded or is no kind of analysis.
    """
    found: dict[str, type[AnalysisSection]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            kind = entry.load()
        except (ImportError, AttributeError) as error:
            raise JobError(f"analysis kind '{entry.name}' ({entry.value}) cannot be loaded: {error}") from error
        if not isinstance(kind, type) or not issubclass(kind, AnalysisSection):
            raise JobError(f"analysis kind '{entry.name}': {entry.value} is no AnalysisSection (docs/extending.md)")
        found[entry.name] = kind
    return found


def kinds_for(scene: str) -> list[str]:
    """Return the kinds of analysis that can be asked of a ``raster`` or a ``volume``, our own first."""
    return [name for name, kind in {**_OURS, **_others()}.items() if scene in kind.answers]


def _of_any_package(value: Any, ours: ValidatorFunctionWrapHandler) -> AnalysisSection:  # noqa: ANN401 - of a file
    name = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    if not isinstance(name, str) or name in _OURS or name not in _others():
        known: AnalysisSection = ours(value)
        return known
    return _others()[name].model_validate(value)


Analysis = Annotated[
    SerializeAsAny[
        Annotated[
            AreaAnalysis | CropAnalysis | FireAnalysis | StructuresAnalysis | TumourAnalysis,
            Field(discriminator="kind"),
        ]
    ],
    WrapValidator(_of_any_package),
]
