"""The model card: everything the engine and a reviewer must know about a set of weights."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import CardError
from models.plain import MOST_TEXT_BYTES, read_plain
from models.printable import printable
from models.quantities import QuantityName, quantity_of_name
from models.validation import explained

Placement: TypeAlias = Literal["stride", "even", "shifted"]
Beyond: TypeAlias = Literal["zeros", "edge"]
Blend: TypeAlias = Literal["gaussian", "hann", "core", "logits"]
Spacing: TypeAlias = tuple[float | None, float | None, float | None]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Regions(_Frozen):
    """What the channels of a network stand for that answers by regions.

    Attributes:
        classes: Of each channel.
        order: Of channels: the first one that is there gives a voxel its class; class 0 where none is.
    """

    classes: tuple[Annotated[int, Field(ge=1)], ...]
    order: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _each_once(self) -> Regions:
        if sorted(self.order) != list(range(len(self.classes))):
            raise ValueError(f"order {list(self.order)} does not name each of {len(self.classes)} channels once")
        return self


class Network(_Frozen):
    """Which network the weights belong to.

    Attributes:
        name: Its name in ``models.registry``.
        arguments: What its builder is called with.
        output: ``logits``, one per class; ``logit``, of class 1 alone, for a network of one channel and a sigmoid;
            ``probabilities``, where softmax is part of the network; or ``regions``, a logit each that may overlap.
        regions: Of ``regions``: the class that each channel stands for, and the channels in the order in which the one
            that is there, from a probability of one half, decides.
    """

    name: str
    arguments: dict[str, Any] = {}
    output: Literal["logits", "logit", "probabilities", "regions"] = "logits"
    regions: Regions | None = None

    @model_validator(mode="after")
    def _regions_are_told(self) -> Network:
        if (self.output == "regions") != (self.regions is not None):
            raise ValueError("output 'regions' and 'regions' go together: state both, or neither")
        return self


class FixedNormalization(_Frozen):
    """``(clip(value, *clip) - mean) / std`` with numbers that belong to the model, one per channel.

    Attributes:
        together: How the channels go together in the data that the model was fitted on: the mean product of each pair,
            normalised; None where that is not known. With it bands that were exchanged are noticed.
    """

    kind: Literal["fixed"] = "fixed"
    clip: tuple[tuple[float, float], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    together: tuple[tuple[float, ...], ...] | None = None


class SceneNormalization(_Frozen):
    """The same, with numbers taken once from the whole scene: for MR, whose intensities have no unit.

    Attributes:
        percentiles: Of the values above ``floor``; values are clipped to them before mean and std are taken.
        floor: Values at or below it (air) do not enter the statistics.
        scale: ``std`` for mean 0 and standard deviation 1; ``range`` maps the two percentiles to 0 and 1.
    """

    kind: Literal["scene"] = "scene"
    percentiles: tuple[float, float] = (0.5, 99.5)
    floor: float = 0.0
    scale: Literal["std", "range"] = "std"


class GridNormalization(_Frozen):
    """``(value - mean) / std`` with numbers of all voxels of the grid that the network sees, as MONAI takes them.

    Attributes:
        scale: ``std`` for mean 0 and standard deviation 1; ``range`` maps the two percentiles to ``target``.
        percentiles: Of ``range``.
        target: Of ``range``.
        clip: Whether ``range`` ends at ``target``.
        nonzero: Whether voxels that are 0 are left out of the numbers, and stay 0.
    """

    kind: Literal["grid"] = "grid"
    scale: Literal["std", "range"] = "std"
    percentiles: tuple[float, float] = (0.0, 100.0)
    target: tuple[float, float] = (0.0, 1.0)
    clip: bool = False
    nonzero: bool = False


class ChainNormalization(_Frozen):
    """One normalization behind the other, each with the numbers of what the one before it made.

    Attributes:
        steps: In their order.
    """

    kind: Literal["chain"] = "chain"
    steps: tuple[FixedNormalization | GridNormalization, ...] = Field(min_length=2)


class NoNormalization(_Frozen):
    """Values reach the predictor as they are."""

    kind: Literal["none"] = "none"


Normalization = Annotated[
    FixedNormalization | SceneNormalization | GridNormalization | ChainNormalization | NoNormalization,
    Field(discriminator="kind"),
]


class ClassEntry(_Frozen):
    """One class of the mask: its name and its colour ``#rrggbb``.

    Attributes:
        name: In tables, log lines and the UI, whoever gave it: without control characters.
        thing: Whether a panoptic model tells its objects apart; else it is stuff.
    """

    name: Annotated[str, AfterValidator(printable)]
    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]
    thing: bool = False


class Tiling(_Frozen):
    """What the model was found to work well with, in pixels per axis; a job may ask for something else.

    Attributes:
        tile: Length of a tile.
        whole: Whether one tile holds the whole scene; ``tile`` is then what is tried out before a scene is known.
        halo: What a tile reads but does not answer for, at each side.
        overlap: By how much neighbouring cores overlap and are blended.
        placement: ``stride`` puts tiles on multiples of the network's stride and mirrors the scene at its edges.
            ``even`` does as nnU-Net does: tiles of exactly this length, spread evenly from edge to edge, over zeros
            where one is longer than the scene, and weighed by a Gaussian of an eighth of a tile. ``shifted`` does as
            MONAI does: tiles one step apart, the last moved back to end with the scene, over zeros likewise, and
            weighed by ``sigma``.
        sigma: Of the Gaussian that weighs ``shifted`` tiles, in tiles; None where all their pixels weigh the same.
        beyond: What ``shifted`` tiles see outside the scene: zeros, or the pixels at its ``edge``.
        blend: ``gaussian``, ``hann`` and ``core`` stitch probabilities; ``logits`` stitches scores before softmax.
        disagreement: Share of labels that differ from one untiled pass with these numbers, as measured.
    """

    tile: tuple[int, ...]
    halo: tuple[int, ...]
    overlap: tuple[int, ...]
    whole: bool = False
    placement: Placement = "stride"
    sigma: Annotated[float, Field(gt=0)] | None = None
    beyond: Beyond = "zeros"
    blend: Blend = "gaussian"
    disagreement: float | None = None


class Resampling(_Frozen):
    """How a volume comes to the model's spacing where that is not linear interpolation: as nnU-Net does it.

    Lengths are rounded and the spacing is stretched until model and volume end at the same place. Scores come back
    linearly.

    Attributes:
        clip: Lowest and highest value that is resampled; None where values are taken as they are.
        order: Of the spline through the values: 1, linear; 3, cubic.
        nearest_above: A volume (or a model) whose largest spacing is more than this many times its smallest, and has
            it along one axis only, is resampled by nearest neighbour along that axis, both ways; None for never.
        crop: ``nonzero`` looks at the smallest box that holds all voxels that are not 0; background is outside.
    """

    clip: tuple[float, float] | None = None
    order: Literal[1, 3] = 3
    nearest_above: Annotated[float, Field(gt=1)] | None = 3.0
    crop: Literal["none", "nonzero"] = "nonzero"


class CentredResampling(_Frozen):
    """How a volume comes to the model's spacing as ``Spacingd`` of MONAI does it, linearly.

    The centres of the first voxels are one point, the last ones lie as near as they may.

    Attributes:
        back: What ``Invertd`` brings back: ``scores`` as they were blended, or the ``probabilities`` of blended logits,
            both linearly; ``labels``, each the nearest; or the ``numbers`` of labels, linearly and rounded.
        foreground: The network looks at the smallest box of its own grid that holds all values above this one, as
            ``CropForegroundd`` has it; what lies outside is background. None for everything.
    """

    kind: Literal["centred"]
    back: Literal["scores", "probabilities", "labels", "numbers"] = "scores"
    foreground: float | None = None


def _beside(file: str) -> str:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{file} leads out of the card's folder; weights lie beside their card")
    return file


class Weights(_Frozen):
    """The weights' file, beside the card, and its SHA-256."""

    file: Annotated[str, AfterValidator(_beside)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Training(_Frozen):
    """How the weights came about.

    Attributes:
        data: What it was fitted on, and from where.
        licence: Under which terms that data stands.
        attribution: The sentence that has to be shown.
        protocol: Folds, seed, steps in one sentence.
        scores: Validation figures as measured, by name: of each scene's mean over the classes but the first.
            ``dice_low`` and ``dice_high`` bound the mean at 95 %; left out for fewer than ten scenes.
        by_class: The same figures of each of these classes.
        baseline: The same figures of a simple method on the same folds.
    """

    data: str
    licence: str
    attribution: str
    protocol: str
    scores: dict[str, float] = {}
    by_class: dict[str, dict[str, float]] = {}
    baseline: dict[str, float] = {}


class Card(_Frozen):
    """Everything there is to know about a model.

    Attributes:
        channels: Names of the input channels in order: band names of a raster, modalities of a volume.
        quantities: What each channel holds, a name of ``models.quantities``; empty where the card does not say.
        orientation: NIfTI axis codes of the tensor's axes, such as ``SAR`` for depth up, rows anterior, cols right;
            or the file's own axes, the fastest called ``i``, such as ``kji``; None for rasters.
        spacing_mm: ``depth, rows, cols``; None where the input's own spacing is kept, along one axis or all.
        resampling: How it comes to that spacing; None for linear interpolation between the same outer edges.
        position: Whether the network also sees where in the scene a pixel lies, one more input per axis: for scenes
            that were cut round what is looked for, and for such scenes only.
        bfloat16_disagreement: Share of labels that differ from float32 on the validation data, as measured.
        largest: Classes of which the largest connected part alone is kept, on the grid on which labels are made.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str
    kind: Literal["raster", "volume"]
    network: Network
    channels: tuple[str, ...]
    quantities: tuple[QuantityName, ...] = ()
    classes: tuple[ClassEntry, ...]
    normalization: Normalization
    tiling: Tiling
    licence: str
    origin: str
    orientation: Annotated[str, Field(pattern=r"^([RLAPSI]{3}|[ijk]{3})$")] | None = None
    spacing_mm: Spacing | None = None
    resampling: Resampling | CentredResampling | None = None
    position: bool = False
    parameters: int = 0
    bfloat16_disagreement: float | None = None
    largest: tuple[Annotated[int, Field(ge=1)], ...] = ()
    weights: Weights | None = None
    training: Training | None = None

    @model_validator(mode="after")
    def _volume_has_orientation(self) -> Card:
        if (self.kind == "volume") != (self.orientation is not None):
            raise ValueError("'orientation' belongs to cards of kind 'volume', and every such card has one")
        return self

    @model_validator(mode="after")
    def _every_channel_has_its_quantity(self) -> Card:
        if self.quantities and len(self.quantities) != len(self.channels):
            raise ValueError(
                f"'quantities' names {len(self.quantities)}, one per channel, of which there are {self.n_channels}"
            )
        return self

    @model_validator(mode="after")
    def _one_logit_parts_two_classes(self) -> Card:
        if self.network.output == "logit" and len(self.classes) != 2:
            raise ValueError(f"network.output 'logit' parts two classes, and the card has {len(self.classes)}")
        return self

    @model_validator(mode="after")
    def _regions_are_classes(self) -> Card:
        regions = self.network.regions
        if regions is not None and max(regions.classes) >= len(self.classes):
            raise ValueError(f"network.regions.classes {list(regions.classes)} are not all among the card's classes")
        return self

    @property
    def labels_on_own_grid(self) -> bool:
        """Whether labels are made on the grid of the network, and looked at as a whole before they come back."""
        centred = self.resampling if isinstance(self.resampling, CentredResampling) else None
        return centred is not None and (centred.back == "numbers" or (centred.back == "labels" and bool(self.largest)))

    @property
    def n_channels(self) -> int:
        """Channels of the scene."""
        return len(self.channels)

    @property
    def by_channel(self) -> dict[str, QuantityName | None]:
        """The quantity of each channel, in order; what its name says where the card does not."""
        if self.quantities:
            return dict(zip(self.channels, self.quantities, strict=True))
        return {name: quantity_of_name(name) for name in self.channels}

    @property
    def n_inputs(self) -> int:
        """Channels of the network: those of the scene, and the positions where it sees them."""
        return self.n_channels + (len(self.tiling.tile) if self.position else 0)

    @property
    def n_classes(self) -> int:
        """Classes, background included."""
        return len(self.classes)

    @property
    def n_outputs(self) -> int:
        """Channels that the network gives."""
        if self.network.regions is not None:
            return len(self.network.regions.classes)
        return 1 if self.network.output == "logit" else self.n_classes


def load_card(path: Path) -> Card:
    """Read a card from its JSON file.

    Raises:
        CardError: When the file is not readable or not a card.
    """
    try:
        return Card.model_validate_json(read_plain(path, MOST_TEXT_BYTES))
    except OSError as error:
        raise CardError(f"{path}: the model card cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise CardError(f"{path}: not a model card: {explained(error, Card)}") from error


def write_card(card: Card, path: Path) -> None:
    """Write a card as JSON with a stable layout."""
    path.write_text(card.model_dump_json(indent=2, exclude_none=True) + "\n")
