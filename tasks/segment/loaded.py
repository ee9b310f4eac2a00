"""The model of a worker process, loaded once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from models.card import Card
from models.errors import CardError
from models.predictor import ObjectPredictor, Predictor
from models.predictors.loading import load_predictor
from models.run_settings import RunSettings
from tasks.segment.work import Work


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
