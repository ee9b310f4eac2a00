"""Unbiased class areas and map accuracy from a stratified reference sample, with standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.errors import SampleError

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]
# Of the normal distribution 95 % lie within; two decimals, as the published examples are computed.
Z_95 = 1.96
_FEWEST_PER_STRATUM = 2


@dataclass(frozen=True, kw_only=True)
class StratifiedSample:
    """Units drawn at random within strata, each with its map class and its reference class.

    Attributes:
        strata: Stratum number of each unit, ``(units,)``.
        mapped: Class number of each unit in the map.
        reference: Class number of each unit in truth.
        areas_ha: Area of each stratum, in order of their numbers.
        stratum_names: As many.
        class_names: Names of map and reference classes, which share one legend.
    """

    strata: Numbers
    mapped: Numbers
    reference: Numbers
    areas_ha: tuple[float, ...]
    stratum_names: tuple[str, ...]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """A number and how well it is known.

    Attributes:
        value: The estimate.
        standard_error: In the same unit.
    """

    value: float
    standard_error: float

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval, by the normal approximation."""
        return Z_95 * self.standard_error

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval; not cut at 0, since an end below 0 says that the sample is too small."""
        return self.value - self.half_width, self.value + self.half_width

    def times(self, factor: float) -> Estimate:
        """Return the estimate in another unit."""
        return Estimate(self.value * factor, self.standard_error * factor)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """What a sample says of a map.

    Attributes:
        areas_ha: Per class, the area that truly has it.
        overall: Share of the area that is mapped right.
        users: Per class, share of what is mapped as it that is it; None where no unit was mapped as it.
        producers: Per class, share of what is it that is mapped as it; None where no unit is it.
        counts: Error matrix in units, ``(map classes, reference classes)``.
        shares: Error matrix in shares of the area, rows and columns as in ``counts``.
        total_ha: Of all strata.
        sizes: Units per stratum.
    """

    areas_ha: tuple[Estimate, ...]
    overall: Estimate
    users: tuple[Estimate | None, ...]
    producers: tuple[Estimate | None, ...]
    counts: NDArray[np.int64]
    shares: Floats
    total_ha: float
    sizes: tuple[int, ...]


def estimate_accuracy(sample: StratifiedSample) -> Accuracy:
    """Estimate areas and accuracies.

    All are combined ratio estimators of Stehman (2014), Int. J. Remote Sensing 35, 4923, equations 2-3 and 25-28.
    Where the strata are the map's classes they are those of Olofsson et al. (2014), Remote Sensing of Environment 148,
    42, equations 1-11. No finite population correction: the variance is that of a sample from many pixels.

    Args:
        sample: At least two units per stratum.

    Raises:
        SampleError: When a stratum with area has fewer than two units, from which no variance can be told.
    """
    n_classes = len(sample.class_names)
    _refuse_thin_strata(sample)
    ones = np.ones(len(sample.strata))
    total = float(np.sum(sample.areas_ha))
    mapped, truth = (numbers[:, None] == np.arange(n_classes) for numbers in (sample.mapped, sample.reference))
    hits = mapped & truth
    areas = [_ratio(sample, column, ones) for column in truth.T]
    return Accuracy(
        areas_ha=tuple(area.times(total) for area in areas if area is not None),
        overall=_sure(_ratio(sample, hits.any(axis=1), ones)),
        users=tuple(_ratio(sample, hits[:, k], mapped[:, k]) for k in range(n_classes)),
        producers=tuple(_ratio(sample, hits[:, k], truth[:, k]) for k in range(n_classes)),
        counts=_matrix(sample, ones).astype(np.int64),
        shares=_matrix(sample, _unit_shares(sample)),
        total_ha=total,
        sizes=tuple(int(n) for n in _sizes(sample)),
    )


def _refuse_thin_strata(sample: StratifiedSample) -> None:
    thin = [
        f"{name} ({size})"
        for name, size, area in zip(sample.stratum_names, _sizes(sample), sample.areas_ha, strict=True)
        if size < _FEWEST_PER_STRATUM and area > 0
    ]
    if thin:
        raise SampleError(
            f"strata with fewer than two reference samples: {', '.join(thin)}. No variance can be told from them: "
            "interpret more samples there, merge the stratum with another, or leave its class out of the estimate"
        )


def _sizes(sample: StratifiedSample) -> Numbers:
    return np.bincount(sample.strata, minlength=len(sample.areas_ha))


def _unit_shares(sample: StratifiedSample) -> Floats:
    """Return the share of the total area that each unit stands for."""
    areas, sizes = np.array(sample.areas_ha), _sizes(sample)
    shares: Floats = (areas / np.maximum(1, sizes) / np.sum(areas))[sample.strata]
    return shares


def _matrix(sample: StratifiedSample, weights: Floats) -> Floats:
    n = len(sample.class_names)
    flat = np.bincount(sample.mapped * n + sample.reference, weights=weights, minlength=n * n)
    return flat.astype(np.float64).reshape(n, n)


def _ratio(sample: StratifiedSample, y: NDArray[np.generic], x: NDArray[np.generic]) -> Estimate | None:
    """Return ``sum(A_h mean_h(y)) / sum(A_h mean_h(x))``, or None where no unit has ``x``.

    Its variance is that of the residual ``y - R x``: ``sum(A_h^2 s_h^2 / n_h) / X^2``.
    """
    share = _unit_shares(sample)
    y_units, x_units = y.astype(np.float64), x.astype(np.float64)
    below = float(np.sum(share * x_units))
    if below == 0.0:
        return None
    ratio = float(np.sum(share * y_units)) / below
    residual = y_units - ratio * x_units
    sizes = np.maximum(1, _sizes(sample))
    means = np.bincount(sample.strata, weights=residual, minlength=len(sizes)) / sizes
    spread = np.bincount(sample.strata, weights=(residual - means[sample.strata]) ** 2, minlength=len(sizes))
    weights = np.array(sample.areas_ha) / np.sum(sample.areas_ha)
    variance = np.sum(weights**2 * spread / np.maximum(1, sizes - 1) / sizes) / below**2
    return Estimate(ratio, float(np.sqrt(variance)))


def _sure(estimate: Estimate | None) -> Estimate:
    if estimate is None:
        raise SampleError("the reference sample holds no unit with area. Check its strata and their areas")
    return estimate
