"""Result folders of nnU-Net v2, and scans for them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scenes import oblique_affine
from scipy import ndimage

SPACING = (3.0, 0.9, 0.9)
PATCH = (8, 24, 24)
BRIGHT = {"mean": 60.0, "std": 80.0, "percentile_00_5": -90.0, "percentile_99_5": 190.0}
KWARGS = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 12],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "n_conv_per_stage": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 2],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}


def plans_of(scheme: str, kwargs: dict, network: str) -> dict:
    """As nnUNetv2_plan_experiment writes them."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(PATCH),
        "median_image_size_in_voxels": [24.0, 48.0, 48.0],
        "spacing": list(SPACING),
        "normalization_schemes": [scheme],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{network}",
            "arch_kwargs": kwargs,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    return {
        "dataset_name": "Dataset900_Blobs",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(SPACING),
        "original_median_shape_after_transp": [24, 48, 48],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "3d_base": configuration,
            "3d_fullres": {"inherits_from": "3d_base", "batch_dice": False},
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": BRIGHT},
    }


DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1, "lesion": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def blobs(shape: tuple[int, ...], spacing: tuple[float, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright organ with brighter lesions in noise, and its labels; the same object whatever the spacing."""
    rng = np.random.default_rng(seed)
    size = np.array(shape) * spacing
    place = np.stack(
        np.meshgrid(*((np.arange(n) + 0.5) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    )
    distance = np.sqrt((((place.T - size / 2) / (size * 0.33)) ** 2).sum(-1)).T
    labels = (distance < 1).astype(np.uint8)
    for _ in range(4):
        centre = size * rng.uniform(0.35, 0.65, 3)
        labels[(np.sqrt(((place.T - centre) ** 2).sum(-1)).T < 5.5) & (labels > 0)] = 2
    image = np.choose(labels, [-60.0, 70.0, 160.0])
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 0.7) * 40
    return (image + noise).astype(np.float32), labels


def checkpoint(weights: dict[str, torch.Tensor], plans: dict, fold: int, axes: tuple[int, ...]) -> dict:
    """As nnUNetTrainer.save_checkpoint writes it."""
    return {
        "network_weights": weights,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float32(0.5)], "lrs": [0.01], "dice_per_class": [np.ones(2)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {
            "plans": plans,
            "configuration": "3d_fullres",
            "fold": fold,
            "dataset_json": DATASET,
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": axes,
    }


def write_folder(folder: Path, weights: list[dict], plans: dict, axes: tuple[int, ...] = (0, 1, 2)) -> Path:
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    (folder / "dataset_fingerprint.json").write_text(json.dumps({"spacings": [list(SPACING)]}))
    for number, state in enumerate(weights):
        (folder / f"fold_{number}").mkdir()
        torch.save(checkpoint(state, plans, number, axes), folder / f"fold_{number}" / "checkpoint_final.pth")
    return folder


def write_scan(path: Path, image: np.ndarray, spacing: tuple[float, float, float]) -> Path:
    """Write ``depth, rows, cols`` as a tilted NIfTI file with one flipped axis."""
    affine = oblique_affine()
    affine[:3, :3] /= np.linalg.norm(affine[:3, :3], axis=0)
    affine[:3, :3] *= spacing[::-1]
    tilt = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
    affine[:3, :3] = tilt @ affine[:3, :3]
    volume = nib.Nifti1Image(image.transpose(2, 1, 0), affine)
    volume.header.set_xyzt_units("mm")
    volume.set_sform(affine, code=1)
    volume.set_qform(affine, code=1)
    nib.save(volume, path)
    return path


def predicted(folder: Path, image: np.ndarray, properties: dict, *, mirror: bool) -> np.ndarray:
    """What nnU-Net's own predictor says of ``(channels, depth, rows, cols)``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        predictor = nnUNetPredictor(0.5, True, mirror, False, torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), None)
        labels: np.ndarray = predictor.predict_single_npy_array(image, properties)
    # It leaves more threads behind than it found.
    torch.set_num_threads(1)
    return labels


def their_labels(folder: Path, scan: Path, *, mirror: bool) -> np.ndarray:
    """What nnU-Net says of a file, in file order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

        image, properties = SimpleITKIO().read_images([str(scan)])
    return predicted(folder, image, properties, mirror=mirror).transpose(2, 1, 0)
