"""How a network is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How to run a network; part of what makes two runs give the same bytes.

    Attributes:
        tile: Shape of a tile in array order.
        batch: Tiles per call.
        device: ``auto`` takes a GPU where there is one.
        dtype: What the network computes in; scores are float32 whatever it is.
        threads: Of torch on the CPU, set explicitly.
        activation: ``softmax`` for probabilities; ``logits`` for parity with programs that blend raw scores.
    """

    tile: tuple[int, ...]
    batch: int = 1
    device: Device = "auto"
    dtype: Dtype = "float32"
    threads: int = 1
    activation: Literal["softmax", "logits"] = "softmax"
