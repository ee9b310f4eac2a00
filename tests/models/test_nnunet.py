"""A result folder of nnU-Net v2 gives the same labels here as through nnU-Net's own predictor."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import shutil
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_folders import (
    BRIGHT,
    DATASET,
    KWARGS,
    PATCH,
    SPACING,
    blobs,
    plans_of,
    predicted,
    their_labels,
    write_folder,
    write_scan,
)

from models.errors import CardError, WeightsError
from models.foreign.nnunet_checkpoint import read_checkpoints
from models.networks.nnunet import NnunetArguments, unet
from models.registry import resolve_model
from tasks.inputs.input import Input
from tasks.intake.describe import describe
from tasks.intake.request import make_request
from tasks.jobs.job import Job
from tasks.products.nifti import write_nifti
from tasks.segment.blend import axis_weights
from tasks.segment.lattice import TileAxis
from tasks.segment.measure import measure_slot
from tasks.segment.placement import Even
from tasks.training.whole import segment_whole

# nnU-Net says on import, in print, that its folders are not set; they are for training.
for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(folder, os.devnull)

torch.set_num_threads(1)
FLAT = KWARGS | {
    "conv_op": "torch.nn.modules.conv.Conv2d",
    "kernel_sizes": [[3, 3]] * 3,
    "strides": [[1, 1], [2, 2], [2, 2]],
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
}
RESIDUAL = {key: value for key, value in KWARGS.items() if key != "n_conv_per_stage"} | {
    "n_blocks_per_stage": [1, 2, 2],
    "n_conv_per_stage_decoder": [1, 1],
}


def fitted(kwargs: dict, network: str, scheme: str, seed: int) -> dict[str, torch.Tensor]:
    """Fit a fold for a moment, enough for a sensible mask."""
    torch.manual_seed(seed)
    depth = "n_conv_per_stage" if network == "PlainConvUNet" else "n_blocks_per_stage"
    arguments = NnunetArguments(
        architecture=network,
        ndim=len(kwargs["strides"][0]),
        features=tuple(kwargs["features_per_stage"]),
        kernels=tuple(map(tuple, kwargs["kernel_sizes"])),
        strides=tuple(map(tuple, kwargs["strides"])),
        encoder=tuple(kwargs[depth]),
        decoder=tuple(kwargs["n_conv_per_stage_decoder"]),
    )
    fold = unet(1, 3, arguments).train()
    optimizer = torch.optim.Adam(fold.parameters(), 1e-2)
    rng = np.random.default_rng(seed)
    scenes = [blobs((18, 40, 40), SPACING, 100 + k) for k in range(2)]
    for _ in range(50):
        image, labels = scenes[rng.integers(2)]
        patch = (*(1,) * (3 - arguments.ndim), *PATCH[-arguments.ndim :])
        corner = [rng.integers(0, n - p + 1) for n, p in zip(image.shape, patch, strict=True)]
        window = tuple(c if p == 1 else slice(c, c + p) for c, p in zip(corner, patch, strict=True))
        values = normalised(image, scheme)[window]
        logits = fold(torch.from_numpy(values)[None, None])
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[window].astype(np.int64))[None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return fold.eval().state_dict()


def normalised(image: np.ndarray, scheme: str) -> np.ndarray:
    if scheme == "CTNormalization":
        return (np.clip(image, BRIGHT["percentile_00_5"], BRIGHT["percentile_99_5"]) - BRIGHT["mean"]) / BRIGHT["std"]
    if scheme == "RescaleTo01Normalization":
        return (image - image.min()) / (image.max() - image.min())
    return (image - image.mean()) / image.std()


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """Two folds of a plain U-Net, CT normalisation."""
    scheme, network = "CTNormalization", "PlainConvUNet"
    weights = [fitted(KWARGS, network, scheme, seed) for seed in (0, 1)]
    folder = tmp_path_factory.mktemp("results") / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    return write_folder(folder, weights, plans_of(scheme, KWARGS, network))


@pytest.fixture(scope="module")
def residual(tmp_path_factory) -> Path:
    """One fold of a residual U-Net, z-score, axes transposed."""
    scheme, network = "ZScoreNormalization", "ResidualEncoderUNet"
    plans = plans_of(scheme, RESIDUAL, network)
    folder = tmp_path_factory.mktemp("results") / "nnUNetTrainer__nnUNetResEncUNetMPlans__3d_fullres"
    return write_folder(folder, [fitted(RESIDUAL, network, scheme, 2)], plans)


def our_labels(
    folder: Path, scan: Path, out: Path, *, mirror: bool, block: tuple[int, ...] = (32, 64, 64)
) -> np.ndarray:
    """What the engine says, read from the product's file."""
    choice = {"weights": str(folder), "arguments": {"mirror": mirror}}
    job = Job.model_validate(
        {
            "job": "parity",
            "kind": "volume",
            "model": choice,
            "tiling": {"block": block},
            "run": {"device": "cpu", "dtype": "float32"},
        }
    )
    request = make_request(job, out)
    scene = describe(request, Input(id="scan", files={"image": str(scan)}))
    labels = segment_whole(request, scene, 1)
    write_nifti(labels, "uint8", scene, out / "mask.nii.gz")
    product = nib.load(out / "mask.nii.gz")
    np.testing.assert_array_equal(product.affine, nib.load(scan).affine)
    return np.asanyarray(product.dataobj)


