"""``python -m reported [CASE...] [--file FILE] [--page PAGE]``: cases by command line; those told of are left out."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from reported import rasters, volumes  # noqa: F401 - registers its cases
from reported.bench import CASES, REPORTS, Row, made

_BEGIN, _END = "<!-- made by make reports: begin -->", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reported", description=__doc__)
    parser.add_argument("cases", nargs="*", help="Parts of names of cases; all where left out.")
    parser.add_argument("--file", type=Path, default=Path("reports.jsonl"), help="A line per case that was tried.")
    parser.add_argument("--page", type=Path, help="A page whose table is written anew.")
    arguments = parser.parse_args()
    if not REPORTS.is_dir():
        sys.exit(f"{REPORTS}: the cases are not here")
    told = known(arguments.file)
    wanted = [name for name in CASES if not arguments.cases or any(part in name for part in arguments.cases)]
    folder = Path(tempfile.mkdtemp(prefix="swathe-reports-"))
    try:
        for case in made(folder, [name for name in wanted if name not in told]):
            started = time.monotonic()
            CASES[case.name](case)
            told[case.name] = case.rows
            with arguments.file.open("a") as file:
                file.write(json.dumps({"case": case.name, "rows": [asdict(row) for row in case.rows]}) + "\n")
            wrong = [row for row in case.rows if not row.is_right]
            seconds = round(time.monotonic() - started)
            right = len(case.rows) - len(wrong)
            sys.stdout.write(f"{case.name}: {seconds} s, {right} right, wrong: {wrong or 'none'}\n")
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder)
    if arguments.page is not None:
        write_page(arguments.page, [row for name in CASES for row in told.get(name, ())])
    bad = sum(not row.is_right for rows in told.values() for row in rows)
    sys.exit(f"{bad} rows are not as they should be" if bad else 0)


def known(path: Path) -> dict[str, list[Row]]:
    """Return the rows of cases that a file tells of, whatever they are; take its lines out to try them again."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return {told["case"]: [Row(**row) for row in told["rows"]] for told in map(json.loads, lines)}


def write_page(page: Path, rows: list[Row]) -> None:
    """Put the table between the two marks of a page."""
    lines = ["| case | asked | right | found | |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (row.case, row.asked, row.right, row.found, "yes" if row.is_right else "**no**")
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    before, _, rest = page.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text("\n".join((f"{before}{_BEGIN}", *lines, f"{_END}{after}")))


if __name__ == "__main__":
    main()
