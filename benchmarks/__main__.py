"""``python -m benchmarks [small] [memory] [speed] [networks] [labelmap] [thousand]``: all when none is named."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import labelmap, memory, networks, small, speed, thousand
from benchmarks.machine import describe_machine

_BENCHMARKS = {
    "small": small.run,
    "memory": memory.run,
    "speed": speed.run,
    "networks": networks.run,
    "labelmap": labelmap.run,
    "thousand": thousand.run,
}


def main(names: list[str]) -> None:
    """Run the named benchmarks in a scratch folder that is removed afterwards."""
    unknown = set(names) - set(_BENCHMARKS)
    if unknown:
        raise SystemExit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(_BENCHMARKS)}")
    print(describe_machine(), flush=True)
    for name in names or list(_BENCHMARKS):
        print(f"\n== {name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="swathe-bench-") as folder:
            _BENCHMARKS[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
