"""A scene segmented in this process, for scoring a model exactly as users will run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.files.fingerprint import Fingerprint
from tasks.geometry.box import Box
from tasks.instances.lay import assemble
from tasks.instances.layers import layer_reader
from tasks.intake.request import Request
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.volume.scene import VolumeScene
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import prepare


def segment_whole(
    request: Request, scene: RasterScene | VolumeScene, n_threads: int = 1
) -> NDArray[np.unsignedinteger[Any]]:
    """Return the mask of a small scene on its native grid; work in progress lies below ``request.out``."""
    return segmented(request, scene, n_threads)(Box.of_shape(scene.frame.native_shape))


def segmented(
    request: Request, scene: RasterScene | VolumeScene, n_threads: int = 1
) -> Callable[[Box], NDArray[np.unsignedinteger[Any]]]:
    """Segment a scene; return what reads windows of its mask on the native grid, which lies below ``request.out``."""
    slot = measure_slot(request.card, request.card_folder, request.job, n_threads)
    prepared = prepare(request, scene, Fingerprint(scene.id, content_hashed=False), slot, n_slots=1)
    work = prepared.work
    for _ in PlainEngine().run_blocks(work, work.plan.blocks(scene.frame)):
        pass
    if work.has_instances:
        assemble(work)
    return layer_reader(work, "mask")
