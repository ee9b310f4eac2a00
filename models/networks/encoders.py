"""The encoders that networks of segmentation-models-pytorch stand on, by their names there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TypeAlias

import segmentation_models_pytorch as smp
from pydantic import AfterValidator
from torch import nn

from models.catalogue import nearest
from models.errors import CardError


def _known(name: str) -> str:
    known = smp.encoders.get_encoder_names()
    if name not in known and not name.startswith("tu-"):
        raise ValueError(f"encoder {name!r} is not known{nearest(name, known)}; or tu-NAME of timm")
    return name


# A name of segmentation-models-pytorch, or ``tu-`` and a name of timm; built with random weights.
Encoder: TypeAlias = Annotated[str, AfterValidator(_known)]


@contextmanager
def building(encoder: str) -> Iterator[None]:
    """Say of an encoder that cannot be built as asked, dilated for instance, that the card is to be mended.

    Raises:
        CardError: When the library refuses.
    """
    try:
        yield
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise CardError(f"encoder {encoder!r} cannot be built as the card asks: {error}") from error


def drop_uncalled(network: nn.Module, encoder: str, depth: int) -> None:
    """Take out the stages of a ResNet behind ``depth``: built all the same, never called, they weigh down the file."""
    if encoder.startswith("resnet"):
        for stage in range(depth, 5):
            network.set_submodule(f"encoder.layer{stage}", nn.Identity())
