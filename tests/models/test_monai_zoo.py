"""Configurations of MONAI's model zoo as they are published: those that are read, and why the others are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import CardError
from models.foreign.monai_bundle import _card
from models.foreign.monai_config import Config, read_config

ZOO = Path(__file__).resolve().parents[2] / ".." / "shared" / "reports" / "med" / "zoo"
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
