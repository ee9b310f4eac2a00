"""A fit that is ended half way goes on to the same bits."""

import multiprocessing
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_process import run

from models.card import Card, ClassEntry, FixedNormalization, Network, Tiling
from models.errors import WeightsError
from models.training import trainer
from models.training.crops import Crops
from models.training.fit import fit
from models.training.settings import Augmentation, Sample, TrainSettings

# Drops out, and keeps running statistics beside its weights.
NETWORK = Network(name="nnunet", arguments={"features": [3, 4], "norm": "BatchNorm", "dropout": 0.2})
SETTINGS = TrainSettings(
    steps=40,
    batch=2,
    crop=(16, 16),
    precision="float32",
    threads=1,
    device="cpu",
    checkpoint_s=0.05,
    averaging=0.9,
    augmentation=Augmentation(zoom=0.3, gamma=0.2, noise=0.1, rotation=10, stretch=0.1),
)
SHORT = replace(SETTINGS, steps=6, checkpoint_s=0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def card():
    return Card(
        name="small",
        title="Small",
        kind="raster",
        network=NETWORK,
        channels=("a", "b"),
        classes=(ClassEntry(name="background", colour="#000000"), ClassEntry(name="thing", colour="#ffffff")),
        normalization=FixedNormalization(clip=(), mean=(), std=()),
        tiling=Tiling(tile=(16, 16), halo=(4, 4), overlap=(0, 0)),
        licence="Apache-2.0",
        origin="test",
    )


def samples(n=3, shape=(30, 21)):
    made = []
    for index in range(n):
        random = np.random.default_rng(index)
        labels = random.integers(-1, 2, shape)
        image = random.normal(10, 1, (2, *shape)).astype(np.float32)
        image[0] += 2 * (labels == 1)
        made.append(Sample(image=image, labels=labels, valid=random.random(shape) > 0.1, name=f"scene-{index}"))
    return made


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def in_a_process(settings, folder, kill_at=None):
    # Not forked from this one, in which other tests have left threads that may hold locks.
    process = multiprocessing.get_context("spawn").Process(
        target=run, args=(samples(), card(), settings, folder, kill_at, settings.interval)
    )
    process.start()
    process.join()
    return process.exitcode


def attacked(folder, steps):
    for step in steps:
        assert in_a_process(SETTINGS, folder, step) == -signal.SIGKILL
    assert in_a_process(SETTINGS, folder) == 0
    return torch.load(folder / "result.pt")


def test_a_fit_that_is_killed_in_the_middle_of_epochs_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainSettings, "interval", property(lambda _: 8))
    assert_same(attacked(tmp_path, (5, 27)), fit(samples(), card(), SETTINGS).state_dict)


@pytest.mark.slow
def test_a_fit_that_is_killed_at_ten_random_steps_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainSettings, "interval", property(lambda _: 8))
    steps = sorted(np.random.default_rng().integers(0, SETTINGS.steps, 10).tolist())
    assert_same(attacked(tmp_path, steps), fit(samples(), card(), SETTINGS).state_dict)


class EndedError(Exception):
    """Stands for whatever ends a process between two steps."""


def ended_at(step, monkeypatch, settings, folder, watched=()):
    """Fit until the crops of a step, from 0, are asked for."""
    drawn = Crops.__getitem__

    def drawn_or_ended(crops, number):
        if number == step * settings.batch * settings.accumulate and crops.n_scenes > 1:
            raise EndedError
        return drawn(crops, number)

    with monkeypatch.context() as patched:
        patched.setattr(Crops, "__getitem__", drawn_or_ended)
        with pytest.raises(EndedError):
            fit(samples(), card(), settings, folder=folder, watched=watched)


@pytest.mark.parametrize(("interval", "accumulate"), [(1, 1), (3, 2)])
def test_a_fit_goes_on_from_wherever_a_checkpoint_is_written(tmp_path, monkeypatch, interval, accumulate):
    monkeypatch.setattr(TrainSettings, "interval", property(lambda _: interval))
    settings = replace(SHORT, accumulate=accumulate)
    whole = fit(samples(), card(), settings)
    assert list(whole.curves) == list(range(interval, 7, interval))
    for step in range(1, settings.steps):
        ended_at(step, monkeypatch, settings, tmp_path)
    gone_on = fit(samples(), card(), settings, folder=tmp_path)
    assert_same(gone_on.state_dict, whole.state_dict)
    assert gone_on.curves == whole.curves


@pytest.mark.parametrize("interval", [1, 2])
def test_a_fit_that_watches_scenes_stops_early_with_the_best_weights(tmp_path, monkeypatch, interval):
    monkeypatch.setattr(TrainSettings, "interval", property(lambda _: interval))
    # So fast that it soon becomes worse.
    settings = replace(SHORT, steps=60, patience=2, learning_rate=0.5, averaging=0, warm_up=0)
    watched = samples(4)[3:]
    whole = fit(samples(), card(), settings, watched=watched)
    assert max(whole.curves) < settings.steps
    dice = {step: row["watched_dice"] for step, row in whole.curves.items()}
    best = max(dice, key=dice.get)
    assert max(whole.curves) == best + settings.patience
    until = fit(samples(), card(), replace(settings, patience=None), folder=tmp_path / "until")
    for step in range(1, max(whole.curves), 4):
        ended_at(step, monkeypatch, settings, tmp_path, watched)
    gone_on = fit(samples(), card(), settings, folder=tmp_path, watched=watched)
    assert_same(gone_on.state_dict, whole.state_dict)
    assert gone_on.curves == whole.curves
    assert not torch.equal(next(iter(until.state_dict.values())), next(iter(whole.state_dict.values())))


def test_what_was_fitted_is_not_fitted_again_and_its_logs_stay(tmp_path, monkeypatch):
    first = fit(samples(), card(), SHORT, folder=tmp_path)
    monkeypatch.setattr(trainer, "_trainer", None)
    again = fit(samples(), card(), SHORT, folder=tmp_path)
    assert_same(again.state_dict, first.state_dict)
    assert again.curves == first.curves
    assert list(tmp_path.glob("logs/csv/*/metrics.csv"))
    assert list(tmp_path.glob("logs/tensorboard/*/events.*"))
    assert not list(tmp_path.glob("last.ckpt"))


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"half of a checkp")
    with pytest.raises(WeightsError, match=r"last\.ckpt: this checkpoint cannot be read: .*Remove it"):
        fit(samples(), card(), SHORT, folder=tmp_path)
