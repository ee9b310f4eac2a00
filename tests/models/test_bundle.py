"""MONAI bundles give the labels that MONAI's own evaluator gives, voxel by voxel; what cannot be mapped says so."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from arrays import array_scene, make_work, read_mask
from bundles import (
    METADATA,
    NETWORK,
    config,
    fitted,
    inverted,
    monai_labels,
    one_logit,
    own_labels_of,
    phantom,
    transforms,
    write_bundle,
)
from scenes import oblique_affine, write_volume
from typer.testing import CliRunner

from flows.commands.app import app
from models.card import Card, CentredResampling, ClassEntry, GridNormalization, Network, NoNormalization, Tiling
from models.errors import CardError, SwatheError, UnknownModelError, WeightsError
from models.foreign.folder import convert, is_foreign
from models.foreign.monai_config import Config
from models.networks.builders import build_network
from models.normalization import grid_statistics, normalise
from models.registry import resolve_model
from models.weights.files import write_model
from tasks.scenes.volume.frame import frame_of
from tasks.segment.graph import PlainEngine
from tasks.segment.lattice import TileAxis
from tasks.segment.placement import Shifted, floored_gaussian

torch.set_num_threads(1)
RANGE = {"_target_": "ScaleIntensityRanged", "a_min": -200, "a_max": 400, "b_min": -1.0, "b_max": 2.0, "clip": True}
NONZERO = {"_target_": "NormalizeIntensityd", "nonzero": True, "channel_wise": True}
MINMAX = {"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 2.0}
FIXED = {"_target_": "NormalizeIntensityd", "subtrahend": 10, "divisor": 200}
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
SIGMOID = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
HALF = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@nowhere"}
LINEAR, NEAREST = inverted(nearest=False), inverted(nearest=True)
SPACING = [1.4, 1.1, 1.9]
FLAT = NETWORK | {"spatial_dims": 2}


@pytest.fixture(scope="session")
def weights():
    return fitted()


@pytest.fixture(scope="session")
def scan(tmp_path_factory):
    """An oblique volume of 0.9 x 0.9 x 3 mm."""
    return write_volume(tmp_path_factory.mktemp("scan") / "scan.nii.gz", phantom((58, 49, 22))[0])


def own_labels(bundle: Path, image: Path, folder: Path) -> np.ndarray:
    """Return the mask that swathe's product of a file holds, which lies on the file's grid."""
    return own_labels_of(bundle, [image], folder)


@pytest.mark.parametrize(
    ("before", "after", "inferer"),
    [
        pytest.param(transforms(None, RANGE), [SOFTMAX, LINEAR, ARGMAX], {}, id="own spacing"),
        pytest.param(transforms(SPACING, MINMAX), [SOFTMAX, LINEAR, ARGMAX], {}, id="probabilities"),
        pytest.param(transforms(SPACING, RANGE), [LINEAR, ARGMAX], {"overlap": 0.6, "mode": "constant"}, id="logits"),
        pytest.param(transforms([0.7, 1.1, 1.9], NONZERO), [SOFTMAX, ARGMAX, NEAREST], {}, id="labels"),
        pytest.param(
            transforms([1.4, 0, 1.9], FIXED, first=True), [LINEAR, SOFTMAX, ARGMAX], {"roi_size": [64] * 3}, id="small"
        ),
        pytest.param(transforms(SPACING, RANGE), [SIGMOID, LINEAR, HALF], {"overlap": 0.25}, id="sigmoid"),
    ],
)
def test_a_bundle_gives_the_labels_of_monai(tmp_path, weights, scan, before, after, inferer):
    sigmoid = SIGMOID in after
    inference = config(before, after, inferer) | ({"n_classes": 1} if sigmoid else {})
    metadata = {"name": "One"} if sigmoid else METADATA
    bundle = write_bundle(tmp_path / "bundle", inference, one_logit(weights) if sigmoid else weights, metadata)
    theirs = monai_labels(bundle, scan)
    ours = own_labels(bundle, scan, tmp_path / "out")
    assert min(np.bincount(theirs.astype(int).ravel(), minlength=2 if sigmoid else 3)) > 500, "every class is there"
    agreement = np.mean(ours == theirs)
    # Measured: 1.000000 in all of them; a rounding may decide for another class where two are equally likely.
    assert agreement >= 0.9999, f"{agreement:.6f}"


def test_a_bundle_that_sees_volumes_whole_gives_the_labels_of_monai(tmp_path, weights):
    # MONAI's own network fails where a volume is no multiple of its stride.
    scan = write_volume(tmp_path / "scan.nii.gz", phantom((56, 80, 20))[0])
    inference = config(transforms(None, RANGE), [LINEAR, SOFTMAX, ARGMAX], {"_target_": "SimpleInferer"})
    bundle = write_bundle(tmp_path / "bundle", inference, weights)
    theirs = monai_labels(bundle, scan)
    assert min(np.bincount(theirs.astype(int).ravel(), minlength=3)) > 500, "every class is there"
    np.testing.assert_array_equal(own_labels(bundle, scan, tmp_path / "out"), theirs)


@pytest.mark.parametrize(("across", "spacing"), [(2, None), (0, SPACING)])
def test_a_bundle_that_sees_slices_gives_the_labels_of_monai(tmp_path, weights, scan, across, spacing):
    # The middle of each kernel of the fitted network, across slices: enough of what it knows to tell classes apart.
    flat = {k: v.mean(dim=4) if v.ndim == 5 else v for k, v in weights.items()}
    inferer = {"_target_": "SliceInferer", "roi_size": [32, 16], "overlap": 0.5, "spatial_dim": across}
    before = transforms(spacing, RANGE)
    inference = config(before, [SOFTMAX, LINEAR, ARGMAX], inferer) | {"network_def": FLAT}
    bundle = write_bundle(tmp_path / "bundle", inference, flat)
    theirs = monai_labels(bundle, scan)
    assert np.count_nonzero(np.bincount(theirs.astype(int).ravel()) > 500) > 1
    assert np.mean(own_labels(bundle, scan, tmp_path / "out") == theirs) >= 0.9999


def test_a_bundle_becomes_a_card_once(tmp_path, weights):
    inference = config(transforms(SPACING, RANGE), [SOFTMAX, LINEAR, ARGMAX, SAVE], {"overlap": 0.4})
    bundle = write_bundle(tmp_path / "Blobs of_Noise", inference, {"model": weights})
    assert is_foreign(bundle)
    card, folder = resolve_model(str(bundle))
    assert (card.name, card.title, card.origin) == ("blobs-of_noise", "Blobs", "Blobs 0.1.0, a MONAI bundle")
    assert [entry.name for entry in card.classes] == ["background", "bright", "dark"]
    assert (card.orientation, card.spacing_mm, card.channels) == ("RAS", (1.4, 1.1, 1.9), ("image",))
    assert (card.tiling.tile, card.tiling.overlap) == ((32, 24, 16), (13, 10, 7))
    assert card.resampling == CentredResampling(kind="centred", back="probabilities")
    assert card.parameters == sum(value.numel() for value in weights.values())
    shown = CliRunner().invoke(app, ["models", str(bundle)])
    assert shown.exit_code == 0, shown.output
    assert all(text in shown.output for text in ("Blobs", "monai:UNet", "shifted"))
    before = (folder / card.weights.file).stat().st_mtime_ns
    assert convert(bundle).parent == folder
    assert (folder / card.weights.file).stat().st_mtime_ns == before
    metadata = bundle / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text().replace("bright", "light"))
    assert convert(bundle).parent != folder


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path, weights, monkeypatch):
    bundle = write_bundle(tmp_path / "blobs", config(transforms(SPACING, RANGE), [SOFTMAX]), {"model": weights})
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SWATHE_CACHE", str(tmp_path / "file"))
    with pytest.raises(SwatheError, match=r"file/models: .*Not a directory\. Name another folder in SWATHE_CACHE"):
        convert(bundle)


def changed(**changes):
    return lambda inference: inference | changes


def with_step(place, step):
    def change(inference):
        inference = copy.deepcopy(inference)
        inference[place]["transforms"].append(step)
        return inference

    return change


def without(name):
    return lambda inference: {key: value for key, value in inference.items() if key != name}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            with_step("preprocessing", {"_target_": "CropForegroundd", "keys": "image"}),
            "CropForegroundd by another key",
        ),
        (with_step("preprocessing", {"_target_": "scripts.mine.Flatten", "keys": "image"}), "Flatten"),
        (changed(inferer={"_target_": "SaliencyInferer"}), "SaliencyInferer cannot be mapped"),
        (changed(window=[32, -1, 16]), "axes without a length"),
        (changed(window="$__import__('os').system('true')"), "is code, which is not run"),
        (changed(window="$" + "-" * 5000 + "1"), "is code, which is not run"),
        (changed(window="$" + "9" * 400 + "/3"), "inferer::roi_size: .*computes with a number beyond"),
        (changed(window="$" + "*".join(["9" * 15] * 4)), "computes with a number beyond"),
        (changed(window="$[0]*1000000000"), r"'\$\[0\]\*1000000000' makes a list of more than 1000 entries; write its"),
        (changed(window="$1000000000*'a'"), "makes a list of more than 1000 entries"),
        (changed(window="$[[[0]*500]*500]*500"), "makes a list of more than 1000 entries"),
        (changed(window="$@half+@half", half="$[1]*600"), "makes a list of more than 1000 entries"),
        (
            changed(window=["@w0"] * 9, **{f"w{k}": [f"@w{k + 1}"] * 9 for k in range(9)}, w9=1),
            "refers to more than 100000",
        ),
        (changed(window="@nothing::there"), "refers to 'nothing::there', which is not there"),
        (changed(window="@window"), "refers to itself"),
        (changed(network_def={"_target_": "scripts.net.Mine", "in_channels": 1}), "code of the bundle"),
        (changed(network_def=FLAT), "has 2 axes, and the inferer is SlidingWindowInferer"),
        (changed(network_def="$monai.networks.nets.vista3d132()"), "network_def is '.*': code, which is not run"),
        (changed(evaluator={"_target_": "scripts.evaluator.Prompted"}), "evaluator is 'scripts.evaluator.Prompted'"),
        (changed(inferer={"_target_": "scripts.mine.SlidingWindowInferer"}), "is code of the bundle"),
        (with_step("preprocessing", {"_target_": "scripts.mine.Spacingd", "keys": "image"}), "scripts.mine.Spacingd"),
        (with_step("preprocessing", {"_target_": "AddClicksd", "image": "image"}), "AddClicksd"),
        (changed(n_classes=2), "names 3 channels of pred"),
        (without("preprocessing"), "there is no 'preprocessing'"),
        (without("network_def"), "there is no 'network_def'"),
        (
            changed(postprocessing={"_target_": "Compose", "transforms": [SIGMOID, HALF]}),
            "classes that may overlap",
        ),
    ],
)
def test_what_cannot_be_mapped_is_refused_by_name(tmp_path, change, text):
    inference = change(config(transforms(SPACING, RANGE), [SOFTMAX, LINEAR, ARGMAX]))
    bundle = write_bundle(tmp_path / "bundle", inference, {})
    with pytest.raises(CardError, match=text):
        resolve_model(str(bundle))


@pytest.mark.parametrize(
    ("text", "value"),
    [("$[2]*3", [2, 2, 2]), ("$[1]+[2, 3]", [1, 2, 3]), ("$2*-3.5", -7.0), ("$1000000*1000000//7", 10**12 // 7)],
)
def test_arithmetic_is_computed(text, value):
    assert Config({}, "inference.json").plain(text, "window") == value


def bare(name, **arguments):
    return {"_target_": name, "keys": "image", **arguments}


@pytest.mark.parametrize(
    "step",
    [
        bare("ScaleIntensityRanged", a_max=3),
        bare("ScaleIntensityRanged", a_min=0, a_max=3, b_min=1, b_max=1),
        bare("ScaleIntensityRangePercentilesd", lower=1),
        bare("NormalizeIntensityd", subtrahend=[1, 2], divisor=[1, 2]),
        bare("NormalizeIntensityd", subtrahend="much", divisor=1),
        bare("Spacingd"),
        bare("Spacingd", pixdim="fine"),
        bare("Spacingd", pixdim=[]),
    ],
)
def test_transforms_without_their_numbers_are_refused_by_name(tmp_path, step):
    before = [*transforms(None, RANGE)[:3], step]
    bundle = write_bundle(tmp_path / "bundle", config(before, [SOFTMAX, LINEAR, ARGMAX]), {})
    with pytest.raises(CardError, match=f"preprocessing::transforms::3: the arguments of {step['_target_']}"):
        resolve_model(str(bundle))


@pytest.mark.parametrize("arguments", [{"overlap": "half"}, {"overlap": 1}, {"mode": "gaussian", "sigma_scale": 0}])
def test_windows_that_monai_does_not_lay_either_are_refused(tmp_path, arguments):
    inference = config(transforms(SPACING, RANGE), [SOFTMAX, LINEAR, ARGMAX], arguments)
    bundle = write_bundle(tmp_path / "bundle", inference, {})
    with pytest.raises(CardError, match="the arguments of SlidingWindowInferer cannot be mapped"):
        resolve_model(str(bundle))


def test_axes_that_are_none_make_no_card(tmp_path):
    before = transforms(SPACING, RANGE)
    before[2] |= {"axcodes": "XYZ"}
    bundle = write_bundle(tmp_path / "bundle", config(before, [SOFTMAX, LINEAR, ARGMAX]), {})
    with pytest.raises(CardError, match=r"inference\.json says makes no card.*orientation"):
        resolve_model(str(bundle))


def test_a_bundle_is_called_after_its_folder_and_licensed_as_it_says_now(tmp_path, weights):
    inference = config(transforms(SPACING, RANGE), [SOFTMAX, LINEAR, ARGMAX])
    bundle = write_bundle(tmp_path / "one", inference, {"model": weights})
    assert resolve_model(str(bundle))[0].name == "one"
    bundle = bundle.rename(tmp_path / "two")
    assert resolve_model(str(bundle))[0].name == "two"
    assert "LICENSE" not in resolve_model(str(bundle))[0].licence
    (bundle / "LICENSE").write_text("Apache-2.0")
    assert "LICENSE" in resolve_model(str(bundle))[0].licence


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"diagonal": True}, "diagonal True cannot be mapped"),
        ({"mode": "nearest"}, "mode 'nearest' cannot be mapped"),
        ({"max_pixdim": [2, 2, 2]}, "max_pixdim"),
        ({"something": 1}, "'something' cannot be mapped"),
    ],
)
def test_arguments_that_cannot_be_mapped_are_refused_by_name(tmp_path, arguments, text):
    before = transforms(SPACING, RANGE)
    before[3] |= arguments
    bundle = write_bundle(tmp_path / "bundle", config(before, [SOFTMAX, LINEAR, ARGMAX]), {})
    with pytest.raises(CardError, match=text):
        resolve_model(str(bundle))


class Trap:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_bundles_pickle_is_not_run(tmp_path, weights):
    inference = config(transforms(SPACING, RANGE), [SOFTMAX, LINEAR, ARGMAX])
    bundle = write_bundle(tmp_path / "bundle", inference, {"model": weights, "more": Trap(tmp_path / "left")})
    with pytest.raises(WeightsError, match=r"model\.pt: reading this pickle would run code .*posix\.mkdir"):
        resolve_model(str(bundle))
    assert not (tmp_path / "left").exists()


def test_weights_of_another_network_or_none_are_named(tmp_path, weights):
    inference = config(transforms(SPACING, RANGE), [SOFTMAX, LINEAR, ARGMAX])
    bundle = write_bundle(tmp_path / "bundle", inference, {"x": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"model\.pt: not the weights of this network: missing"):
        resolve_model(str(bundle))
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(CardError, match=r"models/model\.pt; bundles come without their large files"):
        resolve_model(str(bundle))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownModelError, match=r"holds no model we know; known: .*MONAI bundle"):
        resolve_model(str(tmp_path / "empty"))


def test_a_configuration_in_yaml_is_the_same(tmp_path, weights):
    inference = config(transforms(SPACING, RANGE), [SOFTMAX, LINEAR, ARGMAX])
    bundle = write_bundle(tmp_path / "bundle", inference, weights)
    card, _ = resolve_model(str(bundle))
    # JSON is YAML.
    (bundle / "configs" / "inference.json").rename(bundle / "configs" / "inference.yaml")
    assert resolve_model(str(bundle))[0] == card


@pytest.mark.parametrize("length", [1, 15, 16, 17, 31, 40, 100])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.7])
def test_tiles_lie_where_monai_puts_windows(length, overlap):
    from monai.data.utils import dense_patch_slices
    from monai.inferers.utils import _get_scan_interval

    tile = 16
    padded = max(length, tile)
    interval = _get_scan_interval((padded,) * 2, (tile,) * 2, 2, (overlap,) * 2)
    theirs = sorted({part[0].start for part in dense_patch_slices((padded,) * 2, (tile,) * 2, interval)})
    axis = TileAxis(
        length=length,
        tile=tile,
        halo=0,
        overlap=tile - int(tile * (1 - overlap)),
        stride=4,
        margin=0,
        placement=Shifted(sigma=0.125, beyond="zeros"),
    )
    assert [origin + (padded - length) // 2 for origin in axis.origins] == theirs
    assert {stop - start for start, stop in axis.cores} <= {tile, length}


def test_windows_weigh_what_they_weigh_in_monai():
    from monai.data.utils import compute_importance_map

    for tile, sigma in (((16, 12, 20), 0.125), ((9, 33), 0.2)):
        theirs = compute_importance_map(tile, mode="gaussian", sigma_scale=sigma).numpy()
        np.testing.assert_allclose(floored_gaussian(tile, sigma), theirs, rtol=1e-6)


@pytest.mark.parametrize("spacing", [(1.4, 1.1, 1.9), (0.7, 0.9, 5.0), (None, 2.0, 3.0)])
def test_the_model_grid_is_that_of_spacing(spacing):
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    shape, own = (20, 17, 9), np.linalg.norm(oblique_affine()[:3, :3], axis=0)
    frame = frame_of(shape, tuple(own), spacing, CentredResampling(kind="centred"))
    image = MetaTensor(torch.zeros((1, *shape)), affine=torch.from_numpy(oblique_affine()))
    theirs = Spacing(pixdim=[-1 if length is None else length for length in spacing])(image)
    assert tuple(theirs.shape[1:]) == frame.model_shape
    assert frame.anchor == 0


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        (GridNormalization(nonzero=True), ("NormalizeIntensity", {"nonzero": True, "channel_wise": True})),
        (GridNormalization(), ("NormalizeIntensity", {"channel_wise": True})),
        (
            GridNormalization(scale="range", target=(-1, 2)),
            ("ScaleIntensity", {"minv": -1, "maxv": 2, "channel_wise": True}),
        ),
        (
            GridNormalization(scale="range", percentiles=(5, 90), target=(0, 3), clip=True),
            (
                "ScaleIntensityRangePercentiles",
                {"lower": 5, "upper": 90, "b_min": 0, "b_max": 3, "clip": True, "channel_wise": True},
            ),
        ),
    ],
)
def test_values_of_the_grid_become_what_they_become_in_monai(settings, theirs):
    import monai.transforms

    image = np.random.default_rng(0).normal(5, 20, (2, 6, 7, 8)).astype(np.float32)
    image[:, :2] = 0
    expected = getattr(monai.transforms, theirs[0])(**theirs[1])(torch.from_numpy(image.copy()))
    found = normalise(image, grid_statistics(image.reshape(2, -1), settings))
    np.testing.assert_allclose(found, np.asarray(expected), atol=2e-5)
    np.testing.assert_array_equal(normalise(image.copy(), grid_statistics(image, settings), out=image), found)


def test_shifted_tiles_give_the_same_bits_for_every_block(tmp_path):
    shape = (40, 70, 42)
    template = Card(
        name="small",
        title="small",
        kind="volume",
        network=Network(name="unet", arguments={"widths": [3, 4], "ndim": 3}),
        channels=("a",),
        classes=tuple(ClassEntry(name=name, colour="#000000") for name in ("x", "y")),
        normalization=NoNormalization(),
        tiling=Tiling(
            tile=(24, 32, 40), halo=(0, 0, 0), overlap=(14, 9, 10), placement="shifted", sigma=0.125, blend="logits"
        ),
        licence="Apache-2.0",
        origin="test",
        orientation="SAR",
    )
    torch.manual_seed(0)
    network = build_network(template.network, 1, 2).eval()
    with torch.no_grad():
        # So that each class wins somewhere.
        network.head.bias -= network(torch.randn(1, 1, 24, 32, 40)).mean(dim=(0, 2, 3, 4))
    card = write_model(tmp_path, template, network.state_dict())
    image = np.random.default_rng(3).normal(size=(1, *shape)).astype(np.float32)
    valid = np.ones(shape, bool)
    valid[:20] = False
    scene = array_scene(tmp_path, image, valid)
    masks = []
    for block in ((64, 128, 64), (32, 64, 64)):
        work = make_work(scene, tmp_path / f"store-{block[0]}", card, tmp_path, tiling={"block": block})
        assert work.plan.blend == "logits"
        slot = replace(work.plan.slot, settings=replace(work.plan.slot.settings, activation="logits"))
        work = replace(work, plan=replace(work.plan, slot=slot))
        list(PlainEngine().run_blocks(work, work.plan.blocks(scene.frame)))
        masks.append(np.stack([read_mask(work), read_mask(work, "confidence")]))
    assert set(np.unique(masks[0][0][valid])) == {0, 1}
    assert (masks[0][0][~valid] == 255).all()
    np.testing.assert_array_equal(masks[0], masks[1])


def test_a_card_says_how_another_programs_tiles_are_blended():
    tiling = Tiling(tile=(16,) * 3, halo=(0,) * 3, overlap=(8,) * 3, placement="shifted", sigma=0.125, blend="logits")
    assert json.loads(tiling.model_dump_json(exclude_none=True))["blend"] == "logits"
    axis = TileAxis(
        length=40, tile=16, halo=0, overlap=12, stride=1, margin=0, placement=Shifted(sigma=None, beyond="zeros")
    )
    assert axis.step == 4, "neighbours may share more than half"
