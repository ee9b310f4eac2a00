"""What the command line prints: tables of verdicts, outcomes, models and the demo's results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from flows.display.told import Told
from tasks.intake.expectation import Expectation
from tasks.reports.night import FOLDER, counts

if TYPE_CHECKING:
    from flows.batch.demo import DemoResult
    from flows.training.fit import TrainingResult
    from tasks.nights.night import Night
    from tasks.nights.status import Disk, Status
    from tasks.out.outcome import SceneOutcome
    from tasks.verdict.verdict import Verdict

_LITTLE_SPACE = 0.05
# Of a product, and of an OUT folder.
_REPORT, INDEX = "report.html", "index.html"
_STYLES = {"done": "green", "skipped": "cyan", "failed": "red"}


def outcomes(rows: Sequence[SceneOutcome], out: Path) -> Iterator[Told]:
    """Yield what came of each scene: status, headline numbers or what went wrong, and on a line by itself its page."""
    for row in rows:
        yield Told(row.scene, row.status, _STYLES[row.status], is_whole=True)
        result = row.error or ", ".join(f"{name} {_short(value)}" for name, value in row.headline.items())
        yield from (Told(text) for text in (result, *row.warnings) if text)
        if row.product:
            page = out / row.scene / _REPORT
            yield Told(str(page if page.is_file() else out / row.scene), is_whole=True)
    counted = ", ".join(f"{sum(row.status == name for row in rows)} {name}" for name in _STYLES)
    if len(rows) > 1:
        yield Told(f"{len(rows)} scenes: {counted}. All of them on one page:", is_flush=True)
        yield Told(str(out / INDEX), is_flush=True, is_whole=True)


def night(done: Night, out: Path, earlier: tuple[Night, str] | None) -> Iterator[Told]:
    """Yield what a night came to, and what happened to each scene of it.

    Args:
        done: The night, with what its earlier runs did.
        out: Its folder.
        earlier: The newest night before this run, and when it ended.
    """
    told = ", ".join(f"{count} {name.lower()}" for name, count in counts(done).items() if count)
    yield Told(f"Night of {done.date}: {told or 'nothing came'}", is_flush=True)
    known = earlier[0].scenes if earlier is not None and earlier[0].date == done.date else ()
    if earlier is not None and done.scenes == known:
        day, time = earlier[1][:10], earlier[1][11:16]
        yield Told(f"Nothing new since {'' if day == done.date else f'{day} '}{time} UTC", is_flush=True)
    for scene in done.scenes:
        yield Told(scene.id, scene.status, "red" if scene.status == "failed" else "green", is_whole=True)
        result = scene.error or ", ".join(f"{name} {_short(value)}" for name, value in scene.headline.items())
        if result:
            yield Told(result)
    for name, reason in sorted(done.waiting.items()):
        yield Told(name, "waiting", "yellow", is_whole=True)
        yield Told(reason.removeprefix(f"{name}: "))
    yield Told(str(out / FOLDER / f"{done.date}.html"), is_flush=True, is_whole=True)


def services(running: Sequence[str], home: Path) -> Iterator[Told]:
    """Yield which services of this machine run."""
    if running:
        yield Told(", ".join(running), "running", "green")
    else:
        yield Told("no services run of", is_flush=True)
    yield Told(str(home), is_flush=not running, is_whole=True)


def status(found: Status) -> Iterator[Told]:
    """Yield what the ledger of a folder says."""
    yield Told(str(found.root), is_flush=True, is_whole=True)
    if found.run is not None:
        ended = "under way" if found.running else f"{found.run.outcome or 'interrupted'}, {found.run.finished or ''}"
        yield Told(f"job {found.run.job}, newest run {found.run.started}: {ended.strip(' ,')}")
    if found.backlog is not None:
        yield Told(f"{found.backlog.waiting} scenes wait, {found.backlog.under_way} are under way")
    yield Told(f"scenes with a product: {found.done}")
    if found.scene_s is not None:
        stages = ", ".join(f"{stage} {seconds / found.timed:.1f}" for stage, seconds in found.effort.stages_s.items())
        yield Told(f"seconds per scene: {found.scene_s:.1f} ({stages})")
    yield Told(f"failed scenes: {len(found.failed)}")
    for row in found.failed:
        yield Told(row.scene, "failed", "red", is_whole=True)
        yield Told(row.error or "")
    if found.night is not None:
        told = f"newest night: {found.night}, its last run ended {found.night_ended}; {found.nights} in all"
        yield Told(told, "overdue" if found.overdue else "", "red")
    elif found.overdue:
        yield Told("newest night: none has ended", "overdue", "red")
    yield Told(f"alerts that stand: {len(found.alerts)}")
    yield from (Told(alert, "alert", "red") for alert in found.alerts)
    share = found.disk.free / max(1, found.disk.total)
    yield Told(_space(found.disk), "low" if share < _LITTLE_SPACE else "", "red")


def _space(disk: Disk) -> str:
    return f"disk: {disk.free / 1e9:,.1f} GB of {disk.total / 1e9:,.1f} GB free"


def verdicts(rows: Sequence[Verdict], expected: Sequence[Expectation | None] | None = None) -> Iterator[Told]:
    """Yield what each input is: go and what it holds, or the name and text of the refusal; warnings follow.

    Args:
        rows: Of the inputs.
        expected: What each will take, where a job was named.
    """
    for row, takes in zip(rows, expected or [None] * len(rows), strict=True):
        if row.go:
            yield Told(f"{row.path}  {row.message}", "go", "green")
            if takes is not None:
                yield Told(f"takes: {_takes(takes)}")
        elif row.left_out:
            yield Told(f"{row.path}  {row.message}", "left out", "yellow")
        else:
            yield refusal(row)
        yield from (Told(f"warning: {warning}") for warning in row.warnings)
        yield from (Told(f"looked at: {unseen}") for unseen in row.unseen)
    left_out = sum(row.left_out for row in rows)
    go, n_inputs = sum(row.go for row in rows), len(rows) - left_out
    beside = f"; {left_out} series left out" if left_out else ""
    yield Told(
        f"{n_inputs} input{'' if n_inputs == 1 else 's'}: {go} go, {n_inputs - go} refused{beside}", is_flush=True
    )
    if expected and sum(map(bool, expected)) > 1:
        yield Told(f"together: {_together([takes for takes in expected if takes])}")


def _inputs(count: int) -> str:
    return "input" if count == 1 else "inputs"


def refusal(row: Verdict) -> Told:
    """Return the line of an input that was refused, with its reason."""
    return Told(f"{row.path}  {row.error}: {row.message}", "refused", "red")


def _takes(takes: Expectation) -> str:
    time = "time not known before this model has run here once"
    if takes.slot_s is not None:
        time = f"{_duration(takes.slot_s)} of one worker"
    return f"{time}; up to {takes.disk_bytes / 1e6:,.0f} MB of disk"


def _together(expected: Sequence[Expectation]) -> str:
    known = [takes.slot_s for takes in expected if takes.slot_s is not None]
    slot_s = sum(known) if len(known) == len(expected) else None
    return _takes(Expectation(sum(takes.disk_bytes for takes in expected), slot_s))


def _duration(seconds: float) -> str:
    # What takes less is mostly spent on starting, which nobody foresees.
    if seconds < 10:
        return "a few s"
    if seconds < 90:
        return f"about {round(seconds)} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def demo(results: Sequence[DemoResult]) -> Iterator[Told]:
    """Yield for each sample: what came out, what the reference says, how long it took, and where to look."""
    for row in results:
        yield Told(f"{row.sample}, by {row.model}", row.status, _STYLES[row.status])
        yield Told(f"result: {row.result}; reference: {row.reference}; agreement: {row.agreement}")
        yield Told(f"{row.seconds} s, {row.throughput} Mpixel/s")
        page = row.folder / _REPORT
        yield Told(str(page if page.is_file() else row.folder), is_whole=True)


def sample_plan(summary: Mapping[str, Any]) -> Table:
    """Return a row per stratum of a planned sample."""
    title = f"{summary['units']} samples; expected standard error {summary['expected_se']:.4f}, seed {summary['seed']}"
    table = Table("stratum", "area (ha)", "expected accuracy", "samples", title=title)
    for name, row in summary["strata"].items():
        table.add_row(Text(name), f"{row['area_ha']:,.1f}", f"{row['anticipated_accuracy']:.2f}", str(row["units"]))
    return table


def training(result: TrainingResult) -> Table:
    """Return where what was fitted is, how it scored, and what was measured of it."""
    table = Table("what", "value", title=result.name)
    table.add_row("weights", Text(str(result.folder / result.weights)))
    table.add_row("card", Text(str(result.folder / f"{result.name}.json")))
    table.add_row("logs of the fits", Text(str(result.fits)))
    if result.figures is None:
        table.add_row("cross-validation", "left out by folds: 0")
    else:
        table.add_row("Dice on scenes not seen", _dice(result.figures.network.mean))
        for name, scores in result.figures.network.by_class.items():
            table.add_row(Text(f"  {name}"), _dice(scores))
        if result.figures.baseline:
            table.add_row("Dice of the simple method", _dice(result.figures.baseline.mean))
    for name, share in (("tiles", result.tiled_disagreement), ("bfloat16", result.bfloat16_disagreement)):
        table.add_row(f"labels changed by {name}", "not measured" if share is None else f"{100 * share:.4g} %")
    return table


def _dice(scores: Mapping[str, float]) -> str:
    """Write figures of cross-validation in one line."""
    if not scores["dice_n"]:
        return "in no scene"
    bounds = f"{scores['dice_low']:.3f} to {scores['dice_high']:.3f}" if "dice_low" in scores else "too few"
    return f"{scores['dice_mean']:.3f}, 95 % {bounds}; lowest {scores['dice_min']:.3f}; {scores['dice_n']:.0f} scenes"


def _short(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
