"""The same request is known again; another input, model or job is another request."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.card import Training, load_card, write_card
from models.errors import UnknownModelError, WeightsError
from models.predictors.fakes import FAKES
from models.registry import ZOO, zoo_cards
from tasks.errors import BandError, JobError
from tasks.inputs.input import Input
from tasks.intake.describe import describe
from tasks.intake.request import Request, digest, make_request
from tasks.jobs.job import Job
from tasks.out.folder import OutFolder

RAW = {"job": "mine", "kind": "raster", "source": {"bands": {"B1": {"band": 1}, "SCL": {"band": 2}}}}
CHANGES = [
    {"job": "other"},
    {"tiling": {"tile": 128}},
    {"tiling": {"halo": 4}},
    {"tiling": {"blend": "core"}},
    {"output": {"confidence": True}},
    {"source": {"bands": {"B1": {"band": 2}, "SCL": {"band": 2}}}},
    {"source": RAW["source"] | {"invalid": {"band": "SCL", "values": [3]}}},
    {"model": {"name": "threshold", "arguments": {"threshold": 2}}},
    {"analysis": {"kind": "area"}},
    {"run": {"dtype": "float32"}},
]


def request_for(change: dict, out: Path = Path("out")):
    return make_request(Job.model_validate(RAW | {"model": {"name": "identity"}} | change), out)


def test_a_request_is_known_again_wherever_its_products_go(tmp_path):
    assert request_for({}).key("a") == request_for({}, tmp_path).key("a")


def test_the_block_does_not_change_a_request():
    keys = {request_for({"tiling": {"block": block}}).key("a") for block in ("auto", 512, 1024)}
    assert len(keys) == 1


def test_whatever_changes_the_product_changes_the_request():
    keys = [request_for(change).key("a") for change in [{}, *CHANGES]] + [request_for({}).key("b")]
    assert len(set(keys)) == len(keys)


@settings(max_examples=25)
@given(facts=st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False)), min_size=2))
def test_a_digest_does_not_depend_on_the_order_of_facts(facts):
    assert digest(facts) == digest(dict(reversed(facts.items())))


def test_a_model_of_the_other_kind_is_refused():
    for name, card in zoo_cards().items():
        other = "volume" if card.kind == "raster" else "raster"
        with pytest.raises(JobError, match=f"model '{name}' segments a {card.kind}"):
            request_for({"kind": other, "model": {"name": name}})


def test_a_job_without_a_model_is_refused():
    with pytest.raises(JobError, match=r"model\.name or model\.weights"):
        request_for({"model": {}})


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(UnknownModelError, match="known: ") as caught:
        request_for({"model": {"name": "no-such-model"}})
    assert all(name in str(caught.value) for name in zoo_cards())


def test_a_model_on_the_command_line_goes_before_the_jobs():
    job = Job.model_validate(RAW | {"model": {"name": "no-such-model"}})
    assert make_request(job, Path("out"), "identity").card.name == "identity"


@pytest.mark.parametrize("name", sorted(FAKES))
def test_a_fake_does_not_take_the_band_that_says_what_is_invalid_for_a_channel(name):
    arguments = {"threshold": 1.0} if name == "threshold" else {}
    source = RAW["source"] | {"invalid": {"band": "SCL", "values": [3]}}
    request = request_for({"source": source, "model": {"name": name, "arguments": arguments}})
    assert request.card.channels == ("B1",)


def test_a_model_of_several_channels_is_refused_for_volumes_by_their_names(tmp_path):
    card = load_card(ZOO / "sarcoma-t1-unet.json").model_copy(update={"channels": ("T1", "T2")})
    job = Job.model_validate(RAW | {"kind": "volume", "model": {"name": card.name}})
    item = Input(id="p1", files={"": str(tmp_path / "p1.nii.gz")})
    with pytest.raises(BandError, match=r"p1: the model reads 2 channel\(s\) \(T1, T2\), and the scene has 1 file"):
        describe(Request(job=job, card=card, card_folder=None, out=OutFolder(tmp_path)), item)


def test_the_name_or_the_path_of_a_model_is_the_same_request():
    for name, card in zoo_cards().items():
        by_name = request_for({"kind": card.kind, "model": {"name": name}})
        by_path = make_request(by_name.job, Path("out"), str(ZOO / f"{name}.json"))
        assert by_path.key("a") == by_name.key("a")
        assert by_path.card_folder == by_name.card_folder == ZOO


def test_what_a_card_tells_of_its_training_does_not_change_the_request(tmp_path):
    for name, card in zoo_cards().items():
        shutil.copy(ZOO / card.weights.file, tmp_path)
        told = Training(data="d", licence="l", attribution=card.training.attribution, protocol="p")
        write_card(load_card(ZOO / f"{name}.json").model_copy(update={"training": told}), tmp_path / f"{name}.json")
        job = Job.model_validate(RAW | {"kind": card.kind, "model": {"name": name}})
        shipped, own = (make_request(job, Path("out"), m) for m in (None, str(tmp_path / f"{name}.json")))
        assert shipped.key("a") == own.key("a")


def test_a_corrected_attribution_is_another_request_because_products_show_it(tmp_path):
    card = load_card(ZOO / "fire-unet.json")
    shutil.copy(ZOO / card.weights.file, tmp_path)
    corrected = card.training.model_copy(update={"attribution": "somebody else"})
    write_card(card.model_copy(update={"training": corrected}), tmp_path / "fire-unet.json")
    job = Job.model_validate(RAW | {"kind": card.kind, "model": {"name": "fire-unet"}})
    shipped, own = (make_request(job, Path("out"), m) for m in (None, str(tmp_path / "fire-unet.json")))
    assert shipped.key("a") != own.key("a")


def test_weights_with_another_hash_than_the_job_asks_for_are_refused():
    for name, card in zoo_cards().items():
        with pytest.raises(WeightsError, match="the job asks for SHA-256"):
            request_for({"kind": card.kind, "model": {"name": name, "sha256": "0" * 64}})
