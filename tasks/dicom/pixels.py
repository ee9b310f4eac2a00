"""Decodes slices one at a time. Runs in the child process of ``tasks.dicom.reader`` only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tasks.dicom.findings import Finding, SeriesError
from tasks.dicom.header import DAMAGED, NATIVE, reason, transfer_syntax
from tasks.dicom.instance import PixelLayout, Slice

# One decoder each: which of several a machine happens to have must not change a value.
_DECODERS = {
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), "gdcm"),
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), "pyjpegls"),
    **dict.fromkeys((JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K), "pylibjpeg"),
    RLELossless: "pylibjpeg",
}
# Values with a unit do not depend on how they are shown; others are turned round where low is white.
_WITH_UNIT = ("CT", "PT")


@dataclass(frozen=True)
class _Stored:
    """How one file stores numbers, as far as decoding needs it."""

    layout: PixelLayout
    padding: int | None
    source: Any
    decoder: str


def decoded(slices: Sequence[Slice], shape: tuple[int, int], modality: str) -> Iterator[NDArray[Any]]:
    """Yield stored values of slices, one after the other.

    Bits above the highest that counts are cut off, but for padding. Where low values are shown white (MONOCHROME1) and
    have no unit, they are turned round.

    Args:
        slices: Of one volume, in any order.
        shape: Rows and columns of each.
        modality: Says whether values have a unit.

    Yields:
        Arrays ``shape`` of the file's numbers: integers, or floating point numbers.

    Raises:
        SeriesError: When pixels are damaged, or stored in a way that nothing here decodes.
    """
    for path, planes in groupby(slices, key=lambda plane: plane.path):
        run = list(planes)
        stored = _open(path)
        frames = [frame for frame, _ in groupby(run, key=lambda plane: plane.frame)]
        pictures = _frames(path, stored, frames)
        whole, current = None, None
        for plane in run:
            if plane.frame != current:
                whole, current = _counted(next(pictures), stored, modality), plane.frame
            if whole is None:
                raise _damaged(path, "no frame")
            yield _cut(whole, plane, shape, path)


def decoded_colours(path: str) -> NDArray[np.uint8]:
    """Return the first frame of a colour picture as red, green and blue, ``(rows, cols, 3)``.

    Raises:
        SeriesError: When pixels are damaged, or stored in a way that nothing here decodes.
    """
    stored = _open(path)
    try:
        frame: NDArray[np.uint8] = next(iter_pixels(stored.source, indices=[0], decoding_plugin=stored.decoder))
    except (*DAMAGED, RuntimeError, StopIteration) as error:
        raise _damaged(path, reason(error, path)) from error
    return frame


def _open(path: str) -> _Stored:
    try:
        with Path(path).open("rb") as file:
            dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            syntax = UID(transfer_syntax(dataset))
            source: Any = path
            if syntax == DeflatedExplicitVRLittleEndian or not getattr(dataset.file_meta, "TransferSyntaxUID", None):
                # One is unpacked as a whole anyway; for the other, of the time before such files, no decoder is found.
                file.seek(0)
                source = dcmread(file, force=True)
                source.file_meta.TransferSyntaxUID = syntax
        padding = dataset.get("PixelPaddingValue")
        layout = PixelLayout(
            rows=int(dataset.Rows),
            cols=int(dataset.Columns),
            photometric=str(dataset.get("PhotometricInterpretation", "MONOCHROME2")),
            samples=int(dataset.get("SamplesPerPixel", 1)),
            bits_allocated=int(dataset.BitsAllocated),
            bits_stored=int(dataset.get("BitsStored") or dataset.BitsAllocated),
            high_bit=int(dataset.get("HighBit") or int(dataset.get("BitsStored") or dataset.BitsAllocated) - 1),
            is_signed=int(dataset.get("PixelRepresentation", 0)) == 1,
        )
        return _Stored(layout, padding if isinstance(padding, int) else None, source, _decoder(syntax))
    except DAMAGED as error:
        raise _damaged(path, reason(error, path)) from error


_TAGS = ["Rows", "Columns", "PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelPaddingValue"]  # fmt: skip


def _decoder(syntax: UID) -> str:
    if syntax in NATIVE:
        return ""
    try:
        is_known = syntax in _DECODERS and get_decoder(syntax).is_available
    except NotImplementedError:
        is_known = False
    if not is_known:
        name = syntax.name if not syntax.is_private else "a private transfer syntax"
        raise SeriesError(
            Finding(
                "unknown_transfer_syntax", f"stored as {name} ({syntax}), which is not decoded. Transcode the series"
            )
        )
    return _DECODERS[syntax]


def _frames(path: str, stored: _Stored, frames: Sequence[int]) -> Iterator[NDArray[Any]]:
    try:
        # pydicom would cut off bits without a look at where they stand, and padding with them.
        own_bits: dict[str, Any] = {} if stored.decoder else {"correct_unused_bits": False}
        yield from iter_pixels(stored.source, raw=True, indices=frames, decoding_plugin=stored.decoder, **own_bits)
    except (*DAMAGED, RuntimeError) as error:
        raise _damaged(path, reason(error, path)) from error


def _counted(values: NDArray[Any], stored: _Stored, modality: str) -> NDArray[Any]:
    layout = stored.layout
    if values.dtype.kind == "f":
        return values
    unused = layout.bits_allocated - layout.bits_stored
    if unused > 0 and not stored.decoder:
        low = layout.high_bit + 1 - layout.bits_stored
        # Up to the top of the number and back down: what lies above is lost, and a sign is carried along.
        counted = (values << (layout.bits_allocated - 1 - layout.high_bit)) >> unused if low >= 0 else values
        if stored.padding is not None:
            counted = np.where(values == stored.padding, values, counted)
        values = counted.astype(values.dtype, copy=False)
    if layout.photometric == "MONOCHROME1" and modality not in _WITH_UNIT:
        highest = (1 << layout.bits_stored) - 1
        values = (-1 - values) if layout.is_signed else (highest - values)
    return values


def _cut(whole: NDArray[Any], plane: Slice, shape: tuple[int, int], path: str) -> NDArray[Any]:
    row, col = plane.corner or (0, 0)
    part = whole[row : row + shape[0], col : col + shape[1]] if plane.corner is not None else whole
    if part.shape[:2] != shape:
        raise _damaged(path, f"{whole.shape[:2]} pixels where {shape} were expected")
    return part


def _damaged(path: str, what: str) -> SeriesError:
    return SeriesError(Finding("damaged_pixel_data", f"pixels of a slice cannot be decoded ({what})", (path,)))
