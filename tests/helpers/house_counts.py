"""Counts that tell whether code is cut into crumbs, or calls give values without names.

Run ``python tests/helpers/house_counts.py``, with ``--list`` to see where each is.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("flows", "tasks", "models")
UNNAMED = 5
CRUMB_LINES = 5


@dataclass(frozen=True)
class Counts:
    """What was found.

    Attributes:
        lines: That are not blank.
        unnamed_calls: ``path:line`` of each call that gives five or more values without their names; a starred one
            counts as one.
        crumbs: ``path:line name`` of each private function or method of at most five lines, its docstring aside, that
            is named at one place only.
    """

    lines: int
    unnamed_calls: tuple[str, ...]
    crumbs: tuple[str, ...]

    @property
    def unnamed_calls_per_1000_lines(self) -> float:
        """Calls with unnamed values per 1,000 lines that are not blank."""
        return 1000 * len(self.unnamed_calls) / self.lines


def count(root: Path = ROOT) -> Counts:
    """Count in the code of swathe, without its tests."""
    paths = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]
    texts = {path: path.read_text() for path in paths}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    return Counts(
        lines=sum(1 for text in texts.values() for line in text.splitlines() if line.strip()),
        unnamed_calls=tuple(
            f"{path.relative_to(root)}:{node.lineno}"
            for path, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and len(node.args) >= UNNAMED
        ),
        crumbs=tuple(
            f"{path.relative_to(root)}:{line} {name}" for path, tree in trees.items() for line, name in _crumbs(tree)
        ),
    )


def _crumbs(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the short private functions that one place of their module names: others may not name them."""
    used = Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    )
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("_") or node.name.startswith("__"):
            continue
        # What a framework calls, such as a validator, is used by it and not by a place.
        if used[node.name] != 1 or node.decorator_list:
            continue
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        if body and node.end_lineno is not None and node.end_lineno - body[0].lineno < CRUMB_LINES:
            yield node.lineno, node.name


def main() -> None:
    """Tell the counts, and with ``--list`` where each is."""
    found = count()
    sys.stdout.write(
        f"{found.lines} lines\n"
        f"{len(found.unnamed_calls)} calls with {UNNAMED} or more unnamed values: "
        f"{found.unnamed_calls_per_1000_lines:.1f} per 1,000 lines\n"
        f"{len(found.crumbs)} private helpers of at most {CRUMB_LINES} lines that are used once\n"
    )
    if "--list" in sys.argv:
        sys.stdout.write("\n".join(("", *found.unnamed_calls, "", *found.crumbs, "")))


if __name__ == "__main__":
    main()
