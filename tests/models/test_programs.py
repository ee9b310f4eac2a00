"""TorchScript and ONNX programs, and state dicts of other programs, give what the network itself gives."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from arrays import array_scene, make_work, read_mask
from programs import TILES, exported, program_card, small_card

from models.card import ClassEntry, Network
from models.errors import CardError, DeviceError, WeightsError
from models.networks.builders import build_network
from models.predictors.choice import choose_run
from models.registry import resolve_model
from models.run_settings import RunSettings
from models.weights.files import read_weights, write_model
from tasks.jobs.job import Job
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot

torch.set_num_threads(1)
SHAPES = {2: (150, 170), 3: (24, 70, 66)}


@pytest.fixture(scope="module", params=[2, 3], ids=["raster", "volume"])
def models(request, tmp_path_factory):
    """One network in three forms, with a card each."""
    folder = tmp_path_factory.mktemp("models")
    ndim = request.param
    torch.manual_seed(1)
    template = small_card(ndim)
    network = build_network(template.network, template.n_channels, template.n_classes).eval()
    with torch.no_grad():
        # So that each class wins somewhere.
        logits = network(torch.randn((1, template.n_channels, *TILES[ndim])))
        network.head.bias -= logits.mean(dim=tuple(d for d in range(ndim + 2) if d != 1))
    card = write_model(folder, template, network.state_dict())
    network.load_state_dict(read_weights(folder / card.weights.file, card.weights.sha256, network))
    exported(network, folder, ndim)
    program_card(folder, "scripted.pt", "torchscript", template)
    program_card(folder, "graph.onnx", "onnx", template)
    return folder, network, ndim


def labels(folder, path, scene, blend="gaussian"):
    card, beside = resolve_model(str(path))
    work = make_work(scene, folder / f"{path.stem}-{blend}", card, beside, tiling={"blend": blend})
    list(PlainEngine().run_blocks(work, work.plan.blocks(scene.frame)))
    return read_mask(work)


def test_a_program_gives_the_labels_of_its_network(tmp_path, models):
    folder, _, ndim = models
    channels = 3 if ndim == 2 else 1
    image = np.random.default_rng(0).normal(size=(channels, *SHAPES[ndim])).astype(np.float32)
    scene = array_scene(tmp_path, image)
    own = labels(tmp_path, folder / "native.json", scene)
    assert (np.bincount(own.ravel(), minlength=3) > own.size // 100).all(), "no class wins everywhere"
    np.testing.assert_array_equal(labels(tmp_path, folder / "scripted.pt", scene), own)
    agreement = np.mean(labels(tmp_path, folder / "graph.onnx", scene) == own)
    assert agreement >= 0.9999, f"{agreement:.6f}"


@pytest.mark.parametrize("name", ["scripted.pt", "graph.onnx"])
def test_probabilities_and_logits_are_those_of_the_network(models, name):
    folder, network, ndim = models
    card, _ = resolve_model(str(folder / name))
    batch = np.random.default_rng(1).normal(size=(2, card.n_channels, *TILES[ndim])).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch))
    for activation, scores in (("softmax", expected.softmax(1)), ("logits", expected)):
        settings = RunSettings(tile=TILES[ndim], device="auto", activation=activation)
        chosen = choose_run(card, folder / name, settings, "auto", 1.0, 2)
        assert chosen.settings.dtype == "float32"
        assert chosen.spec.stride == (2,) * ndim
        found = loaded(card, folder, chosen.settings).predict(batch)
        np.testing.assert_allclose(np.asarray(found), scores.numpy(), atol=2e-5)


def loaded(card, folder, settings=None):
    from models.predictors.loading import load_predictor

    return load_predictor(card, folder, settings or RunSettings(tile=card.tiling.tile, device="cpu"))


class OneLogit(torch.nn.Module):
    def forward(self, images):
        return images[:, :1] - images[:, 1:2]


class Probabilities(torch.nn.Module):
    def forward(self, images):
        return images.softmax(1)


@pytest.mark.parametrize("name", ["scripted.pt", "graph.onnx"])
@pytest.mark.parametrize("output", ["logit", "probabilities"])
def test_a_sigmoids_logit_and_finished_probabilities_become_scores_of_the_classes(tmp_path, name, output):
    network = OneLogit() if output == "logit" else Probabilities()
    exported(network, tmp_path, 2)
    template = small_card(2)
    kind = {"scripted.pt": "torchscript", "graph.onnx": "onnx"}[name]
    classes = template.classes[:2] if output == "logit" else template.classes
    program = Network(name=kind, arguments={"stride": (1, 1), "receptive_field": (1, 1)}, output=output)
    card = program_card(tmp_path, name, kind, template, network=program, classes=classes)
    batch = np.random.default_rng(1).normal(size=(1, 3, *TILES[2])).astype(np.float32)
    with torch.inference_mode():
        raw = network(torch.from_numpy(batch))
    wanted = torch.cat([1 - raw.sigmoid(), raw.sigmoid()], 1) if output == "logit" else raw
    for activation in ("softmax", "logits"):
        predictor = loaded(card, tmp_path, RunSettings(tile=TILES[2], device="cpu", activation=activation))
        assert predictor.spec.receptive_field == (1, 1)
        found = torch.as_tensor(predictor.predict(batch))
        np.testing.assert_allclose(found.softmax(1) if activation == "logits" else found, wanted, atol=1e-6)


@pytest.mark.parametrize("name", ["scripted.pt", "graph.onnx"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"channels": ("a", "b")}, "channels"),
        ({"classes": (ClassEntry(name="x", colour="#000000"),) * 2}, "(?s)gives an array of shape .*2 channels"),
        ({"network": {"arguments": {}}}, "stride"),
        ({"network": {"arguments": {"stride": [2, 2], "margin": [1]}}}, "one number per axis"),
        ({"network": {"arguments": {"stride": [0, 2]}}}, "stride.0.* greater than 0"),
        ({"network": {"arguments": {"stride": [2, 2], "margin": [-2, -2]}}}, "margin.0.* greater than or equal to 0"),
        ({"network": {"arguments": {"stride": [2, 2], "margin": [2, 2]}}}, "are expected. Mend"),
    ],
)
def test_a_card_that_is_not_the_programs_is_refused(tmp_path, name, change, text):
    torch.manual_seed(0)
    template = small_card(2)
    exported(build_network(template.network, 3, 3).eval(), tmp_path, 2)
    kind = {"scripted.pt": "torchscript", "graph.onnx": "onnx"}[name]
    if "network" in change:
        change = {"network": Network(name=kind, **change["network"])}
    card = program_card(tmp_path, name, kind, template, **change)
    with pytest.raises(CardError, match=text):
        choose_run(card, tmp_path / name, RunSettings(tile=TILES[2], device="cpu"), "auto", 1.0, None)


def test_a_graph_of_fixed_axes_says_which_tile_it_takes(tmp_path):
    exported(Probabilities(), tmp_path, 2, dynamic_axes=None)
    card = program_card(tmp_path, "graph.onnx", "onnx", small_card(2))
    with pytest.raises(CardError, match=r"arrays of shape \(1, 3, 64, 64\), it would be given \(1, 3, 32, 32\)"):
        loaded(card, tmp_path, RunSettings(tile=(32, 32), device="cpu"))
    assert loaded(card, tmp_path, RunSettings(tile=(64, 64), device="cpu")).probe() == 0


@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_a_file_that_is_no_program_or_another_one_is_refused(tmp_path, kind):
    name = {"torchscript": "model.pt", "onnx": "model.onnx"}[kind]
    (tmp_path / name).write_bytes(b"PK\x03\x04 nothing of the kind")
    card = program_card(tmp_path, name, kind, small_card(2))
    with pytest.raises(WeightsError, match=f"{name}: not a"):
        loaded(card, tmp_path)
    (tmp_path / name).write_bytes(b"others")
    with pytest.raises(WeightsError, match="SHA-256"):
        loaded(card, tmp_path)
    with pytest.raises(CardError, match=r"run\.dtype"):
        loaded(card, tmp_path, RunSettings(tile=TILES[2], device="cpu", dtype="bfloat16"))


def test_weights_beside_a_graph_are_not_read(tmp_path, monkeypatch):
    weights = onnx.numpy_helper.from_array(np.ones((3, 1, 1), np.float32), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])],
        "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 64, 64])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 64, 64])],
        [weights],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(
        model, tmp_path / "graph.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert (tmp_path / "weights.bin").is_file()
    card = program_card(tmp_path, "graph.onnx", "onnx", small_card(2))
    # From here onnxruntime would find them.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"graph\.onnx: keeps its weights in a file beside it.*external_data=F"):
        loaded(card, tmp_path)


def test_a_device_that_onnxruntime_does_not_know_is_refused(tmp_path):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime runs on a GPU")
    exported(Probabilities(), tmp_path, 2)
    card = program_card(tmp_path, "graph.onnx", "onnx", small_card(2))
    with pytest.raises(DeviceError, match="onnxruntime does not run on 'cuda'"):
        loaded(card, tmp_path, RunSettings(tile=TILES[2], device="cuda"))


def test_a_plan_records_the_version_of_what_runs_the_graph(tmp_path):
    exported(Probabilities(), tmp_path, 2)
    card = program_card(tmp_path, "graph.onnx", "onnx", small_card(2))
    job = Job.model_validate({"job": "test", "kind": "raster", "model": {"name": "x"}, "run": {"device": "cpu"}})
    assert dict(measure_slot(card, tmp_path, job, 1).versions)["onnxruntime"] == onnxruntime.__version__
