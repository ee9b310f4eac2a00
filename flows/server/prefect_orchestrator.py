"""A run on a Prefect server: steps are its tasks, what people look at are its artifacts, automations get its events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect import State, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import flow_run

from flows.display import artifacts
from flows.display.counts import ProgressArtifact
from flows.orchestration.current import carried_out_by
from flows.orchestration.interruption import interruption
from flows.orchestration.orchestrator import FitReport, RunEvent, Step, may_pass
from flows.server import events, ghosts
from flows.server.profiles import speak
from flows.server.told import tell_interrupted

if TYPE_CHECKING:
    from tasks.nights.night import Night
    from tasks.out.folder import OutFolder
    from tasks.out.outcome import SceneOutcome
    from tasks.reports.trail import Trail

P = ParamSpec("P")
R = TypeVar("R")

# Of a run; the others are in its table. The server keeps every picture, and a page shows all of a run.
MOST_PICTURES = 20


class PrefectOrchestrator:
    """Carries out one flow run; made within it."""

    def __init__(self) -> None:
        self._pictures = 0
        self._lock = Lock()

    def run(self, step: Step[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the step as a task of the present flow run."""
        return cast("R", _task(step)(*args, **kwargs))

    def counter(self, label: str) -> ProgressArtifact:
        """Return a progress artifact, not yet made."""
        return ProgressArtifact(label)

    def attended(self, out: OutFolder) -> AbstractContextManager[None]:
        """Keep which process does this run, and close runs that dead processes left open."""
        return ghosts.known_process(out)

    def show_scene(self, job: str, outcome: SceneOutcome, out: Path) -> None:
        """Show a published product on the run's page, as long as the page has room for pictures."""
        with self._lock:
            self._pictures += 1
            if self._pictures > MOST_PICTURES:
                return
        artifacts.tell_scene(job, outcome, out)

    def show_batch(self, job: str, outcomes: Sequence[SceneOutcome], out: Path, trails: Sequence[Trail] = ()) -> None:
        """Show a table of the batch, and what needs a look."""
        artifacts.tell_batch(job, outcomes, out, trails)

    def show_night(self, night: Night, out: Path) -> None:
        """Show what a night came to."""
        artifacts.tell_night(night, out)

    def show_fits(self, report: FitReport) -> None:
        """Show curves, scores and example masks on the run's page."""
        artifacts.tell_fits(report)

    def send(self, event: RunEvent) -> None:
        """Bring the server an event.

        Raises:
            UnsentEventError: When the server does not take it.
        """
        events.send(event)


@contextmanager
def on_prefect() -> Iterator[None]:
    """Let the present flow run carry out what is called within the context."""
    speak()
    if flow_run.id is not None:
        interruption.write_down("server", partial(tell_interrupted, flow_run.id))
    interruption.take_back()
    with carried_out_by(PrefectOrchestrator()):
        yield


@cache
def _task(step: Step[Any, Any]) -> Task[..., Any]:
    return Task(
        step.function,
        name=step.name,
        task_run_name=step.run_name,
        cache_policy=NO_CACHE,
        retries=len(step.retry_delays_s),
        retry_delay_seconds=list(step.retry_delays_s),
        retry_condition_fn=_may_be_tried_again,
    )


def _may_be_tried_again(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and may_pass(error)
