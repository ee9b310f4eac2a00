from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save, save_file

from models.card import (
    Card,
    ClassEntry,
    Network,
    NoNormalization,
    Tiling,
    load_card,
    write_card,
)
from models.device import choose_device, keep_memory, lower_bound, supported_dtypes
from models.errors import CardError, DeviceError, UnknownModelError, WeightsError
from models.networks.builders import build_network
from models.predictor import PredictorSpec
from models.predictors.loading import load_predictor
from models.predictors.networks import TorchPredictor
from models.registry import resolve_model
from models.run_settings import RunSettings
from models.weights.files import parse_weights, read_weights, write_model

torch.set_num_threads(1)
CPU_DTYPES = supported_dtypes(torch.device("cpu"))


def small_card(kind="raster", name="small", **arguments):
    axes = 3 if arguments.get("ndim") == 3 or kind == "volume" else 2
    return Card(
        name=name,
        title="Small",
        kind=kind,
        network=Network(name="unet", arguments={"widths": [4, 8], **arguments}),
        channels=("a", "b"),
        classes=(ClassEntry(name="background", colour="#000000"), ClassEntry(name="thing", colour="#ffffff")),
        normalization=NoNormalization(),
        tiling=Tiling(tile=(16,) * axes, halo=(0,) * axes, overlap=(0,) * axes),
        licence="Apache-2.0",
        origin="test",
        orientation="SPL" if kind == "volume" else None,
    )


def random_state(card, seed=0):
    torch.manual_seed(seed)
    network = build_network(card.network, card.n_channels, card.n_classes)
    return {k: v + 0.1 * torch.rand_like(v) if v.is_floating_point() else v for k, v in network.state_dict().items()}


@pytest.fixture
def written(tmp_path):
    card = write_model(tmp_path, small_card(), random_state(small_card()))
    return card, tmp_path


def test_reading_cards_does_not_import_torch():
    program = (
        "import sys, models.card, models.predictors.fakes, models.predictor, models.registry, models.normalization\n"
        "models.registry.zoo_cards()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_written_model_is_read_back_as_it_was_in_float16(written):
    card, folder = written
    network = build_network(card.network, 2, 2)
    read = read_weights(folder / card.weights.file, card.weights.sha256, network)
    for name, value in random_state(card).items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(read[name], expected)
    assert load_card(folder / "small.json") == card
    assert sorted(path.name for path in folder.iterdir()) == ["small.json", "small.safetensors"]


def loaded(card, folder):
    return load_predictor(card, folder, RunSettings(tile=card.tiling.tile, device="cpu"))


def test_weights_of_another_hash_are_refused(written):
    card, folder = written
    other = card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(WeightsError, match=r"small\.safetensors: SHA-256"):
        loaded(other, folder)
    with pytest.raises(WeightsError, match="the job asks for SHA-256"):
        resolve_model(str(folder / "small.json"), "0" * 64)
    assert resolve_model(str(folder / "small.safetensors"), card.weights.sha256) == (card, folder)


def rehashed(card, folder):
    import hashlib

    digest = hashlib.sha256((folder / card.weights.file).read_bytes()).hexdigest()
    return card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": digest})})


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_truncated_weights_are_refused_even_with_their_own_hash(written, length):
    card, folder = written
    path = folder / card.weights.file
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(WeightsError, match="SHA-256"):
        loaded(card, folder)
    with pytest.raises(WeightsError, match="damaged"):
        loaded(rehashed(card, folder), folder)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: {("x" + k if k == "head.bias" else k): v for k, v in t.items()}, "missing.*head.bias.*xhead.bias"),
        (lambda t: {**t, "head.bias": torch.zeros(3)}, "head.bias has shape"),
        (lambda t: {**t, "head.bias": torch.zeros(2, dtype=torch.int64)}, "head.bias is torch.int64"),
        (lambda t: {**t, "head.bias": torch.full((2,), torch.nan)}, "head.bias holds NaN"),
    ],
)
def test_tensors_of_another_name_shape_or_kind_are_refused(written, change, text):
    card, folder = written
    path = folder / card.weights.file
    save_file(change(load_file(path)), path)
    with pytest.raises(WeightsError, match=text):
        loaded(rehashed(card, folder), folder)


