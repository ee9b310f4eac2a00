"""``python -m signalled [ROW...] [--file FILE]``: signals at every stage; rows that the file tells of are left out."""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from signalled.rows import ROWS, Found, Ground, known, run_again, try_row

# A run that is over before it gets its signal is begun again.
_TRIES = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m signalled", description=__doc__)
    parser.add_argument("rows", nargs="*", help="Parts of names of rows; all where left out.")
    parser.add_argument("--file", type=Path, default=Path("signals.jsonl"), help="A line per row that was tried.")
    arguments = parser.parse_args()
    wanted = [row for row in ROWS if not arguments.rows or any(part in row.name for part in arguments.rows)]
    done = {name for name, found in known(arguments.file).items() if not found.problems}
    # What is under way shall not outlive a bench that is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    folder = Path(tempfile.mkdtemp(prefix="swathe-signals-"))
    os.environ["SWATHE_CACHE"] = str(folder / "cache")
    ground = Ground(folder)
    try:
        ground.prepare(run_again)
        for row in wanted:
            if row.name not in done:
                found = next(filter(None, (try_row(ground, row) for _ in range(_TRIES))), None)
                _tell(arguments.file, found or Found(row.name, 0.0, ["the run was always over before its signal"]))
    finally:
        shutil.rmtree(folder)
    bad = [found for found in known(arguments.file).values() if found.problems]
    sys.exit(f"{len(bad)} rows are not as they should be" if bad else 0)


def _tell(path: Path, found: Found) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(asdict(found)) + "\n")
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {found.row}: {found.seconds} s, {found.problems or 'well'}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
