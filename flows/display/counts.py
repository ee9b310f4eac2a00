"""Counts as progress artifacts of the Prefect UI."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

logger = logging.getLogger(__name__)


@dataclass
class ProgressArtifact:
    """A progress artifact; a server that is away must not cost the scene.

    Attributes:
        label: What is counted, for people.
        artifact: Id on the server, once it is made.
    """

    label: str
    artifact: UUID | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the artifact is made."""
        return self.artifact is not None

    def tell(self, done: int, total: int) -> None:
        """Make the artifact, or bring it up to date."""
        percent = 100.0 * done / max(1, total)
        try:
            if self.artifact is None:
                self.artifact = cast("UUID", create_progress_artifact(progress=percent, description=self.label))
            else:
                update_progress_artifact(self.artifact, progress=percent, description=self.label)
        except (PrefectException, httpx.HTTPError) as error:
            logger.debug("%s: progress could not be told to Prefect: %s", self.label, error)
