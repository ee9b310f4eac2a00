"""What ``swathe evaluate`` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.commands.evaluate import Report
from tasks.answers.metrics.evaluate import PANOPTIC_PARTS, ClassScores, Evaluation, Statistics, summarise
from tasks.answers.metrics.panoptic import PANOPTIC_KEYS, panoptic_means
from tasks.answers.metrics.score import Score

_MOST_COLUMNS = 6
_NOTHING = "-"


def evaluation_tables(report: Report) -> Iterator[RenderableType]:
    """Yield what failed and the tables of a report: of the pair where there is one, else a row per pair and statistics.

    What failed is counted again at the end, where it cannot be overlooked.
    """
    failed = len(report.failures)
    for failure in report.failures:
        yield Text.assemble(("failed  ", "red"), f"{failure.id}  {failure.error}")
    if len(report.evaluations) == 1:
        yield from _pair(report.evaluations[0])
    elif report.evaluations:
        yield _pairs(report)
        yield _statistics(report)
    if failed and report.evaluations:
        yield Text(f"{failed} of {failed + len(report.evaluations)} pairs failed; they are named on top", "red")


def _pair(one: Evaluation) -> Iterator[RenderableType]:
    shape = " x ".join(str(length) for length in one.shape)
    left_out = f"{one.confusion.n_not_observed:,} not observed and left out"
    yield Text(f"{one.id}: {shape}, {one.confusion.n_observed:,} pixels observed in both masks, {left_out}")
    yield from (Text(note, style="yellow") for note in one.notes)
    yield _by_metric(one) if len(one.classes) <= _MOST_COLUMNS else _by_class(one)
    if one.panoptic is not None:
        yield _panoptic(one)
    yield Text(f"accuracy {_number(one.accuracy.value)}")
    reasons = {score.reason for entry in one.foreground for score in entry.scores.values() if score.reason}
    yield from (Text(f"{_NOTHING} {reason}", style="dim") for reason in sorted(reasons))


def _panoptic(one: Evaluation) -> Table:
    """Return means over all classes, over things and over stuff."""
    table = Table("segments", *PANOPTIC_KEYS, "matched", "invented", "missed")
    found = (one.panoptic or {}).values()
    for name, things in PANOPTIC_PARTS.items():
        counted = [counts for counts in found if things is None or counts.is_thing == things]
        means = panoptic_means(counted)
        sums = (sum(getattr(counts, key) for counts in counted) for key in ("n_matched", "n_invented", "n_missed"))
        table.add_row(name, *(_number(means[key].value) for key in PANOPTIC_KEYS), *map(str, sums))
    return table


def _by_metric(one: Evaluation) -> Table:
    """Return a row per metric and a column per class."""
    many = len(one.foreground) > 1
    table = Table("metric", *(escape(entry.name) for entry in one.classes), *(["mean"] if many else []))
    table.add_row("pixels predicted", *(f"{entry.n_predicted:,}" for entry in one.classes))
    table.add_row("pixels in reference", *(f"{entry.n_reference:,}" for entry in one.classes))
    means = one.means
    for key in dict.fromkeys(key for entry in one.classes for key in entry.scores):
        cells = [_score(entry.scores.get(key)) for entry in one.classes]
        table.add_row(Text(key), *cells, *([_number(means[key].mean)] if many else []))
    return table


def _by_class(one: Evaluation) -> Table:
    """Return a row per class with the metrics of overlap; the rest goes to files."""
    keys = ("dice", "iou", "precision", "recall")
    table = Table("label", "class", "pixels predicted", "pixels in reference", *keys)
    for entry in one.classes:
        table.add_row(*_heading(entry), *(_score(entry.scores.get(key)) for key in keys))
    means = one.means
    table.add_row("", "mean", "", "", *(_number(means[key].mean) if key in means else _NOTHING for key in keys))
    return table


def _heading(entry: ClassScores) -> tuple[str | Text, ...]:
    return str(entry.label), Text(entry.name), f"{entry.n_predicted:,}", f"{entry.n_reference:,}"


def _pairs(report: Report) -> Table:
    table = Table("pair", "observed", "not observed", "accuracy", "mean dice", "mean iou", "notes")
    for one in report.evaluations:
        means = one.means
        overlap = (_number(means[key].mean) if key in means else _NOTHING for key in ("dice", "iou"))
        seen, unseen = one.confusion.n_observed, one.confusion.n_not_observed
        notes = Text("; ".join(one.notes))
        table.add_row(Text(one.id), f"{seen:,}", f"{unseen:,}", _number(one.accuracy.value), *overlap, notes)
    return table


def _statistics(report: Report) -> Table:
    names = {entry.label: entry.name for one in report.evaluations for entry in one.classes}
    table = Table("class", "metric", "mean", "std", "median", "pairs", "without a number")
    for label, scores in summarise(report.evaluations).items():
        for key, found in scores.items():
            table.add_row(Text(names[label]), Text(key), *_cells(found))
    return table


def _cells(found: Statistics) -> tuple[str, ...]:
    return _number(found.mean), _number(found.std), _number(found.median), str(found.n), str(found.n_missing)


def _score(score: Score | None) -> str:
    return "" if score is None else _number(score.value)


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.4g}"
