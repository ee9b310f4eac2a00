"""The seam between a run and whoever carries out its steps and tells people of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, ParamSpec, Protocol, TypeVar
from uuid import UUID

from models.errors import SwatheError
from tasks.errors import UnreachableSceneError
from tasks.files.transient import is_transient

if TYPE_CHECKING:
    from tasks.nights.night import Night
    from tasks.out.folder import OutFolder
    from tasks.out.outcome import SceneOutcome
    from tasks.reports.trail import Trail

P = ParamSpec("P")
R = TypeVar("R")


# For steps that read inputs or write products, which may lie behind a network. Each of them may be begun again.
NETWORK_DELAYS_S = (2.0, 10.0, 30.0)


@dataclass(frozen=True, kw_only=True)
class Step(Generic[P, R]):
    """A function that a run calls as one of its steps, with what whoever carries it out has to know of it.

    Attributes:
        function: The work itself.
        name: Short name, such as ``publish``.
        run_name: Name of one call, with the function's arguments in braces, such as ``plan · {item.id}``.
        retry_delays_s: Seconds to wait before each further try after a failure that may pass; none for no retry.
    """

    function: Callable[P, R]
    name: str
    run_name: str
    retry_delays_s: tuple[float, ...] = ()


def may_pass(error: BaseException) -> bool:
    """Tell whether a step failed for a reason that may be gone after a while. Bad input stays bad."""
    return isinstance(error, UnreachableSceneError) or is_transient(error)


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What fits of one network came to.

    Attributes:
        job: Its name.
        model: Name of the model.
        curves: By name of the fit and number of steps, values by name.
        scores: Rows of figures, by what they say.
        examples: By scene, a JPEG: the picture, the reference over it, the mask over it.
    """

    job: str
    model: str
    curves: Mapping[str, Mapping[int, Mapping[str, float]]]
    scores: Mapping[str, str]
    examples: Mapping[str, bytes]


class UnsentEventError(SwatheError):
    """Whoever events go to did not take one. It stays in the ledger for the next run."""


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """Something that automations may act on.

    Attributes:
        name: What happened, such as ``swathe.fire.new_fire.raised``.
        resource: Id of what it happened to.
        title: What people read.
        labels: Further labels of the resource.
        payload: Everything else that is known of it, as JSON can say it.
        id: The same for the same thing: sent twice, it counts once.
    """

    name: str
    resource: str
    title: str
    labels: Mapping[str, str]
    payload: Mapping[str, object]
    id: UUID


class Counter(Protocol):
    """Shows how much of something is done.

    Attributes:
        label: What is counted, for people.
    """

    label: str

    @property
    def is_shown(self) -> bool:
        """Whether anything was told yet that people still see."""
        ...

    def tell(self, done: int, total: int) -> None:
        """Show the present count. Never raises: nobody's work is lost because nobody could be told."""
        ...


class Orchestrator(Protocol):
    """Carries out steps, and tells people and automations of the run."""

    def run(self, step: Step[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the step's function, again after each of its delays while it fails for a reason that may pass."""
        ...

    def counter(self, label: str) -> Counter:
        """Return a new count that people can look at."""
        ...

    def attended(self, out: OutFolder) -> AbstractContextManager[None]:
        """Note that this process works in a folder, and settle what dead processes left there."""
        ...

    def show_scene(self, job: str, outcome: SceneOutcome, out: Path) -> None:
        """Show a published product."""
        ...

    def show_batch(self, job: str, outcomes: Sequence[SceneOutcome], out: Path, trails: Sequence[Trail] = ()) -> None:
        """Show what a batch came to."""
        ...

    def show_night(self, night: Night, out: Path) -> None:
        """Show what a night came to."""
        ...

    def show_fits(self, report: FitReport) -> None:
        """Show what fits of a network came to."""
        ...

    def send(self, event: RunEvent) -> None:
        """Bring an event to where automations are.

        Raises:
            UnsentEventError: When it was not taken.
        """
        ...
