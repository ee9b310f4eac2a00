"""What the plans of nnU-Net v2 say about network, normalisation and resampling, in the words of a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.card import FixedNormalization, NoNormalization, Normalization, Resampling, SceneNormalization
from models.errors import CardError

# The only names that plans may give; nothing is imported because a file says so.
_NORMS = {
    f"torch.nn.{module}.{kind}{ndim}d": kind
    for kind, modules in (
        ("InstanceNorm", ("modules.instancenorm", "modules")),
        ("BatchNorm", ("modules.batchnorm", "modules")),
    )
    for module in modules
    for ndim in (2, 3)
} | {f"torch.nn.{kind}{ndim}d": kind for kind in ("InstanceNorm", "BatchNorm") for ndim in (2, 3)}
_NONLINEARITIES = {
    f"torch.nn.{module}{kind}": kind for kind in ("LeakyReLU", "ReLU") for module in ("", "modules.activation.")
}
_CONVOLUTIONS = {f"torch.nn.{module}Conv{ndim}d": ndim for ndim in (2, 3) for module in ("", "modules.conv.")}
_DROPOUTS = {f"torch.nn.{module}Dropout{ndim}d": ndim for ndim in (2, 3) for module in ("", "modules.dropout.")}
_ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")
_DEPTHS = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
_COMMON = frozenset(
    {
        "n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "n_conv_per_stage_decoder", "conv_bias",
        "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs", "deep_supervision",
    }
)  # fmt: skip
_RESAMPLING = "resample_data_or_seg_to_shape"
_RESAMPLED_BY = frozenset({"order", "order_z", "force_separate_z"})
# Its arguments of which one value is done here, nnU-Net's own.
_RESAMPLED_AS = {"is_seg": False, "separate_z_anisotropy_threshold": 3}


def architecture(configuration: Mapping[str, Any], trainer: str) -> dict[str, Any]:
    """Return the arguments of ``models.networks.nnunet`` but for folds and mirroring.

    Args:
        configuration: One of the plans.
        trainer: Name of the trainer's class, which may build the network otherwise than the plans say.

    Raises:
        CardError: When plans or trainer ask for something that is not on the list.
    """
    if not trainer.startswith("nnUNetTrainer"):
        raise CardError(f"trainer {trainer!r} is none of nnU-Net's; what its code makes of the network cannot be told")
    section = configuration["architecture"] if "architecture" in configuration else _before_2_4(configuration)
    name = str(section["network_class_name"]).rsplit(".", 1)[-1]
    if name not in _ARCHITECTURES:
        raise CardError(f"network {section['network_class_name']!r} is not known; known: {', '.join(_ARCHITECTURES)}")
    kwargs = section["arch_kwargs"]
    if unknown := sorted(kwargs.keys() - _COMMON - {_DEPTHS[name]}):
        raise CardError(f"network {name}: arguments {', '.join(unknown)} are not known here")
    return _arguments(name, kwargs, batch_norm=trainer == "nnUNetTrainerBN")


def _before_2_4(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Spell out what older plans left to the program, as ``ConfigurationManager`` of nnU-Net does."""
    name, ndim = str(configuration["UNet_class_name"]), len(configuration["patch_size"])
    depth = configuration["n_conv_per_stage_encoder"]
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    kwargs = {
        "n_stages": len(depth),
        "features_per_stage": [min(base * 2**stage, most) for stage in range(len(depth))],
        "conv_op": f"torch.nn.Conv{ndim}d",
        "kernel_sizes": configuration["conv_kernel_sizes"],
        "strides": configuration["pool_op_kernel_sizes"],
        _DEPTHS.get(name, ""): depth,
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": f"torch.nn.InstanceNorm{ndim}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
    }
    return {"network_class_name": name, "arch_kwargs": kwargs}


def _arguments(name: str, kwargs: Mapping[str, Any], *, batch_norm: bool) -> dict[str, Any]:
    stages = int(kwargs["n_stages"])
    norm = kwargs.get("norm_op_kwargs") or {}
    nonlinear = kwargs.get("nonlin_kwargs") or {}
    dropout = kwargs.get("dropout_op_kwargs") or {}
    _refuse("norm_op_kwargs", norm.keys() - {"eps", "affine"})
    _refuse("nonlin_kwargs", nonlinear.keys() - {"inplace"})
    _refuse("dropout_op_kwargs", dropout.keys() - {"p", "inplace"})
    ndim = _known(_CONVOLUTIONS, "conv_op", kwargs["conv_op"])
    arguments = {
        "architecture": name,
        "ndim": ndim,
        "features": _each(kwargs["features_per_stage"], stages),
        "kernels": [_each(size, ndim) for size in _each(kwargs["kernel_sizes"], stages)],
        "strides": [_each(size, ndim) for size in _each(kwargs["strides"], stages)],
        "encoder": _each(kwargs[_DEPTHS[name]], stages),
        "decoder": _each(kwargs["n_conv_per_stage_decoder"], stages - 1),
        "bias": bool(kwargs.get("conv_bias", False)),
        "norm": "BatchNorm" if batch_norm else _known(_NORMS, "norm_op", kwargs["norm_op"]),
        "nonlinearity": _known(_NONLINEARITIES, "nonlin", kwargs["nonlin"]),
    }
    # PyTorch's own defaults where plans are silent; BatchNorm's is to have weights, InstanceNorm's is not.
    has_weights = norm.get("affine", arguments["norm"] == "BatchNorm")
    arguments |= {"eps": 1e-5, "affine": True} if batch_norm else {"eps": norm.get("eps", 1e-5), "affine": has_weights}
    if kwargs.get("dropout_op") is not None:
        _known(_DROPOUTS, "dropout_op", kwargs["dropout_op"])
        arguments["dropout"] = float(dropout.get("p", 0.5))
    return arguments


