"""A card for a model that has none: what can be found out, and what has to be asked."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling, Weights
from models.errors import CardError
from models.foreign.colours import class_colour
from models.parsed import from_yaml
from models.plain import read_plain
from models.predictors.probing import Probed, probe
from models.validation import explained

# Lengths of a tile, about, and its halo, by axes.
_TILES = {2: 512, 3: 96}
_HALOS = {2: 64, 3: 16}
_OVERLAPS = {2: 32, 3: 16}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a program does not tell.

    Attributes:
        classes: Names in the order of its outputs, background first; numbers where left out.
        channels: Names of its inputs in order; numbers where left out.
        stride: What tile lengths have to be multiples of; measured where left out.
        overrides: ``key.path=value`` settings of the card; values are YAML.
    """

    classes: Sequence[str] = ()
    channels: Sequence[str] = ()
    stride: int | None = None
    overrides: Sequence[str] = ()


def draft_card(path: Path, asked: Asked) -> tuple[Card, tuple[str, ...]]:
    """Write a card for an ONNX or a TorchScript file by running it on made-up images.

    Args:
        path: The file.
        asked: What its user says of it.

    Returns:
        The card, and what one has to look at in it before masks are believed.

    Raises:
        WeightsError: When it is no such program.
        CardError: When it takes or gives what no card can describe, or something else than its user says.
    """
    if zipfile.is_zipfile(path) and not holds_program(path):
        raise CardError(
            f"{path.name}: holds weights alone, and not the network that they belong to. Export the network as ONNX or "
            "TorchScript, for which a card can be written; or, if docs/models.md lists the network, write "
            "the card by hand (Bring your own model)"
        )
    found = probe(path)
    n_classes = 2 if found.output == "logit" else found.n_outputs
    classes = tuple(asked.classes) or ("background", *(f"class {number}" for number in range(1, n_classes)))
    channels = tuple(asked.channels) or _numbered(found)
    _require(path, "classes", len(classes), n_classes)
    _require(path, "channels", len(channels), found.n_channels)
    ndim = len(found.stride)
    stride = found.stride if asked.stride is None else (asked.stride,) * ndim
    arguments: dict[str, Any] = {"stride": stride} | ({"margin": found.margin} if any(found.margin) else {})
    card = Card(
        name=re.sub(r"[^a-z0-9._-]+", "-", path.stem.casefold()).strip("-._") or "model",
        title=path.name,
        kind="raster" if ndim == 2 else "volume",
        network=Network(name=found.kind, arguments=arguments, output=found.output),
        channels=channels,
        classes=tuple(ClassEntry(name=name, colour=class_colour(number)) for number, name in enumerate(classes)),
        normalization=NoNormalization(),
        tiling=_tiling(found, stride),
        licence="not stated",
        origin=f"{path.name}, made elsewhere",
        # The axes of the file as they are: a program does not say how patients lie.
        orientation="kji" if ndim == 3 else None,
        weights=Weights(file=path.name, sha256=hashlib.sha256(read_plain(path)).hexdigest()),
    )
    return _overridden(card, asked.overrides), tuple(_doubts(found, asked, card))


def holds_program(path: Path) -> bool:
    """Tell whether a file is an ONNX or a TorchScript program, and not weights alone; by its name and its parts."""
    if path.suffix.casefold() == ".onnx":
        return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in member or member.endswith("/constants.pkl") for member in archive.namelist())


def _numbered(found: Probed) -> tuple[str, ...]:
    if len(found.stride) == 3 and found.n_channels == 1:
        return ("intensity",)
    return tuple(f"band_{number}" for number in range(1, found.n_channels + 1))


def _require(path: Path, what: Literal["classes", "channels"], given: int, found: int) -> None:
    if given != found:
        raise CardError(f"{path.name}: {given} {what} are named, and the program has {found}. Name them all, in order")


def _tiling(found: Probed, stride: tuple[int, ...]) -> Tiling:
    ndim = len(stride)
    if found.only_tile is not None:
        return Tiling(tile=found.only_tile, halo=(0,) * ndim, overlap=tuple(side // 2 for side in found.only_tile))

    def rounded(length: int) -> tuple[int, ...]:
        return tuple(max(1, -(-length // step)) * step for step in stride)

    return Tiling(tile=rounded(_TILES[ndim]), halo=rounded(_HALOS[ndim]), overlap=rounded(_OVERLAPS[ndim]))


def _overridden(card: Card, overrides: Sequence[str]) -> Card:
    raw = card.model_dump(mode="json", exclude_none=True)
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise CardError(f"--set {override}: expected key.path=value, such as normalization.kind=scene")
        *parents, last = key.split(".")
        node = raw
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise CardError(f"--set {override}: '{parent}' is a value in a card, not a section")
        try:
            node[last] = from_yaml(value)
        except ValueError as error:
            raise CardError(f"--set {override}: the value is not YAML: {error}") from error
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        raise CardError(f"the card with --set: {explained(error, Card)}") from error


def _doubts(found: Probed, asked: Asked, card: Card) -> list[str]:
    doubts = []
    if card.normalization == NoNormalization():
        doubts.append(
            "normalization: none, so the model gets values as they are. Was it fitted on others (0 to 1, mean 0)? "
            "Say so, with a number per channel: --set 'normalization={kind: fixed, clip: [[0, 255]], mean: [0], std: "
            "[255]}'"
        )
    if not asked.classes:
        doubts.append("classes: called by number. Name them in order: --classes background,burned")
    if not asked.channels:
        doubts.append(
            f"channels: called {', '.join(card.channels)}. Name them as your bands: --channels red,green,blue"
        )
    if asked.stride is None and found.only_tile is None and not found.is_measured:
        doubts.append(f"stride: {found.stride[0]} is a guess. Where you know it: --stride NUMBER")
    if card.kind == "volume":
        doubts.append("orientation and spacing_mm: the file's own. Was it fitted on others? Say so: docs/models.md")
    return doubts
