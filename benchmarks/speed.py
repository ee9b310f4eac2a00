"""End to end over bare forward passes on the same pixels in the same precision: a raster and a volume."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.floor import as_text, best_floor
from benchmarks.run import RunTimes, run_batch
from benchmarks.scenes import write_volume
from models.card import Card, load_card
from models.registry import ZOO
from tasks.samples.synthetic import write_synthetic_fire
from tasks.scenes.volume.frame import frame_of

_RASTER_SIDE = 4096
_RASTER_TILES = [(256, 256), (512, 512), (1024, 1024)]
_VOLUME_SHAPE = (160, 256, 256)
# As many resampled voxels as in the measurement of the peers: 4.7 of 10.5 million.
_VOLUME_SHRINK = (4.7 / 10.5) ** (1 / 3)
_VOLUME_TILES = [(32, 64, 64), (32, 96, 96), (64, 96, 96)]
_DTYPES = ("bfloat16", "float32")


@dataclass(frozen=True)
class _Subject:
    """One scene and its model."""

    name: str
    scene: Path
    job: str
    card: Path
    pixels: int
    tiles: list[tuple[int, ...]]
    overrides: tuple[str, ...] = ()


def run(folder: Path, repeats: int = 2) -> None:
    """Time both subjects in both precisions and print ratios, stages and the load by others."""
    for subject in (_raster(folder), _volume(folder)):
        for dtype in _DTYPES:
            floor = best_floor(subject.card, subject.pixels, subject.tiles, dtype)
            print(f"\n{subject.name}, {dtype}: floor {floor.seconds:.2f} s", flush=True)
            print(f"  tile {floor.tile}, {floor.processes} processes x {floor.threads} threads; {as_text(floor)}")
            runs = [_end_to_end(subject, dtype, folder / "out", "models.predictors.networks") for _ in range(repeats)]
            wall = _end_to_end(subject, dtype, folder / "out", None)
            for times in runs:
                print(
                    f"  inside {times.inside_s:.2f} s = {times.inside_s / floor.seconds:.2f} x floor {_stages(times)}"
                )
            print(f"  wall of the whole command {wall.wall_s:.2f} s {_stages(wall)}", flush=True)


def _end_to_end(subject: _Subject, dtype: str, out: Path, imported: str | None) -> RunTimes:
    shutil.rmtree(out, ignore_errors=True)
    batch: dict[str, Any] = {
        "inputs": [str(subject.scene)],
        "job": subject.job,
        "out": str(out),
        "model": str(subject.card),
        "device": "cpu",
        # What the peers are timed at ends with a mask; the answers are timed by themselves.
        "overrides": [f"run.dtype={dtype}", *subject.overrides],
    }
    return run_batch(batch, imported_before=imported)


def _stages(times: RunTimes) -> str:
    stages = ", ".join(f"{name.removesuffix('_scene')} {seconds:.2f}" for name, seconds in times.stages_s.items())
    return f"({stages}; peak {times.peak_mb:.0f} MB; others used {times.foreign_cores:.2f} cores)"


def _raster(folder: Path) -> _Subject:
    post, dnbr, _ = write_synthetic_fire(folder, "raster", _RASTER_SIDE)
    table = folder / "raster.csv"
    table.write_text(f"scene,post,dnbr\nraster,{post},{dnbr}\n")
    name = f"raster {_RASTER_SIDE} x {_RASTER_SIDE}, 6 bands"
    return _Subject(
        name, table, "fire", ZOO / "fire-unet.json", _RASTER_SIDE**2, _RASTER_TILES, ("analysis={kind: area}",)
    )


def _volume(folder: Path) -> _Subject:
    card = _random_card(folder)
    described = load_card(card)
    model_spacing = described.spacing_mm or (3.0, 2.0, 2.0)
    a, b, c = (length * _VOLUME_SHRINK for length in model_spacing)
    path = folder / "volume.nii.gz"
    write_volume(path, _VOLUME_SHAPE, (a, b, c))
    frame = frame_of(_VOLUME_SHAPE, (a, b, c), model_spacing)
    name = f"volume {' x '.join(map(str, _VOLUME_SHAPE))}, {described.name}"
    return _Subject(name, path, "sarcoma", card, math.prod(frame.model_shape), _VOLUME_TILES)


def _random_card(folder: Path) -> Path:
    """Make up a U-Net for volumes; its speed does not depend on its weights."""
    import torch

    from models.networks.builders import build_network
    from models.weights.files import write_model

    facts: dict[str, Any] = {
        "name": "random-volume-unet", "title": "U-Net with random weights", "kind": "volume",
        "network": {
            "name": "unet",
            "arguments": {"ndim": 3, "widths": [16, 32, 64, 128], "strides": [[1, 2, 2], [2, 2, 2], [2, 2, 2]]},
        },
        "channels": ["T1"],
        "classes": [{"name": "background", "colour": "#000000"}, {"name": "sarcoma", "colour": "#d7301f"}],
        "normalization": {"kind": "scene"}, "orientation": "SAR", "spacing_mm": [3.3, 2.0, 2.0],
        "tiling": {"tile": [64, 80, 80], "halo": [8, 16, 16], "overlap": [0, 0, 0]},
        "licence": "none", "origin": "random",
    }  # fmt: skip
    card = Card.model_validate(facts)
    torch.manual_seed(0)
    network = build_network(card.network, card.n_channels, card.n_classes)
    written = write_model(folder, card, network.state_dict())
    return folder / f"{written.name}.json"
