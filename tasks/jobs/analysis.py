"""The analysis section of a job, one kind of it per answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator

from models.errors import ExtensionError
from models.extensions import ANALYSES, extensions
from tasks.jobs.analysis_section import AnalysisSection
from tasks.jobs.crop import CropAnalysis
from tasks.jobs.fire import FireAnalysis
from tasks.jobs.structures import StructuresAnalysis
from tasks.jobs.tumour import TumourAnalysis


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


def _added(name: str) -> type[AnalysisSection]:
    """Return a kind of analysis that an installed package adds.

    Raises:
        ExtensionError: When it cannot be loaded or is no kind of analysis.
    """
    extension = extensions(ANALYSES)[name]
    kind = extension.load()
    if not isinstance(kind, type) or not issubclass(kind, AnalysisSection):
        raise ExtensionError(f"analysis.kind '{name}' of {extension.origin}: {kind!r} is no AnalysisSection")
    return kind


def kinds_for(scene: str) -> list[str]:
    """Return the kinds of analysis that can be asked of a ``raster`` or a ``volume``, our own first.

    Raises:
        ExtensionError: When what a package adds cannot be loaded.
    """
    kinds = {**_OURS, **{name: _added(name) for name in extensions(ANALYSES)}}
    return [name for name, kind in kinds.items() if scene in kind.answers]


def _of_any_package(value: Any, ours: ValidatorFunctionWrapHandler) -> AnalysisSection:  # noqa: ANN401 - of a file
    name = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    if isinstance(name, str) and name not in _OURS and name in extensions(ANALYSES):
        return _added(name).model_validate(value)
    known: AnalysisSection = ours(value)
    return known


Analysis = Annotated[
    SerializeAsAny[
        Annotated[
            AreaAnalysis | CropAnalysis | FireAnalysis | StructuresAnalysis | TumourAnalysis,
            Field(discriminator="kind"),
        ]
    ],
    WrapValidator(_of_any_package),
]
