"""Fits to a sample of pixels, by scikit-image and scikit-learn; the same sample gives the same numbers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from models.classical.settings import (
    Centres,
    Fitted,
    FittedArguments,
    KMeansArguments,
    MeanShiftArguments,
    Mixture,
    MixtureArguments,
    OtsuArguments,
    Thresholds,
)
from models.errors import FitError

logger = logging.getLogger(__name__)

_MOST_CLASSES = 64
# Restarts of k-means from other centres; the tightest one counts.
_RESTARTS = 4
_MOST_STEPS = 500

_one_at_a_time = Lock()


def fit(arguments: FittedArguments, sample: NDArray[np.float32]) -> Fitted:
    """Fit a method; classes are in the order of their first feature.

    Args:
        arguments: Of the method.
        sample: ``(pixels, features)``, physical, finite.

    Raises:
        FitError: When the sample is too small or too uniform for what was asked.
    """
    with _deterministic(), _refusing():
        match arguments:
            case OtsuArguments():
                return fit_otsu(arguments, sample)
            case KMeansArguments():
                return fit_kmeans(arguments, sample)
            case MixtureArguments():
                return fit_mixture(arguments, sample)
            case MeanShiftArguments():
                return fit_mean_shift(arguments, sample)
    raise TypeError(f"nothing is fitted with {type(arguments).__name__}")


@contextmanager
def _refusing() -> Iterator[None]:
    """Say of what a library refuses that it was the sample."""
    try:
        yield
    except ValueError as error:
        raise FitError(
            f"the sample does not carry the fit: {error}. Look at the values of the features, or ask for fewer classes"
        ) from error


@contextmanager
def _deterministic() -> Iterator[None]:
    """One thread: where several add up, the last bits depend on who is first."""
    from threadpoolctl import threadpool_limits

    # The limit and the filter are those of the process, so that two fits at once would end each other's.
    with _one_at_a_time, threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
        yield


def fit_otsu(arguments: OtsuArguments, sample: NDArray[np.float32]) -> Thresholds:
    """Find the thresholds between which variance is least (Otsu 1979; Liao, Chen and Chung 2001), of 256 bins."""
    from skimage.filters import threshold_multiotsu, threshold_otsu

    values = sample[:, 0]
    _require_distinct(np.unique(values).size, arguments.classes)
    if arguments.classes == 2:
        return Thresholds(thresholds=(float(threshold_otsu(values)),))
    found = threshold_multiotsu(values, classes=arguments.classes)
    return Thresholds(thresholds=tuple(float(value) for value in found))


def fit_kmeans(arguments: KMeansArguments, sample: NDArray[np.float32]) -> Centres:
    """Minimise the squared distances to the nearest centre (Lloyd 1982; Arthur and Vassilvitskii 2007)."""
    from sklearn.cluster import KMeans

    mean, std, scaled = _standardised(sample)
    _require_distinct(_n_distinct(sample), arguments.classes)
    model = KMeans(arguments.classes, n_init=_RESTARTS, max_iter=_MOST_STEPS, random_state=arguments.seed)
    centres = model.fit(scaled).cluster_centers_
    return Centres(mean=mean, std=std, centres=_rows(centres[_order(centres)]))


def fit_mixture(arguments: MixtureArguments, sample: NDArray[np.float32]) -> Mixture:
    """Fit Gaussians by expectation maximization (Dempster, Laird and Rubin 1977); the fewest that BIC likes best."""
    from sklearn.mixture import GaussianMixture

    mean, std, scaled = _standardised(sample)
    _require_distinct(_n_distinct(sample), arguments.counts[-1])
    models = [
        GaussianMixture(count, max_iter=_MOST_STEPS, random_state=arguments.seed).fit(scaled)
        for count in arguments.counts
    ]
    best = models[0] if len(models) == 1 else min(models, key=lambda model: float(model.bic(scaled)))
    if not best.converged_:
        logger.warning("expectation maximization has not converged after %d steps", _MOST_STEPS)
    order = _order(best.means_)
    return Mixture(
        mean=mean,
        std=std,
        weights=tuple(best.weights_[order].tolist()),
        means=_rows(best.means_[order]),
        precisions_cholesky=tuple(_rows(matrix) for matrix in best.precisions_cholesky_[order]),
    )


def fit_mean_shift(arguments: MeanShiftArguments, sample: NDArray[np.float32]) -> Centres:
    """Climb to the modes of a flat kernel's density (Comaniciu and Meer 2002), from bins of one bandwidth.

    Where place is looked at (their joint domain), coordinates stand behind the features and are scaled so that one
    bandwidth of values is ``place`` pixels on the ground.
    """
    from sklearn.cluster import MeanShift, estimate_bandwidth

    n_values = len(arguments.features)
    mean, std, scaled = _standardised(sample[:, :n_values])
    bandwidth = arguments.bandwidth
    if bandwidth == "auto":
        bandwidth = float(estimate_bandwidth(scaled, quantile=arguments.quantile, random_state=arguments.seed))
    if bandwidth <= 0:
        raise FitError(
            f"the estimated bandwidth is 0: of {len(sample)} sampled pixels most have the same values. "
            "Give bandwidth, or a larger quantile"
        )
    if arguments.place is not None:
        n_axes = sample.shape[1] - n_values
        mean, std = (*mean, *(0.0,) * n_axes), (*std, *(arguments.place / bandwidth,) * n_axes)
        scaled = np.hstack([scaled, sample[:, n_values:].astype(np.float64) * (bandwidth / arguments.place)])
    centres = MeanShift(bandwidth=bandwidth, bin_seeding=True, max_iter=_MOST_STEPS).fit(scaled).cluster_centers_
    if len(centres) > _MOST_CLASSES:
        raise FitError(
            f"mean shift finds {len(centres)} classes with bandwidth {bandwidth:.3g}; at most {_MOST_CLASSES} are "
            f"told apart. Give a larger bandwidth{'' if arguments.place is None else ', or a larger place'}"
        )
    return Centres(mean=mean, std=std, centres=_rows(centres[_order(centres)]))


def _standardised(
    sample: NDArray[np.float32],
) -> tuple[tuple[float, ...], tuple[float, ...], NDArray[np.float64]]:
    values = sample.astype(np.float64)
    mean, std = values.mean(axis=0), values.std(axis=0)
    # A constant feature's mean may round, and leave a spread that is none.
    std[np.ptp(values, axis=0) == 0] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist()), (values - mean) / std


def _order(centres: NDArray[np.float64]) -> NDArray[np.intp]:
    """Sort by the first feature, then by the next."""
    return np.lexsort(centres.T[::-1])


def _rows(matrix: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def _n_distinct(sample: NDArray[np.float32]) -> int:
    return len(np.unique(sample, axis=0))


def _require_distinct(found: int, classes: int) -> None:
    if found < classes:
        raise FitError(f"{found} distinct values in the sample; {classes} classes need as many. Ask for fewer classes")
