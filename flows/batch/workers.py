"""The workers of a batch: how many, with what, and started before anything else is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flows.batch.orders import Setup
from flows.cluster.engine import ClusterSettings, started_early
from tasks.intake.request import Request
from tasks.jobs.analysis import AREA

# Little is imported here: what a batch needs beside its workers is imported while they start.


@contextmanager
def starting_early(setup: Setup, request: Request) -> Iterator[None]:
    """Start the workers of a run now, while its inputs are still to be looked at; it takes them when it needs them."""
    with started_early(cluster_settings(setup, request)):
        yield


def cluster_settings(setup: Setup, request: Request) -> ClusterSettings:
    """Return where the blocks of a batch run, and what its workers need."""
    threads = request.job.run.threads
    return ClusterSettings(
        address=setup.cluster,
        workers=setup.workers,
        device=request.job.run.device,
        threads=None if threads == "auto" else threads,
        scratch=request.out.scratch / "dask",
        preload=_needed(request),
    )


def _needed(request: Request) -> tuple[str, ...]:
    """Return the modules that blocks and products need; torch only where there is a network."""
    network = () if request.card.weights is None else ("models.predictors.networks",)
    answer, _, _ = (request.job.analysis or AREA).answers[request.job.kind].partition(":")
    return ("tasks.segment.block", "tasks.products.finish", answer, *network)
