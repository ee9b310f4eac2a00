"""Looks at an OUT folder as a stranger would: nothing lost, nothing half-published, the same bytes."""

import csv
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

# Times, run ids and the host are in this file alone.
VARIES = "run.json"
Product = Mapping[str, str]


def product_of(folder: Path) -> dict[str, str]:
    """Return SHA-256 by file name of all that a product holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    if VARIES in found:
        json.loads((folder / VARIES).read_text())
        found[VARIES] = ""
    return found


def visible_problems(out: Path, expected: Mapping[str, tuple[Product, ...]]) -> list[str]:
    """Say what a reader could see that is not whole; at any moment, right after a fault as well.

    Args:
        out: The folder.
        expected: What each scene's product may be.
    """
    problems = []
    for link in sorted(path for path in out.glob("*") if path.is_symlink()):
        if link.name not in expected:
            problems.append(f"{link.name}: a link that nobody asked for")
        elif not link.resolve().is_relative_to(out.resolve() / ".products" / link.name) or not link.is_dir():
            problems.append(f"{link.name}: its link leads nowhere")
    problems += [
        f"{folder.relative_to(out)}: is not whole, or has other bytes"
        for folder in sorted(out.glob(".products/*/*"))
        if product_of(folder) not in expected.get(folder.parent.name, ())
    ]
    tables = [path for name in ("batch.csv", "batch.json", "index.html") if (path := out / name).exists()]
    return problems + [f"{path.name}: is empty" for path in tables if not path.read_text().strip()]


def final_problems(out: Path, expected: Mapping[str, Product], bad: tuple[str, ...]) -> list[str]:
    """Say what is wrong after the run that follows a fault.

    Args:
        out: The folder.
        expected: What each whole scene's product has to be.
        bad: Scenes that have to have failed by name.
    """
    problems = []
    for name, product in expected.items():
        if not (out / name).is_symlink():
            problems.append(f"{name}: lost, it has no product")
        elif product_of(out / name) != product:
            problems.append(f"{name}: other bytes than those of an undisturbed run")
        if (out / ".swathe" / "scenes" / name).exists():
            problems.append(f"{name}: its work in progress was left behind")
    rows = _table(out / "batch.csv")
    problems += [
        f"{name}: did not fail by name"
        for name in bad
        if (out / name).exists() or "Error" not in rows.get(name, {}).get("error", "")
    ]
    if missing := sorted({*expected, *bad} - rows.keys()):
        problems.append(f"batch.csv: has no row of {', '.join(missing)}")
    return problems + _ledger_problems(out, expected, bad)


def _table(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    return {row["scene"]: row for row in csv.DictReader(path.read_text().splitlines())}


def _ledger_problems(out: Path, expected: Mapping[str, Product], bad: tuple[str, ...]) -> list[str]:
    with closing(sqlite3.connect(out / "state.sqlite")) as ledger:
        (integrity,) = ledger.execute("PRAGMA integrity_check").fetchone()
        statuses = dict(ledger.execute("SELECT scene, status FROM products"))
        still_open = ledger.execute("SELECT COUNT(*) FROM runs WHERE outcome IS NULL").fetchone()[0]
    problems = [] if integrity == "ok" else [f"ledger: {integrity}"]
    if statuses != dict.fromkeys(expected, "done") | dict.fromkeys(bad, "failed"):
        problems.append(f"ledger: says {statuses}")
    if still_open:
        problems.append(f"ledger: {still_open} runs are still open")
    return problems