def scan_of(path: Path, spacing: tuple[float, float, float], seed: int = 7) -> Path:
    """Write the blobs of 54 x 36 x 36 mm as a volume of another spacing."""
    shape = tuple(int(size / own) for size, own in zip((54, 36, 36), spacing, strict=True))
    return write_scan(path, blobs(shape, spacing, seed)[0], spacing)


def assert_agree(ours: np.ndarray, theirs: np.ndarray, classes: tuple[int, ...] = (0, 1, 2)) -> None:
    """At least 99.9 % of voxels, of a mask that has the classes."""
    assert ours.shape == theirs.shape
    assert tuple(np.unique(theirs)) == classes
    agreement = float((ours == theirs).mean())
    logging.getLogger(__name__).info("agreement %.6f", agreement)
    assert agreement >= 0.999, agreement


@pytest.mark.parametrize("mirror", [True, False])
def test_two_folds_at_the_spacing_of_the_plans(plain, tmp_path, mirror):
    scan = scan_of(tmp_path / "scan.nii.gz", SPACING)
    theirs = their_labels(plain, scan, mirror=mirror)
    assert_agree(our_labels(plain, scan, tmp_path / "out", mirror=mirror), theirs)


@pytest.mark.parametrize(
    "spacing",
    [
        pytest.param((2.2, 0.7, 0.7), id="finer, slices thicker than threefold"),
        pytest.param((5.0, 1.1, 1.1), id="coarser, slices thicker than threefold"),
        pytest.param((1.4, 1.1, 1.3), id="nearly cubes"),
    ],
)
@pytest.mark.parametrize("fitted_by", ["plain", "residual"])
def test_a_volume_that_is_resampled(request, tmp_path, spacing, fitted_by):
    folder = request.getfixturevalue(fitted_by)
    scan = scan_of(tmp_path / "scan.nii.gz", spacing)
    assert_agree(our_labels(folder, scan, tmp_path / "out", mirror=False), their_labels(folder, scan, mirror=False))


def with_plans(folder: Path, out: Path, changes: dict | None = None, **of_configuration) -> Path:
    """Copy a folder, its plans changed."""
    shutil.copytree(folder, out)
    plans = json.loads((folder / "plans.json").read_text())
    plans |= changes or {}
    plans["configurations"]["3d_base"] |= of_configuration
    (out / "plans.json").write_text(json.dumps(plans))
    return out


def test_a_model_of_cubes_on_cubes_and_a_volume_in_zeros(residual, tmp_path):
    folder = with_plans(residual, tmp_path / "cubes", spacing=[1.5, 1.2, 1.2])
    image, _ = blobs((30, 30, 28), (1.7, 1.3, 1.3), 8)
    framed = np.zeros((40, 44, 37), np.float32)
    framed[3:33, 9:39, 5:33] = image
    scan = write_scan(tmp_path / "scan.nii.gz", framed, (1.7, 1.3, 1.3))
    ours = our_labels(folder, scan, tmp_path / "out", mirror=False)
    assert_agree(ours, their_labels(folder, scan, mirror=False))
    outside = np.ones(framed.shape, bool)
    outside[3:33, 9:39, 5:33] = False
    assert (ours.transpose(2, 1, 0)[outside] == 0).all()


