"""Which errors may be gone when one tries again: those of networks and mounts, never those of bad input."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from models.errors import SwatheError

_ERRNOS = frozenset(
    {
        errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EREMOTEIO, errno.ENETDOWN,
        errno.ENETRESET, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ENOTCONN,
        errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET,
    }
)  # fmt: skip
# GDAL tells of networks in words alone.
_WORDS = re.compile(
    r"HTTP (?:response|error) code *:? *(?:408|425|429|5\d\d)|Could not resolve host|Failed to connect to"
    r"|Connection (?:timed out|reset|refused)|Operation timed out|Timeout was reached|Empty reply from server"
    r"|Recv failure",
    re.IGNORECASE,
)


def is_transient(error: BaseException) -> bool:
    """Tell whether an error, or what it came from, may be gone after a while."""
    return any(_is_transient(one) for one in _chain(error))


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, SwatheError):
        return False
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    return isinstance(error, ConnectionError | TimeoutError) or bool(_WORDS.search(str(error)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__