def _known(names: Mapping[str, Any], key: str, value: object) -> Any:  # noqa: ANN401 - a number or a name
    if value not in names:
        raise CardError(f"architecture: {key} {value!r} is not known; known: {', '.join(names)}")
    return names[str(value)]


def _refuse(section: str, keys: set[str]) -> None:
    if keys:
        raise CardError(f"architecture: {', '.join(sorted(keys))} of {section} is not known here")


def _each(value: Any, count: int) -> list[Any]:  # noqa: ANN401 - a number, or one per stage
    return list(value) if isinstance(value, list | tuple) else [value] * count


def normalization(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> Normalization:
    """Map the normalisation scheme, which all channels have in common.

    Raises:
        CardError: When the scheme is none of nnU-Net's, takes its numbers from a mask, or is not one for all.
    """
    schemes = configuration["normalization_schemes"]
    scheme, n_channels = schemes[0], len(schemes)
    if len(set(schemes)) > 1:
        raise CardError(f"channels that are normalised in different ways ({', '.join(schemes)}) are not known here")
    if any(configuration["use_mask_for_norm"]) and scheme == "ZScoreNormalization":
        raise CardError(
            "use_mask_for_norm: the model was fitted on volumes of zeros round what was scanned, normalised by what is "
            "not zero alone; that is not done here"
        )
    match scheme:
        case "CTNormalization":
            return _by_fingerprint(plans, n_channels)
        case "ZScoreNormalization":
            return SceneNormalization(percentiles=(0.0, 100.0), floor=_LOWEST)
        case "RescaleTo01Normalization":
            return SceneNormalization(percentiles=(0.0, 100.0), floor=_LOWEST, scale="range")
        case "RGBTo01Normalization":
            return FixedNormalization(
                clip=((0.0, 255.0),) * n_channels, mean=(0.0,) * n_channels, std=(255.0,) * n_channels
            )
        case "NoNormalization":
            return NoNormalization()
    raise CardError(f"normalisation {scheme!r} is none of nnU-Net's own and is not known here")


_LOWEST = float(np.finfo(np.float32).min)


def _by_fingerprint(plans: Mapping[str, Any], n_channels: int) -> FixedNormalization:
    properties = plans["foreground_intensity_properties_per_channel"]
    numbers = [properties[str(channel)] for channel in range(n_channels)]
    return FixedNormalization(
        clip=tuple((float(one["percentile_00_5"]), float(one["percentile_99_5"])) for one in numbers),
        mean=tuple(float(one["mean"]) for one in numbers),
        std=tuple(max(float(one["std"]), 1e-8) for one in numbers),
    )


def resampling(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> Resampling:
    """Map how values come to the model's spacing and scores back.

    Raises:
        CardError: When it is not nnU-Net's default function, or its arguments are not.
    """
    settings = {}
    for what in ("data", "probabilities"):
        if configuration[f"resampling_fn_{what}"] != _RESAMPLING:
            raise CardError(f"resampling_fn_{what} {configuration[f'resampling_fn_{what}']!r} is not known here")
        settings[what] = configuration[f"resampling_fn_{what}_kwargs"]
        _require_known(f"resampling_fn_{what}_kwargs", settings[what])
    data, back = settings["data"], settings["probabilities"]
    separate = data.get("force_separate_z", False)
    if separate is True or separate != back.get("force_separate_z", False):
        raise CardError(f"resampling with force_separate_z {separate!r} is not known here")
    if (
        data.get("order", 3) not in (1, 3)
        or back.get("order", 3) != 1
        or data.get("order_z", 0)
        or back.get("order_z", 0)
    ):
        raise CardError(
            "resampling: values of order 1 or 3 and probabilities of order 1 are known here, both of order 0 along "
            f"thick slices; plans.json says {data} and {back}"
        )
    normal = normalization(plans, configuration)
    clips = set(normal.clip) if isinstance(normal, FixedNormalization) else {None}
    if len(clips) > 1:
        raise CardError(f"channels clipped to different values ({', '.join(map(str, clips))}) are not known here")
    (clip,) = clips
    return Resampling(clip=clip, order=data.get("order", 3), nearest_above=None if separate is False else 3.0)


def _require_known(section: str, kwargs: Mapping[str, Any]) -> None:
    if unknown := sorted(kwargs.keys() - _RESAMPLED_BY - _RESAMPLED_AS.keys()):
        raise CardError(f"{section}: arguments {', '.join(unknown)} are not known here")
    for name, value in _RESAMPLED_AS.items():
        if kwargs.get(name, value) != value:
            raise CardError(f"{section}: {name} {kwargs[name]!r} is not known here, only {value!r}")
