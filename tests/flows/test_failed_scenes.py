"""A run some of whose scenes failed says so in its state, and gives its outcomes all the same."""

import pytest

from flows.server.states import ended, result_of
from tasks.errors import JobError

JOB = """
job: half
kind: raster
model: {name: identity, arguments: {n_classes: 3}}
analysis: {kind: area}
"""


@pytest.mark.usefixtures("prefect_server")
def test_a_run_with_failed_scenes_says_how_many_in_its_state(tmp_path):
    from flows.batch.flow import segment
    from flows.batch.orders import Batch

    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "torn.tif").write_bytes(b"II*\0torn")
    (tmp_path / "in" / "cut.tif").write_bytes(b"")
    batch = Batch(inputs=[str(tmp_path / "in")], job=str(tmp_path / "job.yaml"), out=tmp_path / "out")
    state = segment(batch, return_state=True)
    assert (state.name, state.type.value, state.message) == ("FailedScenes", "FAILED", "2 of 2 scenes failed")
    assert [outcome.scene for outcome in result_of(state)] == ["cut", "torn"]


@pytest.mark.usefixtures("prefect_server")
def test_a_run_of_which_something_came_is_done_and_one_that_was_refused_says_why():
    from prefect import flow

    @flow
    def half() -> list[str]:
        return ended(["a", "b"], 1, 2)

    @flow
    def refused() -> list[str]:
        raise JobError("no such job")

    state = half(return_state=True)
    assert (state.name, state.type.value, result_of(state)) == ("FailedScenes", "COMPLETED", ["a", "b"])
    with pytest.raises(JobError, match="no such job"):
        result_of(refused(return_state=True))
