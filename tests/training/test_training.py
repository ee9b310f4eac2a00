from __future__ import annotations

from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceCELoss, FocalLoss
from monai.metrics import compute_dice
from pydantic import ValidationError
from scipy.ndimage import affine_transform
from whole_scenes import dice, score

from models.card import Card, ClassEntry, FixedNormalization, Network, SceneNormalization, Tiling
from models.errors import CardError, DeviceError
from models.networks.builders import build_network
from models.position import positions
from models.training.augmentation import _random_affine, warp
from models.training.crops import IGNORED, Crops, cut, mirrored, prepare
from models.training.fit import fit, fixed_statistics
from models.training.losses import MaskedLoss, scores_loss
from models.training.settings import Augmentation, LossName, Sample, TrainSettings
from models.training.slices import _slices, fit_card

torch.set_num_threads(1)
SHORT = TrainSettings(
    steps=12, batch=4, crop=(16, 16), learning_rate=1e-2, precision="float32", threads=1, averaging=0.5
)


def card(ndim=2, normalization=None):
    return Card(
        name="small",
        title="Small",
        kind="volume" if ndim == 3 else "raster",
        network=Network(name="unet", arguments={"ndim": ndim, "widths": [4, 8]}),
        channels=("a", "b"),
        classes=(ClassEntry(name="background", colour="#000000"), ClassEntry(name="thing", colour="#ffffff")),
        normalization=normalization or FixedNormalization(clip=(), mean=(), std=()),
        tiling=Tiling(tile=(16,) * ndim, halo=(4,) * ndim, overlap=(0,) * ndim),
        licence="Apache-2.0",
        origin="test",
        orientation="SPL" if ndim == 3 else None,
    )


def samples(n=4, shape=(30, 21)):
    """Squares that are brighter in the first channel by one and a half times the noise."""
    made = []
    for index in range(n):
        random = np.random.default_rng(index)
        labels = np.zeros(shape, np.uint8)
        labels[tuple(slice(k + index, k + index + 9) for k in range(len(shape)))] = 1
        image = random.normal(10, 1, (2, *shape)).astype(np.float32)
        image[0] += 1.5 * labels
        made.append(Sample(image=image, labels=labels, valid=np.ones(shape, bool), name=f"scene-{index}"))
    return made


def states_equal(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_training_lowers_the_loss_and_is_reproducible():
    seen = []
    first = fit(samples(), card(), SHORT, progress=lambda *told: seen.append(told))
    second = fit(samples(), card(), SHORT)
    other = fit(samples(), card(), TrainSettings(**{**SHORT.__dict__, "seed": 1}))
    losses = [loss for _, _, loss in seen]
    assert first.history == tuple((step, loss) for step, _, loss in seen)
    assert [step for step, *_ in seen] == list(range(1, 13))
    assert losses[-1] < losses[0]
    assert states_equal(first.state_dict, second.state_dict)
    assert not states_equal(first.state_dict, other.state_dict)


def test_what_a_network_drops_out_is_reproducible_and_leaves_the_callers_random_numbers_alone():
    small = {"widths": [2, 2, 2, 2, 2], "dense_width": 4}
    dropping = card().model_copy(update={"network": Network(name="fcn32s", arguments=small)})
    settings = TrainSettings(**{**SHORT.__dict__, "crop": (32, 32), "steps": 3})
    torch.manual_seed(7)
    first = fit(samples(), dropping, settings)
    drawn = torch.rand(1)
    second = fit(samples(), dropping, settings)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(1))
    assert states_equal(first.state_dict, second.state_dict)


def test_one_step_on_a_batch_lowers_its_loss():
    torch.manual_seed(0)
    network, criterion = build_network(card().network, 2, 2), MaskedLoss("dice_ce")
    scenes = [prepare(s.image - 10, s.labels, s.valid) for s in samples()]
    images, labels = Crops(scenes, SHORT).batch(range(SHORT.batch))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    before = criterion(network(images), labels)
    before.backward()
    optimizer.step()
    assert criterion(network(images), labels) < before


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_fit_learns_what_a_threshold_cannot(precision):
    settings = TrainSettings(
        steps=60, batch=4, crop=(16, 16), learning_rate=1e-2, precision=precision, threads=1, averaging=0.8
    )
    scenes = samples(6)
    result = fit(scenes[:4], card(), settings)
    threshold = np.mean([dice((s.image[0] > 10.75).astype(int), s.labels, 1) for s in scenes[4:]])
    assert np.mean([score(result, scene) for scene in scenes[4:]]) > threshold
    assert result.card.parameters == sum(
        v.numel() for k, v in result.state_dict.items() if "running" not in k and "num" not in k
    )


