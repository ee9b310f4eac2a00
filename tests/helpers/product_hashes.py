"""``cd tests/helpers && python -m product_hashes [FILE]``: SHA-256 of every file of the products of five jobs.

A change that is none of what products hold leaves every line as it was: write the lines of the state before into a
file, and name it to the state after, which then tells what differs and ends with 1. Run records (``run.json``) are
left out. Two states of one machine are compared, in one environment; of two machines the networks' last bits differ.
"""

from __future__ import annotations

import csv
import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bundles import NETWORK, config, inverted, phantom, transforms, write_bundle
from monai.networks.nets import UNet
from nnunet_folders import KWARGS, blobs, plans_of, write_folder, write_scan
from scenes import write_raster, write_volume

from models.networks.nnunet import NnunetArguments, unet
from tasks.samples.scenes import fire_sample

# What a machine decides for itself where it is not told.
RUN = "run: {threads: 1, device: cpu, dtype: float32}\n"
RASTER = "kind: raster\ntiling: {block: 512}\n" + RUN
VOLUME = "kind: volume\ntiling: {block: [32, 64, 64]}\noutput: {confidence: true}\nanalysis: {kind: tumour}\n" + RUN
CLASSICAL = """
job: classical
model: {name: kmeans, arguments: {classes: 3}}
output: {confidence: true}
analysis: {kind: area}
"""
INSTANCES = """
job: instances
model: {name: threshold, arguments: {threshold: 100}}
output: {confidence: true, instances: {split: distance, min_distance_px: 8, min_pixels: 20}}
"""
_EXCEPT = "run.json"
_SAMPLES = Path(__file__).resolve().parents[2] / "../shared/data"


@dataclass(frozen=True)
class Case:
    """One run: a job, what it is told beside, and what it gets."""

    job: str
    inputs: Path
    overrides: tuple[str, ...] = ()


def cases(folder: Path) -> dict[str, Case]:
    """Write jobs, models and scenes."""
    return {
        "fire": Case("fire", _fire_table(folder), ("run.threads=1", "run.device=cpu", "run.dtype=float32",
                                                  "tiling.tile=256", "tiling.block=512")),
        "classical": Case(_written(folder / "classical.yaml", RASTER + CLASSICAL), _patches(folder)),
        "instances": Case(_written(folder / "instances.yaml", RASTER + INSTANCES), _patches(folder)),
        "monai": Case(_written(folder / "monai.yaml", _with_model("monai", _bundle(folder))), _volume(folder)),
        "nnunet": Case(_written(folder / "nnunet.yaml", _with_model("nnunet", _nnunet(folder))), _scan(folder)),
    }  # fmt: skip


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def _with_model(job: str, model: Path) -> str:
    return f"job: {job}\nmodel: {{weights: {model}}}\n{VOLUME}"


def _fire_table(folder: Path) -> Path:
    sample = fire_sample(folder)
    path = folder / "fire.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["scene", *sample.files])
        rows.writerow([sample.name, *(name.resolve() for name in sample.files.values())])
    return path


def _patches(folder: Path) -> Path:
    """A raster of two blocks by two, with a margin where nothing was observed."""
    rng = np.random.default_rng(3)
    coarse = np.kron(rng.integers(0, 200, (1, 70, 60)), np.ones((1, 10, 10), int))
    values = (coarse + rng.integers(1, 9, coarse.shape)).astype(np.uint8)
    values[:, :13] = 0
    return write_raster(folder / "patches.tif", values, nodata=0)


def _volume(folder: Path) -> Path:
    return write_volume(folder / "balls.nii.gz", phantom((46, 40, 20))[0])


def _bundle(folder: Path) -> Path:
    torch.manual_seed(0)
    network = UNet(**{name: value for name, value in NETWORK.items() if name != "_target_"} | {"out_channels": 3})
    before = transforms([1.0, 1.0, 2.5], {"_target_": "NormalizeIntensityd", "nonzero": False})
    after = [{"_target_": "Activationsd", "keys": "pred", "softmax": True}, inverted(nearest=False),
             {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}]  # fmt: skip
    return write_bundle(folder / "bundle", config(before, after), network.eval().state_dict())


def _scan(folder: Path) -> Path:
    return write_scan(folder / "scan.nii.gz", blobs((24, 40, 40), (2.2, 0.9, 0.9), 7)[0], (2.2, 0.9, 0.9))


def _nnunet(folder: Path) -> Path:
    """One fold, mirrored, resampled between the spacing of the scan and its own."""
    arguments = NnunetArguments(
        architecture="PlainConvUNet",
        ndim=3,
        features=tuple(KWARGS["features_per_stage"]),
        kernels=tuple(map(tuple, KWARGS["kernel_sizes"])),
        strides=tuple(map(tuple, KWARGS["strides"])),
        encoder=tuple(KWARGS["n_conv_per_stage"]),
        decoder=tuple(KWARGS["n_conv_per_stage_decoder"]),
    )
    torch.manual_seed(1)
    weights = unet(1, 3, arguments).eval().state_dict()
    return write_folder(folder / "results", [weights], plans_of("CTNormalization", KWARGS, "PlainConvUNet"))


def product_lines(name: str, case: Case, folder: Path) -> list[str]:
    """Run a case, and return a line per file of its products."""
    from flows.batch.orders import Batch
    from flows.batch.segment import segment_batch

    out = folder / f"{name}-out"
    batch = Batch(
        inputs=[str(case.inputs)], job=case.job, out=out, workers=1, device="cpu", overrides=list(case.overrides)
    )
    outcomes = segment_batch(batch)
    if wrong := [f"{one.scene}: {one.status}: {one.error}" for one in outcomes if one.status != "done"]:
        raise SystemExit(f"{name}: {'; '.join(wrong)}")
    products = sorted(path for one in outcomes for path in (out / one.scene).iterdir())
    return [f"{_sha256(path)}  {name}/{path.relative_to(out)}" for path in products if path.name != _EXCEPT]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: list[str]) -> None:
    """Write the lines, or what differs from those of a file."""
    known = None if not arguments else Path(arguments[0]).read_text().splitlines()
    os.environ.setdefault("SWATHE_SAMPLES", str(_SAMPLES))
    with tempfile.TemporaryDirectory(prefix="swathe-hashes-") as name:
        folder = Path(name)
        os.environ["SWATHE_CACHE"] = str(folder / "cache")
        lines = []
        for case_name, case in cases(folder).items():
            lines += product_lines(case_name, case, folder)
    if known is None:
        sys.stdout.write("\n".join(lines) + "\n")
        return
    differing = [f"- {line}" for line in known if line not in lines]
    differing += [f"+ {line}" for line in lines if line not in known]
    sys.stdout.write("\n".join(differing) + "\n" if differing else f"all {len(lines)} files as before\n")
    if differing:
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
