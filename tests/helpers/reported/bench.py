"""One case made, commands run in it, and what their products say."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyogrio
import rasterio
from typer.testing import CliRunner

from flows.commands.app import app
from models.errors import SwatheError

REPORTS = Path(__file__).resolve().parents[3] / ".." / "shared" / "reports"
_PROGRAM = Path(sys.executable).with_name("swathe")
_PROGRAMS = ("segment", "nightly", "check")
_LIMIT_S = 900


@dataclass(frozen=True)
class Row:
    """What was asked of one case.

    Attributes:
        case: Its folder.
        asked: What was looked at.
        right: As ``expected.md`` has it.
        found: What the products or the message said.
        is_right: Whether the two agree.
    """

    case: str
    asked: str
    right: str
    found: str
    is_right: bool


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    said: str

    def says(self, *words: str) -> bool:
        """Tell whether all of these stand in what it said, however lines were broken."""
        text = " ".join(self.said.split())
        return all(word in text for word in words)


@dataclass
class Case:
    """A copy of a case's folder, and an OUT folder per command.

    Attributes:
        name: Of the folder, with its field: ``geo/01-antimeridian-fires``.
        folder: The copy, made.
        rows: Of the table.
    """

    name: str
    folder: Path
    rows: list[Row] = field(default_factory=list)

    def tell(self, asked: str, right: str, found: object, is_right: object) -> None:
        """Add a row."""
        text = " ".join(str(found).replace(f"{self.folder}/", "").split())
        self.rows.append(Row(self.name, asked, right, text, bool(is_right)))

    def run(self, *words: object) -> Done:
        """Run a ``swathe`` command in the case's folder: as a program what starts others, the rest in this process."""
        texts = [str(word) for word in words]
        if texts[0] not in _PROGRAMS:
            return self._run_here(texts)
        environment = {**os.environ, "COLUMNS": "2000", "NO_COLOR": "1", "SWATHE_HOME": str(self.folder / "home")}
        ended = subprocess.run(
            [_PROGRAM, *texts], cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        return Done(ended.returncode, ended.stdout + ended.stderr)

    def _run_here(self, texts: list[str]) -> Done:
        with contextlib.chdir(self.folder):
            ended = CliRunner().invoke(app, texts, env={"COLUMNS": "2000", "NO_COLOR": "1"})
        if ended.exception is not None and not isinstance(ended.exception, SystemExit | SwatheError):
            raise ended.exception
        told = "" if ended.exception is None else str(ended.exception)
        return Done(ended.exit_code, f"{ended.output}{told}")

    def asked(self, kind: str, *words: object, out: str = "out") -> Done:
        """Run a command that fills an OUT folder: ``segment``, or ``analyse`` with its kind in one text."""
        return self.run(*kind.split(), *words, "--out", self.folder / out)

    def scenes(self, out: str = "out") -> dict[str, dict[str, Any]]:
        """Return what ``batch.json`` says, by scene."""
        batch = self.folder / out / "batch.json"
        if not batch.is_file():
            return {}
        return {scene["scene"]: scene for scene in json.loads(batch.read_text())["scenes"]}

    def summary(self, scene: str, out: str = "out") -> dict[str, Any]:
        """Return a product's ``summary.json``; nothing where there is no product."""
        path = self.folder / out / scene / "summary.json"
        return json.loads(path.read_text()) if path.is_file() else {"headline": {}, "warnings": [], "classes": {}}

    def headline(self, scene: str, key: str, out: str = "out") -> float:
        """Return a number of a product's headline; NaN where it has none."""
        return float(self.summary(scene, out)["headline"].get(key, np.nan))

    def warnings(self, out: str = "out") -> str:
        """Return what was said of all scenes."""
        return " ".join(text for scene in self.scenes(out).values() for text in scene["warnings"])

    def errors(self, out: str = "out") -> str:
        """Return why scenes failed."""
        return " ".join(scene["error"] or "" for scene in self.scenes(out).values())

    def classes(self, scene: str, out: str = "out") -> dict[int, int]:
        """Return how many pixels or voxels of a mask have each number; nothing where there is no mask."""
        product = self.folder / out / scene
        if (product / "mask.tif").is_file():
            with rasterio.open(product / "mask.tif") as dataset:
                values = dataset.read(1)
        elif (product / "mask.nii.gz").is_file():
            values = np.asarray(nib.load(product / "mask.nii.gz").dataobj)
        else:
            return {}
        return {int(k): int(n) for k, n in zip(*np.unique(values, return_counts=True), strict=True)}

    def table(self, path: str) -> list[dict[str, Any]]:
        """Return the rows of a vector file or a CSV below the case's folder."""
        file = self.folder / path
        if not file.is_file():
            return []
        if file.suffix == ".csv":
            with file.open() as stream:
                return list(csv.DictReader(stream))
        meta, _, _, columns = pyogrio.raw.read(file, layer=pyogrio.list_layers(file)[0][0])
        names = meta["fields"].tolist()
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


CASES: dict[str, Callable[[Case], None]] = {}


def case(name: str) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Register what is asked of a case, by its folder."""

    def register(ask: Callable[[Case], None]) -> Callable[[Case], None]:
        CASES[name] = ask
        return ask

    return register


def near(found: float, right: float, share: float = 1e-3) -> bool:
    """Tell whether a number is the right one, up to a share of it."""
    return abs(found - right) <= share * abs(right)


def made(folder: Path, names: list[str]) -> Iterator[Case]:
    """Copy all reports into a folder, make one case after the other, and give it."""
    shutil.copytree(REPORTS, folder / "reports")
    for path in (folder / "reports").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "reports").chmod(0o755)
    # Some are made of sample scenes.
    (folder / "data").symlink_to(REPORTS.parent / "data")
    for name in names:
        place = folder / "reports" / name
        if (place / "make.py").is_file():
            subprocess.run([sys.executable, "make.py"], cwd=place, check=True, capture_output=True)
        yield Case(name, place)
