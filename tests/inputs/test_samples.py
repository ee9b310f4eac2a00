"""Where the sample data lies is said by a variable of its own."""

from __future__ import annotations

import pytest

from flows.training import fit as training
from tasks.errors import JobError
from tasks.jobs.training import load_training_job
from tasks.samples import scenes as samples
from tasks.samples.scenes import data_folder


def test_sample_data_is_not_looked_for_among_the_inputs_of_deployments(tmp_path, monkeypatch):
    inputs, named = tmp_path / "inputs", tmp_path / "samples"
    inputs.mkdir()
    named.mkdir()
    monkeypatch.setattr(samples, "_BESIDE", tmp_path / "none")
    monkeypatch.delenv("SWATHE_SAMPLES", raising=False)
    monkeypatch.setenv("SWATHE_DATA", str(inputs))
    assert data_folder() is None
    with pytest.raises(JobError, match="set SWATHE_SAMPLES"):
        training._folder(load_training_job("train-fire"))
    monkeypatch.setenv("SWATHE_SAMPLES", str(named))
    assert data_folder() == named