def test_volumes_are_fitted_with_the_scenes_own_statistics():
    settings = TrainSettings(
        steps=2,
        batch=2,
        crop=(8, 8, 8),
        precision="float32",
        threads=1,
        augmentation=Augmentation(zoom=0.3, gamma=0.3, noise=0.1),
    )
    result = fit(samples(2, (9, 13, 12)), card(3, SceneNormalization()), settings)
    assert 0 <= score(result, samples(1, (9, 13, 12))[0]) <= 1
    assert len(result.history) == 2


# Of every option of a fit, a value that is not the one of BASE, and what makes it count.
BASE = TrainSettings(
    steps=3,
    batch=4,
    crop=(16, 16),
    precision="float32",
    device="cpu",
    augmentation=Augmentation(contrast=0, brightness=0),
)
OTHERS = {
    "steps": 4,
    "batch": 5,
    "crop": (12, 12),
    "accumulate": 2,
    "learning_rate": 1e-2,
    "loss": "tversky_ce",
    "warm_up": 0.7,
    "weight_decay": 0.5,
    "foreground": 1.0,
    "outside": "zero",
    "averaging": 0.1,
    "precision": "bfloat16",
    "seed": 1,
    "augmentation.zoom": 0.3,
    "augmentation.contrast": 0.2,
    "augmentation.brightness": 0.2,
    "augmentation.gamma": 0.5,
    "augmentation.noise": 0.2,
    "augmentation.flip": False,
    "augmentation.turn": False,
    "augmentation.rotation": 20.0,
    "augmentation.stretch": 0.2,
}
# Where a fit is carried out, which changes no more than how numbers are rounded; and when it ends, tried by itself.
PLACES = {"threads", "device", "devices", "loaders", "checkpoint_s", "patience", "watched"}


def changed(option, value):
    name, _, inner = option.partition(".")
    return replace(BASE, **{name: replace(BASE.augmentation, **{inner: value}) if inner else value})


@pytest.fixture(scope="module")
def base_state():
    return fit_card(samples(), card(), BASE).state_dict


def test_no_option_of_a_fit_is_left_untried():
    options = {field.name for field in fields(TrainSettings)} - {"augmentation"} - PLACES
    assert set(OTHERS) == options | {f"augmentation.{field.name}" for field in fields(Augmentation)}


@pytest.mark.parametrize(("option", "value"), OTHERS.items())
def test_every_option_of_a_fit_changes_it(base_state, option, value):
    assert not states_equal(fit_card(samples(), card(), changed(option, value)).state_dict, base_state)


def test_a_fit_runs_where_and_on_as_many_threads_as_it_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    fit_card(samples(1), card(), replace(BASE, steps=1, threads=2))
    assert told == [2]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="'cuda' is not there"):
        fit_card(samples(1), card(), replace(BASE, steps=1, device="cuda"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep": "banana"},
        {"outside": "banana"},
        {"steps": 0},
        {"averaging": 1.0},
        {"foreground": 1.5},
        {"learning_rate": float("nan")},
        {"augmentation": {"noise": -1}},
        {"augmentation": {"flop": True}},
    ],
)
def test_an_option_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        TrainSettings(**{"steps": 1, "batch": 1, "crop": (16, 16), **wrong})


def test_crops_that_cannot_be_turned_are_refused():
    with pytest.raises(CardError, match="turned by quarters"):
        fit(samples(1), card(), replace(BASE, crop=(16, 8)))
    assert fit(samples(1), card(), changed("augmentation.turn", False)).history


def test_a_network_that_looks_at_the_whole_tile_is_scored_on_a_scene_of_one_pixel_too():
    network = Network(name="unet", arguments={"widths": [4, 8], "norm": "instance"})
    looking = card().model_copy(update={"network": network})
    settings = TrainSettings(**{**SHORT.__dict__, "steps": 1})
    assert 0 <= score(fit(samples(2), looking, settings), samples(1, (1, 1))[0]) <= 1


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(-30, 30), st.integers(1, 40))
def test_what_lies_outside_is_mirrored_like_numpy_does(size, start, length):
    row = np.arange(size)
    before, after = max(0, -start), max(0, start + length - size)
    expected = np.pad(row, (before, after), "reflect")[start + before :][:length]
    assert np.array_equal(mirrored(torch.arange(start, start + length), size).numpy(), expected)


def test_what_lies_outside_or_is_not_valid_does_not_count():
    sample = samples(1)[0]
    valid = sample.valid.copy()
    valid[3] = False
    scene = prepare(sample.image, sample.labels, valid)
    layers, labels = cut(scene, [-2, 17], (16, 16), "mirror")
    assert layers.shape == (3, 16, 16)
    assert (labels[:2] == IGNORED).all()
    assert (labels[:, 4:] == IGNORED).all()
    assert (labels[5] == IGNORED).all()
    assert (labels[6:, :4] != IGNORED).all()
    assert (layers[:, 5] == 0).all()


