"""Small files of others, read whole: plain ones alone, that hold what they say, and text that does not grow."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import yaml

# Of text: jobs, cards, configurations.
MOST_TEXT_BYTES = 64 << 20
# A file of which less than this share is on the disk is a hole.
_MOST_HOLLOW = 4000
_BLOCK_BYTES = 512
_SMALL_BYTES = 1 << 30
# Values of a text, those that it repeats by aliases counted each time.
_MOST_VALUES = 200_000


def read_plain(path: Path, most_bytes: int | None = None) -> bytes:
    """Read a whole file.

    Args:
        path: Of the file.
        most_bytes: It may have; None for any number.

    Raises:
        OSError: When it cannot be read, is a folder, pipe or device, is larger, or is a hole with next to nothing in
            it; ``strerror`` says which.
    """
    # A pipe would be waited for until somebody writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", closefd=True) as file:
        status = os.fstat(descriptor)
        require_plain(path, status)
        if most_bytes is not None and status.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"{status.st_size} bytes, more than {most_bytes} are not believed", str(path))
        return file.read()


def require_plain(path: Path, status: os.stat_result) -> None:
    """Refuse what is no file, or a hole with next to nothing in it.

    Args:
        path: For the error.
        status: Of the file.

    Raises:
        OSError: When it is one; ``strerror`` says which.
    """
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "a folder, pipe or device, not a file", str(path))
    if is_hollow(path, status):
        raise OSError(errno.EINVAL, f"a sparse file, with next to nothing in its {status.st_size} bytes", str(path))


def is_hollow(path: Path, status: os.stat_result) -> bool:
    """Tell whether a plain file is large and next to nothing of it is on the disk.

    Args:
        path: Of the file.
        status: Of the same.

    Raises:
        OSError: When it cannot be opened.
    """
    if status.st_size <= _SMALL_BYTES:
        return False
    if status.st_blocks:
        return status.st_size > _MOST_HOLLOW * status.st_blocks * _BLOCK_BYTES
    # Nothing of it is there, or it lies on a mount that does not tell how many blocks a file has.
    with path.open("rb") as file:
        try:
            os.lseek(file.fileno(), 0, os.SEEK_DATA)
        except OSError as error:
            return error.errno == errno.ENXIO
    return False


def load_yaml(text: str) -> Any:  # noqa: ANN401 - whatever YAML can say
    """Return what YAML says.

    Raises:
        yaml.YAMLError: When it is none, or its aliases repeat themselves beyond all measure, or it holds itself.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is not None and _n_values(node, {}) > _MOST_VALUES:
        raise yaml.YAMLError(f"comes to more than {_MOST_VALUES} values, by aliases of aliases. Write them out")
    return yaml.safe_load(text)


def _n_values(node: yaml.Node, known: dict[int, int | None]) -> int:
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise yaml.YAMLError("an alias that holds itself. Write it out")
        return found
    known[id(node)] = None
    if isinstance(node, yaml.MappingNode):
        inner = [one for pair in node.value for one in pair]
    else:
        inner = node.value if isinstance(node, yaml.SequenceNode) else []
    known[id(node)] = total = 1 + sum(_n_values(one, known) for one in inner)
    return total
