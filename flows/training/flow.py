"""The flow of ``swathe train``."""

# No postponed annotations here: Prefect builds the form and the validation of a flow from the real ones.

from pathlib import Path

from prefect import flow

from flows.server.prefect_orchestrator import on_prefect
from flows.training.fit import TrainingResult, train_model


@flow(name="train", flow_run_name="train · {job_name}")
def train(job_name: str, out: Path, overrides: list[str]) -> TrainingResult:
    """Fit the network of a training job.

    Args:
        job_name: A name in ``configs/`` or a path.
        out: Folder for weights and card.
        overrides: ``key=value`` settings.

    Raises:
        SwatheError: As ``train_model`` does.
    """
    with on_prefect():
        return train_model(job_name, out, overrides)
