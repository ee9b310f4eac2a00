"""Random crops of scenes, favouring what is rare. Each is a function of the seed and its own number alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.normalization import ResolvedNormalization, normalise
from models.position import positions
from models.training.augmentation import augment_values, random_zoom, turn, warp
from models.training.settings import Outside, StreamedSample, TrainSettings

IGNORED = 255
_REMEMBERED_PIXELS = 20_000


class PreparedScene(Protocol):
    """A normalised scene that crops are cut out of.

    Attributes:
        shape: In pixels.
        n_channels: How many of the layers are values of the scene.
        places: Of each class that the labels hold, some pixels, ``(n, axes)``.
        is_labelled_whole: Whether every pixel was observed and has a label.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102 - see above

    @property
    def n_channels(self) -> int: ...  # noqa: D102

    @property
    def places(self) -> Mapping[int, Tensor]: ...  # noqa: D102

    @property
    def is_labelled_whole(self) -> bool: ...  # noqa: D102

    def window(self, start: Sequence[int], stop: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return what lies in a window inside the scene.

        Returns:
            Layers, float32 ``(layers, *shape)``: the channels, the positions where the network sees them, and at last
            1 where observed. Labels, int64 ``shape``, ``IGNORED`` where not observed or not labelled.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class HeldScene:
    """A scene in memory; attributes as of ``PreparedScene``.

    Attributes:
        layers: Float32, ``(layers, *shape)``.
        n_channels: How many of the layers are values of the scene.
        labels: Int64 ``shape``.
        places: Of each class that the labels hold, some pixels.
        is_labelled_whole: Whether every pixel was observed and has a label.
    """

    layers: Tensor
    n_channels: int
    labels: Tensor
    places: Mapping[int, Tensor]
    is_labelled_whole: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """In pixels."""
        return tuple(self.labels.shape)

    def window(self, start: Sequence[int], stop: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return what lies in a window inside the scene."""
        place = tuple(slice(first, end) for first, end in zip(start, stop, strict=True))
        return self.layers[(slice(None), *place)], self.labels[place]


@dataclass(frozen=True, kw_only=True)
class StreamedScene:
    """A scene on disk; attributes as of ``PreparedScene``.

    Attributes:
        sample: Where windows come from.
        numbers: How they are normalised; None for not at all.
        has_positions: Whether the network sees where a pixel lies.
    """

    sample: StreamedSample
    numbers: ResolvedNormalization | None
    has_positions: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """In pixels."""
        return self.sample.shape

    @property
    def n_channels(self) -> int:
        """How many of the layers are values of the scene."""
        return len(self.sample.pixels)

    @property
    def is_labelled_whole(self) -> bool:
        """Whether every pixel was observed and has a label."""
        return self.sample.is_labelled_whole

    @cached_property
    def places(self) -> Mapping[int, Tensor]:
        """Of each class that the labels hold, some pixels."""
        return {number: torch.from_numpy(pixels) for number, pixels in self.sample.places.items()}

    def window(self, start: Sequence[int], stop: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return what lies in a window inside the scene."""
        first, end = tuple(start), tuple(stop)
        image, labels, valid = self.sample.read(first, end)
        values = image if self.numbers is None else normalise(image, self.numbers)
        position = positions(first, end, self.shape) if self.has_positions else None
        layers = stack_layers(values, valid, position)
        return torch.from_numpy(layers), torch.from_numpy(mark(labels, valid))


def prepare(
    image: NDArray[np.float32],
    labels: NDArray[np.integer],
    valid: NDArray[np.bool_],
    position: NDArray[np.float32] | None = None,
) -> HeldScene:
    """Bring a normalised scene to torch; arguments as of ``Sample``."""
    marked = mark(labels, valid)
    return HeldScene(
        layers=torch.from_numpy(stack_layers(image, valid, position)),
        n_channels=len(image),
        labels=torch.from_numpy(marked),
        places=some_places(marked),
        is_labelled_whole=not (marked == IGNORED).any(),
    )


def mark(labels: NDArray[np.integer], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return class numbers, ``IGNORED`` where there is no label or nothing was observed."""
    return np.where(valid & (labels >= 0), labels, IGNORED).astype(np.int64)


def stack_layers(
    image: NDArray[np.float32], valid: NDArray[np.bool_], position: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return the layers of ``PreparedScene.window``: what was not observed becomes 0."""
    values = np.where(valid, image, np.float32(0))
    return np.concatenate([values, *([] if position is None else [position]), valid[None].astype(np.float32)])


def some_places(marked: NDArray[np.integer]) -> dict[int, Tensor]:
    """Return of each class in an array some of its pixels, at regular steps.

    Args:
        marked: Class numbers; ``IGNORED`` is none.
    """
    found = {}
    for number in np.unique(marked):
        if number != IGNORED:
            pixels = np.argwhere(marked == number)
            found[int(number)] = torch.from_numpy(pixels[:: max(1, len(pixels) // _REMEMBERED_PIXELS)])
    return found


def random_generator(*key: int) -> torch.Generator:
    """Return a source of chance that is a function of some numbers from 0 alone."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


class Crops(torch.utils.data.Dataset[tuple[Tensor, Tensor, int]]):
    """All crops of a fit, by number: which scene, where in it, and how it is changed.

    Scenes come in a new order each time that all were seen. Crops that shall hold something that is not background
    hold each of the classes as often, in whichever scenes it is.

    Args:
        scenes: To draw from.
        settings: Crop, augmentation and seed.
        margin: Pixels at each side of a crop that the network does not answer for; none when left out.
    """

    def __init__(self, scenes: Sequence[PreparedScene], settings: TrainSettings, margin: tuple[int, ...] = ()) -> None:
        self._scenes, self._settings = scenes, settings
        self._margin = margin or (0,) * len(settings.crop)
        held = sorted({number for scene in scenes for number in scene.places} - {0})
        self._with_class = {number: [one for one in scenes if number in one.places] for number in held}

    @property
    def n_scenes(self) -> int:
        """How many scenes there are."""
        return len(self._scenes)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, int]:
        """Return an image ``(inputs, *crop)`` float32, labels ``(*crop less margin)`` int64, and the number."""
        settings, generator = self._settings, random_generator(self._settings.seed, 0, number)
        scene, centre = self._choose(number, generator)
        zoom = random_zoom(settings.augmentation, generator)
        lengths = tuple(max(1, round(length * zoom)) for length in settings.crop)
        # What is answered for decides where a crop lies, so that edges and what is rare are answered for too.
        around = tuple(round(side * zoom) for side in self._margin)
        answered = tuple(max(1, n - 2 * side) for n, side in zip(lengths, around, strict=True))
        start = _random_origin(scene.shape, answered, centre, generator)
        origin = [first - side for first, side in zip(start, around, strict=True)]
        layers, labels = cut(scene, origin, lengths, settings.outside)
        if lengths != settings.crop:
            layers, labels = _resize(layers, labels, settings.crop)
        layers, labels = turn(layers, labels, settings.augmentation, generator)
        layers, labels = warp(layers, labels, outside=IGNORED, settings=settings.augmentation, generator=generator)
        values, others = layers[: scene.n_channels], layers[scene.n_channels :]
        # Not the labels tell what was observed: what is mirrored beyond an edge does not count, but is seen.
        values = augment_values(values, others[-1] > 0.5, settings.augmentation, generator)
        inside = tuple(slice(side, n - side) for side, n in zip(self._margin, settings.crop, strict=True))
        return torch.cat([values, others[:-1]]), labels[inside], number

    def batch(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return several crops, with an axis in front."""
        images, labels, _ = zip(*(self[number] for number in numbers), strict=True)
        return torch.stack(images), torch.stack(labels)

    def _choose(self, number: int, generator: torch.Generator) -> tuple[PreparedScene, Tensor | None]:
        """Return the scene of a crop, and a pixel that it shall hold; None for a place at random."""
        if self._with_class and float(torch.rand((), generator=generator)) < self._settings.foreground:
            classes = list(self._with_class)
            wanted = classes[_below(len(classes), generator)]
            holding = self._with_class[wanted]
            scene = holding[_below(len(holding), generator)]
            return scene, scene.places[wanted][_below(len(scene.places[wanted]), generator)]
        n_seen, place = divmod(number, len(self._scenes))
        scene = self._scenes[_order(len(self._scenes), self._settings.seed, n_seen)[place]]
        if scene.is_labelled_whole:
            return scene, None
        # Somewhere that says something: what was not observed may be most of a scene.
        labelled = torch.cat(list(scene.places.values()))
        return scene, labelled[_below(len(labelled), generator)]


def _below(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))


@lru_cache(maxsize=4)
def _order(n_scenes: int, seed: int, n_seen: int) -> tuple[int, ...]:
    """Return the order of scenes for a time that all are seen."""
    return tuple(torch.randperm(n_scenes, generator=random_generator(seed, 1, n_seen)).tolist())


def _random_origin(
    shape: tuple[int, ...], lengths: tuple[int, ...], centre: Tensor | None, generator: torch.Generator
) -> list[int]:
    origin = []
    for axis, (size, length) in enumerate(zip(shape, lengths, strict=True)):
        # A quarter of a crop may lie outside, so that a pixel at the edge is seen as often as any other.
        low, high = -(length // 4), size - length + length // 4
        if high < low:
            low = high = (size - length) // 2
        if centre is None:
            start = int(torch.randint(low, high + 1, (), generator=generator))
        else:
            back = int(torch.randint(length, (), generator=generator))
            start = min(max(int(centre[axis]) - back, low), high)
        origin.append(start)
    return origin


def cut(scene: PreparedScene, origin: Sequence[int], lengths: Sequence[int], outside: Outside) -> tuple[Tensor, Tensor]:
    """Cut layers and labels of a window that may reach over the edge.

    What lies outside is ``IGNORED``; its layers are as asked for.
    """
    places = [torch.arange(start, start + length) for start, length in zip(origin, lengths, strict=True)]
    inside = [mirrored(along, size) for along, size in zip(places, scene.shape, strict=True)]
    first = [int(along.min()) for along in inside]
    layers, labels = scene.window(first, [int(along.max()) + 1 for along in inside])
    for axis, (along, within, size) in enumerate(zip(places, inside, scene.shape, strict=True)):
        layers = layers.index_select(axis + 1, within - first[axis])
        labels = labels.index_select(axis, within - first[axis])
        beyond = (along < 0) | (along >= size)
        labels.movedim(axis, 0)[beyond] = IGNORED
        if outside == "zero":
            layers.movedim(axis + 1, 0)[beyond] = 0
    return layers, labels


def mirrored(places: Tensor, size: int) -> Tensor:
    """Fold any place into ``[0, size)`` by mirrors at the first and the last pixel's centre."""
    period = max(1, 2 * (size - 1))
    folded = places.remainder(period)
    return torch.minimum(folded, period - folded).clamp_max(size - 1)


def _resize(layers: Tensor, labels: Tensor, crop: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    mode = "bilinear" if len(crop) == 2 else "trilinear"
    resized = functional.interpolate(layers[None], crop, mode=mode, align_corners=False)[0]
    nearest = functional.interpolate(labels[None, None].float(), crop, mode="nearest-exact")[0, 0]
    return resized, nearest.long()
