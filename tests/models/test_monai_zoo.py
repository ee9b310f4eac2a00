"""Configurations of MONAI's model zoo as they are published: those that are read, and why the others are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from bundles import monai_labels, own_labels_of

from models.errors import CardError
from models.foreign.monai_bundle import _card
from models.foreign.monai_config import Config, read_config

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared"
ZOO = SHARED / "reports" / "med" / "zoo"
CT = SHARED / "data" / "medical-organ" / "msd-spleen-crop" / "sub-spleen2" / "ct" / "sub-spleen2_ct.nii.gz"
MR = SHARED / "data" / "medical-train" / "sts"
pytestmark = pytest.mark.skipif(not ZOO.is_dir(), reason=f"{ZOO}: the published configurations are not here")
READ = {
    "brats_mri_segmentation": ("SegResNet", 4, 5, "ijk", None),
    "pediatric_abdominal_ct_segmentation": ("DynUNet", 1, 4, "RAS", (1.5, 1.5, 3.0)),
    "prostate_mri_anatomy": ("UNet", 1, 3, "RAS", (0.5, 0.5, 0.5)),
    "segmentation_template": ("UNet", 1, 4, "ijk", None),
    "spleen_ct_segmentation": ("UNet", 1, 2, "RAS", (1.5, 1.5, 2.0)),
    "swin_unetr_btcv_segmentation": ("SwinUNETR", 1, 14, "RAS", (1.5, 1.5, 2.0)),
    "wholeBody_ct_segmentation": ("SegResNet", 1, 105, "RAS", (1.5, 1.5, 1.5)),
}
REFUSED = {
    "pancreas_ct_dints_segmentation": "dints_space",
    "renalStructures_UNEST_segmentation": "code of the bundle",
    "spleen_deepedit_annotation": "AddGuidanceSignalDeepEditd",
    "wholeBrainSeg_Large_UNEST_segmentation": "code of the bundle",
}


def card_of(name: str):
    configs = ZOO / name / "configs"
    inference = next(configs.glob("inference.*"))
    return _card(ZOO / name, read_config(configs / "metadata.json"), Config(read_config(inference), inference.name))


@pytest.mark.parametrize("name", READ)
def test_a_published_configuration_becomes_a_card(name):
    card = card_of(name)
    network, n_channels, n_classes, orientation, spacing_mm = READ[name]
    assert card.network.name == f"monai:{network}"
    assert (card.n_channels, card.n_classes) == (n_channels, n_classes)
    assert (card.orientation, card.spacing_mm) == (orientation, spacing_mm)


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_more_than_its_configuration_is_refused_by_that(name):
    with pytest.raises(CardError, match=REFUSED[name]):
        card_of(name)


def test_every_configuration_is_one_of_these():
    assert {path.name for path in ZOO.iterdir() if path.is_dir()} == READ.keys() | REFUSED.keys()


def prepared_bundle(name: str, folder: Path) -> Path:
    """Copy a configuration, with what only MONAI's own run of it needs changed, and weights made at random."""
    from monai.bundle import ConfigParser

    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    shutil.copy(ZOO / name / "configs" / "metadata.json", folder / "configs")
    inference = read_config(next((ZOO / name / "configs").glob("inference.*")))
    inference |= {"bundle_root": str(folder), "output_dir": str(folder / "eval"), "dataset_dir": str(folder)}
    inference |= {"device": "$torch.device('cpu')", "datalist": [], "handlers": []}
    inference["dataset"]["data"] = "@datalist"
    inference["dataloader"]["num_workers"] = 0
    inference["evaluator"] |= {"amp": False, "val_handlers": []}
    # Arguments that MONAI itself takes no more, and a reader that is not installed.
    inference["network_def"].pop("img_size", None)
    steps = inference["preprocessing"]["transforms"]
    for step in inference["transforms"] if isinstance(steps, str) else steps:
        step.pop("reader", None)
    if name == "brats_mri_segmentation":
        # Zeros round a small volume take a quarter of an hour.
        inference["inferer"]["roi_size"] = [64, 64, 32]
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    torch.manual_seed(0)
    network = ConfigParser(dict(inference)).get_parsed_content("network_def")
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def real_images(n_channels: int, is_ct: bool, folder: Path) -> list[Path]:
    """Cut a piece out of a real volume; further channels are made of its values, in other units."""
    source = nib.load(CT if is_ct else next(MR.glob("STS_*/MR_T1_image.nii.gz")))
    piece = source.slicer[30:118, 20:108, 2:26] if is_ct else source.slicer[:72, :72, :24]
    values = piece.get_fdata(dtype=np.float32)
    paths = [folder / f"scan_{channel:04d}.nii.gz" for channel in range(n_channels)]
    for channel, path in enumerate(paths):
        powered = values if channel == 0 else (1 + channel) * np.abs(values) ** np.float32(1 - 0.15 * channel)
        nib.save(nib.Nifti1Image(powered, piece.affine), path)
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("name", READ)
def test_labels_are_those_of_monais_evaluator_on_a_real_volume(name, tmp_path):
    bundle = prepared_bundle(name, tmp_path / name)
    images = real_images(READ[name][1], name not in {"brats_mri_segmentation", "prostate_mri_anatomy"}, tmp_path)
    theirs = np.rint(monai_labels(bundle, *images)).astype(int)
    ours = own_labels_of(bundle, images, tmp_path / "out")
    assert len(np.unique(theirs)) > 1, "random weights tell nothing apart"
    # Random weights leave classes all but equal in some voxels, where a rounding decides.
    assert np.mean(ours == theirs) >= 0.9995
