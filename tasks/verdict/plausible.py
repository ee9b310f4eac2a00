"""Whether values are what they are said to be: held against the limits of their quantity and the model's own data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from models.card import FixedNormalization
from models.classical.expression import parse_expression
from models.normalization import normalise, resolve
from models.quantities import QUANTITIES, Quantity, QuantityName
from tasks.errors import ImpossibleValuesError
from tasks.geometry.box import Box
from tasks.scenes.raster.bands import Band
from tasks.scenes.raster.scene import RasterScene

Values = NDArray[np.float32]
# One number that so many impossible values share is a fill value.
_FILL_SHARE = 0.001
# With more impossible values than this, fill values aside, all of them are doubted.
_IMPOSSIBLE_SHARE = 0.02
# From which share of values outside of what is usual, or of what the model was fitted on, there is a word.
_UNUSUAL_SHARE = 0.5
# Of a volume most is air, bed and other tissue: only where next to nothing lies within, there is a word.
_STRANGE_SHARE = 0.99
# By how much better, in nats per pixel, two channels have to fit the model's data when exchanged: of the scenes
# that the shipped models were fitted on none gets beyond 0.04.
_EXCHANGED_NATS = 0.15
# What values are multiplied by, by custom or by mistake.
_FACTORS = (10.0, 100.0, 255.0, 257.0, 1000.0, 10_000.0, 65_535.0)
LEAST_VALUES = 100
# What programs write where there is nothing: by habit, the ends of number types, and netCDF's own.
_FILLS = (-9999.0, -99_999.0, -32_768.0, -32_767.0, -3.4028234663852886e38, 1e20, 9.969209968386869e36)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What one channel of a volume is said to be.

    Attributes:
        channel: Its name.
        quantity: What it holds; None where nobody says.
        model: That reads it.
        clip: Lowest and highest value that the model tells from others; None where its card has no numbers of its own.
    """

    channel: str
    quantity: QuantityName | None
    model: str
    clip: tuple[float, float] | None


@dataclass(frozen=True)
class Fitted:
    """What a model was fitted on.

    Attributes:
        model: Its name.
        quantities: Of its channels, by name, in order.
        numbers: Of its channels; None where its card states none.
    """

    model: str
    quantities: Mapping[str, QuantityName | None]
    numbers: FixedNormalization | None


def weigh(
    name: str,
    values: NDArray[np.floating],
    quantity: Quantity,
    remedy: str,
    scale: float = 1.0,
    *,
    kept: bool = False,
) -> tuple[str, ...]:
    """Hold observed values against the limits of their quantity.

    Args:
        name: Of the band or channel, for texts.
        values: A sample, finite, after scale and offset.
        quantity: What they are said to be.
        remedy: What to set, for errors; ``{scale}`` in it becomes the scale that would put them right.
        scale: That they came with.
        kept: Whether impossible values that are few are seen by the model, instead of being taken as not observed.

    Returns:
        Warnings.

    Raises:
        ImpossibleValuesError: When the values cannot be that quantity.
    """
    beyond = values[(values < quantity.lowest) | (values > quantity.highest)]
    if not len(beyond):
        return _unusual(name, values, quantity)
    fills, counts = np.unique(beyond, return_counts=True)
    fills = fills[counts > max(1.0, _FILL_SHARE * len(values))]
    odd = beyond[~np.isin(beyond, fills)]
    n_meant = len(values) - (len(beyond) - len(odd))
    if len(odd) > _IMPOSSIBLE_SHARE * n_meant or n_meant == 0:
        raise ImpossibleValuesError(_refused(name, values, quantity=quantity, remedy=remedy, scale=scale))
    found = []
    then, declared = ("left as it is", "") if kept else ("taken as not observed", ". Declare it as nodata")
    if len(fills):
        told = ", ".join(f"{value:g}" for value in fills[:3])
        share = 1 - len(odd) / len(beyond) if len(odd) else 1.0
        found.append(
            f"{name}: {told} in {share * len(beyond) / len(values):.1%} of the pixels looked at cannot be "
            f"{quantity.name} ({quantity.told()}): {then}{declared}"
        )
    if len(odd):
        found.append(
            f"{name}: {len(odd) / len(values):.2%} of the values looked at, such as {odd[0]:g}, cannot be "
            f"{quantity.name} ({quantity.told()}): {then}"
        )
    meant = values[(values >= quantity.lowest) & (values <= quantity.highest)]
    return (*found, *_unusual(name, meant, quantity))


