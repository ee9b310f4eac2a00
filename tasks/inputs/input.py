"""One scene as a user named it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.printable import printable
from tasks.scenes.stated import Stated, StatedBands

_IN_NO_NAME = "\0"


@dataclass(frozen=True, kw_only=True)
class Input:
    """One scene as named by the user; nothing of it has been opened.

    Attributes:
        id: The scene's name: letters, digits, ``.``, ``_``, ``-``.
        files: Path, URL or /vsi path by role; of several items of one scene see ``stated.role_beneath``.
        site: What the scene shows, where a table says so.
        date: ISO date of the observation, from a table or the name.
        study: Short name of the study that it belongs to; None where nothing tells.
        error: Why the scene cannot be used; it costs this scene only.
        waits: Whether it could be used once other scenes are there.
        revision: What a catalogue says of the state of files that cannot be hashed here.
        beside: Other paths that the error names.
        stated: What a catalogue says of the bands of files.
        remarks: What a user should know of how the scene was put together.
        series: Of DICOM, which volume of its files it is: a key by which ``tasks.dicom`` finds it again.
        left_out: Whether the job does not take it, which ``error`` says why.
    """

    id: str
    files: dict[str, str]
    site: str | None = None
    date: str | None = None
    study: str | None = None
    error: str | None = None
    waits: bool = False
    revision: str | None = None
    beside: tuple[str, ...] = ()
    stated: StatedBands = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    series: str | None = None
    left_out: bool = False

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Input:
        """Return the scene whose fields were written down as JSON.

        Raises:
            TypeError: When there are other fields, or one is missing.
        """
        told = facts.get("stated", {}).items()
        stated = {role: tuple(Stated(**band) for band in bands) for role, bands in told}
        texts = {name: tuple(facts.get(name, ())) for name in ("beside", "remarks")}
        return cls(**{**facts, **texts, "stated": stated})

    def pseudonymised(self, text: str) -> str:
        """Put the scene's id where a text names its files: file names may identify a patient, ids may not."""
        # Files of a series are called 1, 2, 3, which stand in any text; ours of DICOM name no file but by its path.
        return pseudonymised(text, self.id, (*self.files.values(), *self.beside), whole_paths=self.series is not None)


def pseudonymised(text: str, scene: str, paths: Iterable[str], *, whole_paths: bool = False) -> str:
    """Put a scene's id where a text names one of its files, in whatever spelling.

    Args:
        text: Such as an error.
        scene: The id.
        paths: Of the files.
        whole_paths: Leave their last parts, standing alone, as they are.
    """
    names = {name for path in paths for name in ((path,) if whole_paths else (path, Path(path).name))}
    # As errors of ours and of Python spell what cannot be shown as it is.
    spelt = {spelling for name in names for spelling in (name, printable(name), repr(name)[1:-1])}
    # The longest first: the name of one may be a part of that of another; and of the id, which comes in at the end.
    for spelling in sorted(spelt - {""}, key=len, reverse=True):
        text = text.replace(spelling, _IN_NO_NAME)
    return text.replace(_IN_NO_NAME, scene)
