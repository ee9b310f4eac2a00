"""What a kind of analysis says of itself, so that nothing else has to ask which kind a job names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tasks.jobs.section import Section


class AnalysisSection(Section):
    """The section ``analysis`` of a job. A kind of analysis is one class of this; ``docs/extending.md`` shows one.

    Functions and modules are named, not imported: the process that reads a job does not load what answers it.

    Attributes:
        kind: Its name in job files.
        answers: By what a scene is (``raster``, ``volume``), the function that answers, as ``package.module:function``.
            It is called with a ``RasterMask`` or ``VolumeMask``, the section, and the folder of the product, and
            returns ``Findings`` (``tasks/analysis/subject.py``).
        over_dates: Whether the scenes of one site or patient are followed from date to date.
        tells_date: Whether products tell the date of their scene, so that another date makes another product.
        later_keys: Keys that say what happens after a product: they change none.
    """

    kind: str
    answers: ClassVar[Mapping[str, str]]
    over_dates: ClassVar[bool] = False
    tells_date: ClassVar[bool] = False
    later_keys: ClassVar[frozenset[str]] = frozenset()

    @property
    def following(self) -> str | None:
        """The module that goes on where a batch has ended, a ``tasks.analysis.following.Following``; None for none."""
        return None

    @property
    def extra_bands(self) -> tuple[str, ...]:
        """Names of the bands that are read beside the model's, each once."""
        return ()

    @property
    def main_class(self) -> int:
        """Number of the class that the answer is about; the first behind the background where it is about all."""
        return 1

    def files(self, scene_id: str) -> dict[str, str]:
        """Return the files that are read beside a scene's mask, by the key that names them."""
        return {}

    def unknown_classes(self, names: Mapping[int, str]) -> str | None:
        """Return which of its keys asks about a class that a model does not have; None where all are there.

        Args:
            names: Of the model's classes, by number.

        Returns:
            The start of an error, such as ``analysis.label is 7``.
        """
        return None