def weigh_volume(name: str, values: NDArray[np.floating], expected: Expected, slope: float) -> tuple[str, ...]:
    """Hold a sample of a volume's values against what its channel is said to be, and what the model tells apart.

    Args:
        name: Of the file, for texts.
        values: A sample, finite, after slope and intercept.
        expected: Of the channel.
        slope: That they came with.

    Returns:
        Warnings.

    Raises:
        ImpossibleValuesError: When the values cannot be that.
    """
    if len(values) < LEAST_VALUES:
        return ()
    found: tuple[str, ...] = ()
    if expected.quantity is not None:
        remedy = "mend scl_slope and scl_inter of its header, or the quantity of the card or the job"
        found = weigh(name, values, quantity=QUANTITIES[expected.quantity], remedy=remedy, scale=slope, kept=True)
    if expected.clip is not None:
        low, high = expected.clip
        share = float(np.mean((values < low) | (values > high)))
        if share > _STRANGE_SHARE:
            there = f"{share:.1%} of the values looked at, {_range(values)}, lie outside of what {expected.model}"
            told = f"tells apart in {expected.channel} ({low:g} to {high:g})"
            found += (f"{name}: {there} {told}. Check its scale, and whether it is that channel",)
    return found


def _unusual(name: str, values: NDArray[np.floating], quantity: Quantity) -> tuple[str, ...]:
    spread = float(np.ptp(values)) if len(values) else math.inf
    if quantity.some_below is not None and len(values) and float(values.min()) >= quantity.some_below:
        below = f"below {quantity.some_below:g} {quantity.unit}, as air and fat do ({_range(values)})"
        doubt = "it may lack its intercept, by custom -1024, or something was cut away"
        return (f"{name}: no value looked at lies {below}: {doubt}",)
    if quantity.least_spread is not None and spread < quantity.least_spread:
        within = f"within {spread:.3g} {quantity.unit} ({_range(values)})"
        return (f"{name}: all values looked at lie {within}: they look as if they had been scaled",)
    low, high = quantity.usual
    share = float(np.mean((values < low) | (values > high))) if len(values) else 0.0
    if share <= _UNUSUAL_SHARE:
        return ()
    text = f"{name}: {share:.0%} of the values looked at, {_range(values)}, lie outside of what {quantity.name} usually"
    return (f"{text} is ({low:g} to {high:g})",)


def _refused(name: str, values: NDArray[np.floating], quantity: Quantity, remedy: str, scale: float) -> str:
    text = f"{name}: its values, {_range(values)}, cannot be {quantity.name} ({quantity.told()})"
    for factor in _FACTORS:
        fitting = (values / factor >= quantity.lowest) & (values / factor <= quantity.highest)
        if float(np.mean(fitting)) >= 1 - _IMPOSSIBLE_SHARE:
            return (
                f"{text}. They look as if multiplied by {factor:,.0f}: {remedy.format(scale=f'{scale / factor:.6g}')}"
            )
    return f"{text}. Another band, or another scale or offset: {remedy.format(scale='...')}"


def _range(values: NDArray[np.floating]) -> str:
    low, high = np.percentile(values, (1, 99))
    return f"{low:.4g} to {high:.4g}"


def check_values(scene: RasterScene, boxes: Sequence[Box], fitted: Fitted) -> tuple[str, ...]:
    """Hold the values of a scene against what its bands are said to be, and what the model was fitted on.

    Args:
        scene: As described for the model.
        boxes: Windows that are looked at.
        fitted: The model.

    Returns:
        Warnings.

    Raises:
        ImpossibleValuesError: When a band cannot be what it is said to be.
    """
    bands = scene.channels.bands
    # As they are: the scene itself leaves out what cannot be.
    plain = replace(
        scene, channels=replace(scene.channels, bands=tuple(replace(band, quantity=None) for band in bands)), beneath=()
    )
    images, observed = [], []
    with plain.open() as reader:
        for box in boxes:
            image, seen = reader.bands(box)
            images.append(image.reshape(len(bands), -1))
            observed.append(seen.reshape(len(bands), -1))
    values, seen = np.concatenate(images, axis=1), np.concatenate(observed, axis=1)
    found: list[str] = []
    for band, own, here in zip(bands, values, seen, strict=True):
        if int(here.sum()) < LEAST_VALUES:
            continue
        if band.quantity is None or not QUANTITIES[band.quantity].has_limits:
            found += _fills(band.name, own[here], band)
        else:
            found += weigh(
                band.name,
                own[here],
                quantity=QUANTITIES[band.quantity],
                remedy=_remedy(band),
                scale=band.scale,
            )
    kept = np.array([_possible(own, band) for own, band in zip(values, bands, strict=True)])
    valid = (seen & kept).all(axis=0)
    channels = _channels(scene, values[:, valid])
    found += _of_indices(scene, channels)
    found += _of_model(scene, channels, fitted)
    return tuple(found)


