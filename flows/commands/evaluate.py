"""``swathe evaluate``: predicted masks against references, in the field's metrics."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, get_args

from models.errors import SwatheError
from tasks.answers.metrics.evaluate import (
    Evaluation,
    MetricSettings,
    evaluate,
    evaluation_json,
    statistics_json,
    summarise,
)
from tasks.answers.metrics.lesionwise import Challenge
from tasks.answers.metrics.objects import Connectivity
from tasks.answers.metrics.overlap import overlap_scores, pooled
from tasks.answers.metrics.score import as_json
from tasks.answers.metrics.surface import Tolerance
from tasks.errors import GridError, JobError
from tasks.files.durable import replace_file
from tasks.pairs.reading import PairFiles, Reading, opened_pair

# What stands for it among options that name a file.
STANDARD_OUTPUT = Path("-")
_TOLERANCE = re.compile(r"(\d+(?:\.\d+)?)\s*(px|m|mm)")
_RASTER_CONNECTIVITIES, _VOLUME_CONNECTIVITIES = (4, 8), (6, 18, 26)
_HEADER = ("pair", "label", "class", "metric", "value", "reason")


@dataclass(frozen=True)
class Choices:
    """What a user has chosen; None takes the default for rasters, or for volumes.

    Attributes:
        tolerance: 2 px for rasters, 1 mm for volumes.
        connectivity: 8 for rasters, 26 for volumes.
        background: The class left out of boundaries, objects and means; None for none.
        challenge: Whose rules lesions of volumes are counted by; None to leave them out.
    """

    tolerance: Tolerance | None = None
    connectivity: int | None = None
    background: int | None = 0
    challenge: Challenge | None = "gli"

    def settings(self, files: PairFiles) -> MetricSettings:
        """Return what one pair is measured with.

        Raises:
            JobError: When the connectivity is not one of the pair's dimensions.
        """
        default: Tolerance = Tolerance(1.0, "mm") if files.is_volume else Tolerance(2.0, "px")
        possible = _VOLUME_CONNECTIVITIES if files.is_volume else _RASTER_CONNECTIVITIES
        chosen: Any = possible[-1] if self.connectivity is None else self.connectivity
        if chosen not in possible:
            kind = "a volume" if files.is_volume else "a raster"
            raise JobError(f"{files.id}: is {kind}; --connectivity is one of {', '.join(map(str, possible))} there")
        connectivity: Connectivity = chosen
        challenge = self.challenge if files.is_volume else None
        return MetricSettings(self.tolerance or default, connectivity, self.background, challenge)


@dataclass(frozen=True)
class Failure:
    """A pair that could not be measured."""

    id: str
    error: str


@dataclass(frozen=True)
class Report:
    """All pairs of a command, and how they were read and measured."""

    evaluations: tuple[Evaluation, ...]
    failures: tuple[Failure, ...]
    reading: Reading
    choices: Choices


def evaluate_pairs(pairs: Sequence[PairFiles], reading: Reading, choices: Choices) -> Report:
    """Measure pairs one after another; a bad one costs itself only.

    Raises:
        JobError: When a choice does not go with a pair.
    """
    found, failures = [], []
    for files in pairs:
        settings = choices.settings(files)
        try:
            with opened_pair(files, reading) as pair:
                found.append(_compared(evaluate(pair, settings)))
        except JobError:
            raise
        except SwatheError as error:
            failures.append(Failure(files.id, f"{type(error).__name__}: {error}"))
    return Report(tuple(found), tuple(failures), reading, choices)


def _compared(found: Evaluation) -> Evaluation:
    """Return an evaluation that compared something.

    Raises:
        GridError: When no pixel is observed in both masks.
    """
    if found.confusion.n_observed:
        return found
    told = "".join(f"{note}. " for note in found.notes)
    raise GridError(
        f"{found.id}: no pixel is observed in both masks, so that nothing can be compared. {told}"
        "Check that both show one place, and what they declare as not observed"
    )


def parse_tolerance(text: str) -> Tolerance:
    """Read a tolerance such as ``2px``, ``30 m`` or ``1mm``.

    Raises:
        JobError: When it is none.
    """
    match = _TOLERANCE.fullmatch(text.strip())
    if match is None:
        raise JobError(f"--tolerance: '{text}' is not a distance; write it like 2px, 30m or 1mm")
    unit: Any = match[2]
    return Tolerance(float(match[1]), unit)


def parse_mapping(texts: Sequence[str]) -> dict[int, int]:
    """Read ``VALUE=CLASS`` pairs.

    Raises:
        JobError: When one is not.
    """
    found = {}
    for text in texts:
        match = re.fullmatch(r"(-?\d+)=(\d+)", text.strip())
        if match is None:
            raise JobError(f"'{text}' is not VALUE=CLASS; write it like 255=1")
        found[int(match[1])] = int(match[2])
    return found


def parse_background(text: str) -> int | None:
    """Read the background's class number, or ``none``.

    Raises:
        JobError: When it is neither.
    """
    if text == "none":
        return None
    if not text.isdecimal():
        raise JobError(f"--background: '{text}' is neither a class number nor 'none'")
    return int(text)


def parse_challenge(text: str) -> Challenge | None:
    """Read whose rules lesions are counted by, or ``none``.

    Raises:
        JobError: When it is neither.
    """
    if text == "none":
        return None
    if text not in get_args(Challenge):
        raise JobError(f"--lesions: '{text}' is not known; known: {', '.join(get_args(Challenge))}, none")
    known: Any = text
    return known  # type: ignore[no-any-return]


def require_folder(path: Path | None, option: str) -> None:
    """Refuse a file to write that is no plain one, or whose folder is not there or not ours, before any work.

    ``-`` stands for standard output.

    Raises:
        JobError: When it is so.
    """
    if path is None or path == STANDARD_OUTPUT:
        return
    folder = path.absolute().parent
    if not folder.is_dir():
        raise JobError(f"{option}: the folder of {path} is not there; make it first")
    if path.is_dir():
        raise JobError(f"{option}: {path} is a folder; name a file")
    # What is put in its place would stay there: a device is one for the whole machine.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise JobError(f"{option}: {path} is a link, pipe or device; name a plain file, or - for standard output")
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise JobError(f"{option}: {folder} cannot be written to: {error.strerror}; name another file") from error


def write_json(report: Report, destination: Path) -> None:
    """Write everything about all pairs; replaces the file in one step, and ``-`` is standard output."""
    counts = pooled([one.confusion for one in report.evaluations])
    content = {
        "chosen": _chosen(report.reading, report.choices),
        "pairs": [evaluation_json(one) for one in report.evaluations],
        "failed": [{"id": failure.id, "error": failure.error} for failure in report.failures],
        "summary": {
            str(label): {key: statistics_json(value) for key, value in scores.items()}
            for label, scores in summarise(report.evaluations).items()
        },
        "pooled_pixels": {str(label): as_json(overlap_scores(*counts.of_class(label))) for label in counts.classes},
    }
    _write(destination, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_csv(report: Report, destination: Path) -> None:
    """Write a row per pair, class and metric; replaces the file in one step, and ``-`` is standard output."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for one in report.evaluations:
        writer.writerows(_rows(one))
    writer.writerows((failure.id, "", "", "", "", failure.error) for failure in report.failures)
    _write(destination, text.getvalue())


def _chosen(reading: Reading, choices: Choices) -> dict[str, Any]:
    """Return what no metric's name says."""
    return {
        "resample": "nearest" if reading.resample else "none",
        "not_observed": list(reading.not_observed),
        "predicted_classes": {str(value): label for value, label in reading.predicted_classes.items()},
        "reference_classes": {str(value): label for value, label in reading.reference_classes.items()},
        "background": choices.background,
    }


def _rows(one: Evaluation) -> Iterator[tuple[object, ...]]:
    for entry in one.classes:
        for key, score in entry.scores.items():
            value = "" if score.value is None else repr(score.value)
            yield one.id, entry.label, entry.name, key, value, score.reason


def _write(destination: Path, text: str) -> None:
    if destination == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        replace_file(destination, text.encode())
