"""Models that are programs themselves, TorchScript and ONNX: what a card says about one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from models.card import Card
from models.errors import CardError, WeightsError
from models.networks.geometry import Geometry
from models.plain import read_plain
from models.validation import explained


class ProgramArguments(BaseModel):
    """``network.arguments`` of a program, per axis in array order; a program does not tell them itself.

    Attributes:
        stride: Tile lengths are multiples of it.
        receptive_field: Diameter of what one score depends on; left out where it is the whole tile.
        margin: Pixels lost at each side; none where left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stride: tuple[PositiveInt, ...] = Field(min_length=2, max_length=3)
    receptive_field: tuple[PositiveInt, ...] | None = None
    margin: tuple[Annotated[int, Field(ge=0)], ...] | None = None


def program_geometry(card: Card) -> Geometry:
    """Return what a card says about its program.

    Raises:
        CardError: When it does not say enough, or contradicts itself.
    """
    try:
        arguments = ProgramArguments.model_validate(card.network.arguments)
    except ValidationError as error:
        wrong = explained(error, ProgramArguments)
        raise CardError(f"{card.name}: network.arguments of a {card.network.name} model: {wrong}") from error
    margin = arguments.margin or (0,) * len(arguments.stride)
    field = arguments.receptive_field
    if len(margin) != len(arguments.stride) or (field is not None and len(field) != len(margin)):
        raise CardError(f"{card.name}: stride, margin and receptive_field have one number per axis each")
    return Geometry(stride=arguments.stride, receptive_field=field, margin=margin)


def read_program(card: Card, path: Path) -> bytes:
    """Read a program's file and compare its hash.

    Raises:
        CardError: When the card names no file.
        WeightsError: When the file cannot be read or is not what the card says.
    """
    if card.weights is None:
        raise CardError(f"{card.name}: the card names no file; state weights.file and weights.sha256")
    try:
        content = read_plain(path)
    except OSError as error:
        raise WeightsError(f"{path.name}: the model cannot be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.weights.sha256:
        raise WeightsError(f"{path.name}: SHA-256 is {found}, the card states {card.weights.sha256}; mend the card")
    return content


def require_output(card: Card, example: tuple[int, ...], found: tuple[int, ...], margin: tuple[int, ...]) -> None:
    """Compare what a program gave for an example with what the card says.

    Args:
        card: Of the program.
        example: Axes of the example tile.
        found: Shape of the output, ``(1, channels, *axes)``.
        margin: Of the program, per axis.

    Raises:
        CardError: When channels or axes are others.
    """
    axes = tuple(length - 2 * lost for length, lost in zip(example, margin, strict=True))
    if found != (1, card.n_outputs, *axes):
        raise CardError(
            f"{card.name}: for a tile of {example} the program gives an array of shape {found}; "
            f"{card.n_outputs} channels of {axes} are expected. Mend classes, network.output or "
            "network.arguments in the card"
        )
