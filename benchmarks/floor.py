"""The floor: a model's bare forward passes over as many pixels as a scene has, each once, on all cores.

No overlap, no reading, no stitching, no writing; the network as torch runs it, without the predictor's own tricks.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The other half would take as long.
_SHARE = 0.5


@dataclass(frozen=True)
class Floor:
    """The fastest way found.

    Attributes:
        seconds: For all pixels.
        tile: Pixels of a tile.
        processes: Side by side.
        threads: Of each process.
        all_seconds: Of every way that was tried.
    """

    seconds: float
    tile: tuple[int, ...]
    processes: int
    threads: int
    all_seconds: dict[str, float]


def best_floor(card: Path, pixels: int, tiles: list[tuple[int, ...]], dtype: str) -> Floor:
    """Time every tile size, once with a process per core and once with a thread per core.

    Args:
        card: Of the model, its weights beside it.
        pixels: Of the network's grid.
        tiles: Sizes to try.
        dtype: ``float32`` or ``bfloat16``.
    """
    cores = len(os.sched_getaffinity(0))
    found: dict[str, float] = {}
    floors = []
    for processes, threads in dict.fromkeys([(cores, 1), (1, cores)]):
        for tile in tiles:
            seconds = _time(card, pixels, (tile, processes, threads), dtype)
            found[f"{'x'.join(map(str, tile))}, {processes} x {threads}"] = seconds
            floors.append((seconds, tile, processes, threads))
    return Floor(*min(floors), found)


def _time(card: Path, pixels: int, way: tuple[tuple[int, ...], int, int], dtype: str) -> float:
    """Return seconds for all pixels, from passing half of them."""
    tile, processes, threads = way
    per_tile = 1
    for length in tile:
        per_tile *= length
    passes = max(1, round(_SHARE * pixels / per_tile / processes))
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.SimpleQueue()
    arguments = (str(card), (tile, threads, dtype, passes), barrier, results)
    children = [context.Process(target=_forward, args=arguments) for _ in range(processes)]
    for child in children:
        child.start()
    spans = [results.get() for _ in children]
    for child in children:
        child.join()
    seconds = max(stop for _, stop in spans) - min(start for start, _ in spans)
    return seconds * pixels / (passes * per_tile * processes)


def _forward(card: str, way: tuple[tuple[int, ...], int, str, int], barrier: Any, results: Any) -> None:  # noqa: ANN401
    import torch

    from models.card import load_card
    from models.networks.builders import build_network
    from models.networks.layout import memory_layout
    from models.weights.files import read_weights

    tile, threads, dtype, passes = way
    torch.set_num_threads(threads)
    described = load_card(Path(card))
    network = build_network(described.network, described.n_inputs, described.n_classes)
    if described.weights is not None:
        weights = Path(card).parent / described.weights.file
        network.load_state_dict(read_weights(weights, described.weights.sha256, network))
    layout = memory_layout(network, len(tile), torch.device("cpu"))
    number = getattr(torch, dtype)
    network = network.eval().to(number).to(memory_format=layout)
    image = torch.rand(1, described.n_inputs, *tile).to(number).contiguous(memory_format=layout)
    with torch.inference_mode():
        network(image)
        barrier.wait()
        begin = time.monotonic()
        for _ in range(passes):
            network(image)
    results.put((begin, time.monotonic()))


def as_text(floor: Floor) -> str:
    """Say what was tried."""
    return "; ".join(f"{way}: {seconds:.2f}" for way, seconds in floor.all_seconds.items())
