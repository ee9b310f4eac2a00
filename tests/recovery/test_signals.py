"""Commands that a signal ends, at every stage of a run; all 96 rows are ``make signals``."""

import pytest
from signalled.rows import ROWS, STAGES, Ground, try_row

from flows.batch.orders import Batch
from flows.batch.segment import segment_batch
from flows.cluster.engine import ClusterSettings, started_early

SHORT = (
    "start-SIGHUP-process-plain",
    "check-SIGINT-group-plain",
    "plan-SIGTERM-process-plain",
    "blocks-SIGINT-group-server",
    "finish-SIGTERM-group-plain",
    "publish-SIGINT-process-plain",
    "report-SIGHUP-group-plain",
    "end-SIGTERM-process-plain",
)
# Half a minute and more each, with the run that goes on afterwards.
LONG = {
    "blocks-SIGINT-group-server",
    "finish-SIGTERM-group-plain",
    "publish-SIGINT-process-plain",
    "end-SIGTERM-process-plain",
}


def run_here(ground: Ground, out) -> None:
    """Do what the command does, on workers that are started once."""
    order = Batch(inputs=[str(ground.scenes)], job=str(ground.job), out=out, workers=1, device="cpu")
    assert {outcome.status for outcome in segment_batch(order)} <= {"done", "skipped"}


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    with started_early(ClusterSettings(workers=1, device="cpu", threads=1)):
        ground = Ground(tmp_path_factory.mktemp("signals"))
        ground.prepare(run_here)
        yield ground


def test_every_stage_signal_and_target_is_among_the_rows():
    assert len(ROWS) == 96 == len({row.name for row in ROWS})
    short = [row for row in ROWS if row.name in SHORT]
    assert {row.stage for row in short} == set(STAGES)
    assert len({row.signal for row in short}) == 3


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=[pytest.mark.slow] if row.name in LONG else [], id=row.name)
        for row in ROWS
        if row.name in SHORT
    ],
)
def test_a_command_that_gets_a_signal_ends_as_it_should(ground, row):
    found = try_row(ground, row, run_here)
    assert found is not None, "the run was over before its signal came"
    assert found.problems == []
