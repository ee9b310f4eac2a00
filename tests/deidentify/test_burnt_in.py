"""Text in pixels: flagged, of a kind that holds it, or read by Tesseract in three frames."""

from __future__ import annotations

from pathlib import Path

import dicom_corpus as made
import numpy as np
import pytest
from deidentified import ALL, REFUSE, run
from PIL import Image, ImageDraw, ImageFont


def picture(text: str, *, rows: int = 256, size: int = 14) -> np.ndarray:
    """Return noise as of a scanner with text in it."""
    noise = np.random.default_rng(7).normal(400, 60, (rows, rows)).clip(0).astype(np.uint16)
    mask = Image.new("1", (rows, rows))
    ImageDraw.Draw(mask).text((6, 8), text, fill=1, font=ImageFont.load_default(size))
    noise[np.array(mask)] = 1400
    return noise


def save_picture(path: Path, text: str, number: int = 1, **facts: object) -> None:
    ds, _ = made.base(str(facts.pop("sop_class", made.CT)), number, 1, made.Markers(0))
    ds.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.77.{facts.pop('series', 1)}"
    ds.Modality = "CT"
    made.add_pixels(ds, picture(text))
    for word, value in facts.items():
        setattr(ds, word, value)
    made.save(ds, path)


@pytest.mark.parametrize("text", ["SMITH JOHN", "MUELLER ANNA 1957", "PAT 4711 KLINIKUM"])
def test_text_in_pixels_is_read_and_refused(tmp_path, text):
    save_picture(tmp_path / "in" / "a.dcm", text)
    (verdict,) = run(tmp_path / "in", tmp_path / "out", REFUSE)
    assert (verdict.status, verdict.code) == ("refused", "burnt-in-text")
    assert list((tmp_path / "out").rglob("*.dcm")) == []
    (allowed,) = run(tmp_path / "in", tmp_path / "allowed", ALL)
    assert allowed.status == "done"


def test_a_slice_with_text_costs_its_series_alone(tmp_path):
    for number in range(3):
        save_picture(tmp_path / "in" / f"a{number}.dcm", "DOE JANE" if number == 1 else "", number, series=1)
        save_picture(tmp_path / "in" / f"b{number}.dcm", "", 10 + number, series=2)
    verdicts = run(tmp_path / "in", tmp_path / "out", REFUSE)
    assert [verdict.code for verdict in verdicts] == ["burnt-in-text"] * 3 + [""] * 3


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"BurnedInAnnotation": "YES"}, "burnt-in-flag"),
        ({"RecognizableVisualFeatures": "YES"}, "burnt-in-flag"),
        ({"Modality": "US"}, "burnt-in-kind"),
        ({"Modality": "XA"}, "burnt-in-kind"),
        ({"Modality": "ES"}, "burnt-in-kind"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7"}, "burnt-in-kind"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "burnt-in-kind"),
    ],
)
def test_what_says_that_it_holds_text_or_is_of_a_kind_that_does_is_refused(tmp_path, facts, code):
    save_picture(tmp_path / "in" / "a.dcm", "", **facts)
    (verdict,) = run(tmp_path / "in", tmp_path / "out", REFUSE)
    assert (verdict.status, verdict.code) == ("refused", code)


def test_real_images_hold_no_text(data, tmp_path):
    """Ten series from five scanners: noise, tables and bones are no words."""
    patterns = [
        "medical-tumour/ibsi-sts/STS_002/*/image/00001*.dcm",
        "dicom-series/oblique-mr/Study3/*/00000[05].dcm",
        "dicom-series/torchio-ct/tests/image_data/dicom/IMG000*.dcm",
        "dicom-seg/qin-headneck/image/*-130.dcm",
    ]
    for number, path in enumerate(path for pattern in patterns for path in sorted(data.glob(pattern))[:3]):
        target = tmp_path / "in" / f"{number}.dcm"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    verdicts = run(tmp_path / "in", tmp_path / "out", REFUSE)
    assert len(verdicts) >= 8
    assert {(verdict.status, verdict.code) for verdict in verdicts} == {("done", "")}
