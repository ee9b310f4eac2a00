"""What a scene will take: disk from its shape, time from how fast this machine was with the same model."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.cache import cache_folder
from models.card import Card
from models.parsed import from_json

logger = logging.getLogger(__name__)

# A block store and a product exist side by side for a while; neither is larger than its bytes uncompressed.
_COPIES = 2
# Preview, report and tables of a scene, and one layer that an analysis may add, such as severity.
_BESIDE_BYTES = 8_000_000
_LAYERS_BESIDE = 1


@dataclass(frozen=True)
class Expectation:
    """What one scene will take.

    Attributes:
        disk_bytes: In the folder of products, while it is worked on; tables of very many objects may need more.
        slot_s: Seconds of one worker slot for the blocks; None where the model has not run on this machine.
    """

    disk_bytes: int
    slot_s: float | None


def expect(shape: Sequence[int], card: Card, n_layers: int) -> Expectation:
    """Estimate before any work.

    Args:
        shape: Of the scene, in pixels or voxels.
        card: The model.
        n_layers: Of the product: the mask, and confidence where it is kept.
    """
    pixels = math.prod(shape)
    label_bytes = 1 if card.n_classes <= 255 else 2
    speed = _known().get(_key(card))
    slot_s = None if speed is None else pixels * speed
    layers = _COPIES * pixels * (label_bytes + n_layers - 1) + pixels * _LAYERS_BESIDE
    return Expectation(layers + _BESIDE_BYTES, slot_s)


def remember(card: Card, pixels: int, slot_s: float) -> None:
    """Keep how long a whole scene took, for the next estimate on this machine.

    Args:
        card: The model.
        pixels: Of the scene.
        slot_s: Seconds of worker slots, all blocks together.
    """
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(_known() | {_key(card): slot_s / pixels}, indent=1))
        part.replace(path)
    except OSError as error:
        # An estimate less is no reason to fail a scene.
        logger.debug("%s: the speed of %s was not kept: %s", path, card.name, error)


def _known() -> dict[str, float]:
    try:
        known = from_json(_path().read_bytes())
        return {str(key): float(value) for key, value in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _key(card: Card) -> str:
    return card.weights.sha256 if card.weights else card.name


def _path() -> Path:
    return cache_folder() / "seconds-per-pixel.json"
