"""Which scene comes next: urgent ones first, then the cheapest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tasks.files.fingerprint import Fingerprint
from tasks.inputs.input import Input


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """A scene that has to be done.

    Attributes:
        item: As a user named it.
        fingerprint: Of its content.
        pixels: Pixels or voxels, which its cost is proportional to: a run has one model. None where not known.
        warnings: What the check said of it.
        is_seen: Whether the check looked at all of it.
        urgent: Whether it goes before those that are not.
        ticket: Id of the ticket that brought it; None for the run's own.
    """

    item: Input
    fingerprint: Fingerprint
    pixels: int | None = None
    urgent: bool = False
    ticket: str | None = None
    warnings: tuple[str, ...] = ()
    is_seen: bool = True


class Line:
    """Scenes that have not begun, in the order in which they will.

    Within a class the cheapest goes first: the blocks of all scenes share the same slots, so the whole takes as long
    in any order, and so the mean wait for a product is the shortest.
    """

    def __init__(self, scenes: Iterable[Fresh] = ()) -> None:
        self._waiting: dict[str, Fresh] = {}
        self._begun: set[str] = set()
        self.add(scenes)

    def __len__(self) -> int:
        return len(self._waiting)

    def has_seen(self, scene: str) -> bool:
        """Tell whether a scene waits or has begun."""
        return scene in self._waiting or scene in self._begun

    def add(self, scenes: Iterable[Fresh]) -> None:
        """Let scenes in at their places."""
        self._waiting |= {scene.item.id: scene for scene in scenes}
        self._waiting = dict(sorted(self._waiting.items(), key=lambda entry: _place(entry[1])))

    def hasten(self, scene: str) -> None:
        """Make a scene urgent that waits."""
        if scene in self._waiting:
            self.add([replace(self._waiting[scene], urgent=True)])

    def drop(self, ticket: str, heirs: Mapping[str, str]) -> None:
        """Take back what a ticket brought and has not begun.

        Args:
            ticket: Its id.
            heirs: Scenes that another ticket asks for as well, each with the id of that ticket: they stay, as its own.
        """
        for name, scene in list(self._waiting.items()):
            if scene.ticket != ticket:
                continue
            if name in heirs:
                self._waiting[name] = replace(scene, ticket=heirs[name])
            else:
                del self._waiting[name]

    def take(self, *, urgent_only: bool = False) -> Fresh | None:
        """Return the next scene and take it out; None where there is none."""
        first = next(iter(self._waiting.values()), None)
        if first is None or (urgent_only and not first.urgent):
            return None
        self._begun.add(first.item.id)
        return self._waiting.pop(first.item.id)


def _place(scene: Fresh) -> tuple[bool, float]:
    # Sorting keeps the order of those that cost the same.
    return not scene.urgent, math.inf if scene.pixels is None else scene.pixels
