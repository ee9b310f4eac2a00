"""Pixels copied byte for byte, in pieces; only what hides between and behind them goes."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID

from tasks.errors import IdentifyingError

PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)

_CHUNK_BYTES = 4 << 20
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN")
_UNDEFINED = 0xFFFFFFFF
_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_OVERLAY_BIT = 0x0102
_ITEM = 0xFFFEE000
_END_OF_ITEMS = 0xFFFEE0DD
_WORDS = {0x7FE00008: 4, 0x7FE00009: 8}

# Marker segments (ITU-T T.81 B.1.1.3): those from APP0 on, and comments.
_APP0, _APP8, _APP14, _APP15, _COMMENT = 0xE0, 0xE8, 0xEE, 0xEF, 0xFE
# What decoders read of them: density, colour transforms of JPEG-LS and of Adobe.
_READ_BY_DECODERS = {_APP0: (b"JFIF\0",), _APP8: (b"mrfx", b"SPIFF\0"), _APP14: (b"Adobe",)}
_JPEG_START = b"\xff\xd8"
_JPEG_SCAN = 0xDA
_JPEG_ALONE = (0x01, *range(0xD0, 0xDA))
_J2K_START = b"\xff\x4f"
_J2K_COMMENT = 0x64
_J2K_TILE = 0x90


def copy_pixels(source: BinaryIO, target: BinaryIO, header: Dataset, syntax: UID) -> None:
    """Copy the element of the pixels, at which the source stands, and nothing that comes after it.

    Args:
        source: At the tag of Pixel Data, or of its float forms.
        target: Behind the rest of the data set, in the same transfer syntax.
        header: Of the image, to tell how long its pixels are.
        syntax: Transfer syntax of both.

    Raises:
        IdentifyingError: When the pixels are cut off or cannot be read as what they are said to be.
    """
    order = "<" if syntax.is_little_endian else ">"
    tag, length, head = _element_head(source, order, implicit=syntax.is_implicit_VR)
    if tag not in PIXEL_TAGS:
        return
    target.write(head)
    layered = any(_number(header, (group << 16) | _OVERLAY_BIT) for group in range(0x6000, 0x6020, 2))
    if length == _UNDEFINED:
        if layered:
            raise IdentifyingError("closed-content", "overlays lie in its compressed pixels, and may hold text")
        _copy_fragments(source, target, order)
    else:
        cleared = _without_overlays(header, order) if layered else bytes
        _copy_native(source, target, length=length, expected=_native_bytes(header, tag), cleared=cleared)


def _element_head(source: BinaryIO, order: str, *, implicit: bool) -> tuple[int, int, bytes]:
    first = _exactly(source, 8)
    group, element = struct.unpack(f"{order}HH", first[:4])
    tag = (group << 16) | element
    if implicit:
        return tag, struct.unpack(f"{order}I", first[4:])[0], first
    if first[4:6] not in _LONG_VRS:
        return tag, struct.unpack(f"{order}H", first[6:])[0], first
    rest = _exactly(source, 4)
    return tag, struct.unpack(f"{order}I", rest)[0], first + rest


def _native_bytes(header: Dataset, tag: int) -> int | None:
    """Return how many bytes the pixels have; None where the header does not tell."""
    try:
        bits = 8 * _WORDS.get(tag, 0) or int(header.BitsAllocated)
        samples = int(header.get("SamplesPerPixel", 1) or 1)
        pixels = int(header.Rows) * int(header.Columns) * samples * int(header.get("NumberOfFrames", 1) or 1)
    except (AttributeError, TypeError, ValueError):
        return None
    if header.get("PhotometricInterpretation") == "YBR_FULL_422":
        pixels = pixels // 3 * 2
    return -(-pixels * bits // 8)


def _number(header: Dataset, tag: int) -> int:
    """Return a number of the header; 0 where it is missing or is none."""
    try:
        return int(header[tag].value) if tag in header else 0
    except (TypeError, ValueError):
        return 0


def _without_overlays(header: Dataset, order: str) -> Callable[[bytes], bytes]:
    """Return what clears the bits of pixels that are not the image's: overlays of old files lie in them."""
    bits, stored, high = (_number(header, tag) for tag in (_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT))
    if bits not in (8, 16, 32) or not 0 < stored <= bits or high != stored - 1:
        raise IdentifyingError("closed-content", "overlays lie in pixels of an unusual layout, and may hold text")
    dtype = np.dtype(f"{order}{'i' if _number(header, _SIGNED) else 'u'}{bits // 8}")
    shift = bits - stored

    def cleared(chunk: bytes) -> bytes:
        # There and back: what was above the image becomes zero, or the sign.
        return ((np.frombuffer(chunk, dtype) << shift) >> shift).astype(dtype).tobytes()

    return cleared


