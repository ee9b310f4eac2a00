"""Which scenes are left out of a fit, and that nothing of them is in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import shapely

from tasks.errors import JobError, LeakError
from tasks.geometry.footprint import footprint
from tasks.jobs.training import TrainingSource
from tasks.scenes.raster.scene import RasterScene
from tasks.training.labelled import LabelledScene

# Tiles of one picture may share a row of pixels, and warped ones some more.
_SHARED_EDGE_PX = 2.0


@dataclass(frozen=True, kw_only=True)
class Tie:
    """What two scenes have in common.

    Attributes:
        scenes: Their ids.
        kind: ``bytes`` and ``pixels`` are one picture twice; a ``site`` is a place or a patient.
        what: The same for people.
    """

    scenes: tuple[str, str]
    kind: str
    what: str


def ties(scenes: Sequence[LabelledScene]) -> tuple[Tie, ...]:
    """Return the pairs of scenes that have something in common: a patient or place, ground, bytes or pixels."""
    return (*_equal(scenes), *_on_the_same_ground(scenes))


def _equal(scenes: Sequence[LabelledScene]) -> Iterator[Tie]:
    by_key: dict[tuple[str, str], list[LabelledScene]] = defaultdict(list)
    for scene in scenes:
        for digest in sorted(set(scene.files_sha256)):
            by_key["bytes", digest].append(scene)
        by_key["pixels", scene.pixels_sha256].append(scene)
        by_key["site", scene.site].append(scene)
    for (kind, key), alike in by_key.items():
        for one, other in combinations(alike, 2):
            who = "place" if isinstance(one.scene, RasterScene) else "patient"
            told = {
                "bytes": "the same bytes in a file",
                "pixels": "the same pixels",
                "site": f"the same {who}, '{key}'",
            }
            yield Tie(scenes=(one.name, other.name), kind=kind, what=told[kind])


def _on_the_same_ground(scenes: Sequence[LabelledScene]) -> Iterator[Tie]:
    placed = [
        (scene.name, outline)
        for scene in scenes
        if isinstance(scene.scene, RasterScene)
        and (outline := footprint(scene.scene.grid, _SHARED_EDGE_PX)) is not None
    ]
    tree = shapely.STRtree([outline for _, outline in placed])
    for first, (name, outline) in enumerate(placed):
        for second in sorted(int(found) for found in tree.query(outline, predicate="intersects") if found > first):
            other, ground = placed[second]
            if shapely.area(shapely.intersection(outline, ground)) > 0:
                yield Tie(scenes=(name, other), kind="ground", what="ground that both cover")


@dataclass(frozen=True)
class Split:
    """The scenes of a job, and how they may be parted.

    Attributes:
        names: Ids of the scenes that a fit may see.
        held: Ids of those that none sees.
        groups: Of the former, those that are always on one side.
    """

    names: tuple[str, ...]
    held: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    _ties: tuple[Tie, ...]

    @classmethod
    def of(cls, job: str, scenes: Sequence[LabelledScene], source: TrainingSource) -> Split:
        """Split scenes as a job says.

        Args:
            job: Its name, for messages.
            scenes: All that were read.
            source: What the job says of them.

        Raises:
            JobError: When it names scenes that are not there, or leaves none to fit on.
            LeakError: When something of what is held back would be fitted.
        """
        names = {scene.name for scene in scenes}
        for key, told in (("held", source.held), ("fitted", source.fitted)):
            if missing := sorted(set(told) - names):
                raise JobError(f"{job}: 'training.{key}' names {_some(missing)}; there is no such scene")
        if both := sorted(set(source.held) & set(source.fitted)):
            raise LeakError(
                f"{job}: {_some(both)} in training.held and in training.fitted: the score of a scene that was "
                "fitted says nothing. Take it out of one of them"
            )
        held = tuple(sorted(source.held))
        fitted = tuple(sorted(source.fitted or names - set(held)))
        if not fitted:
            raise JobError(f"{job}: 'training.held' leaves nothing to fit on")
        found = ties(scenes)
        split = cls(fitted, held, _groups(fitted, found, source.split_by), found)
        split.require_apart(fitted, held, "what training.held holds back")
        return split

    def folds(self, k: int, seed: int) -> tuple[tuple[str, ...], ...]:
        """Return ``k`` disjoint folds of whole groups, of about as many scenes each, whatever order they come in.

        Raises:
            ValueError: When there are fewer groups than folds, or fewer folds than two.
            LeakError: When something of a fold would be fitted when it is held back.
        """
        n_groups = len(self.groups)
        if not 2 <= k <= n_groups:
            what = "scenes" if n_groups == len(self.names) else "groups of scenes that belong together"
            raise ValueError(f"{n_groups} {what} cannot be split into {k} folds; take 2 to {n_groups}")
        folds: list[list[str]] = [[] for _ in range(k)]
        for group in self._shuffled(seed):
            min(folds, key=len).extend(group)
        for number, fold in enumerate(folds):
            self.require_apart(set(self.names) - set(fold), fold, f"fold {number}")
        return tuple(tuple(sorted(fold)) for fold in folds)

    def watched(self, names: Collection[str], share: float, seed: int) -> tuple[str, ...]:
        """Return about a share of the scenes of a fit in whole groups, one group at least and never all.

        Args:
            names: Of the fit.
            share: Of them.
            seed: Of the choice.

        Raises:
            ValueError: When all belong together.
            LeakError: When something of what is watched would be fitted.
        """
        groups = [group for group in self._shuffled(seed) if set(group) <= set(names)]
        if len(groups) < 2:
            raise ValueError("of one scene no part can be watched beside the fit: give more, or no settings.patience")
        watched: list[str] = list(groups[0])
        for group in groups[1:-1]:
            if len(watched) + len(group) <= share * len(names):
                watched += group
        self.require_apart(set(names) - set(watched), watched, "the scenes that settings.patience watches")
        return tuple(sorted(watched))

    def require_apart(self, fitted: Iterable[str], held: Iterable[str], what: str) -> None:
        """Refuse a split across which two scenes have something in common.

        Raises:
            LeakError: Naming the two.
        """
        seen, unseen = set(fitted), set(held)
        for tie in self._ties:
            one, other = tie.scenes
            if (one in seen and other in unseen) or (other in seen and one in unseen):
                mend = {
                    "ground": "Give training.split_by: place",
                    "site": "Give training.split_by: patient (volumes) or place (rasters), or tell sites apart by "
                    "source.site",
                }.get(tie.kind, "Leave one of them out by training.exclude")
                raise LeakError(
                    f"{one} and {other} are on two sides of a split, {what} and what is fitted, and have {tie.what}: "
                    f"scores would be of what was learned by heart. {mend}"
                )

    def _shuffled(self, seed: int) -> list[tuple[str, ...]]:
        return [self.groups[index] for index in np.random.default_rng(seed).permutation(len(self.groups))]


def _groups(names: Sequence[str], found: Iterable[Tie], split_by: str) -> tuple[tuple[str, ...], ...]:
    """Return names that hang together by ties of the kinds that a split goes by."""
    kinds = {"scene": set(), "place": {"ground", "site"}, "patient": {"site"}}[split_by]
    group_of = {name: {name} for name in names}
    for tie in found:
        one, other = tie.scenes
        if tie.kind in kinds and one in group_of and other in group_of:
            joined = group_of[one] | group_of[other]
            group_of |= dict.fromkeys(joined, joined)
    return tuple(sorted({tuple(sorted(group)) for group in group_of.values()}))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
