"""Fitting what a card describes: a network of three axes on volumes, one of two axes on the slices of volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from models.card import Card, NoNormalization
from models.networks.builders import network_geometry
from models.normalization import normalise, resolve
from models.position import positions
from models.training.fit import fit, with_numbers
from models.training.settings import AnySample, FitResult, Progress, Sample, StreamedSample, TrainSettings


def fit_card(
    samples: Sequence[AnySample],
    card: Card,
    settings: TrainSettings,
    *,
    watched: Sequence[AnySample] = (),
    folder: Path | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a card's network on whole scenes.

    Args:
        samples: Rasters or volumes.
        card: A network of two axes over volumes is fitted on their slices along the first axis, each normalised
            with the numbers of its whole volume.
        settings: As for ``fit``.
        watched: As for ``fit``.
        folder: As for ``fit``.
        progress: As for ``fit``.
    """
    if card.kind == "raster" or len(network_geometry(card.network).stride) == 3:
        return fit(samples, card, settings, watched=watched, folder=folder, progress=progress)
    card = with_numbers(card, samples)
    fitted = fit(
        [piece for sample in samples for piece in _slices(sample, card)],
        card.model_copy(update={"normalization": NoNormalization()}),
        settings,
        watched=[piece for sample in watched for piece in _slices(sample, card)],
        folder=folder,
        progress=progress,
    )
    return replace(fitted, card=fitted.card.model_copy(update={"normalization": card.normalization}))


def _slices(sample: AnySample, card: Card) -> Iterator[Sample]:
    if isinstance(sample, StreamedSample):
        raise TypeError(f"{sample.name}: volumes are held in memory")
    resolved = resolve(card.normalization, sample.image[:, sample.valid])
    image = sample.image if resolved is None else normalise(sample.image, resolved)
    shape = sample.labels.shape
    for k in range(shape[0]):
        position = positions((k, 0, 0), (k + 1, *shape[1:]), shape)[:, 0] if card.position else None
        yield Sample(
            image=image[:, k],
            labels=sample.labels[k],
            valid=sample.valid[k],
            name=f"{sample.name}-{k}",
            position=position,
        )
