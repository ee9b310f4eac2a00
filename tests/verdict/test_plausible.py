"""What cannot be is not observed, refused where it is no matter of fill values, and doubted where it is unlikely."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import write_raster

from models.card import FixedNormalization
from models.quantities import QUANTITIES, quantity_of_name
from models.registry import resolve_model
from models.training.fit import fixed_statistics
from models.training.settings import Sample
from tasks.errors import ImpossibleValuesError
from tasks.geometry.box import Box
from tasks.inputs.input import Input
from tasks.inputs.listing import list_inputs
from tasks.intake.request import make_request
from tasks.jobs.job import load_job
from tasks.jobs.source import Source
from tasks.scenes.raster.scene import describe_raster
from tasks.verdict.check import check_inputs
from tasks.verdict.plausible import Expected, weigh
from tasks.verdict.volume import check_volume

FIRES = Path("../shared/data/satellite-fire/calfire-s2")
SIDE = 40
WHOLE = Box((0, 0), (SIDE, SIDE))
LIMITED = [quantity for quantity in QUANTITIES.values() if quantity.has_limits]
rng = np.random.default_rng(5)


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=lambda quantity: quantity.name)
def test_limits_enclose_what_is_usual_and_say_where_they_come_from(quantity):
    assert quantity.lowest <= quantity.usual[0] <= quantity.usual[1] <= quantity.highest
    assert quantity.source
    for fill in (-9999.0, -32768.0):
        assert not quantity.has_limits or quantity.lowest > fill or quantity.name == "elevation"


def test_cards_jobs_and_usual_names_agree():
    for name in ("fire-unet", "fire-deeplabv3plus", "sarcoma-t1-unet"):
        card, _ = resolve_model(name)
        assert len(card.quantities) == card.n_channels
        told = {channel: quantity_of_name(channel) for channel in card.channels}
        assert all(told[channel] in (None, quantity) for channel, quantity in card.by_channel.items())
    card, _ = resolve_model("fire-unet")
    for name in ("fire", "fire-nightly"):
        bands = load_job(name).source.bands
        assert all(bands[c].quantity in (None, quantity) for c, quantity in card.by_channel.items())


@given(st.sampled_from(LIMITED), st.data())
def test_possible_values_pass_and_a_share_of_impossible_ones_is_refused(quantity, data):
    low, high = quantity.lowest, quantity.highest
    inside = np.linspace(low, high, 1000)
    assert not [text for text in weigh("x", inside, quantity, "mend") if "cannot" in text]
    shift = data.draw(st.floats(0.1, 100)) * (high - low)
    odd = inside[: data.draw(st.integers(30, 900))] + high - low + shift
    with pytest.raises(ImpossibleValuesError, match="cannot be"):
        weigh("x", np.concatenate([inside, odd]), quantity, "mend {scale}")


@given(st.sampled_from(LIMITED), st.integers(1, 5000), st.sampled_from([-99999.0, 1e20]))
def test_one_value_that_many_pixels_share_is_a_fill_value(quantity, n, fill):
    values = np.concatenate([np.linspace(quantity.lowest, quantity.highest, 1000), np.full(n, fill)])
    warnings = weigh("x", values, quantity, "mend")
    assert any("taken as not observed" in text for text in warnings)
    with pytest.raises(ImpossibleValuesError):
        weigh("x", np.full(n, fill), quantity, "mend {scale}")


@pytest.mark.parametrize(("factor", "told"), [(1000, "0.001"), (100, "0.01"), (10_000, "0.0001")])
def test_a_refusal_says_which_scale_would_put_it_right(factor, told):
    values = rng.normal(0, 0.4, 5000) * factor
    with pytest.raises(ImpossibleValuesError, match=f"write scale: {told}"):
        weigh("x", np.append(values, 1.9 * factor), QUANTITIES["dNBR"], "write scale: {scale}")


def dnbr():
    values = rng.normal(0.02, 0.03, (1, SIDE, SIDE)).astype(np.float32)
    values[0, 10:20, 10:20] = 0.55
    return values


def read(path, channels=("dNBR",), **source):
    scene = describe_raster("s", {"": str(path)}, Source.model_validate(source), channels)
    with scene.open() as reader:
        return (*reader.read(WHOLE), scene)


def verdict(path, job="fire-otsu", **bands):
    base = load_job(job)
    source = Source.model_validate({"bands": bands or {"dNBR": {"band": 1}}})
    made = base.model_copy(update={"source": source, "analysis": None})
    request = make_request(made, path.parent / "out")
    return check_inputs([Input(id="s", files={"file": str(path)})], made, request.card.channels, request.card)[0]


@pytest.mark.parametrize("fill", [-9999.0, -32768.0, 1e20, 3.0])
def test_what_cannot_be_is_not_observed_and_said(tmp_path, fill):
    values = dnbr()
    values[0, :5] = fill
    path = write_raster(tmp_path / "a.tif", values)
    image, seen, _ = read(path)
    assert not seen[:5].any()
    assert seen[5:].all()
    assert np.array_equal(image[0, 5:], values[0, 5:])
    found = verdict(path)
    assert found.go
    assert ["12.5%" in text and f"{fill:g}" in text for text in found.warnings] == [True]


def test_a_fill_value_does_not_bleed_into_its_neighbours_where_a_file_is_interpolated(tmp_path):
    values = np.full((1, SIDE, SIDE), 0.5, np.float32)
    values[0, :, : SIDE // 2] = -9999
    write_raster(tmp_path / "fine.tif", np.zeros((1, 4 * SIDE, 4 * SIDE), np.uint8))
    import rasterio
    from rasterio.transform import Affine

    with rasterio.open(tmp_path / "fine.tif", "r+") as dataset:
        dataset.transform = Affine(5, 0, 500_000, 0, -5, 5_000_000)
    files = {"a": str(tmp_path / "fine.tif"), "b": str(write_raster(tmp_path / "b.tif", values))}
    source = Source.model_validate({"bands": {"A": {"file": "a", "band": 1}, "dNBR": {"file": "b", "band": 1}}})
    with describe_raster("s", files, source, ("A", "dNBR")).open() as reader:
        image, seen = reader.read(Box((0, 0), (4 * SIDE, 4 * SIDE)))
    assert np.all(image[1][seen] == 0.5)
    assert np.array_equal(seen, np.broadcast_to(np.arange(4 * SIDE) >= 2 * SIDE, seen.shape))


def test_whole_numbers_without_a_scale_are_read_by_the_custom_of_their_quantity(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.rint(dnbr() * 1000).astype(np.int16), nodata=-32768)
    image, seen, scene = read(path)
    assert seen.all()
    assert image[0, 15, 15] == pytest.approx(0.55)
    assert ["times 1,000" in note for note in scene.notes] == [True]
    image, _, scene = read(path, bands={"dNBR": {"band": 1, "scale": 1e-4}})
    assert image[0, 15, 15] == pytest.approx(0.055)
    assert scene.notes == ()
    ndvi = write_raster(tmp_path / "b.tif", np.full((1, SIDE, SIDE), 8000, np.int16))
    assert read(ndvi, ("NDVI",))[0][0, 0, 0] == pytest.approx(0.8)


@pytest.mark.parametrize(("factor", "quantity"), [(1000.0, "dNBR"), (10_000.0, "reflectance"), (257.0, "8-bit colour")])
def test_values_of_another_scale_are_refused_by_name(tmp_path, factor, quantity):
    values = rng.uniform(0, 1, (1, SIDE, SIDE)) * factor * (255 if quantity == "8-bit colour" else 1)
    path = write_raster(tmp_path / "a.tif", values.astype(np.float32))
    found = verdict(path, dNBR={"band": 1, "quantity": quantity})
    assert (found.go, found.error) == (False, "ImpossibleValuesError")
    assert f"{1 / factor:.2g}" in found.message


def test_where_nobody_says_what_a_band_holds_a_usual_fill_value_is_told_of_and_kept(tmp_path):
    values = rng.uniform(100, 2000, (1, SIDE, SIDE)).astype(np.float32)
    values[0, :5] = -9999
    path = write_raster(tmp_path / "a.tif", values)
    assert read(path, ("x",), bands={"x": {"band": 1}})[1].all()
    found = verdict(path, "crop", NDVI={"band": 1, "quantity": "counts"})
    assert ["-9999 in 12.5%" in text for text in found.warnings] == [True]


def test_an_index_that_cannot_be_one_is_told_of(tmp_path):
    values = np.stack([np.full((SIDE, SIDE), 0.3), np.full((SIDE, SIDE), -0.1)]).astype(np.float32)
    # Of one value everywhere it would not be looked at.
    values[:, 0, 0] += 0.01
    path = write_raster(tmp_path / "a.tif", values)
    index = {"index": "(N - R) / (N + R)"}
    bands = {"N": {"band": 1}, "R": {"band": 2}, "dNBR": {**index, "quantity": "normalised difference"}}
    found = verdict(path, **bands)
    assert found.go
    assert ["cannot be normalised difference" in text for text in found.warnings if "dNBR" in text] == [True]


def test_an_unknown_quantity_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(Exception, match="reflectance"):
        Source.model_validate({"bands": {"x": {"band": 1, "quantity": "albedo"}}})


def test_training_takes_down_how_channels_go_together():
    image = rng.normal(0, 1, (3, 50, 50)).astype(np.float32)
    image[1] = 2 * image[0] + 5
    sample = Sample(image=image, labels=np.zeros((50, 50), np.uint8), valid=np.ones((50, 50), bool), name="a")
    together = np.array(fixed_statistics([sample]).together)
    assert np.diag(together) == pytest.approx(1, abs=1e-3)
    assert together[0, 1] == pytest.approx(1, abs=1e-3)
    assert abs(together[0, 2]) < 0.1
    with pytest.raises(ValueError, match="clip"):
        FixedNormalization.model_validate({"kind": "fixed", "together": [[1]]})


@pytest.fixture(scope="module")
def fire(tmp_path_factory):
    if not FIRES.is_dir():
        pytest.skip("the sample data is not here: set SWATHE_SAMPLES")
    job = load_job("fire")
    return job, make_request(job, tmp_path_factory.mktemp("out")).card


def test_real_scenes_pass_without_a_word(fire):
    job, card = fire
    items = list_inputs([str(FIRES)], job)
    verdicts = check_inputs(items, job, card.channels, card)
    doubted = {v.path: [text for text in v.warnings if "exchanged" in text or "cannot" in text] for v in verdicts}
    assert {name: texts for name, texts in doubted.items() if texts} == {}
    assert all(v.go for v in verdicts)


# Where B8 and B12 are much alike nobody can tell them apart.
ALIKE = {"TULEDAD_20241006"}


def test_exchanged_bands_of_real_scenes_are_noticed(fire):
    job, card = fire
    found = {}
    for pair in (("TCI_R", "TCI_B"), ("B8", "B12")):
        bands = dict(job.source.bands)
        bands[pair[0]], bands[pair[1]] = bands[pair[1]], bands[pair[0]]
        swapped = job.model_copy(update={"source": job.source.model_copy(update={"bands": bands})})
        verdicts = check_inputs(list_inputs([str(FIRES)], swapped), swapped, card.channels, card)
        told = f"{pair[0]} and {pair[1]} look as if they were exchanged"
        found[pair] = {v.path for v in verdicts if not any(told in text for text in v.warnings)}
    assert found == {("TCI_R", "TCI_B"): set(), ("B8", "B12"): ALIKE}


def test_a_scene_far_from_what_the_model_was_fitted_on_is_told_of(fire):
    job, card = fire
    bands = {**job.source.bands, "B8": job.source.bands["B8"].model_copy(update={"scale": 1e-8})}
    changed = job.model_copy(update={"source": job.source.model_copy(update={"bands": bands})})
    items = list_inputs([str(FIRES)], changed)[:2]
    for found in check_inputs(items, changed, card.channels, card):
        assert any("B8: 100%" in text and "was fitted on" in text for text in found.warnings)


def test_cards_are_written_as_they_are_read():
    for path in Path("models/zoo").glob("*.json"):
        facts = json.loads(path.read_text())
        assert len(facts["quantities"]) == len(facts["channels"])


def test_a_volume_is_held_against_what_its_channel_is_said_to_hold(tmp_path):
    hounsfield = np.random.default_rng(0).uniform(-1000, 800, (20, 20, 20)).astype(np.float32)

    def told(values, quantity="HU", clip=None):
        nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), tmp_path / "scan.nii")
        expected = Expected(channel="CT", quantity=quantity, model="liver", clip=clip)
        return check_volume(str(tmp_path / "scan.nii"), expected=expected).warnings

    assert told(hounsfield) == told(hounsfield * 1000, "counts") == told(hounsfield * 1000, None) == ()
    (warning,) = told(np.where(np.arange(20) == 0, -32768, hounsfield))
    assert warning.startswith("scan.nii: -32768 in 5.0% of the pixels looked at cannot be HU")
    assert warning.endswith("left as it is")
    (warning,) = told(np.clip(hounsfield + 1024, 0, None))
    assert "no value looked at lies below 0 HU" in warning
    (warning,) = told(hounsfield / 1000)
    assert "look as if they had been scaled" in warning
    (warning,) = told(hounsfield, "counts", clip=(2000, 3000))
    assert "100.0% of the values looked at" in warning
    assert "liver tells apart in CT (2000 to 3000)" in warning
    with pytest.raises(ImpossibleValuesError, match=r"cannot be HU .* multiplied by .*scl_slope"):
        told(hounsfield * 1000)
    with pytest.raises(ImpossibleValuesError, match=r"cannot be SUV"):
        told(np.abs(hounsfield) * 1e4, "SUV")


def test_a_job_says_what_a_channel_of_a_volume_holds(tmp_path):
    nib.save(nib.Nifti1Image(rng.normal(5e5, 1e4, (12, 12, 12)).astype(np.float32), np.eye(4)), tmp_path / "scan.nii")
    job = load_job("sarcoma")
    item = Input(id="s", files={"file": str(tmp_path / "scan.nii")})

    def found(**source):
        made = job.model_copy(update={"source": Source.model_validate(source)})
        return check_inputs([item], made, ("T1",), resolve_model("sarcoma-t1-unet")[0])[0]

    assert found().go
    verdict = found(bands={"T1": {"band": 1, "quantity": "HU"}})
    assert (verdict.go, verdict.error) == (False, "ImpossibleValuesError")