def test_axes_transposed_and_a_volume_smaller_than_a_patch(plain, tmp_path):
    folder = with_plans(plain, tmp_path / "turned", {"transpose_forward": [1, 0, 2], "transpose_backward": [1, 0, 2]})
    image, _ = blobs((34, 7, 21), (0.9, 3.0, 0.9), 9)
    scan = write_scan(tmp_path / "scan.nii.gz", image, (0.9, 3.0, 0.9))
    assert_agree(our_labels(folder, scan, tmp_path / "out", mirror=True), their_labels(folder, scan, mirror=True))


def test_the_labels_do_not_depend_on_blocks(residual, tmp_path):
    image, _ = blobs((44, 30, 70), (1.4, 1.1, 1.3), 10)
    image[:5] = 0
    scan = write_scan(tmp_path / "scan.nii.gz", image, (1.4, 1.1, 1.3))
    blocks = [(32, 64, 64), (64, 64, 128)]
    one, other = (our_labels(residual, scan, tmp_path / str(b[0]), mirror=False, block=b) for b in blocks)
    assert np.unique(one).size > 1
    np.testing.assert_array_equal(one, other)


def test_an_argument_that_the_network_does_not_know_is_refused_by_name(plain, tmp_path):
    choice = {"weights": str(plain), "arguments": {"mirrors": 0}}
    request = make_request(Job.model_validate({"job": "j", "kind": "volume", "model": choice}), tmp_path)
    with pytest.raises(CardError, match=r"network 'nnunet': its arguments .*mirrors"):
        measure_slot(request.card, request.card_folder, request.job, 1)


def test_a_network_of_two_axes_over_slices_at_their_own_distance(tmp_path):
    plans = plans_of("RescaleTo01Normalization", FLAT, "PlainConvUNet")
    plans["configurations"]["3d_base"] |= {"patch_size": [24, 24], "spacing": [0.9, 0.9]}
    weights = fitted(FLAT, "PlainConvUNet", "RescaleTo01Normalization", 3)
    folder = write_folder(tmp_path / "flat", [weights], plans, axes=(0, 1))
    scan = scan_of(tmp_path / "scan.nii.gz", (2.2, 0.7, 0.8))
    ours = our_labels(folder, scan, tmp_path / "out", mirror=True)
    # The lesions are too small for a fit as short as this.
    assert_agree(ours, their_labels(folder, scan, mirror=True), classes=(0, 1))
    assert resolve_model(str(folder))[0].spacing_mm == (None, 0.9, 0.9)


def test_closest_canonical_axes(plain, tmp_path):
    folder = with_plans(plain, tmp_path / "canonical", {"image_reader_writer": "NibabelIOWithReorient"})
    scan = scan_of(tmp_path / "scan.nii.gz", SPACING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient

        image, properties = NibabelIOWithReorient().read_images([str(scan)])
        writer = NibabelIOWithReorient()
    theirs = predicted(folder, image, properties, mirror=False)
    writer.write_seg(theirs, str(tmp_path / "theirs.nii.gz"), properties)
    written = np.asanyarray(nib.load(tmp_path / "theirs.nii.gz").dataobj)
    assert_agree(our_labels(folder, scan, tmp_path / "out", mirror=False), written)


def test_the_card_says_what_the_folder_says_and_blends_logits(plain):
    card, folder = resolve_model(str(plain))
    assert folder is not None
    assert card.name == "dataset900_blobs-3d_fullres"
    assert [entry.name for entry in card.classes] == ["background", "organ", "lesion"]
    assert card.spacing_mm == SPACING
    assert card.tiling.tile == PATCH
    assert (card.tiling.placement, card.tiling.blend) == ("even", "logits")
    assert card.network.arguments["folds"] == 2
    assert card.network.arguments["mirror_axes"] == [0, 1, 2]
    assert resolve_model(str(plain)) == (card, folder)


def test_plans_from_before_the_architecture_had_a_section(plain, tmp_path):
    old = with_plans(plain, tmp_path / "old")
    plans = json.loads((old / "plans.json").read_text())
    configuration = plans["configurations"]["3d_base"]
    del configuration["architecture"]
    configuration |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 12,
        "n_conv_per_stage_encoder": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "pool_op_kernel_sizes": KWARGS["strides"],
        "conv_kernel_sizes": KWARGS["kernel_sizes"],
    }
    # 4, 8, 16 features were the rule; the third stage is held at 12.
    (old / "plans.json").write_text(json.dumps(plans))
    assert resolve_model(str(old))[0].network == resolve_model(str(plain))[0].network


