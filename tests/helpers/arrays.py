"""Scenes made of arrays, and the work to segment them: builders that several tests share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.card import Card
from models.normalization import resolve
from models.predictors.loading import load_predictor
from models.registry import card_without_weights
from models.run_settings import Dtype, RunSettings
from tasks.geometry import resample
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame
from tasks.jobs.job import Job
from tasks.segment.plan import Slot, make_plan
from tasks.segment.store import BlockStore
from tasks.segment.work import Work


@dataclass(frozen=True)
class ArrayScene:
    """A scene in ``folder/image.npy`` (channels, ...) and ``folder/valid.npy``, as a worker would open it."""

    id: str
    folder: Path
    frame: Frame
    n_channels: int

    @contextmanager
    def open(self) -> Iterator["ArrayReader"]:
        yield ArrayReader(np.load(self.folder / "image.npy"), np.load(self.folder / "valid.npy"), self.frame)


class ArrayReader:
    def __init__(self, image: np.ndarray, valid: np.ndarray, frame: Frame) -> None:
        self.image, self.seen, self.frame = image, valid, frame

    def read(self, box: Box):
        if self.frame.is_identity:
            return self.image[(slice(None), *box.slices)].astype(np.float32), self.seen[box.slices]
        needed = resample.native_box(box, self.frame)
        window = self.image[(slice(None), *needed.slices)].astype(np.float32)
        return np.array(resample.to_model(window, needed.start, box, self.frame)), np.ones(box.shape, bool)

    def invalid(self, box: Box):
        return None

    def valid(self, box: Box):
        return self.seen[box.slices]


def array_scene(folder: Path, image: np.ndarray, valid: np.ndarray | None = None, frame: Frame | None = None):
    shape = image.shape[1:]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "image.npy", image)
    np.save(folder / "valid.npy", np.ones(shape, bool) if valid is None else valid)
    frame = frame or Frame(native_shape=shape, model_shape=shape, scale=(1.0,) * len(shape))
    return ArrayScene("scene", folder, frame, image.shape[0])


def fake_work(scene: ArrayScene, store: Path, name: str = "identity", *, tiling: dict | None = None, **arguments):
    kind = "raster" if len(scene.frame.native_shape) == 2 else "volume"
    card = card_without_weights(name, arguments, tuple(f"B{k}" for k in range(scene.n_channels)), kind)
    return make_work(scene, store, card, None, tiling=tiling)


def make_work(
    scene: ArrayScene,
    store: Path,
    card: Card,
    folder: Path | None,
    *,
    tiling: dict | None = None,
    dtype: Dtype = "float32",
) -> Work:
    job = Job.model_validate({"job": "test", "kind": card.kind, "model": {"name": card.name}, "tiling": tiling or {}})
    settings = RunSettings(tile=card.tiling.tile, batch=2, device="cpu", dtype=dtype, threads=1)
    slot = Slot(settings=settings, device_name="test", peak_bytes=0, spec=load_predictor(card, folder, settings).spec)
    plan = make_plan(job, card, scene.frame, slot, 1)
    normalization = resolve(card.normalization, np.zeros((card.n_channels, 0), np.float32))
    work = Work(
        scene=scene, card=card, card_folder=folder, plan=plan, normalization=normalization, store=store, confidence=True
    )
    BlockStore(store).create(scene.frame.native_shape, plan.block, plan.chunk, work.layers)
    return work


def read_mask(work: Work, layer: str = "mask") -> np.ndarray:
    return BlockStore(work.store).read(layer, Box.of_shape(work.scene.frame.native_shape))
