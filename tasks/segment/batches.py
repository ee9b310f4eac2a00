"""Tiles in batches of one fixed shape through the model of a worker process, which is loaded once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.card import Card
from models.errors import CardError
from models.predictor import ObjectPredictor, Predictor
from models.predictors.loading import load_predictor
from models.run_settings import RunSettings
from tasks.segment.plan import Plan
from tasks.segment.tiles import TileInputs
from tasks.segment.work import Work

R = TypeVar("R")


def in_batches(
    model: Callable[[NDArray[np.float32]], R], tiles: Generator[TileInputs], plan: Plan
) -> Generator[tuple[list[TileInputs], R]]:
    """Yield groups of tiles, in their order, with what the model makes of them.

    Args:
        model: Called with ``(tiles, channels, *tile)``, always as many tiles: the last batch is filled up with zeros.
        tiles: With their inputs; closed in the end.
        plan: Names batch and tile.
    """
    settings = plan.slot.settings
    # On a CPU a core that is done with its tile goes on with one of the next batch. A GPU is kept busy by one call.
    n_calls = 2 if settings.device == "cpu" else 1
    shape = (settings.batch, plan.slot.spec.n_channels, *plan.tile)
    calls: deque[tuple[list[TileInputs], Future[R]]] = deque()
    with closing(tiles), ThreadPoolExecutor(n_calls, thread_name_prefix="predict") as pool:
        while group := list(islice(tiles, settings.batch)):
            calls.append((group, pool.submit(model, _batch(group, shape))))
            if len(calls) == n_calls:
                done, call = calls.popleft()
                yield done, call.result()
        for done, call in calls:
            yield done, call.result()


def slot_predictor(work: Work) -> Predictor:
    """Return the predictor that gives scores.

    Raises:
        CardError: When the model finds objects alone.
    """
    predictor = _of(work)
    if not isinstance(predictor, Predictor):
        raise CardError(f"{work.card.name}: gives no scores per pixel")
    return predictor


def slot_detector(work: Work) -> ObjectPredictor:
    """Return the predictor that finds objects.

    Raises:
        CardError: When the model gives scores alone.
    """
    predictor = _of(work)
    if not isinstance(predictor, ObjectPredictor):
        raise CardError(f"{work.card.name}: finds no objects")
    return predictor


def _of(work: Work) -> Predictor | ObjectPredictor:
    return _load_once(work.card.model_dump_json(), work.card_folder, work.plan.slot.settings)


@lru_cache(maxsize=2)
def _load_once(card_json: str, folder: Path | None, settings: RunSettings) -> Predictor | ObjectPredictor:
    return load_predictor(Card.model_validate_json(card_json), folder, settings)


def _batch(group: list[TileInputs], shape: tuple[int, ...]) -> NDArray[np.float32]:
    batch = np.zeros(shape, np.float32)
    for place, (_, inputs) in zip(batch, group, strict=False):
        place[...] = inputs
    return batch
