"""TorchScript programs as predictors."""

from __future__ import annotations

import io
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from models.card import Card
from models.device import keep_memory
from models.errors import CardError, WeightsError
from models.networks.geometry import Geometry
from models.predictors.networks import TorchPredictor, spec_of
from models.predictors.program import program_geometry, read_program, require_output
from models.run_settings import RunSettings
from models.weights.state_dict import refuse_unpacking


class _Program(nn.Module):
    """A module round a program, which takes no hooks itself."""

    def __init__(self, program: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.program = program

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.program(images)
        return scores


def load(card: Card, path: Path, settings: RunSettings) -> TorchPredictor:
    """Make a TorchScript program ready.

    Args:
        card: ``network.arguments`` are ``ProgramArguments``.
        path: The file that ``torch.jit.save`` wrote, of the card's hash.
        settings: How to run it; in float32, as constants of a program do not change their type with its weights.

    Raises:
        CardError: When the card says something else than the program does, or another dtype is asked for.
        WeightsError: When the file is not there, not the card's, or no TorchScript.
        DeviceError: When the device is not there.
    """
    if settings.dtype != "float32":
        raise CardError(f"{card.name}: a TorchScript program runs in float32; set run.dtype to auto or float32")
    geometry = program_geometry(card)
    keep_memory()
    torch.set_num_threads(settings.threads)
    _never_fuse()
    network = _Program(parse_program(path.name, read_program(card, path)))
    geometry = replace(geometry, only_tile=_try_out(card, network, geometry))
    return TorchPredictor(
        network, spec_of(card, geometry), settings=settings, output=card.network.output, ndim=len(geometry.stride)
    )


def _never_fuse() -> None:
    """Keep torch from fusing what it has seen often enough: the same tile would get other bits than at first."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.set_fusion_strategy` is deprecated", DeprecationWarning)
        torch.jit.set_fusion_strategy([("STATIC", 0), ("DYNAMIC", 0)])


def parse_program(name: str, content: bytes) -> torch.jit.ScriptModule:
    """Read a program onto the CPU.

    Args:
        name: Of the file, for errors.
        content: Its bytes.

    Raises:
        WeightsError: When it is no TorchScript.
    """
    with warnings.catch_warnings():
        # Torch wants people to export anew; these files are there already.
        warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", FutureWarning)
        try:
            refuse_unpacking(io.BytesIO(content))
            loaded = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError, zipfile.BadZipFile) as error:
            raise WeightsError(f"{name}: not a TorchScript program: {str(error).splitlines()[0]}") from error
    program: torch.jit.ScriptModule = loaded.eval()
    # Or its copies would be no leaves, which torch warns of.
    for parameter in program.parameters():
        parameter.requires_grad_(False)
    return program


def _try_out(card: Card, network: nn.Module, geometry: Geometry) -> tuple[int, ...] | None:
    """Return the one tile that the program takes, None where it takes others too."""
    example, longer = (
        tuple(n * (s + m + -m % s) for s, m in zip(geometry.stride, geometry.margin, strict=True)) for n in (2, 3)
    )
    try:
        scores = _scores(card, network, example)
    except RuntimeError as error:
        raise CardError(
            f"{card.name}: the program does not take {card.n_inputs} channels of {example}: "
            f"{str(error).strip().splitlines()[-1]}. Mend channels or network.arguments in the card"
        ) from error
    if not isinstance(scores, Tensor):
        raise CardError(f"{card.name}: the program gives a {type(scores).__name__}; export one that gives a tensor")
    require_output(card, example, tuple(scores.shape), geometry.margin)
    try:
        _scores(card, network, longer)
    except RuntimeError:
        # Traced on one image, with its lengths among the constants.
        return example
    return None


def _scores(card: Card, network: nn.Module, lengths: tuple[int, ...]) -> object:
    with torch.inference_mode():
        return network(torch.zeros((1, card.n_inputs, *lengths)))
