"""What a scene will take is known from its shape, and from the machine's own past."""

import numpy as np
import pytest
from scenes import write_raster
from typer.testing import CliRunner

from flows.commands.app import app
from models.predictors.fakes import fake_card
from models.registry import zoo_cards
from tasks.intake.expectation import expect, remember

CARD = zoo_cards()["fire-unet"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SWATHE_CACHE", str(tmp_path / "cache"))


def test_time_is_not_known_before_a_model_has_run_here():
    assert expect((100, 200), CARD, 2).slot_s is None


def test_time_grows_with_pixels_and_is_that_of_the_model_and_of_its_last_run():
    remember(CARD, 1_000, 50.0)
    remember(CARD, 1_000, 10.0)
    assert expect((100, 200), CARD, 2).slot_s == pytest.approx(200.0)
    assert expect((100, 200), fake_card("identity", {}, ("1",), "raster"), 2).slot_s is None


def test_disk_is_that_of_store_and_product_uncompressed_and_of_what_lies_beside():
    beside = 8_000_000 + 20_000
    assert expect((100, 200), CARD, 1).disk_bytes == 2 * 20_000 + beside
    assert expect((100, 200), CARD, 2).disk_bytes == 4 * 20_000 + beside
    many = fake_card("identity", {"n_classes": 300}, ("1",), "raster")
    assert expect((100, 200), many, 2).disk_bytes == 6 * 20_000 + beside


def test_a_damaged_record_or_a_cache_that_cannot_be_written_costs_the_estimate_alone(tmp_path):
    cache = tmp_path / "cache"
    remember(CARD, 1, 1.0)
    (record,) = cache.rglob("*.json")
    record.write_text("{")
    assert expect((1, 1), CARD, 1).slot_s is None
    record.unlink()
    record.parent.rmdir()
    record.parent.write_text("a file where the folder should be")
    remember(CARD, 1, 1.0)
    assert expect((1, 1), CARD, 1).slot_s is None


def test_check_says_what_every_scene_and_all_together_will_take(tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text("{job: mine, kind: raster, source: {bands: {B1: {band: 1}}}, model: {name: identity}}")
    for name in ("one", "two"):
        write_raster(tmp_path / "in" / f"{name}.tif", np.tile(np.arange(2, dtype=np.uint8), (1, 1000, 250)))
    command = ["check", str(tmp_path / "in"), "--job", str(job)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert result.output.count("time not known before this model has run here once; up to 10 MB of disk") == 2
    remember(fake_card("identity", {}, ("B1",), "raster"), 500_000, 60.0)
    result = CliRunner().invoke(app, command)
    assert result.output.count("takes: about 60 s of one worker; up to 10 MB of disk") == 2
    assert "together: about 2 min of one worker; up to 19 MB of disk" in result.output
