"""Which orchestrator the present run has, and steps that are carried out by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

from flows.orchestration.orchestrator import Orchestrator, Step
from flows.orchestration.plain import PlainOrchestrator

P = ParamSpec("P")
R = TypeVar("R")

_PLAIN = PlainOrchestrator()
_current: ContextVar[Orchestrator | None] = ContextVar("swathe_orchestrator", default=None)


def orchestrator() -> Orchestrator:
    """Return what carries out the present run: this process alone, where nothing else was named."""
    return _current.get() or _PLAIN


@contextmanager
def carried_out_by(one: Orchestrator) -> Iterator[None]:
    """Let an orchestrator carry out the steps that are called within the context."""
    token = _current.set(one)
    try:
        yield
    finally:
        _current.reset(token)


def step(
    name: str, run_name: str | None = None, *, retry_delays_s: tuple[float, ...] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a function as a step of a run. Called, it is carried out by the run's orchestrator.

    Args:
        name: Short name.
        run_name: Name of one call, with arguments in braces; the short name where left out.
        retry_delays_s: Seconds to wait before each further try after a failure that may pass.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        declared = Step(function=function, name=name, run_name=run_name or name, retry_delays_s=retry_delays_s)

        @wraps(function)
        def carried_out(*args: P.args, **kwargs: P.kwargs) -> R:
            return orchestrator().run(declared, *args, **kwargs)

        return carried_out

    return declare
