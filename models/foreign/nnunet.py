"""Result folders of nnU-Net v2: plans, fingerprint normalisation and folds become one card and one file of weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.card import Card, ClassEntry, Network, Tiling
from models.errors import CardError
from models.foreign.colours import class_colour
from models.foreign.nnunet_plans import architecture, normalization, resampling
from models.parsed import from_json
from models.plain import MOST_TEXT_BYTES, read_plain
from models.validation import explained

NAME = "nnU-Net v2"
_CHECKPOINT = "checkpoint_final.pth"
# How the file's axes reach the network: SimpleITK and nibabel hand them over as they are, slowest first.
_READERS = {"SimpleITKIO": "kji", "NibabelIO": "kji", "NibabelIOWithReorient": "SAR"}


def is_folder(path: Path) -> bool:
    """Tell by names of files alone whether a folder is of this kind."""
    return (path / "plans.json").is_file() and (path / "dataset.json").is_file() and any(path.glob("fold_*"))


def files(path: Path) -> tuple[Path, ...]:
    """Return plans, dataset and the final checkpoint of every fold; of ``fold_all`` where there is no other.

    Raises:
        CardError: When there is no final checkpoint.
    """
    found = sorted(path.glob(f"fold_[0-9]*/{_CHECKPOINT}")) or sorted(path.glob(f"fold_all/{_CHECKPOINT}"))
    if not found:
        raise CardError(f"{path.name}: no fold holds {_CHECKPOINT}; finish the training, or rename the one to be used")
    return (path / "plans.json", path / "dataset.json", *found)


def write(path: Path, out: Path) -> None:
    """Write the card and the weights of all folds into the empty folder ``out``.

    Raises:
        CardError: When something of the model cannot be mapped; the text names it.
        WeightsError: When the weights are not those of the plans, or reading them would run code.
    """
    import torch

    from models.foreign.nnunet_checkpoint import fold_weights, read_checkpoints
    from models.weights.files import write_model

    plans_file, dataset_file, *checkpoints = files(path)
    plans, dataset = _read(plans_file), _read(dataset_file)
    folds = read_checkpoints(tuple(checkpoints))
    card = _card(plans, dataset, folds.configuration, folds.trainer)
    arguments = {**card.network.arguments, "folds": len(checkpoints), "mirror_axes": folds.mirror_axes}
    network = Network(name="nnunet", arguments=arguments)
    weights = fold_weights(folds, network, card.n_channels, card.n_classes)
    n_parameters = sum(value.numel() for value in weights.values() if value.is_floating_point())
    described = card.model_copy(update={"network": network, "parameters": n_parameters})
    write_model(out, described, weights, torch.float32)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = from_json(read_plain(path, MOST_TEXT_BYTES))
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CardError(f"{path}: not an object of JSON")
    return content


def _card(plans: Mapping[str, Any], dataset: Mapping[str, Any], name: str, trainer: str) -> Card:
    try:
        return _mapped(plans, dataset, name, trainer)
    except KeyError as error:
        raise CardError(
            f"plans.json or dataset.json of nnU-Net does not say {error}; they are not of version 2"
        ) from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        why = explained(error, Card) if isinstance(error, ValidationError) else error
        raise CardError(f"plans.json and dataset.json of nnU-Net make no card: {why}") from error


def _mapped(plans: Mapping[str, Any], dataset: Mapping[str, Any], name: str, trainer: str) -> Card:
    configuration = configuration_of(plans, name)
    forward = tuple(plans["transpose_forward"])
    patch = tuple(configuration["patch_size"])
    # A network of two axes runs over slices: tiles of one slice, at the volume's own distance of slices.
    slices = (1,) * (3 - len(patch))
    spacing = (*((None,) * len(slices)), *configuration["spacing"])
    title = f"{plans['dataset_name']}, {name} of nnU-Net v2"
    tile = (*slices, *patch)
    halves = tuple(length // 2 for length in tile)
    return Card(
        name=re.sub(r"[^a-z0-9._-]", "-", f"{plans['dataset_name']}-{name}".lower()).lstrip("._-"),
        title=title,
        kind="volume",
        network=Network(name="nnunet", arguments=architecture(configuration, trainer)),
        channels=_channels(dataset),
        classes=_classes(dataset),
        normalization=normalization(plans, configuration),
        tiling=Tiling(tile=tile, halo=(0, 0, 0), overlap=halves, placement="even", blend="logits"),
        licence=str(dataset.get("licence") or dataset.get("license") or "not stated in dataset.json"),
        origin=f"{title}; fitted by {trainer}",
        orientation=_orientation(str(plans["image_reader_writer"]), forward),
        spacing_mm=spacing,
        resampling=resampling(plans, configuration),
    )


def configuration_of(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration of the plans with what it inherits.

    Raises:
        CardError: When there is no such configuration, or it is a stage of a cascade.
    """
    known = plans["configurations"]
    if name not in known:
        raise CardError(f"plans.json has no configuration {name!r}; it has {', '.join(known)}")
    found = dict(known[name])
    if "inherits_from" in found:
        found = configuration_of(plans, found["inherits_from"]) | found
    if found.get("previous_stage"):
        raise CardError(
            f"configuration {name!r} is the second stage of a cascade ({found['previous_stage']!r} comes before it); "
            "cascades are not run, name the folder of 3d_fullres or of 3d_lowres"
        )
    if found.get("preprocessor_name", "DefaultPreprocessor") != "DefaultPreprocessor":
        raise CardError(f"configuration {name!r}: preprocessor {found['preprocessor_name']!r} is not known here")
    return found


def _orientation(reader: str, forward: tuple[int, ...]) -> str:
    if reader not in _READERS:
        raise CardError(
            f"images were read by {reader!r}; known here: {', '.join(_READERS)}. Others read pictures of two axes or "
            "turn volumes in ways of their own"
        )
    return "".join(_READERS[reader][axis] for axis in forward)


def _channels(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    names: Mapping[str, str] = dataset["channel_names"] if "channel_names" in dataset else dataset["modality"]
    return tuple(str(names[key]) for key in sorted(names, key=int))


def _classes(dataset: Mapping[str, Any]) -> tuple[ClassEntry, ...]:
    values: dict[int, str] = {}
    for name, value in dataset["labels"].items():
        if isinstance(value, list) and len(value) > 1:
            raise CardError(
                f"label {name!r} is a region of {value}: models of overlapping regions answer by region, not by class, "
                "and are not run; fit one with a label per class"
            )
        # No score is given for what was to be ignored.
        if name != "ignore":
            values[int(value[0] if isinstance(value, list) else value)] = name
    if sorted(values) != list(range(len(values))):
        raise CardError(f"labels {sorted(values)} of dataset.json are not 0, 1, 2 and so on; number them so")
    return tuple(ClassEntry(name=values[number], colour=class_colour(number)) for number in sorted(values))