def test_a_valid_network_is_fitted_on_what_it_answers_for():
    valid = {"widths": [8, 16], "padding": "valid", "norm": "none"}
    template = card().model_copy(update={"network": Network(name="unet", arguments=valid)})
    settings = TrainSettings(steps=60, batch=4, crop=(32, 32), learning_rate=3e-3, precision="float32", averaging=0.8)
    scenes = samples(6)
    result = fit(scenes[:4], template, settings)
    assert np.mean([score(result, scene) for scene in scenes[4:]]) > 0.8
    with pytest.raises(CardError, match=r"multiples of \(2, 2\) that exceed \(16, 16\)"):
        fit(scenes, template, TrainSettings(**{**settings.__dict__, "crop": (16, 16)}))


def test_labels_of_a_crop_are_those_of_its_middle():
    sample = samples(1, (40, 40))[0]
    scene = prepare(np.stack([sample.labels, sample.labels]).astype(np.float32), sample.labels, sample.valid)
    still = Augmentation(zoom=0, contrast=0, brightness=0)
    settings = TrainSettings(steps=1, batch=16, crop=(24, 24), augmentation=still, foreground=1)
    images, labels = Crops([scene], settings, (8, 6)).batch(range(settings.batch))
    inside = labels != IGNORED
    assert labels.shape == (16, 8, 12)
    assert torch.equal(images[:, 0, 8:-8, 6:-6][inside].long(), labels[inside])
    assert all((row == 1).any() for row in labels)


@pytest.mark.parametrize("name", get_args(LossName))
def test_ignored_pixels_do_not_change_a_loss(name):
    criterion = MaskedLoss(name)
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 8, 8))
    labels[:, 2:5] = IGNORED
    changed = logits.clone()
    changed[:, :, 2:5] = 100 * torch.randn(2, 3, 3, 8)
    assert torch.equal(criterion(logits, labels), criterion(changed, labels))
    nothing = logits.clone().requires_grad_()
    criterion(nothing, torch.full((2, 8, 8), IGNORED)).backward()
    assert torch.isfinite(nothing.grad).all()


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("dice_ce", DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)),
        ("focal", FocalLoss(use_softmax=True, to_onehot_y=True, reduction="none")),
    ],
)
def test_a_loss_of_what_is_labelled_everywhere_is_monais(name, theirs):
    torch.manual_seed(1)
    logits, labels = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 8, 8))
    found = theirs(logits, labels[:, None])
    # Their mean of the focal loss is over the classes, too.
    expected = found.sum(1).mean() if name == "focal" else found
    if name == "dice_ce":
        # Theirs leaves the background out of cross-entropy as well.
        expected = theirs.dice(logits, labels[:, None]) + torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(MaskedLoss(name)(logits, labels), expected)


SEGRESNET = {"spatial_dims": 2, "init_filters": 8, "blocks_down": [1, 1, 1], "dsdepth": 2}
DYNUNET = {
    "spatial_dims": 2, "kernel_size": [3] * 4, "strides": [1, 2, 2, 2], "upsample_kernel_size": [2] * 3,
    "filters": [4, 4, 8, 8], "deep_supervision": True, "deep_supr_num": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "n_depths"),
    [
        ("nnunet", {"features": [2, 2, 3, 3]}, 3),
        ("monai:SegResNetDS", SEGRESNET, 2),
        ("monai:DynUNet", DYNUNET, 3),
        ("unet", {"widths": [4, 8]}, 1),
    ],
)
def test_a_network_that_answers_at_several_depths_is_fitted_at_all_that_count(name, arguments, n_depths):
    torch.manual_seed(0)
    built = build_network(Network(name=name, arguments=arguments), 2, 2).train()
    images, labels = torch.rand(2, 2, 32, 32), torch.randint(2, (2, 32, 32))
    seen = []

    class Counted(torch.nn.Module):
        def forward(self, logits, coarse):
            assert logits.shape[2:] == coarse.shape[1:]
            assert logits.shape[1] == 2
            seen.append(logits)
            return logits.square().mean()

    loss = scores_loss(Counted(), built, images, labels)
    assert len(seen) == n_depths
    weights = {1: [1], 2: [2 / 3, 1 / 3], 3: [2 / 3, 1 / 3, 0]}[n_depths]
    expected = sum(weight * logits.square().mean() for weight, logits in zip(weights, seen, strict=True))
    torch.testing.assert_close(loss, expected)
    assert built.eval()(images).shape == (2, 2, 32, 32)