def changed_dataset(folder: Path, out: Path, **changes) -> Path:
    shutil.copytree(folder, out)
    (out / "dataset.json").write_text(json.dumps(DATASET | changes))
    return out


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"labels": {"background": 0, "all": [1, 2], "lesion": 2}}, r"'all' is a region of \[1, 2\]"),
        ({"labels": {"background": 0, "organ": 1, "lesion": 3}}, r"labels \[0, 1, 3\] .* are not 0, 1, 2"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, r"conv.weight has shape \(4, 1, .* plans.json \(4, 2, "),
        ({"labels": ["background", "organ"]}, r"dataset\.json of nnU-Net make no card"),
        ({"labels": {"background": 0, "organ": "one"}}, r"dataset\.json of nnU-Net make no card"),
        ({"labels": {"background": 0, "organ": 1}}, r"seg_layers.0.weight has shape \(3, .* plans.json \(2, "),
    ],
)
def test_what_of_a_dataset_cannot_be_mapped_is_refused_by_name(plain, tmp_path, changes, named):
    with pytest.raises((CardError, WeightsError), match=named):
        resolve_model(str(changed_dataset(plain, tmp_path / "folder", **changes)))


def resampled(what, **arguments):
    order = {"data": 3, "probabilities": 1}[what]
    return {f"resampling_fn_{what}_kwargs": {"order": order, "order_z": 0, "force_separate_z": None, **arguments}}


def test_the_arguments_of_nnunets_own_resampling_may_be_spelled_out(plain, tmp_path):
    changes = resampled("data", is_seg=False, separate_z_anisotropy_threshold=3)
    resolve_model(str(with_plans(plain, tmp_path / "folder", **changes)))


ARCHITECTURE = {"network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"previous_stage": "3d_lowres"}, r"second stage of a cascade \('3d_lowres'"),
        ({"preprocessor_name": "MyPreprocessor"}, r"preprocessor 'MyPreprocessor'"),
        ({"use_mask_for_norm": [True], "normalization_schemes": ["ZScoreNormalization"]}, r"use_mask_for_norm"),
        ({"normalization_schemes": ["MyNormalization"]}, r"normalisation 'MyNormalization'"),
        ({"resampling_fn_data": "resample_torch_simple"}, r"resampling_fn_data 'resample_torch_simple'"),
        (
            resampled("data", separate_z_anisotropy_threshold=2),
            r"data_kwargs: separate_z_anisotropy_threshold 2 .*only 3",
        ),
        (resampled("probabilities", separate_z_anisotropy_threshold=5), r"probabilities_kwargs: separate_z_.* 5 "),
        (resampled("data", is_seg=True), r"resampling_fn_data_kwargs: is_seg True .*only False"),
        (resampled("probabilities", memefficient=True), r"probabilities_kwargs: arguments memefficient are not known"),
        ({"architecture": {"network_class_name": "primus.Primus"}}, r"network 'primus.Primus'"),
        (
            {"architecture": ARCHITECTURE | {"arch_kwargs": KWARGS | {"nonlin": "os.system"}}},
            r"nonlin 'os.system' is not known",
        ),
        ({"architecture": ARCHITECTURE | {"arch_kwargs": KWARGS | {"nonlin_first": True}}}, r"nonlin_first"),
        ({"patch_size": None}, r"make no card"),
        ({"architecture": ARCHITECTURE | {"arch_kwargs": KWARGS | {"features_per_stage": [4, 0, 8]}}}, r"do not fit"),
        (
            {"architecture": ARCHITECTURE | {"arch_kwargs": KWARGS | {"n_conv_per_stage": [1, 2, 2]}}},
            r"fold_0/checkpoint_final.pth: not the weights .* names are in one of them only",
        ),
    ],
)
def test_what_of_the_plans_cannot_be_mapped_is_refused_by_name(plain, tmp_path, changes, named):
    with pytest.raises((CardError, WeightsError), match=named):
        resolve_model(str(with_plans(plain, tmp_path / "folder", **changes)))


