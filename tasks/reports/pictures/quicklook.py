"""A small picture of a product, for places where every byte is kept in a database."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

_WIDEST = 768
_LARGEST_BYTES = 150_000
_QUALITIES = (85, 70, 55, 40, 25)


def quicklook(preview: Path) -> bytes | None:
    """Return a JPEG of at most 768 pixels a side and 150 kB; None where there is no preview."""
    if not preview.is_file():
        return None
    with Image.open(preview) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((_WIDEST, _WIDEST))
    found = as_jpeg(picture)
    return found if len(found) <= _LARGEST_BYTES else None


def as_jpeg(picture: Image.Image) -> bytes:
    """Return a picture as JPEG, as well as 150 kB let it be; more where even the worst has more."""
    content = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        content = buffer.getvalue()
        if len(content) <= _LARGEST_BYTES:
            break
    return content