def test_weights_whose_header_is_as_long_as_a_pickle_begins_are_read():
    saved = (save({"w" * length: torch.ones(2)}) for length in range(1, 400))
    content = next(content for content in saved if content.startswith(b"\x80"))
    assert [value.tolist() for value in parse_weights(Path("a.safetensors"), content).values()] == [[1, 1]]


def test_a_pickle_under_another_name_is_refused_and_not_run(written):
    card, folder = written
    path = folder / card.weights.file
    for content in (pickle.dumps({"a": 1}), None):
        if content is None:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", "x")
        else:
            path.write_bytes(content)
        with pytest.raises(WeightsError, match="pickle"):
            loaded(rehashed(card, folder), folder)


def test_weights_that_are_not_there_are_named(written):
    card, folder = written
    (folder / card.weights.file).unlink()
    with pytest.raises(WeightsError, match=r"small\.safetensors: the weights cannot be read"):
        loaded(card, folder)


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(
        UnknownModelError, match=r"did you mean fire-unet\? known: .*fire-deeplabv3plus, fire-unet, .*sarcoma-t1-unet"
    ):
        resolve_model("fire-unnet")


def test_a_card_of_a_fake_needs_no_weights(tmp_path):
    card = small_card().model_copy(update={"network": Network(name="identity", arguments={"n_classes": 2})})
    write_card(card, tmp_path / "fake.json")
    found, folder = resolve_model(str(tmp_path / "fake.json"))
    assert (found, folder) == (card, None)
    batch = np.array([[[[0, 1], [1, 0]]]], np.float32)
    scores = load_predictor(found, folder, RunSettings(tile=(2, 2))).predict(batch)
    assert np.array_equal(scores.argmax(1), batch[:, 0])


def test_a_card_without_weights_or_with_wrong_arguments_is_an_error_of_the_card(tmp_path):
    with pytest.raises(CardError, match="names no weights"):
        load_predictor(small_card(), tmp_path, RunSettings(tile=(16, 16)))
    fake = small_card().model_copy(update={"network": Network(name="threshold", arguments={"limit": 2})})
    with pytest.raises(CardError, match="limit"):
        load_predictor(fake, None, RunSettings(tile=(16, 16)))


@pytest.mark.parametrize("dtype", CPU_DTYPES)
@pytest.mark.parametrize("arguments", [{}, {"ndim": 3, "strides": [[1, 2, 2]]}], ids=["2-D", "3-D"])
def test_scores_of_a_tile_do_not_depend_on_its_batch(tmp_path, dtype, arguments):
    card = small_card("volume" if arguments else "raster", **arguments)
    card = write_model(tmp_path, card, random_state(card))
    tile = (4, 24, 16)[-len(card.tiling.tile) :]
    batch = np.random.default_rng(1).normal(size=(4, 2, *tile)).astype(np.float32)
    alone = load_predictor(card, tmp_path, RunSettings(tile=tile, batch=1, device="cpu", dtype=dtype))
    together = load_predictor(card, tmp_path, RunSettings(tile=tile, batch=4, device="cpu", dtype=dtype))
    expected = np.concatenate([alone.predict(batch[i : i + 1]).numpy().copy() for i in range(4)])
    assert expected.dtype == np.float32
    assert np.array_equal(together.predict(batch).numpy(), expected)
    assert np.array_equal(together.predict(batch[::-1]).numpy(), expected[::-1])
    others = batch.copy()
    others[:3] = 7
    assert np.array_equal(together.predict(others).numpy()[3], expected[3])


