"""Gzip files as gunzip reads them: one member after another, and what stands behind the last one is left alone."""

from __future__ import annotations

import zlib
from typing import IO

MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 18
# zlib's way of saying: with the header and the checksum of gzip.
_GZIP_BITS = 31


class GzipStream:
    """A reader from the beginning to the end.

    Python's ``gzip`` refuses a file that a transfer, a tape or a mailer added bytes to; gunzip, nibabel and ITK read
    it.

    Attributes:
        has_surplus: Whether something that is no gzip member stands behind the last one; known at the end.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._member = zlib.decompressobj(_GZIP_BITS)
        self._waiting = b""
        self._ended = False
        self.has_surplus = False

    def read(self, n_bytes: int, /) -> bytes:
        """Return up to so many bytes; none at the end.

        Raises:
            EOFError: When the file ends inside a member.
            zlib.error: When it is damaged, or a checksum is wrong.
        """
        while not self._ended:
            if self._member.eof and not self._next_member():
                break
            data = self._waiting or self._file.read(_CHUNK_BYTES)
            if not data:
                raise EOFError("the file ends before its last gzip member does")
            found = self._decompressed(data, n_bytes)
            self._waiting = self._member.unconsumed_tail or self._member.unused_data
            if found:
                return found
        return b""

    def _decompressed(self, data: bytes, n_bytes: int) -> bytes:
        try:
            return self._member.decompress(data, n_bytes)
        except zlib.error as error:
            if "incorrect" in str(error):
                raise zlib.error("the checksum (CRC) is wrong") from error
            raise

    def _next_member(self) -> bool:
        """Begin the next member; zeros, which tapes and block devices add, may stand between."""
        rest = self._waiting.lstrip(b"\0")
        while len(rest) < len(MAGIC) and (data := self._file.read(_CHUNK_BYTES)):
            rest = (rest + data).lstrip(b"\0")
        self._ended = not rest.startswith(MAGIC)
        self.has_surplus = self._ended and bool(rest)
        self._member, self._waiting = zlib.decompressobj(_GZIP_BITS), rest
        return not self._ended
