"""A job file says what it means or is refused with what would be right."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import JobError
from tasks.jobs.job import Job, load_job
from tasks.jobs.reading import list_jobs
from tasks.jobs.training import TrainingJob, load_training_job

MINIMAL = {"job": "mine", "kind": "raster", "model": {"name": "identity"}}
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=8)
SIDES = st.one_of(st.just("auto"), st.integers(1, 4096), st.tuples(*[st.integers(1, 512)] * 3))


def write(folder, content) -> str:
    path = folder / "job.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


@st.composite
def jobs(draw: st.DrawFn) -> dict:
    bands = draw(
        st.dictionaries(NAMES, st.fixed_dictionaries({"band": st.one_of(st.integers(1, 20), NAMES)}), max_size=4)
    )
    rule = {"band": "SCL", "values": draw(st.lists(st.integers(0, 255), max_size=4))}
    tiling = st.fixed_dictionaries(
        {"tile": SIDES, "halo": SIDES, "batch": st.one_of(st.just("auto"), st.integers(1, 64))},
        optional={"overlap": SIDES, "block": SIDES, "blend": st.sampled_from(["gaussian", "core", "logits"])},
    )
    run = st.fixed_dictionaries({}, optional={"tolerance": st.floats(0, 1), "threads": st.integers(1, 64)})
    return {
        "job": draw(NAMES),
        "kind": draw(st.sampled_from(["raster", "volume"])),
        "source": {"bands": bands, "invalid": draw(st.sampled_from([rule, [rule], []]))},
        "model": {"name": draw(NAMES), "arguments": {"threshold": draw(st.floats(-1e6, 1e6))}},
        "tiling": draw(tiling),
        "run": draw(run),
        "output": {"confidence": draw(st.booleans())},
    }


@settings(max_examples=25)
@given(raw=jobs())
def test_a_valid_job_is_read_back_as_it_was_written(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("job")
    job = load_job(write(folder, raw))
    again = load_job(write(folder, job.model_dump(mode="json")))
    assert again == job
    assert job.model.name == raw["model"]["name"]
    assert isinstance(job.source.invalid, tuple)


@pytest.mark.parametrize(
    ("change", "unknown", "known"),
    [
        ({"modle": {}}, "'modle'", ", ".join(Job.model_fields)),
        ({"tiling": {"hallo": 3}}, "'tiling.hallo'", "tile, halo, overlap, block, batch, blend"),
        ({"source": {"bands": {"B1": {"band": 1, "gain": 2}}}}, "'source.bands.B1.gain'", "file, band, scale, offset"),
        ({"source": {"invalid": {"band": "SCL", "value": 3}}}, "value'", "band, values, bits"),
        ({"run": {"cores": 3}}, "'run.cores'", "device, dtype, tolerance, threads"),
    ],
)
def test_an_unknown_key_is_refused_with_the_known_ones(tmp_path, change, unknown, known):
    with pytest.raises(JobError) as caught:
        load_job(write(tmp_path, MINIMAL | change))
    assert f"unknown key {unknown}" in str(caught.value) or f"{unknown}; known" in str(caught.value)
    assert f"known here: {known}" in str(caught.value)
    assert "job.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"kind": "movie"}, "kind"),
        ({"tiling": {"batch": 0}}, "tiling.batch"),
        ({"tiling": {"blend": "linear"}}, "tiling.blend"),
        ({"run": {"tolerance": 2}}, "run.tolerance"),
        ({"output": {"confidence": "perhaps"}}, "output.confidence"),
        ({"analysis": {"kind": "tumour", "connectivity": 7}}, "analysis.connectivity"),
        ({"source": {"bands": {"B1": {}}}}, "source.bands.B1'"),
        ({"source": {"bands": {"B1": {"band": 1, "index": "B2 + B3"}}}}, "source.bands.B1'"),
        ({"source": {"bands": {"B1": {"index": "B2 +"}}}}, "source.bands.B1'"),
        ({"source": {"bands": {"B1": {"index": "2 * B2"}, "B2": {"index": "B3 + B4"}}}}, "source'"),
        ({"source": {"bands": {"B1": {"index": "B2 * B3"}}, "invalid": {"band": "B1"}}}, "source'"),
        ({"nightly": {"stac": {"assets": {}}}}, "nightly.stac.assets'"),
        ({"nightly": {"stac": {"assets": {"a": "b"}, "area": [8, 47, 7, 46]}}}, "nightly.stac.area'"),
        ({"nightly": {"best": "cloudless"}}, "nightly.best'"),
        ({"model": None}, "model"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(tmp_path, change, where):
    with pytest.raises(JobError, match=rf"job\.yaml: '{where}"):
        load_job(write(tmp_path, MINIMAL | change))


def test_several_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(JobError) as caught:
        load_job(write(tmp_path, MINIMAL | {"kind": "movie", "colour": 1}))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["a: [1", "- job\n- kind", "", "just text"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(JobError, match=r"not YAML|a job is a mapping"):
        load_job(write(tmp_path, text))


def test_a_job_that_is_not_there_lists_those_that_are(tmp_path):
    with pytest.raises(JobError) as caught:
        load_job(str(tmp_path / "none.yaml"))
    assert all(name in str(caught.value) for name in list_jobs())


def test_an_override_replaces_a_value_and_makes_its_section(tmp_path):
    path = write(tmp_path, MINIMAL | {"tiling": {"tile": 64}})
    overrides = ("tiling.tile=128", "tiling.halo=[8, 16]", "run.threads=2", "source.bands.B1.band=red")
    job = load_job(path, overrides)
    assert (job.tiling.tile, job.tiling.halo, job.run.threads) == (128, (8, 16), 2)
    assert job.source.bands["B1"].band == "red"


@pytest.mark.parametrize("override", ["tiling.halo", "=3", "kind.of=3", "tiling.hallo=3", "tiling.batch=zero"])
def test_an_override_that_cannot_be_is_refused(tmp_path, override):
    with pytest.raises(JobError):
        load_job(write(tmp_path, MINIMAL), (override,))


def test_a_job_does_not_change_once_loaded(tmp_path):
    job = load_job(write(tmp_path, MINIMAL))
    with pytest.raises(ValueError, match="frozen"):
        job.title = "another"


@pytest.mark.parametrize("name", list_jobs())
def test_every_shipped_job_loads(name):
    job: Job | TrainingJob = load_training_job(name) if name.startswith("train-") else load_job(name)
    assert job.job == name


def test_a_value_of_no_fitting_type_is_told_once_under_its_key():
    with pytest.raises(JobError) as caught:
        load_job("fire", ("tiling.halo=abc",))
    assert str(caught.value).count("tiling.halo") == 1
    assert "'tiling.halo': got 'abc'; input should be 'auto', or" in str(caught.value)


def test_a_training_job_is_not_taken_for_one_that_segments():
    with pytest.raises(JobError, match=r"configs/train-fire.yaml: a training job; run it by swathe train"):
        load_job("train-fire")
