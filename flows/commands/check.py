"""``swathe check``: verdicts, no work."""

from __future__ import annotations

from tasks.errors import JobError
from tasks.intake.expectation import Expectation
from tasks.verdict.check import check_files, check_inputs
from tasks.verdict.verdict import Verdict


def check_batch(
    inputs: list[str], job_name: str | None, model: str | None, overrides: tuple[str, ...]
) -> list[Verdict]:
    """Check inputs on their own, or against what a job and its model need.

    Raises:
        SwatheError: When the job or the model cannot be used, or the inputs hold nothing at all.
    """
    if job_name is None:
        verdicts = check_files(inputs)
        if not verdicts:
            raise JobError(f"{', '.join(inputs)}: nothing found; looked for rasters, NIfTI and DICOM. Check the path")
        return verdicts
    # Files alone need none of it.
    from models.registry import verify_model
    from tasks.inputs.listing import list_all_inputs, require_scenes
    from tasks.intake.request import make_request
    from tasks.jobs.job import load_job

    job = load_job(job_name, overrides)
    request = make_request(job, None, model)
    verify_model(request.card, request.card_folder)
    items = list_all_inputs(inputs, job, request.card.n_channels)
    require_scenes(items)
    return check_inputs(items, job, request.card.channels, request.card)


def expectations(
    verdicts: list[Verdict], job_name: str, model: str | None, overrides: tuple[str, ...]
) -> list[Expectation | None]:
    """Estimate what each input will take; None for those that are refused."""
    from tasks.intake.expectation import expect
    from tasks.intake.request import make_request
    from tasks.jobs.job import load_job

    job = load_job(job_name, overrides)
    card = make_request(job, None, model).card
    n_layers = 2 if job.output.confidence else 1
    return [expect(verdict.facts["shape"], card, n_layers) if verdict.go else None for verdict in verdicts]