def test_readers_of_pictures_are_refused_by_name(plain, tmp_path):
    with pytest.raises(CardError, match="'NaturalImage2DIO'; known here: SimpleITKIO"):
        resolve_model(str(with_plans(plain, tmp_path / "folder", {"image_reader_writer": "NaturalImage2DIO"})))


class Unsafe:
    def __reduce__(self):
        return print, ("code of a checkpoint was run",)


def test_a_checkpoint_that_would_run_code_is_refused_with_the_conversion_to_make(plain, tmp_path, capsys):
    folder = with_plans(plain, tmp_path / "folder")
    path = folder / "fold_1" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    torch.save(content | {"init_args": content["init_args"] | {"hook": Unsafe()}}, path)
    with pytest.raises(WeightsError, match=r"fold_1/checkpoint_final.pth: .*print.*torch.save") as refused:
        resolve_model(str(folder))
    assert "was run" not in capsys.readouterr().out
    conversion = re.search(r"convert it: (.*)", str(refused.value)).group(1)
    exec(conversion, {"torch": torch, "FILE": path})
    assert resolve_model(str(folder))[0] == resolve_model(str(plain))[0]


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
CHECKPOINT = {"network_weights": {}, "trainer_name": "nnUNetTrainer", "init_args": {"configuration": "3d_fullres"}}


@pytest.mark.parametrize("content", [b"", b"hello", POINTER, pickle.dumps(Unsafe()), "legacy"])
def test_what_is_no_archive_of_torch_is_refused_and_not_run(tmp_path, capsys, content):
    path = tmp_path / "fold_0" / "checkpoint_final.pth"
    path.parent.mkdir()
    if content == "legacy":
        torch.save({"network_weights": {"a": Unsafe()}}, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"fold_0/checkpoint_final\.pth"):
        read_checkpoints((path,))
    assert "was run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        {"inference_allowed_mirroring_axes": "ab"},
        {"init_args": None},
        {"network_weights": [1]},
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(tmp_path, changes):
    path = tmp_path / "fold_0" / "checkpoint_final.pth"
    path.parent.mkdir()
    torch.save(CHECKPOINT | changes, path)
    with pytest.raises(WeightsError, match=r"no checkpoint of nnU-Net v2"):
        read_checkpoints((path,))


def test_a_folder_without_a_final_checkpoint_and_a_damaged_one_are_refused(plain, tmp_path):
    folder = with_plans(plain, tmp_path / "folder")
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(WeightsError, match=r"fold_0/checkpoint_final.pth: cannot be read"):
        resolve_model(str(folder))
    for fold in folder.glob("fold_*"):
        (fold / "checkpoint_final.pth").rename(fold / "checkpoint_best.pth")
    with pytest.raises(CardError, match=r"no fold holds checkpoint_final.pth"):
        resolve_model(str(folder))


@given(st.integers(1, 200), st.integers(2, 40))
@settings(max_examples=60)
def test_tiles_lie_and_weigh_as_theirs(length, tile):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from acvl_utils.cropping_and_padding.padding import pad_nd_image
        from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window
    axis = TileAxis(length=length, tile=tile, halo=0, overlap=tile // 2, placement=Even())
    padded, inside = pad_nd_image(np.ones(length), (tile,), return_slicer=True)
    (theirs,) = compute_steps_for_sliding_window(padded.shape, (tile,), 0.5)
    assert list(axis.origins) == [origin - inside[0].start for origin in theirs]
    total = np.zeros(length)
    for core, weights in zip(axis.cores, axis_weights(axis, "logits"), strict=True):
        total[slice(*core)] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)
