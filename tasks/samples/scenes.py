"""Sample scenes for the demo: a folder of them, their public homes, or generated ones that say so."""

from __future__ import annotations

import hashlib
import logging
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tasks.files.fingerprint import file_sha256
from tasks.samples.synthetic import write_synthetic_fire, write_synthetic_volume

logger = logging.getLogger(__name__)

# Where the samples lie beside a checkout, tried when SWATHE_SAMPLES names no other folder.
_BESIDE = Path("../shared/data")
_TIMEOUT_S = 20
_FIRE_HOME = "https://raw.githubusercontent.com/Runan-Duan/Wildfire_Detection/HEAD/data_example"
_SARCOMA_HOME = "https://raw.githubusercontent.com/theibsi/data_sets/HEAD/ibsi_validation/nifti"


@dataclass(frozen=True)
class _File:
    path: str
    url: str
    sha256: str


@dataclass(frozen=True)
class Sample:
    """One scene of the demo, and the answer that it is compared with.

    Attributes:
        name: Its id.
        files: By role.
        reference: The reference mask.
        origin: Where it comes from, and that it is synthetic where it is.
    """

    name: str
    files: dict[str, Path]
    reference: Path
    origin: str


_FIRE = (
    _File(
        "satellite-fire/calfire-s2/post_fire/CREEK_20240726.tif",
        f"{_FIRE_HOME}/post_fire/CREEK_20240726.tif",
        "6e28b5e7215552dfce920c8480a76334b4dff76bf7f3513772c0164e4ef2824b",
    ),
    _File(
        "satellite-fire/calfire-s2/dnbr/CREEK_20240726.tif",
        f"{_FIRE_HOME}/dnbr/CREEK_20240726.tif",
        "5a9e2509a0cb79dd963c1de8e5af5a6a143db26f2615b429c06d7bd690715ce3",
    ),
    _File(
        "satellite-fire/calfire-s2/masks/CREEK_20240726.tif",
        f"{_FIRE_HOME}/masks/CREEK_20240726.tif",
        "9200662e6aa05a8a9ca24350b7843b916a45946cd390523f003948498365eb68",
    ),
)
_SARCOMA = (
    _File(
        "medical-train/sts/STS_002/MR_T1_image.nii.gz",
        f"{_SARCOMA_HOME}/STS_002/MR_T1_image.nii.gz",
        "30f6cc14233abb9084794ea818e6c69c77b0cf09453b65cbe15c9e5f1d0fe056",
    ),
    _File(
        "medical-train/sts/STS_002/MR_T1_mask.nii.gz",
        f"{_SARCOMA_HOME}/STS_002/MR_T1_mask.nii.gz",
        "ea066ddfa87edd8e353366c58f9568acabcc036d042e83b99707f3c8c86dc351",
    ),
)


# A demo shows what a product looks like; how good a model is on new scenes is in docs/quality.md.
_SEEN = "; the weights were fitted on it among others"


def data_folder() -> Path | None:
    """Return the folder of sample data: ``SWATHE_SAMPLES``, else the one beside the checkout; None without one."""
    named = os.environ.get("SWATHE_SAMPLES")
    folder = Path(named) if named else _BESIDE
    return folder if folder.is_dir() else None


def fire_sample(scratch: Path) -> Sample:
    """Return a burned area with its official perimeter; a synthetic one where there is no other."""
    found = _find(_FIRE, scratch)
    if found is None:
        return large_sample(scratch, 256)
    files = {"post": found[0], "dnbr": found[1]}
    return Sample("CREEK_20240726", files, found[2], f"Sentinel-2, CAL FIRE perimeter{_SEEN}")


def sarcoma_sample(scratch: Path) -> Sample:
    """Return a T1 MR volume with an expert's contour; a synthetic one where there is no other."""
    found = _find(_SARCOMA, scratch)
    if found is None:
        volume, reference = write_synthetic_volume(scratch / "synthetic", "synthetic-sarcoma")
        return Sample("synthetic-sarcoma", {"file": volume}, reference, "SYNTHETIC")
    return Sample("STS_002", {"file": found[0]}, found[1], f"TCIA Soft-Tissue-Sarcoma, CC BY 3.0{_SEEN}")


def large_sample(scratch: Path, side: int) -> Sample:
    """Return a generated raster of ``side`` by ``side`` pixels, named synthetic."""
    name = f"synthetic-{side}"
    post, dnbr, reference = write_synthetic_fire(scratch / "synthetic", name, side)
    return Sample(name, {"post": post, "dnbr": dnbr}, reference, "SYNTHETIC")


def _find(files: tuple[_File, ...], scratch: Path) -> list[Path] | None:
    folder = data_folder()
    if folder is not None and all((folder / file.path).is_file() for file in files):
        return [folder / file.path for file in files]
    try:
        return [_download(file, scratch / "downloads") for file in files]
    except (urllib.error.URLError, OSError, ValueError) as error:
        logger.warning("samples cannot be downloaded (%s); generated ones, named synthetic, take their place", error)
        return None


def _download(file: _File, folder: Path) -> Path:
    path = folder / file.path
    if path.is_file() and file_sha256(path) == file.sha256:
        return path
    with urllib.request.urlopen(file.url, timeout=_TIMEOUT_S) as response:
        content: bytes = response.read()
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ValueError(f"{file.url} does not have the expected SHA-256")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
    return path
