"""``python -P benchmarks/bare.py POST DNBR CARD OUT``: burned area by the shortest program that gives the mask.

What anybody would write who knows this one scene and this one network: torch, numpy, rasterio and safetensors, no
check, no tiles, no confidence, no numbers. ``benchmarks.small`` compares a whole command of swathe with it.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import rasterio
import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def block(n_in: int, n_out: int) -> nn.Sequential:
    """Return two convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for n in (n_in, n_out):
        layers += [nn.Conv2d(n, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Unet(nn.Module):
    """The U-Net of the cards that ship, with the names that its weights have."""

    def __init__(self, n_channels: int, n_classes: int, widths: list[int]) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(block(a, b) for a, b in zip([n_channels, *widths], widths, strict=False))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for here, below in pairs)
        self.up = nn.ModuleList(block(2 * width, width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], n_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(1, n_channels, rows, cols)`` to logits ``(1, n_classes, rows, cols)``."""
        features = self.down[0](image)
        skips = []
        for down in self.down[1:]:
            skips.append(features)
            features = down(nn.functional.max_pool2d(features, 2))
        for rise, up, skip in zip(reversed(self.rise), reversed(self.up), reversed(skips), strict=True):
            features = up(torch.cat([rise(features), skip], dim=1))
        logits: Tensor = self.head(features)
        return logits


def main(post: str, dnbr: str, card: str, out: str) -> None:
    """Write the mask of a scene: class numbers, ``(rows, cols)`` of uint8, on the grid of ``post``."""
    told = json.loads(Path(card).read_text())
    with rasterio.open(post) as raster:
        bands, profile = raster.read().astype(np.float32), raster.profile
    with rasterio.open(dnbr) as raster:
        image = np.concatenate([bands[:3], bands[3:5] * 1e-4, raster.read().astype(np.float32) * raster.scales[0]])

    numbers = {name: np.array(told["normalization"][name], np.float32) for name in ("clip", "mean", "std")}
    low, high = numbers["clip"].T[..., None, None]
    image = (np.clip(image, low, high) - numbers["mean"][:, None, None]) / numbers["std"][:, None, None]
    stride = 2 ** (len(told["network"]["arguments"]["widths"]) - 1)
    rows, cols = image.shape[1:]
    padded = np.pad(image, [(0, 0), (0, -rows % stride), (0, -cols % stride)], mode="reflect")

    network = Unet(len(told["channels"]), len(told["classes"]), told["network"]["arguments"]["widths"]).eval()
    # Numbers of half precision are widened as they are copied.
    network.load_state_dict(load_file(Path(card).parent / told["weights"]["file"]))
    with torch.inference_mode():
        mask = network(torch.from_numpy(padded)[None])[0].argmax(0)[:rows, :cols].numpy().astype(np.uint8)
    profile.update(driver="GTiff", count=1, dtype="uint8", nodata=255)
    with rasterio.open(out, "w", **profile) as raster:
        raster.write(mask, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
