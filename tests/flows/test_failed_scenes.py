"""A run some of whose scenes failed says so in its state, and gives its outcomes all the same."""

import pytest

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
    assert [outcome.status for outcome in segment(batch)] == ["failed", "failed"]
    state = segment(batch, return_state=True)
    assert (state.name, state.type.value, state.message) == ("FailedScenes", "COMPLETED", "2 of 2 scenes failed")
    assert [outcome.scene for outcome in state.result()] == ["cut", "torn"]
