"""Make the pictures of the gallery from the sample data: ``SWATHE_SAMPLES=... python docs/site/gallery.py``.

Products are kept in ``build/gallery``, so that a second run makes the pictures alone.
"""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "images" / "gallery"
PRODUCTS = ROOT / "build" / "gallery"
WIDTH, QUALITY = 640, 72


@dataclass(frozen=True)
class Piece:
    """One picture.

    Attributes:
        name: Of its file.
        scene: That is looked at, relative to the samples.
        options: Of ``swathe segment``.
        shown: Number of the report's picture that is taken, from 0; None for the preview.
    """

    name: str
    scene: str
    options: tuple[str, ...]
    shown: int | None = None


FIRE = ("satellite-fire/calfire-s2/post_fire/CREEK_20240726.tif", ("--job", "fire"))
PIECES = (
    Piece("fire", *FIRE),
    Piece("severity", *FIRE, shown=2),
    Piece(
        "fields",
        "satellite-crop/solaris-nebraska/sample_geotiff_custom_proj.tif",
        ("--model", "kmeans", "--set", "classes=3"),
    ),
    Piece(
        "flood",
        "satellite-other/sen1floods11/S2/Spain_7370579_S2Hand.tif",
        ("--model", "otsu", "--set", "features=(B3 - B8) / (B3 + B8)", "--set", "names=[land, water]"),
    ),
    Piece("sarcoma", "medical-tumour/ibsi-sts/STS_002/MR_T1_image.nii.gz", ("--job", "sarcoma")),
)


def main() -> None:
    """Make all pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    samples = Path(os.environ["SWATHE_SAMPLES"])
    for piece in PIECES:
        product = segmented(samples / piece.scene, piece.options)
        report = product / "report.html"
        shown = product / "preview.png" if piece.shown is None else io.BytesIO(pictures_of(report)[piece.shown])
        with Image.open(shown) as picture:
            small = picture.convert("RGB")
        small.thumbnail((WIDTH, 4 * WIDTH))
        small.save(PICTURES / f"{piece.name}.webp", "WEBP", quality=QUALITY, method=6)


def segmented(scene: Path, options: tuple[str, ...]) -> Path:
    """Return the product of a scene, and make it where it is not there."""
    out = PRODUCTS / re.sub(r"\W+", "-", "-".join((scene.stem.split(".")[0], *options))).strip("-")
    if not any(out.glob("*/report.html")):
        subprocess.run(["swathe", "segment", str(scene), *options, "--out", str(out)], check=True)
    return next(path.parent for path in out.glob("*/report.html"))


def pictures_of(report: Path) -> list[bytes]:
    """Return the pictures that a report holds."""
    return [base64.b64decode(text) for text in re.findall(r"data:image/webp;base64,([\w+/=]+)", report.read_text())]


if __name__ == "__main__":
    main()