def test_group_norms_of_large_tiles_are_those_of_exact_sums():
    # Where channels come last torch sums them one after the other: 0.02 off here.
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 1), torch.nn.GroupNorm(2, 8)).eval()
    image = torch.randn(1, 1, 512, 512) * 0.5
    image[..., :256] = 0.7
    spec = PredictorSpec(n_channels=1, n_classes=8, stride=(1, 1), margin=(0, 0), receptive_field=(1, 1))
    found = TorchPredictor(network, spec, RunSettings(tile=(512, 512), activation="logits")).predict(image.numpy())
    with torch.inference_mode():
        exact = network.double()(image.double())
    assert float((found - exact).abs().max()) < 1e-5


def test_a_predictor_gives_the_networks_own_softmax(written):
    card, folder = written
    network = build_network(card.network, 2, 2).eval()
    network.load_state_dict(read_weights(folder / card.weights.file, card.weights.sha256, network))
    batch = np.random.default_rng(2).normal(size=(2, 2, 16, 24)).astype(np.float32)
    with torch.inference_mode():
        logits = network(torch.from_numpy(batch))
    for activation, expected in (("softmax", logits.softmax(1)), ("logits", logits)):
        settings = RunSettings(tile=(16, 24), batch=2, device="cpu", activation=activation)
        torch.testing.assert_close(
            load_predictor(card, folder, settings).predict(batch), expected, atol=1e-4, rtol=1e-4
        )


def test_a_network_of_two_axes_runs_over_slices(tmp_path):
    flat, deep = small_card(), small_card("volume", ndim=2)
    state = random_state(flat)
    flat, deep = write_model(tmp_path / "flat", flat, state), write_model(tmp_path / "deep", deep, state)
    batch = np.random.default_rng(3).normal(size=(2, 2, 16, 24)).astype(np.float32)
    slices = load_predictor(deep, tmp_path / "deep", RunSettings(tile=(1, 16, 24), batch=2, device="cpu"))
    expected = load_predictor(flat, tmp_path / "flat", RunSettings(tile=(16, 24), batch=2, device="cpu")).predict(batch)
    assert torch.equal(slices.predict(batch[:, :, None]), expected[:, :, None])
    assert slices.spec.stride == (1, 2, 2)
    with pytest.raises(CardError, match="first length 1"):
        load_predictor(deep, tmp_path / "deep", RunSettings(tile=(2, 16, 24), batch=2, device="cpu"))


def test_a_tile_that_is_no_multiple_of_the_stride_is_refused(written):
    with pytest.raises(CardError, match="multiples of"):
        load_predictor(*written, RunSettings(tile=(15, 16), device="cpu"))


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match="tpu"):
        choose_device("tpu")


def test_a_dtype_that_the_device_does_not_compute_in_is_named(written):
    with pytest.raises(DeviceError, match=r"float16.*float32"):
        load_predictor(*written, RunSettings(tile=(16, 16), device="cpu", dtype="float16"))


def test_a_batch_that_cannot_fit_is_refused_before_it_is_tried(written):
    predictor = load_predictor(*written, RunSettings(tile=(16, 16), device="cpu"))
    assert predictor.probe() > 0
    huge = load_predictor(*written, RunSettings(tile=(2**20, 2**20), device="cpu"))
    with pytest.raises(DeviceError, match="does not fit"):
        huge.probe()


def test_the_lower_bound_of_memory_grows_with_the_pixels():
    network = build_network(small_card().network, 2, 2)
    small, large = (lower_bound(network, (1, 2, n, n), torch.float32) for n in (32, 64))
    assert large == 4 * small


def test_the_allocator_can_be_told_to_keep_memory_more_than_once():
    assert keep_memory() == keep_memory()


def test_what_float16_cannot_hold_is_kept_in_float32_and_nan_is_refused(tmp_path):
    card = small_card()
    network = build_network(card.network, card.n_inputs, card.n_classes)
    state = network.state_dict()
    name = next(key for key in state if key.endswith("running_var"))
    state[name] = torch.full_like(state[name], 1e6)
    written = write_model(tmp_path, card, state)
    read = read_weights(tmp_path / written.weights.file, written.weights.sha256, network)
    assert torch.equal(read[name], state[name])
    state[name] = torch.full_like(state[name], float("nan"))
    with pytest.raises(WeightsError, match="NaN or infinity"):
        write_model(tmp_path, card, state)
