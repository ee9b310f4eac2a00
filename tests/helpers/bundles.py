"""A small MONAI bundle, briefly fitted, and what MONAI itself makes of a volume with it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from tasks.files.fingerprint import Fingerprint
from tasks.intake.request import make_request
from tasks.jobs.job import Job
from tasks.products.begin import begin_product
from tasks.products.finish import finish
from tasks.scenes.volume.scene import describe_volume
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import prepare
from tasks.segment.settle import settle

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": "@n_classes",
    "channels": [6, 12, 16],
    "strides": [2, 2],
    "num_res_units": 0,
}
METADATA = {
    "name": "Blobs",
    "version": "0.1.0",
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "bright", "2": "dark"}}},
    },
}


def phantom(shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume of noise with bright and dark balls, and their labels, ``shape`` in file order."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    labels = np.zeros(shape, np.uint8)
    for k in range(14):
        centre, radius = rng.uniform(0, shape), rng.uniform(0.1, 0.2)
        labels[(((places - centre) / shape) ** 2).sum(axis=-1) < radius**2] = 1 + k % 2
    image = np.array([100.0, 300.0, -100.0])[labels] + rng.normal(0, 40, shape)
    return image.astype(np.float32), labels


def transforms(spacing: list[float] | None, normalization: dict[str, Any], *, first: bool = False) -> list[dict]:
    """Return preprocessing as bundles have it; ``first`` normalises before the spacing."""
    spaced = [{"_target_": "Spacingd", "keys": "image", "pixdim": spacing, "mode": "bilinear"}] if spacing else []
    normalised = [{"keys": "image", **normalization}]
    return [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        *(normalised + spaced if first else spaced + normalised),
        {"_target_": "EnsureTyped", "keys": "image"},
    ]


def config(before: list[dict], after: list[dict], inferer: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return ``inference.json``; three classes unless ``n_classes`` is changed, another inferer where it is named."""
    window = {"_target_": "SlidingWindowInferer", "roi_size": "@window", "sw_batch_size": 2, "overlap": 0.5}
    return {
        "imports": ["$import torch"],
        "device": "$torch.device('cpu')",
        "datalist": [],
        "n_classes": 3,
        "window": "$[32, 2 * 12, 16]",
        "network_def": NETWORK,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": before},
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": inferer if inferer and "_target_" in inferer else window | {"mode": "gaussian"} | (inferer or {}),
        "postprocessing": {"_target_": "Compose", "transforms": after},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
    }


def inverted(*, nearest: bool) -> dict[str, Any]:
    return {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "image",
        "nearest_interp": nearest,
        "to_tensor": True,
    }


def fitted() -> dict[str, torch.Tensor]:
    """Fit the bundle's network to balls on an isotropic grid."""
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    network = UNet(**{k: v for k, v in NETWORK.items() if k != "_target_"} | {"out_channels": 3})
    optimizer = torch.optim.Adam(network.parameters(), 2e-2)
    for step in range(30):
        image, labels = phantom((24, 24, 24), seed=100 + step)
        scores = network(torch.from_numpy(image)[None, None] / 200)
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels).long()[None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval().state_dict()


def one_logit(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of the network that says how much more likely class 1 is than class 0."""
    *_, weight, bias = state
    changed = {weight: state[weight][:, 1:2] - state[weight][:, :1], bias: state[bias][1:2] - state[bias][:1]}
    return state | changed


def write_bundle(folder: Path, inference: dict[str, Any], weights: object, metadata: dict | None = None) -> Path:
    """Write the three files of a bundle."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA if metadata is None else metadata))
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    torch.save(weights, folder / "models" / "model.pt")
    return folder


def monai_labels(bundle: Path, *images: Path) -> np.ndarray:
    """Return what MONAI's evaluator makes of a file, or of one for each channel, in file order."""
    from monai.bundle import ConfigParser

    with warnings.catch_warnings():
        # Its own business.
        warnings.simplefilter("ignore")
        parser = ConfigParser()
        parser.read_config(str(bundle / "configs" / "inference.json"))
        parser["datalist"] = [{"image": [str(image) for image in images] if len(images) > 1 else str(images[0])}]
        evaluator = parser.get_parsed_content("evaluator")
        weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
        parser.get_parsed_content("network_def").load_state_dict(weights)
        evaluator.run()
    pred = evaluator.state.output[0]["pred"]
    labels: np.ndarray = np.asarray(pred)[0]
    return labels


def own_labels_of(bundle: Path, images: list[Path], folder: Path) -> np.ndarray:
    """Return the mask of swathe's product of files, one for each channel; it lies on the first one's grid."""
    image = images[0]
    job = Job.model_validate({"job": "test", "kind": "volume", "model": {"weights": str(bundle)}})
    request = make_request(job, folder)
    card = request.card
    scene = describe_volume("scan", images, card.orientation, card.spacing_mm, folder / "spool", card.resampling)
    slot = measure_slot(card, request.card_folder, job, 1)
    prepared = prepare(request, scene, Fingerprint("scan", content_hashed=False), slot, 1)
    work = prepared.work
    list(PlainEngine().run_blocks(work, work.plan.blocks(work.scene.frame)))
    if work.is_settled:
        settle(work)
    product = begin_product(prepared)
    finish(request, prepared, product)
    mask = nib.load(product / "mask.nii.gz")
    np.testing.assert_array_equal(mask.affine, nib.load(image).affine)
    return np.asarray(mask.dataobj)
