"""What each classical method is told, and the numbers that its fit adds."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

# How many features a clustering looks at.
MOST_FEATURES = 16
_Classes = Annotated[int, Field(ge=2, le=64)]
_Thresholds: TypeAlias = tuple[float, ...]
_Spread = Annotated[float, Field(gt=0)]


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _require_length(length: int, *rows: tuple[object, ...]) -> None:
    if any(len(row) != length for row in rows):
        raise ValueError(f"rows of {sorted({length, *map(len, rows)})} numbers do not belong together")


class Thresholds(_Frozen):
    """Found by Otsu, ascending."""

    thresholds: Annotated[_Thresholds, Field(min_length=1)]


class Centres(_Frozen):
    """Of clusters.

    Attributes:
        mean: Of each feature in the sample.
        std: Likewise; 1 where a feature is constant.
        centres: Per class, of ``(feature - mean) / std``.
    """

    mean: tuple[float, ...]
    std: tuple[_Spread, ...]
    centres: Annotated[tuple[tuple[float, ...], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _of_the_same_features(self) -> Centres:
        _require_length(len(self.mean), self.std, *self.centres)
        return self


class Mixture(_Frozen):
    """Of Gaussians.

    Attributes:
        mean: Of each feature in the sample.
        std: Likewise; 1 where a feature is constant.
        weights: Per class, together 1.
        means: Per class, of ``(feature - mean) / std``.
        precisions_cholesky: Per class, upper triangular ``P`` with ``P @ P.T`` the inverse of the covariance.
    """

    mean: tuple[float, ...]
    std: tuple[_Spread, ...]
    weights: Annotated[tuple[_Spread, ...], Field(min_length=1)]
    means: tuple[tuple[float, ...], ...]
    precisions_cholesky: tuple[tuple[tuple[float, ...], ...], ...]

    @model_validator(mode="after")
    def _of_the_same_features_and_classes(self) -> Mixture:
        _require_length(len(self.weights), self.means, self.precisions_cholesky)
        rows = [row for matrix in self.precisions_cholesky for row in matrix]
        _require_length(len(self.mean), self.std, *self.means, *self.precisions_cholesky, *rows)
        if any(matrix[k][k] <= 0 for matrix in self.precisions_cholesky for k in range(len(matrix))):
            raise ValueError("precisions_cholesky: what stands on a diagonal is above 0")
        return self


Fitted: TypeAlias = Thresholds | Centres | Mixture


class Arguments(_Frozen):
    """Of every classical method.

    Attributes:
        ndim: Spatial axes of a tile.
        features: Bands or expressions over bands; empty for the channels as they are.
        names: Of the classes, where it is known beforehand how many there are.
    """

    ndim: Literal[2, 3] = 2
    features: _Texts = ()
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _all_named(self) -> Self:
        if self.names and self.n_classes == 0:
            raise ValueError("names: only the fit tells how many classes there are; leave names out")
        if self.names and len(self.names) != self.n_classes:
            raise ValueError(f"{len(self.names)} names for {self.n_classes} classes; give one each")
        return self

    @property
    def n_classes(self) -> int:
        """How many; 0 where only the fit can tell."""
        return 0


_A = TypeVar("_A", bound=Arguments)


def _looking_at_one(arguments: _A) -> _A:
    if len(arguments.features) > 1:
        raise ValueError(f"a threshold looks at one feature; name one under features: {', '.join(arguments.features)}")
    return arguments


class ThresholdArguments(Arguments):
    """Of ``threshold``: fixed values; nothing is fitted.

    Attributes:
        threshold: One physical value, or several that ascend.
        channel: Which channel is compared, where no feature is named.
        n_channels: Channels of a tile.
    """

    threshold: float | Annotated[_Thresholds, Field(min_length=1)]
    channel: Annotated[int, Field(ge=0)] = 0
    n_channels: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _in_order(self) -> ThresholdArguments:
        if any(low >= high for low, high in pairwise(self.thresholds)):
            raise ValueError(f"thresholds have to ascend: {self.thresholds}")
        if self.channel >= self.n_channels:
            raise ValueError(f"channel {self.channel} of {self.n_channels}, counted from 0; name one that there is")
        return _looking_at_one(self)

    @property
    def thresholds(self) -> _Thresholds:
        """Always several."""
        return self.threshold if isinstance(self.threshold, tuple) else (self.threshold,)

    @property
    def n_classes(self) -> int:
        """One more than thresholds."""
        return len(self.thresholds) + 1


class FittedArguments(Arguments):
    """Of a method that is fitted to a sample of the scene.

    Attributes:
        sample: Most pixels that are looked at.
        seed: Of the choice of pixels, and of the fit where it begins at random.
        fitted: What the fit adds.
    """

    features: Annotated[_Texts, Field(min_length=1, max_length=MOST_FEATURES)]
    sample: Annotated[int, Field(ge=100, le=4_000_000)] = 100_000
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    fitted: Fitted | None = None

    @model_validator(mode="after")
    def _fitted_to_these(self) -> Self:
        if isinstance(self.fitted, Centres | Mixture) and len(self.fitted.mean) != self.n_inputs:
            raise ValueError(f"fitted to {len(self.fitted.mean)} features, and there are {self.n_inputs}")
        return self

    @property
    def n_inputs(self) -> int:
        """What the method is given of every pixel."""
        return len(self.features)

    def _require_classes(self, found: int) -> None:
        if found != self.n_classes:
            raise ValueError(f"fitted to {found} classes, and {self.n_classes} are asked for")


class OtsuArguments(FittedArguments):
    """Of ``otsu``; more than five classes would take minutes to search.

    Attributes:
        classes: One more than thresholds are looked for.
    """

    sample: Annotated[int, Field(ge=100, le=4_000_000)] = 1_000_000
    classes: Annotated[int, Field(ge=2, le=5)] = 2
    fitted: Thresholds | None = None

    @model_validator(mode="after")
    def _of_one(self) -> OtsuArguments:
        if self.fitted is not None:
            self._require_classes(len(self.fitted.thresholds) + 1)
        return _looking_at_one(self)

    @property
    def n_classes(self) -> int:
        """As the job says."""
        return self.classes


class KMeansArguments(FittedArguments):
    """Of ``kmeans``.

    Attributes:
        classes: Groups.
    """

    classes: _Classes
    fitted: Centres | None = None

    @model_validator(mode="after")
    def _as_many(self) -> KMeansArguments:
        if self.fitted is not None:
            self._require_classes(len(self.fitted.centres))
        return self

    @property
    def n_classes(self) -> int:
        """As the job says."""
        return self.classes


class MixtureArguments(FittedArguments):
    """Of ``gaussian-mixture``.

    Attributes:
        classes: How many, or the fewest and the most, of which the Bayesian information criterion chooses.
    """

    classes: _Classes | tuple[Annotated[int, Field(ge=1, le=64)], _Classes]
    fitted: Mixture | None = None

    @model_validator(mode="after")
    def _in_order(self) -> MixtureArguments:
        if isinstance(self.classes, tuple) and self.classes[0] > self.classes[1]:
            raise ValueError(f"classes are the fewest and the most: {self.classes}")
        return self

    @property
    def counts(self) -> range:
        """Numbers of classes to try."""
        low, high = self.classes if isinstance(self.classes, tuple) else (self.classes, self.classes)
        return range(low, high + 1)

    @property
    def n_classes(self) -> int:
        """As the job says, or as the fit chose."""
        if self.fitted is not None:
            return len(self.fitted.weights)
        return self.counts[0] if len(self.counts) == 1 else 0


class MeanShiftArguments(FittedArguments):
    """Of ``mean-shift``.

    Attributes:
        bandwidth: Radius of the flat kernel in standard deviations of the features, or estimated.
        quantile: Share of the sample that lies within an estimated bandwidth of a pixel, in the mean.
        place: Radius of the kernel on the ground, in pixels, where it looks at place and values together; None where it
            looks at values alone.
    """

    sample: Annotated[int, Field(ge=100, le=20_000)] = 3_000
    bandwidth: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    quantile: Annotated[float, Field(gt=0, le=1)] = 0.3
    place: Annotated[float, Field(gt=0)] | None = None
    fitted: Centres | None = None

    @property
    def n_inputs(self) -> int:
        """Features, and where a pixel lies along each axis where that is looked at."""
        return len(self.features) + (0 if self.place is None else self.ndim)

    @property
    def n_classes(self) -> int:
        """As the fit found."""
        return 0 if self.fitted is None else len(self.fitted.centres)


ARGUMENTS: dict[str, type[ThresholdArguments] | type[FittedArguments]] = {
    "threshold": ThresholdArguments,
    "otsu": OtsuArguments,
    "kmeans": KMeansArguments,
    "gaussian-mixture": MixtureArguments,
    "mean-shift": MeanShiftArguments,
}
