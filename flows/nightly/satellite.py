"""The nightly flow, as a schedule starts it."""

# No postponed annotations here: Prefect builds the form and the validation of a flow from the real ones.

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from flows.nightly.night import Nightly, run_night
from flows.server.prefect_orchestrator import on_prefect
from flows.server.states import ended
from tasks.nights.night import Night


def _run_name() -> str:
    """Return job and night: what one searches for."""
    order = Nightly.model_validate(flow_run.parameters["order"])
    return f"{Path(order.job).stem} · night of {order.tonight}"


@flow(name="nightly", flow_run_name=_run_name)
def nightly(order: Nightly) -> Night:
    """Segment what is new since the last night; run again, it does nothing.

    Raises:
        SwatheError: As ``run_night`` does.
    """
    with on_prefect():
        night = run_night(order)
    return ended(night, len(night.failed), len(night.scenes))