def test_augmented_crops_keep_labels_with_their_pixels():
    sample = samples(1, (40, 40))[0]
    marked = np.stack([sample.labels, 1 - sample.labels]).astype(np.float32)
    scene = prepare(marked, sample.labels, sample.valid)
    still = Augmentation(zoom=0, contrast=0, brightness=0)
    settings = TrainSettings(steps=1, batch=16, crop=(24, 24), augmentation=still)
    images, labels = Crops([scene], settings).batch(range(settings.batch))
    inside = labels != IGNORED
    assert torch.equal(images[:, 0][inside].long(), labels[inside])
    assert len({tuple(row.ravel().tolist()) for row in labels}) > 8


def test_what_is_mirrored_beyond_an_edge_is_seen_but_does_not_count():
    sample = samples(1, (8, 8))[0]
    scene = prepare(sample.image, sample.labels, sample.valid)
    still = Augmentation(zoom=0, contrast=0, brightness=0)
    settings = TrainSettings(steps=1, batch=4, crop=(16, 16), augmentation=still)
    images, labels = Crops([scene], settings).batch(range(settings.batch))
    outside = (labels == IGNORED)[:, None].expand_as(images)
    assert outside.any()
    assert (images[outside] != 0).all()


@pytest.mark.parametrize("shape", [(21, 34), (9, 12, 17)])
def test_a_warp_is_scipys_affine_transform(shape):
    settings = Augmentation(rotation=20, stretch=0.2)
    matrix = _random_affine(len(shape), settings, torch.Generator().manual_seed(4)).numpy()
    middle = (np.array(shape) - 1) / 2
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    labels = (image > 0.5).astype(np.int64)
    warped, changed = warp(
        torch.from_numpy(image)[None], torch.from_numpy(labels), IGNORED, settings, torch.Generator().manual_seed(4)
    )
    expected = affine_transform(image, matrix, middle - matrix @ middle, order=1, mode="constant", cval=np.nan)
    inside = np.isfinite(expected)
    assert 0.5 < inside.mean() < 1
    np.testing.assert_allclose(warped[0].numpy()[inside], expected[inside], atol=1e-4)
    assert set(np.unique(changed.numpy())) == {0, 1, IGNORED}
    nearest = affine_transform(labels, matrix, middle - matrix @ middle, order=0, mode="constant", cval=IGNORED)
    assert (changed.numpy() == nearest)[inside].mean() > 0.99


def test_a_fit_that_sees_positions_learns_what_only_they_tell():
    scenes = [
        Sample(
            image=np.zeros((2, 24, 24), np.float32),
            labels=np.zeros((24, 24), np.uint8),
            valid=np.ones((24, 24), bool),
            name="s",
        )
    ]
    scenes[0].labels[8:16, 8:16] = 1
    settings = TrainSettings(
        steps=60, batch=4, crop=(16, 16), learning_rate=1e-2, precision="float32", averaging=0.8, foreground=0
    )
    placed = card().model_copy(update={"position": True})
    seen, blind = (score(fit(scenes, template, settings), scenes[0]) for template in (placed, card()))
    assert seen > 0.9
    assert blind < 0.7


def test_slices_keep_the_positions_of_their_volume():
    shape = (5, 6, 7)
    flat = card(3, SceneNormalization()).model_copy(
        update={"position": True, "network": Network(name="unet", arguments={"widths": [4, 8]})}
    )
    pieces = list(_slices(samples(1, shape)[0], flat))
    together = np.stack([piece.position for piece in pieces], axis=1)
    assert np.array_equal(together, positions((0, 0, 0), shape, shape))


def test_slices_are_normalised_with_the_numbers_of_all_volumes():
    flat = card(3).model_copy(update={"network": Network(name="unet", arguments={"widths": [4, 8]})})
    volumes = samples(2, (4, 24, 24))
    few = TrainSettings(steps=2, batch=2, crop=(16, 16), precision="float32")
    assert fit_card(volumes, flat, few).card.normalization == fixed_statistics(volumes)


def test_fixed_statistics_look_at_valid_pixels_only():
    sample = samples(1)[0]
    image, valid = sample.image.copy(), sample.valid.copy()
    image[:, :4], valid[:4] = 1e6, False
    changed = Sample(image=image, labels=sample.labels, valid=valid, name="changed")
    inside = Sample(image=image[:, 4:], labels=sample.labels[4:], valid=valid[4:], name="inside")
    assert fixed_statistics([changed]) == fixed_statistics([inside])


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_dice_is_monais(seed):
    random = np.random.default_rng(seed)
    predicted, labels = random.integers(0, 2, (2, 6, 7))
    labels[0, 0] = predicted[0, 0] = 1
    theirs = compute_dice(torch.from_numpy(predicted)[None, None], torch.from_numpy(labels)[None, None])
    assert dice(predicted, labels, 1) == pytest.approx(float(theirs))


def test_dice_of_nothing_found_where_nothing_is_is_one():
    empty = np.zeros((3, 3), int)
    assert dice(empty, empty, 1) == 1
    assert dice(empty + 1, np.full((3, 3), IGNORED), 1) == 1
