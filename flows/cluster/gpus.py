"""How busy the GPUs of this machine are, as the driver's own program tells."""

from __future__ import annotations

import logging
import shutil
import subprocess

from tasks.nights.figures import Gpu

logger = logging.getLogger(__name__)

_ASKED = "index,utilization.gpu,memory.used,memory.total"
_TIMEOUT_S = 10.0
_MIB = 2**20


def gpus() -> list[Gpu]:
    """Return the GPUs of this machine; none where there is no driver, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={_ASKED}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("the driver does not tell of its GPUs: %s", error)
        return []
    return read_gpus(said)


def read_gpus(said: str) -> list[Gpu]:
    """Read a line per GPU; what one does not support (``[N/A]``) is NaN, or 0 bytes."""
    rows = [[cell.strip() for cell in line.split(",")] for line in said.splitlines() if line.strip()]
    return [Gpu(index, _number(busy), _bytes(used), _bytes(total)) for index, busy, used, total in rows]


def _number(cell: str) -> float:
    return float(cell) if cell.replace(".", "", 1).isdigit() else float("nan")


def _bytes(cell: str) -> int:
    return int(cell) * _MIB if cell.isdigit() else 0