def _copy_native(
    source: BinaryIO, target: BinaryIO, length: int, expected: int | None, cleared: Callable[[bytes], bytes]
) -> None:
    """Copy as many bytes as there are pixels; what is declared beyond them becomes zeros."""
    wanted = length if expected is None else min(length, expected)
    left = wanted
    while left:
        chunk = source.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise IdentifyingError(
                "truncated", f"{left} of {wanted} bytes of pixels are not there. Copy the file again"
            )
        target.write(cleared(chunk))
        left -= len(chunk)
    behind = length - wanted
    while behind:
        target.write(bytes(min(behind, _CHUNK_BYTES)))
        behind -= min(behind, _CHUNK_BYTES)


def _copy_fragments(source: BinaryIO, target: BinaryIO, order: str) -> None:
    """Copy the offset table and each fragment, without what its codestream says to people."""
    first = True
    while True:
        head = _exactly(source, 8)
        group, element, length = struct.unpack(f"{order}HHI", head)
        tag = (group << 16) | element
        if tag == _END_OF_ITEMS:
            target.write(head)
            return
        if tag != _ITEM or length == _UNDEFINED:
            raise IdentifyingError("damaged", "the pixels are not in fragments as their transfer syntax says")
        fragment = _exactly(source, length)
        target.write(head)
        target.write(fragment if first else silent_codestream(fragment))
        first = False


def silent_codestream(fragment: bytes) -> bytes:
    """Return a fragment of the same length whose comments and application segments are zeros.

    Args:
        fragment: JPEG, JPEG-LS or JPEG 2000 from its start; others are returned as they are.
    """
    if fragment.startswith(_JPEG_START):
        return _silenced(fragment, _silence_jpeg)
    if fragment.startswith(_J2K_START):
        return _silenced(fragment, _silence_j2k)
    return fragment


def _silenced(fragment: bytes, silence: Callable[[bytearray, int, int], bool]) -> bytes:
    """Walk over the marker segments before the first coded data."""
    out = bytearray(fragment)
    at = 2
    while at + 4 <= len(out) and out[at] == 0xFF:
        marker = out[at + 1]
        if marker == 0xFF or marker in _JPEG_ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(out[at + 2 : at + 4])
        if silence(out, at, length) or length < 2:
            break
        at += 2 + length
    return bytes(out)


def _silence_jpeg(out: bytearray, at: int, length: int) -> bool:
    """Turn a segment that no decoder needs into an empty comment; tell whether coded data begin."""
    marker = out[at + 1]
    body = slice(at + 4, min(at + 2 + length, len(out)))
    needed = any(out[body].startswith(head) for head in _READ_BY_DECODERS.get(marker, ()))
    if marker == _COMMENT or (_APP0 <= marker <= _APP15 and not needed):
        out[at + 1] = _COMMENT
        out[body] = bytes(len(out[body]))
    return marker == _JPEG_SCAN


def _silence_j2k(out: bytearray, at: int, length: int) -> bool:
    marker = out[at + 1]
    if marker == _J2K_COMMENT:
        # Behind the two bytes that say whether it is text.
        body = slice(at + 6, min(at + 2 + length, len(out)))
        out[body] = bytes(len(out[body]))
    return marker == _J2K_TILE


def _exactly(source: BinaryIO, length: int) -> bytes:
    here = source.tell()
    left = source.seek(0, io.SEEK_END) - here
    source.seek(here)
    # A length that lies is not asked for: memory would be set aside for it.
    if left < length:
        raise IdentifyingError("truncated", f"{length - left} bytes of pixels are not there. Copy the file again")
    return source.read(length)
