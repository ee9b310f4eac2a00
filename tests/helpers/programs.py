"""Networks as TorchScript and ONNX, with cards."""

from __future__ import annotations

import hashlib
import warnings

import torch

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling, Weights, write_card

TILES = {2: (64, 64), 3: (16, 32, 32)}


def small_card(ndim, **network) -> Card:
    return Card(
        name="native",
        title="Small",
        kind="raster" if ndim == 2 else "volume",
        network=Network(**({"name": "unet", "arguments": {"widths": [6, 8], "ndim": ndim}} | network)),
        channels=("a", "b", "c")[: 3 if ndim == 2 else 1],
        classes=tuple(ClassEntry(name=name, colour="#000000") for name in ("x", "y", "z")),
        normalization=NoNormalization(),
        tiling=Tiling(tile=TILES[ndim], halo=(4,) * ndim, overlap=(4,) * ndim),
        licence="Apache-2.0",
        origin="test",
        orientation=None if ndim == 2 else "SAR",
    )


def program_card(folder, name, kind, template, **changes) -> Card:
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    network = Network(name=kind, arguments={"stride": (2,) * len(template.tiling.tile)})
    update = {"name": kind, "network": network, "weights": Weights(file=name, sha256=digest)} | changes
    card = template.model_copy(update=update)
    write_card(card, (folder / name).with_suffix(".json"))
    return card


def exported(network, folder, ndim, tile=None, **options):
    example = torch.zeros((1, small_card(ndim).n_channels, *(tile or TILES[ndim])))
    axes = {"images": {k + 2: f"axis{k}" for k in range(ndim)}}
    with warnings.catch_warnings():
        # Both ways of exporting are deprecated and in use.
        warnings.simplefilter("ignore")
        torch.jit.trace(network, example).save(str(folder / "scripted.pt"))
        torch.onnx.export(
            network,
            (example,),
            folder / "graph.onnx",
            dynamo=False,
            input_names=["images"],
            **({"dynamic_axes": axes} | options),
        )
