"""A card that is written for a program says what the program does: it is run, and compared with what is known of it."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from models.card import load_card, write_card
from models.drafting import Asked, draft_card
from models.errors import CardError, WeightsError
from models.registry import verify_model

torch.set_num_threads(1)


class Down(nn.Module):
    """Goes down ``depth`` times by two and back up, beside a connection that asks for equal lengths."""

    def __init__(self, depth: int, n_channels: int = 3, n_outputs: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_channels, 4, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, stride=2) for _ in range(depth))
        self.up = nn.ModuleList(nn.ConvTranspose2d(4, 4, 2, stride=2) for _ in range(depth))
        self.last = nn.Conv2d(8, n_outputs, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = deep = self.first(images)
        for layer in self.down:
            deep = torch.relu(layer(deep))
        for layer in self.up:
            deep = torch.relu(layer(deep))
        return self.last(torch.cat([first, deep], 1))


def saved(network, folder, kind="onnx", n_channels=3, dynamic=True):
    path = folder / {"onnx": "My Net.onnx", "torchscript": "My Net.pt"}[kind]
    example = torch.zeros(1, n_channels, 64, 64)
    options = {"dynamic_axes": {"images": {2: "rows", 3: "cols"}}} if dynamic else {}
    with warnings.catch_warnings():
        # Both ways of exporting are deprecated and in use.
        warnings.simplefilter("ignore")
        if kind == "onnx":
            torch.onnx.export(network.eval(), (example,), path, dynamo=False, input_names=["images"], **options)
        else:
            torch.jit.trace(network.eval(), example).save(str(path))
    return path


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_stride_is_that_of_the_network(tmp_path, kind, depth):
    torch.manual_seed(depth)
    path = saved(Down(depth), tmp_path, kind)
    card, doubts = draft_card(path, Asked(classes=("background", "roof"), channels=("red", "green", "blue")))
    assert card.network.arguments == {"stride": [2**depth] * 2}
    assert (card.network.name, card.network.output, card.kind) == (kind, "logits", "raster")
    assert all(side % 2**depth == 0 for side in (*card.tiling.tile, *card.tiling.halo, *card.tiling.overlap))
    assert [doubt.split(":")[0] for doubt in doubts] == ["normalization"]
    write_card(card, path.with_suffix(".json"))
    verify_model(load_card(path.with_suffix(".json")), tmp_path)


@pytest.mark.parametrize(
    ("last", "output", "n_classes"),
    [(nn.Identity(), "logits", 3), (nn.Softmax(1), "probabilities", 3), (nn.Conv2d(3, 1, 1), "logit", 2)],
    ids=["logits", "softmax", "one"],
)
def test_what_the_numbers_are_is_seen(tmp_path, last, output, n_classes):
    torch.manual_seed(0)
    card, doubts = draft_card(saved(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), last), tmp_path), Asked())
    assert (card.network.output, card.n_classes) == (output, n_classes)
    assert {doubt.split(":")[0] for doubt in doubts} == {"normalization", "classes", "channels"}


def test_a_sigmoid_of_one_number_is_refused(tmp_path):
    path = saved(nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Sigmoid()), tmp_path)
    with pytest.raises(CardError, match="without its last sigmoid"):
        draft_card(path, Asked())


def test_pixels_that_are_lost_are_the_margin(tmp_path):
    card, _ = draft_card(saved(nn.Sequential(nn.Conv2d(3, 4, 5), nn.Conv2d(4, 2, 3)), tmp_path), Asked())
    assert card.network.arguments == {"stride": [1, 1], "margin": [3, 3]}


def test_a_graph_of_one_length_takes_tiles_of_it(tmp_path):
    card, _ = draft_card(saved(Down(1), tmp_path, dynamic=False), Asked())
    assert card.tiling.tile == (64, 64)
    assert card.network.arguments == {"stride": [32, 32]}
    verify_model(card, tmp_path)


def test_what_is_asked_goes_before_what_is_found_and_is_held_against_it(tmp_path):
    path = saved(Down(1), tmp_path)
    card, _ = draft_card(path, Asked(stride=8, overrides=("licence=MIT", "tiling.halo=[16, 16]")))
    assert (card.network.arguments["stride"], card.licence, card.tiling.halo) == ([8, 8], "MIT", (16, 16))
    with pytest.raises(CardError, match="3 classes are named, and the program has 2"):
        draft_card(path, Asked(classes=("a", "b", "c")))
    with pytest.raises(CardError, match="licence"):
        draft_card(path, Asked(overrides=("licence=[1]",)))


@pytest.mark.parametrize("name", ["model.onnx", "model.pt"])
def test_what_is_no_program_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match=f"{name}: not a"):
        draft_card(tmp_path / name, Asked())
