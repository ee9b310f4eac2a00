"""Which share of labels the ways of running a model change, measured on the scenes it was fitted on."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from models.card import Card
from models.errors import DeviceError
from tasks.intake.request import Request
from tasks.jobs.job import Job
from tasks.out.folder import OutFolder
from tasks.training.labelled import LabelledScene
from tasks.training.whole import segmented

logger = logging.getLogger(__name__)

# Sections of a job that replace what it says.
Changes: TypeAlias = dict[str, Any]


@contextmanager
def quiet_models() -> Iterator[None]:
    """Leave out the line that each model says when it is loaded: here the same one is, for each scene and way."""
    models = logging.getLogger("models")
    level = models.level
    models.setLevel(logging.WARNING)
    try:
        yield
    finally:
        models.setLevel(level)


def bfloat16_disagreement(job: Job, card: Card, scenes: list[LabelledScene], folder: Path) -> float | None:
    """Return the share of labels that bfloat16 changes; None where this machine does not compute in it."""
    exact, fast = ({"run": {"dtype": dtype}} for dtype in ("float32", "bfloat16"))
    try:
        return _share_changed(job, card, folder, [(scene, exact, fast) for scene in scenes])
    except DeviceError as error:
        logger.info("bfloat16 was not measured: %s", error)
        return None


def tiled_disagreement(job: Job, card: Card, scenes: list[LabelledScene], folder: Path) -> float | None:
    """Return the share of labels that differ between tiles with the card's halo and overlap, and one untiled pass.

    None where the network takes one length of tile alone, or no scene fits in memory: there is no untiled pass then.

    Tiles have at most half the length of a scene along each axis, where halo and overlap leave room, so that there are
    seams in small scenes too.
    """
    from models.predictors.networks import card_spec

    spec = card_spec(card)
    if spec.only_tile is not None:
        return None

    def tile(scene: LabelledScene, part: int) -> Changes:
        sides = []
        axes = zip(scene.shape, spec.stride, spec.margin, card.tiling.halo, card.tiling.overlap, strict=True)
        for (length, step, margin, halo, overlap), usual in zip(axes, card.tiling.tile, strict=True):
            # What is read beyond the edges, a multiple of the stride, comes on top.
            whole = length + 2 * (margin + -margin % step)
            least = 2 * max(halo, margin) + overlap + max(step, overlap)
            sides.append(1 if usual == 1 else -(-max(whole // part, least) // step) * step)
        return {"tiling": {"tile": sides, "halo": list(card.tiling.halo), "overlap": list(card.tiling.overlap)}}

    small = [scene for scene in scenes if scene.held is not None]
    if not small:
        return None
    return _share_changed(job, card, folder, [(scene, tile(scene, 1), tile(scene, 2)) for scene in small])


def _share_changed(job: Job, card: Card, folder: Path, ways: Sequence[tuple[LabelledScene, Changes, Changes]]) -> float:
    """Return the share of labels that differ between masks made in two ways, over all scenes."""
    changed = total = 0
    for scene, *both in ways:
        with ExitStack() as stack:
            masks = []
            for changes in both:
                way = Job.model_validate(job.model_dump() | changes)
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="swathe-compared-"))
                request = Request(job=way, card=card, card_folder=folder, out=OutFolder(Path(scratch)))
                masks.append(segmented(request, scene.scene))
            for box, _ in scene.native_windows():
                one, other = (read(box) for read in masks)
                changed += int((one != other).sum())
                total += one.size
    return round(changed / total, 6)
