"""Indices of burning from bands or from a given dNBR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.jobs.fire import FireAnalysis
from tasks.jobs.severity import Index

Values = NDArray[np.float32]
# Below this the quotient of RdNBR says nothing: the pre-fire NBR is zero within the noise of the bands.
_LEAST_NBR = 1e-3


def nbr(nir: Values, swir: Values) -> Values:
    """Return ``(nir - swir) / (nir + swir)`` (Key and Benson 2006, FIREMON LA); NaN where both are zero."""
    total = nir + swir
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (nir - swir) / total
    return np.where(np.isfinite(ratio), ratio, np.nan).astype(np.float32)


def rdnbr(dnbr: Values, pre_nbr: Values) -> Values:
    """Return ``dNBR / sqrt(|NBR pre|)`` (Miller and Thode 2007, equation 3, without the factor 1000).

    NaN where the pre-fire NBR is within 0.001 of zero.
    """
    known = np.abs(pre_nbr) >= _LEAST_NBR
    root = np.sqrt(np.abs(np.where(known, pre_nbr, 1.0)))
    return np.where(known, dnbr / root, np.nan).astype(np.float32)


def rbr(dnbr: Values, pre_nbr: Values) -> Values:
    """Return ``dNBR / (NBR pre + 1.001)`` (Parks, Dillon and Miller 2014, equation 3)."""
    return (dnbr / (pre_nbr + np.float32(1.001))).astype(np.float32)


@dataclass(frozen=True)
class Indices:
    """What the bands of a window give, float32 ``(rows, cols)``, NaN where not known; None where they cannot give it.

    Attributes:
        dnbr: Before any offset.
        pre_nbr: NBR before the fire.
    """

    dnbr: Values
    pre_nbr: Values | None

    def index(self, name: Index, offset: float) -> Values | None:
        """Return an index with ``offset`` taken off dNBR; None where it needs a pre-fire NBR that is not there."""
        dnbr = self.dnbr - np.float32(offset)
        if name == "dnbr":
            return dnbr
        if self.pre_nbr is None:
            return None
        return rdnbr(dnbr, self.pre_nbr) if name == "rdnbr" else rbr(dnbr, self.pre_nbr)


def indices_from(bands: Values, observed: NDArray[np.bool_], settings: FireAnalysis) -> Indices:
    """Compute dNBR and the pre-fire NBR of a window.

    Where dNBR is given with the post-fire bands, the pre-fire NBR is ``dNBR + NBR post``.

    Args:
        bands: ``(bands, rows, cols)`` in the order of ``settings.bands``, physical values.
        observed: ``(rows, cols)``.
        settings: Name the bands; at least one of ``dnbr`` and ``pre``.

    Raises:
        ValueError: When the settings name neither.
    """
    by_name = dict(zip(settings.bands, bands, strict=True))
    post = None if settings.post is None else nbr(by_name[settings.post.nir], by_name[settings.post.swir])
    if settings.dnbr is not None:
        change = by_name[settings.dnbr]
        before = None if post is None else change + post
    elif settings.pre is not None and post is not None:
        before = nbr(by_name[settings.pre.nir], by_name[settings.pre.swir])
        change = before - post
    else:
        raise ValueError("neither a dNBR band nor pre-fire and post-fire bands are named")
    return Indices(_where(change, observed), None if before is None else _where(before, observed))


def _where(values: Values, observed: NDArray[np.bool_]) -> Values:
    return np.where(observed, values, np.nan).astype(np.float32)
