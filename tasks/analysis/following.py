"""What goes on after a batch, from scene to scene: fires over nights, patients over dates, what to spray."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from tasks.inputs.input import Input
from tasks.intake.request import Request
from tasks.jobs.analysis_section import AnalysisSection
from tasks.out.folder import OutFolder
from tasks.reports.trail import Trail


class Following(Protocol):
    """What the module that ``AnalysisSection.following`` names has to offer."""

    def follow(
        self, request: Request, settings: AnalysisSection, published: Sequence[Input], now: str
    ) -> Sequence[str]:
        """Bring up to date what is followed in the folder of a request, from all that is published in it.

        Called again with the same, it changes nothing and tells nothing.

        Args:
            request: Names the folder and the job.
            settings: The job's analysis, of the kind that named the module.
            published: The inputs of the batch that have a product.
            now: ISO 8601, in UTC.

        Returns:
            What could not be followed, and why, a line each.

        Raises:
            SwatheError: When nothing could be; it costs what is followed, never a product.
        """
        ...

    def trails(self, out: OutFolder) -> tuple[Trail, ...]:
        """Return what is followed in a folder, for the page of a batch; tables without rows are not shown.

        Raises:
            ProductError: When what is published is damaged.
        """
        ...


def following_of(analysis: AnalysisSection | None) -> Following | None:
    """Return what goes on after a batch with this analysis; None where nothing does."""
    if analysis is None or analysis.following is None:
        return None
    found: Following = import_module(analysis.following)
    return found


def trails_of(out: OutFolder, analysis: AnalysisSection | None) -> tuple[Trail, ...]:
    """Return what is followed, from what is published; nothing where nothing is.

    Raises:
        ProductError: When what is published is damaged.
    """
    following = following_of(analysis)
    return () if following is None else tuple(trail for trail in following.trails(out) if trail.rows)
