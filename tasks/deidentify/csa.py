"""The header that Siemens hides in (0029,xx10): written anew with the numbers that mosaics and diffusion need.

Layout as nibabel and SPM read it: ``SV10``, four bytes, number of fields, 77; then per field its name (64 bytes), VM,
VR, type, number of items, 77; per item four lengths and its text, padded to four bytes. The older form lacks the first
eight bytes, and counts lengths from the number of items of its first field.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

CREATOR = "SIEMENS CSA HEADER"
ELEMENT = 0x10

_KEPT = frozenset(
    (
        *("NumberOfImagesInMosaic", "SliceNormalVector", "MosaicRefAcqTimes", "ProtocolSliceNumber", "SliceResolution"),
        *("B_value", "B_matrix", "DiffusionGradientDirection", "PhaseEncodingDirectionPositive"),
        *("BandwidthPerPixelPhaseEncode", "EchoLinePosition", "EchoColumnPosition", "SliceMeasurementDuration"),
        *("RealDwellTime", "TimeAfterStart"),
    )
)
_NUMBER = re.compile(rb" *[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)? *")
_MAGIC = b"SV10"
_FIELD = struct.Struct("<64si4s3i")
_ITEM = struct.Struct("<4i")
_CHECK = 77
_MOST = 1000


def silent_header(data: bytes) -> bytes | None:
    """Return a header of the fields that are kept, numbers all of them; None where it cannot be read or none is there.

    Raises:
        struct.error: When it ends in the middle of a field.
    """
    kept = [
        (name, vm, vr, kind, items)
        for name, vm, vr, kind, items in _fields(data)
        if name in _KEPT and items and all(_NUMBER.fullmatch(item) for item in items)
    ]
    if not kept:
        return None
    out = bytearray(_MAGIC + b"\4\3\2\1" + struct.pack("<2I", len(kept), _CHECK))
    for name, vm, vr, kind, items in kept:
        out += _FIELD.pack(name.encode("ascii"), vm, vr, kind, len(items), _CHECK)
        for item in items:
            text = item + b"\0"
            out += _ITEM.pack(len(text), len(text), _CHECK, len(text)) + text + bytes(-len(text) % 4)
    return bytes(out + bytes(len(out) % 2))


def _fields(data: bytes) -> Iterator[tuple[str, int, bytes, int, list[bytes]]]:
    new = data.startswith(_MAGIC)
    at = 8 if new else 0
    n_fields, _ = struct.unpack_from("<2I", data, at)
    at += 8
    if not 0 < n_fields <= _MOST:
        return
    lengths_from = 0
    for number in range(n_fields):
        raw, vm, vr, kind, n_items, _ = _FIELD.unpack_from(data, at)
        at += _FIELD.size
        if not number:
            lengths_from = 0 if new else n_items
        if not 0 <= n_items <= _MOST:
            return
        items = []
        for _ in range(n_items):
            first, second, _, _ = _ITEM.unpack_from(data, at)
            length = second if new else first - lengths_from
            at += _ITEM.size
            if not 0 <= length <= len(data) - at:
                return
            items.append(data[at : at + length].partition(b"\0")[0])
            at += length + -length % 4
        name = raw.partition(b"\0")[0].decode("latin-1")
        yield name, vm, vr.partition(b"\0")[0], kind, [item for item in items if item.strip()]
