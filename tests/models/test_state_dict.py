"""Weights that torch.save wrote: read as the network's own, and never by running what a pickle holds."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import pickle
import textwrap
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling, Weights, write_card
from models.errors import CardError, WeightsError
from models.networks.builders import build_network
from models.predictors.loading import load_predictor
from models.registry import resolve_model
from models.run_settings import RunSettings
from models.weights.files import read_weights
from models.weights.state_dict import unpickle_state_dict

torch.set_num_threads(1)
NETWORK = Network(name="unet", arguments={"widths": [2, 3]})


class Trap:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def state_dict():
    torch.manual_seed(0)
    return build_network(NETWORK, 1, 2).state_dict()


def card_beside(path, network=NETWORK, channels=("a",)):
    card = Card(
        name="theirs",
        title="Theirs",
        kind="raster",
        network=network,
        channels=channels,
        classes=tuple(ClassEntry(name=name, colour="#000000") for name in ("x", "y")),
        normalization=NoNormalization(),
        tiling=Tiling(tile=(32, 32), halo=(0, 0), overlap=(0, 0)),
        licence="CC0-1.0",
        origin="test",
        weights=Weights(file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()),
    )
    write_card(card, path.with_suffix(".json"))


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "ckpt"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 7},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    ],
)
def test_a_state_dict_is_read_whatever_a_training_program_put_round_it(tmp_path, suffix, wrap):
    path = tmp_path / f"theirs.{suffix}"
    torch.save(wrap(state_dict()), path)
    card_beside(path)
    card, folder = resolve_model(str(path))
    predictor = load_predictor(card, folder, RunSettings(tile=(32, 32), device="cpu"))
    own = build_network(NETWORK, 1, 2).eval()
    own.load_state_dict(state_dict())
    image = torch.rand((1, 1, 32, 32))
    with torch.inference_mode():
        torch.testing.assert_close(predictor.predict(image.numpy()), own(image).softmax(1))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_is_before_all_names_is_taken_off_in_every_format(tmp_path, suffix, prefix):
    state = {f"{prefix}{key}": value for key, value in state_dict().items()}
    path = tmp_path / f"theirs.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(state, path)
    read = read_weights(path, hashlib.sha256(path.read_bytes()).hexdigest(), build_network(NETWORK, 1, 2))
    assert all(torch.equal(read[key], value) for key, value in state_dict().items())


@pytest.mark.parametrize("saved", ["module.", "module.module."])
def test_a_name_of_the_networks_own_stays(tmp_path, saved):
    network = torch.nn.Sequential()
    network.add_module("module", torch.nn.Linear(2, 1))
    path = tmp_path / "theirs.safetensors"
    save_file({f"{saved}{key}": value for key, value in network.module.state_dict().items()}, path)
    read = read_weights(path, hashlib.sha256(path.read_bytes()).hexdigest(), network)
    assert read.keys() == {"module.weight", "module.bias"}


def smp_unet():
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet18", encoder_weights=None, decoder_channels=(16, 8, 8, 4, 4), in_channels=4, classes=1)


def torchvision_fcn():
    from torchvision.models.segmentation import fcn_resnet50

    # With the head that is for training alone, as published weights have it.
    return fcn_resnet50(weights=None, weights_backbone=None, num_classes=2, aux_loss=True)


@pytest.mark.parametrize(
    ("make", "network", "n_channels"),
    [
        (
            smp_unet,
            Network(
                name="smp:Unet",
                arguments={"encoder_name": "resnet18", "decoder_channels": [16, 8, 8, 4, 4]},
                output="logit",
            ),
            4,
        ),
        (torchvision_fcn, Network(name="fcn-resnet50"), 3),
    ],
)
def test_weights_of_a_library_give_what_they_give_in_the_library(tmp_path, make, network, n_channels):
    torch.manual_seed(0)
    theirs = make().eval()
    path = tmp_path / "theirs.pth"
    torch.save(theirs.state_dict(), path)
    card_beside(path, network, tuple("abcd"[:n_channels]))
    card, folder = resolve_model(str(path))
    image = torch.rand((1, n_channels, 64, 64))
    with torch.inference_mode():
        raw = theirs(image)
        expected = raw["out"].softmax(1) if isinstance(raw, dict) else torch.cat([1 - raw.sigmoid(), raw.sigmoid()], 1)
    found = load_predictor(card, folder, RunSettings(tile=(64, 64), device="cpu")).predict(image.numpy())
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def run_conversion(told: str, folder: Path) -> None:
    """Run the script that a refusal holds, in the folder of the file."""
    script = told.partition("convert it with\n")[2].partition("\n\nand let")[0].replace("'theirs", f"'{folder}/theirs")
    exec(compile(textwrap.dedent(script.strip("\n")), "script", "exec"), {})


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_with_the_conversion_and_not_run(tmp_path, zipped):
    path, left = tmp_path / "theirs.pth", tmp_path / "left-behind"
    content = {"state_dict": state_dict(), "extra": Trap(left)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    card_beside(path)
    card, folder = resolve_model(str(path))
    with pytest.raises(
        WeightsError, match=r"(?s)theirs.pth: .*would run code \(it asks for posix.mkdir.*save_file\("
    ) as told:
        load_predictor(card, folder, RunSettings(tile=(32, 32), device="cpu"))
    assert "weights.file and weights.sha256 of its card, where it has one, name theirs.safetensors" in str(told.value)
    assert not left.exists()
    # The trap is one, and the script in the message is the conversion that it says.
    run_conversion(str(told.value), tmp_path)
    assert left.exists()
    (tmp_path / "theirs.json").unlink()
    card_beside(tmp_path / "theirs.safetensors")
    load_predictor(*resolve_model(str(tmp_path / "theirs.safetensors")), RunSettings(tile=(32, 32), device="cpu"))


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model", "network"])
@pytest.mark.parametrize("whole", [True, False])
def test_the_conversion_finds_the_weights_wherever_they_would_be_read(tmp_path, wrapper, whole):
    network = build_network(NETWORK, 1, 2)
    network.load_state_dict(state_dict())
    inner = network if whole else state_dict() | {"epoch": 3} | ({} if wrapper else {"args": argparse.Namespace()})
    path = tmp_path / "theirs.pth"
    torch.save({wrapper: inner, "epoch": 3, "args": argparse.Namespace()} if wrapper else inner, path)
    with pytest.raises(WeightsError) as told:
        unpickle_state_dict(path.name, path.read_bytes())
    run_conversion(str(told.value), tmp_path)
    converted = tmp_path / "theirs.safetensors"
    read = read_weights(converted, hashlib.sha256(converted.read_bytes()).hexdigest(), network)
    assert all(torch.equal(read[key], value) for key, value in state_dict().items())


def test_the_conversion_takes_weights_that_share_their_memory_or_lie_across_it(tmp_path):
    tied = torch.rand(3, 2)
    weights = {"encoder": tied, "decoder": tied, "turned": tied.T}
    path = tmp_path / "theirs.pth"
    torch.save({"model": weights, "args": argparse.Namespace()}, path)
    with pytest.raises(WeightsError) as told:
        unpickle_state_dict(path.name, path.read_bytes())
    run_conversion(str(told.value), tmp_path)
    converted = load_file(tmp_path / "theirs.safetensors")
    assert all(torch.equal(converted[key], value) for key, value in weights.items())


def test_a_pickle_that_is_no_file_of_torch_is_not_run(tmp_path):
    left = tmp_path / "left-behind"
    with pytest.raises(WeightsError):
        unpickle_state_dict("theirs.bin", pickle.dumps(Trap(left)))
    assert not left.exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([torch.zeros(1)], "holds a list, no state dict"),
        ({"a": torch.zeros(1), "lr": 0.1}, "'lr': 'float'"),
        ({}, "no state dict"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, content, text):
    torch.save(content, tmp_path / "theirs.pt")
    with pytest.raises(WeightsError, match=text):
        unpickle_state_dict("theirs.pt", (tmp_path / "theirs.pt").read_bytes())


def test_damaged_files_and_programs_are_named(tmp_path):
    path = tmp_path / "theirs.pt"
    torch.save(state_dict(), path)
    for content in (b"", b"nothing", path.read_bytes()[:200]):
        with pytest.raises(WeightsError, match=r"theirs\.pt: "):
            unpickle_state_dict("theirs.pt", content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.ReLU()).save(str(path))
    with pytest.raises(WeightsError, match=r"TorchScript program.*network\.name: torchscript"):
        unpickle_state_dict("theirs.pt", path.read_bytes())


@given(
    st.booleans(),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0.2, 1),
)
@settings(max_examples=150)
def test_of_a_damaged_file_weights_or_its_name_come_back(zipped, changes, share):
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3), "b": torch.ones(2, 2)}, buffer, _use_new_zipfile_serialization=zipped)
    content = bytearray(buffer.getvalue())
    content = content[: int(len(content) * share)]
    for place, value in changes:
        content[int(place * len(content))] = value
    with warnings.catch_warnings():
        # What torch warns of on the way is not what is tested.
        warnings.simplefilter("ignore")
        try:
            found = unpickle_state_dict("theirs.pt", bytes(content))
        except WeightsError:
            return
    assert all(isinstance(value, torch.Tensor) for value in found.values())


def test_a_broken_directory_of_the_archive_is_named():
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer)
    with pytest.raises(WeightsError, match=r"theirs\.pt: damaged"):
        unpickle_state_dict("theirs.pt", buffer.getvalue().replace(b"PK\x01\x02", b"PK\x01\x00", 1))


def test_weights_without_a_card_are_told_to_get_one(tmp_path):
    torch.save(state_dict(), tmp_path / "theirs.pth")
    with pytest.raises(CardError, match=r"no card theirs\.json beside it"):
        resolve_model(str(tmp_path / "theirs.pth"))
    with pytest.raises(WeightsError, match=r"theirs\.pkl: pickles can run code"):
        resolve_model(str(tmp_path / "theirs.pkl"))
