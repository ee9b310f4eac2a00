"""How a flow run ends whose scenes did not all come out well."""

from __future__ import annotations

from typing import TypeVar, cast

from prefect.states import Completed

R = TypeVar("R")


def ended(result: R, n_failed: int, n_scenes: int) -> R:
    """Return what a flow ends with: its result, in a state whose name says so where scenes failed.

    The run did its work, and its page shall not look as if all were well. Whoever calls the flow gets the result.
    """
    if not n_failed:
        return result
    message = f"{n_failed} of {n_scenes} scenes failed"
    return cast("R", Completed(name="FailedScenes", message=message, data=result))