def _channels(scene: RasterScene, values: Values) -> Values:
    """Return the model's channels ``(channels, pixels)`` of those of all bands."""
    by_name = {band.name: values[k] for k, band in enumerate(scene.channels.bands)}
    return np.stack(
        [
            by_name[member.name] if isinstance(member, Band) else parse_expression(member.text)(by_name)
            for member in scene.channels.members
        ]
    )


def _of_indices(scene: RasterScene, channels: Values) -> Iterator[str]:
    """Warn of indices that are what they cannot be: their bands are not what the expression takes them for."""
    for member, own in zip(scene.channels.members, channels, strict=True):
        if isinstance(member, Band) or member.quantity is None:
            continue
        limits, known = QUANTITIES[member.quantity], own[np.isfinite(own)]
        share = float(np.mean((known < limits.lowest) | (known > limits.highest))) if known.size else 0.0
        if share > _IMPOSSIBLE_SHARE:
            yield (
                f"{member.name}: {share:.0%} of the values looked at, {_range(known)}, cannot be "
                f"{limits.name} ({limits.told()}): check scale and offset of the bands that it is made of"
            )


def _fills(name: str, values: Values, band: Band) -> Iterator[str]:
    """Warn of values that programs write where there is nothing, in bands of which nobody says what they hold."""
    stored = (values.astype(np.float64) - band.offset) / band.scale
    for fill in _FILLS:
        share = float(np.mean(np.isclose(stored, fill, rtol=1e-6, atol=0.0)))
        if _FILL_SHARE < share < 1.0:
            yield (
                f"{name}: {fill:g} in {share:.1%} of the pixels looked at is what programs write where nothing was "
                f"observed, and is taken as a value. Declare it as nodata, or write source.bands.{band.name}.quantity"
            )


def _remedy(band: Band) -> str:
    scale = "" if band.scale == 1.0 else f" (now {band.scale:g})"
    return f"write source.bands.{band.name}.scale: {{scale}}{scale}, or the quantity that it is"


def _possible(values: Values, band: Band) -> NDArray[np.bool_]:
    if band.quantity is None:
        return np.ones(values.shape, np.bool_)
    limits = QUANTITIES[band.quantity]
    possible: NDArray[np.bool_] = (values >= limits.lowest) & (values <= limits.highest)
    return possible


def _of_model(scene: RasterScene, channels: Values, fitted: Fitted) -> Iterator[str]:
    """Warn of channels that lie outside of what the model was fitted on, or look as if they had been exchanged."""
    if fitted.numbers is None or channels.shape[1] < LEAST_VALUES or len(fitted.numbers.clip) != len(channels):
        return
    channels = channels[:, np.isfinite(channels).all(axis=0)].astype(np.float32)
    for name, own, (low, high) in zip(fitted.quantities, channels, fitted.numbers.clip, strict=True):
        share = float(np.mean((own < low) | (own > high))) if own.size else 0.0
        if share > _UNUSUAL_SHARE:
            yield (
                f"{name}: {share:.0%} of the values looked at, {_range(own)}, lie outside of what "
                f"{fitted.model} was fitted on ({low:g} to {high:g}). Check its scale, and whether it is that band"
            )
    pair = _exchanged(channels, fitted)
    if pair is not None:
        yield (
            f"{' and '.join(pair)} look as if they were exchanged: so they go together better with what "
            f"{fitted.model} was fitted on. Check their numbers under source.bands"
        )


def _exchanged(channels: Values, fitted: Fitted) -> tuple[str, str] | None:
    """Return two channels of one quantity that fit the model's data better in each other's place; None without any.

    Fit is the likelihood of the normalised pixels under a normal distribution with the data's own means and products.
    """
    numbers = fitted.numbers
    if numbers is None or numbers.together is None:
        return None
    resolved = resolve(numbers, channels)
    if resolved is None or not channels.size:
        return None
    precision = np.linalg.pinv(np.array(numbers.together), hermitian=True)

    def misfit(image: Values) -> float:
        normalised = normalise(image, resolved).astype(np.float64)
        return float(np.einsum("ip,ij,jp->p", normalised, precision, normalised).mean()) / 2.0

    names = list(fitted.quantities)
    as_given = misfit(channels)
    gains: dict[tuple[str, str], float] = {}
    for one, other in combinations(range(len(names)), 2):
        if fitted.quantities[names[one]] == fitted.quantities[names[other]] is not None:
            order = list(range(len(names)))
            order[one], order[other] = other, one
            gains[names[one], names[other]] = as_given - misfit(channels[order])
    best = max(gains, key=lambda pair: gains[pair], default=None)
    return best if best is not None and gains[best] > _EXCHANGED_NATS else None
