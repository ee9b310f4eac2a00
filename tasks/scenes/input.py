"""One scene as a user named it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Input:
    """One scene as named by the user; nothing of it has been opened.

    Attributes:
        id: The scene's name: letters, digits, ``.``, ``_``, ``-``.
        files: Path, URL or /vsi path by role.
        site: What the scene shows, where a table says so.
        date: ISO date of the observation, from a table or the name.
        error: Why the scene cannot be used; it costs this scene only.
        waits: Whether it could be used once other scenes are there.
        revision: What a catalogue says of the state of files that cannot be hashed here.
    """

    id: str
    files: dict[str, str]
    site: str | None = None
    date: str | None = None
    error: str | None = None
    waits: bool = False
    revision: str | None = None

    def pseudonymised(self, text: str) -> str:
        """Put the scene's id where a text names its files: file names may identify a patient, ids may not."""
        for path in self.files.values():
            for name in (path, Path(path).name):
                text = text.replace(name, self.id)
        return text
