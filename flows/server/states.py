"""How a flow run ends whose scenes did not all come out well."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from prefect import State
from prefect.states import Completed, Failed

R = TypeVar("R")


def ended(result: R, n_failed: int, n_scenes: int) -> R:
    """Return what a flow ends with: its result, in a state whose name says so where scenes failed.

    The run did its work, and its page shall not look as if all were well. Where no scene came out at all, the state is
    of the type Failed. Whoever calls the flow gets the result, with ``result_of``.
    """
    if not n_failed:
        return result
    message = f"{n_failed} of {n_scenes} scenes failed"
    if n_failed == n_scenes:
        return cast("R", Failed(name="FailedScenes", message=message, data=result))
    return cast("R", Completed(name="FailedScenes", message=message, data=result))


def result_of(state: State[Any]) -> Any:  # noqa: ANN401 - of whatever flow
    """Return what a flow ended with, also where none of its scenes came out.

    Args:
        state: That the flow was called for, with ``return_state``.

    Raises:
        BaseException: The one that ended the flow.
    """
    found = state.result(raise_on_failure=False)
    if isinstance(found, BaseException):
        raise found
    return found
