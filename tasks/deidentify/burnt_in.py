"""Text in pixels: what the header says of it, what kind of image it is, and what Tesseract reads."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array

from tasks.deidentify.damage import UNDECODABLE, require_damage
from tasks.deidentify.reading import text_of, texts_of
from tasks.errors import IdentifyingError, StoreError

# Screens, films, cameras and scopes write names where everybody sees them.
_MODALITIES = frozenset(("US", "IVUS", "SC", "XA", "ES", "XC", "GM", "OT", "DOC", "HC", "SMR"))
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
_SCREENS = frozenset(("SCREEN SAVE", "SCREENSAVE", "SCREENSHOT", "SCREEN"))

_LIMIT_S = 120
_MOST_PIXELS = 1 << 27
# Letters of ten pixels are read better when they are twenty.
_SMALL_PIXELS = 1200
# Percent. Noise is read as a short word now and then, and never with certainty.
_SURE = 70
_SURE_OF_SHORT = 90
_WORD = re.compile(r"[^\W_]{3,}")
_LONG = re.compile(r"[^\W_]{4,}")
_ODD_ONE_OUT = 0.1


@dataclass(frozen=True)
class Word:
    """A word that was read in a picture.

    Attributes:
        confidence: Of Tesseract, in percent.
        letters: How many it has; what they are is not told.
    """

    confidence: float
    letters: int


def marked(header: Dataset) -> None:
    """Refuse an image that says it holds text, or is of a kind that does.

    Raises:
        IdentifyingError: ``burnt-in-flag`` or ``burnt-in-kind``.
    """
    if text_of(header, "BurnedInAnnotation").upper() == "YES":
        raise IdentifyingError("burnt-in-flag", "(0028,0301) says that text is burnt into its pixels")
    if text_of(header, "RecognizableVisualFeatures").upper() == "YES":
        raise IdentifyingError("burnt-in-flag", "(0028,0302) says that a person can be recognized in it")
    modality = text_of(header, "Modality").upper()
    kinds = {kind.strip().upper() for kind in texts_of(header, "ImageType")}
    if modality in _MODALITIES:
        raise IdentifyingError("burnt-in-kind", f"images of the modality {modality} often hold text")
    if text_of(header, "SOPClassUID").startswith(_CAPTURES) or kinds & _SCREENS:
        raise IdentifyingError("burnt-in-kind", "captures of screens and films often hold text")


def require_tesseract() -> None:
    """Refuse to go on without the program that reads text.

    Raises:
        StoreError: When it is not installed.
    """
    if shutil.which("tesseract") is None:
        raise StoreError(
            "tesseract is not installed, so nobody looks for names in pixels. Install it (Debian: apt install "
            "tesseract-ocr), or say that somebody has looked: --burnt-in allow"
        )


def frames_to_read(n_frames: int) -> tuple[int, ...]:
    """Return the first, the middle and the last of so many frames, from 0."""
    return tuple(sorted({0, n_frames // 2, max(0, n_frames - 1)}))


def words_in_frame(path: Path, header: Dataset, frame: int) -> list[Word]:
    """Return the words that Tesseract reads in one frame.

    Args:
        path: Of the file.
        header: Of the same file.
        frame: From 0.

    Raises:
        IdentifyingError: When the frame cannot be decoded, so that nobody can look at it.
    """
    try:
        n_pixels = int(header.Rows) * int(header.Columns)
        if n_pixels > _MOST_PIXELS:
            raise IdentifyingError("oversized", f"a frame of {n_pixels} pixels cannot be searched for text")
        pixels = np.asarray(pixel_array(path, index=frame))
    except (*UNDECODABLE, MemoryError) as error:
        require_damage(error)
        syntax = getattr(header.file_meta.get("TransferSyntaxUID", None), "name", "unknown")
        raise IdentifyingError(
            "undecodable", f"its pixels ({syntax}) cannot be decoded, so nobody can see whether they hold a name"
        ) from error
    return [word for picture in _pictures(pixels) for word in _read(picture)]


def _pictures(pixels: NDArray[np.generic]) -> Iterator[Image.Image]:
    """Yield a frame as one looks at it, and what stands out in it by one extreme value, as letters do."""
    values = np.nan_to_num(pixels.astype(np.float32))
    if values.ndim == 3:
        values = values.max(axis=-1)
    low, high = np.percentile(values, (0.5, 99.5))
    if high > low:
        yield _enlarged(np.clip((values - low) / (high - low) * 255, 0, 255).astype(np.uint8))
    top = values == values.max()
    if 0 < top.mean() < _ODD_ONE_OUT:
        # Black on white, which is what Tesseract was taught on.
        yield _enlarged(np.where(top, 0, 255).astype(np.uint8))


def _enlarged(picture: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(picture)
    if max(image.size) < _SMALL_PIXELS:
        image = image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
    # Letters at the very edge are not read.
    framed = Image.new("L", (image.width + 40, image.height + 40), int(np.median(picture)))
    framed.paste(image, (20, 20))
    return framed


def _read(picture: Image.Image) -> Iterator[Word]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    command = ["tesseract", "stdin", "stdout", "--psm", "11", "--dpi", "150", "-l", "eng", "tsv"]
    try:
        done = subprocess.run(
            command,
            input=buffer.getvalue(),
            capture_output=True,
            timeout=_LIMIT_S,
            check=True,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise IdentifyingError("undecodable", f"tesseract did not read a frame: {type(error).__name__}") from error
    for line in done.stdout.decode("utf-8", "replace").splitlines()[1:]:
        columns = line.split("\t")
        if len(columns) == 12 and _is_word(columns[11], float(columns[10])):
            yield Word(float(columns[10]), len(columns[11].strip()))


def _is_word(text: str, confidence: float) -> bool:
    if confidence >= _SURE_OF_SHORT:
        return _WORD.search(text) is not None
    return confidence >= _SURE and _LONG.search(text) is not None
