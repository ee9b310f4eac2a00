"""Training by its flow: folds are scored on scenes they have not seen, and weights and card are written together."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
import torch
import yaml
from rasterio import Affine
from rich.console import Console

from flows.commands import tables
from flows.orchestration.plain import PlainOrchestrator
from flows.training.disagreement import quiet_models
from models.card import Card
from models.registry import resolve_model
from models.training import slices
from models.training.slices import fit_card
from tasks.errors import FitError, JobError, LeakError
from tasks.jobs.reading import CONFIGS
from tasks.samples.synthetic import write_synthetic_fire, write_synthetic_volume


def small(name: str, folder: Path, **changes) -> dict:
    job = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    job["training"] |= {"folder": str(folder), "exclude": []}
    job["card"]["network"] = {"name": "unet", "arguments": {"widths": [4, 8]}}
    job["settings"] |= {
        "steps": 30,
        "batch": 4,
        "crop": [32, 32],
        "learning_rate": 0.02,
        "averaging": 0.5,
        "threads": 1,
    }
    return job | changes


def write_fires(folder: Path, n: int) -> None:
    """Write fires on ground of their own."""
    for seed in range(n):
        for path in write_synthetic_fire(folder, f"fire-{seed}", 64, seed):
            with rasterio.open(path, "r+") as dataset:
                dataset.transform = dataset.transform @ Affine.translation(1000 * seed, 0)


def train(job: dict, folder: Path):
    from flows.training.fit import train_model

    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return train_model(str(path), folder / "trained", [])


def test_a_raster_network_is_scored_held_out_and_written_with_its_card(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(PlainOrchestrator, "show_fits", lambda _, report: shown.append(report))
    write_fires(tmp_path / "scenes", 3)
    result = train(small("train-fire", tmp_path / "scenes", folds=3), tmp_path)
    assert result.figures.network.mean["dice_n"] == 3
    # Its spectra are drawn round what the threshold separates.
    assert result.figures.baseline.mean["dice_mean"] > 0.9
    card, folder = resolve_model(str(tmp_path / "trained" / "fire-unet.json"))
    assert folder == tmp_path / "trained"
    assert [list(report.curves) for report in shown] == [["fold-0", "fold-1", "fold-2"], ["all"]]
    assert set(shown[0].examples) == {"fire-0", "fire-1", "fire-2"}
    assert list(result.fits.glob("fold-*/logs/csv/*/metrics.csv"))
    assert card.training.scores == result.figures.network.mean
    assert card.training.by_class == {"burned": card.training.scores}
    assert card.training.baseline == result.figures.baseline.mean
    console = Console(width=400)
    with console.capture() as told:
        console.print(tables.training(result))
    assert "too few; lowest" in told.get()
    assert len(card.normalization.mean) == 6
    assert card.bfloat16_disagreement is None or 0 <= card.bfloat16_disagreement <= 1


@pytest.mark.parametrize("n_axes", [2, 3])
def test_networks_of_two_and_three_axes_are_fitted_and_scored_on_volumes(tmp_path, n_axes):
    for seed in range(2):
        image, mask = write_synthetic_volume(tmp_path / "scenes", "volume", seed)
        (tmp_path / "scenes" / f"p{seed}").mkdir()
        image.rename(tmp_path / "scenes" / f"p{seed}" / "MR_T1_image.nii.gz")
        mask.rename(tmp_path / "scenes" / f"p{seed}" / "MR_T1_mask.nii.gz")
    job = small("train-sarcoma", tmp_path / "scenes", folds=2)
    depth = {2: (1, 0), 3: (16, 4)}[n_axes]
    job["card"]["network"]["arguments"]["ndim"] = n_axes
    job["card"]["tiling"] = {"tile": [depth[0], 32, 32], "halo": [depth[1], 4, 4], "overlap": [0, 0, 0]}
    # Enough to find the ball: a network that finds nothing is refused.
    job["settings"] |= {"crop": [16, 16, 16][:n_axes], "steps": 80, "foreground": 0.9}
    result = train(job, tmp_path)
    assert result.figures.network.mean["dice_n"] == 2
    card, _ = resolve_model(str(tmp_path / "trained" / "sarcoma-t1-unet.json"))
    assert card.normalization.kind == "scene"
    assert card.position
    assert card.n_inputs == 4
    assert 0 <= card.tiling.disagreement <= 1


def test_models_are_quiet_while_they_are_compared_and_not_after():
    models = logging.getLogger("models.predictors.networks")
    before = models.getEffectiveLevel()
    with quiet_models():
        assert not models.isEnabledFor(logging.INFO)
    assert models.getEffectiveLevel() == before


def test_scenes_that_are_held_are_not_fitted_and_score_the_last_fit(tmp_path):
    write_fires(tmp_path / "scenes", 3)
    job = small("train-fire", tmp_path / "scenes", folds=0)
    job["training"]["held"] = ["fire-2"]
    result = train(job, tmp_path)
    assert result.figures.network.mean["dice_n"] == 1
    card, _ = resolve_model(str(tmp_path / "trained" / "fire-unet.json"))
    assert card.training.scores == result.figures.network.mean
    with pytest.raises(JobError, match=r"'training\.held' and 'folds' both say what is scored"):
        train(job | {"folds": 2}, tmp_path)


def test_without_folds_the_command_tells_where_the_weights_are_and_what_was_measured(tmp_path, monkeypatch):
    write_fires(tmp_path / "my-fires", 2)
    job = small("train-fire", tmp_path / "my-fires", folds=0)
    del job["card"]["training"]
    lines = []
    # Prefect has handlers of its own.
    monkeypatch.setattr(
        logging.getLogger("flows.training.fit"), "info", lambda text, *values: lines.append(text % values)
    )
    result = train(job, tmp_path)
    assert sum("segmenting 2 scenes" in line for line in lines) == 1
    console = Console(width=400)
    with console.capture() as told:
        console.print(tables.training(result))
    weights = tmp_path / "trained" / "fire-unet.safetensors"
    assert weights.is_file()
    for shown in (str(weights), "fire-unet.json", "left out by folds: 0", "labels changed by tiles"):
        assert shown in told.get()
    text = (tmp_path / "trained" / "fire-unet.json").read_text()
    assert Card.model_validate_json(text).training.data == "my-fires"
    assert str(tmp_path) not in text


@pytest.mark.parametrize("folds", [0, 2])
def test_a_network_that_finds_nothing_is_not_written(tmp_path, monkeypatch, folds):
    write_fires(tmp_path / "scenes", 2)
    job = small("train-fire", tmp_path / "scenes", folds=folds)
    job["settings"]["steps"] = 1

    def collapsed(*arguments, **keywords):
        fitted = fit_card(*arguments, **keywords)
        head = {"head.weight": torch.zeros(2, 4, 1, 1), "head.bias": torch.tensor([1.0, 0.0])}
        return replace(fitted, state_dict=fitted.state_dict | head)

    monkeypatch.setattr(slices, "fit_card", collapsed)
    with pytest.raises(FitError, match=r"fire-unet: every pixel of the .* Nothing is written"):
        train(job, tmp_path)
    assert {path.name for path in (tmp_path / "trained").iterdir()} == {".swathe", "fits"}


@pytest.mark.parametrize(
    ("section", "changes", "named"),
    [
        ("settings", {"stepps": 3}, r"settings\.stepps"),
        ("settings", {"keep": "banana"}, r"settings\.keep"),
        ("settings", {"outside": "banana"}, r"settings\.outside.*'mirror' or 'zero'"),
        ("settings", {"augmentation": {"noise": -1}}, r"settings\.augmentation\.noise"),
        ("baseline", {"kind": "banana"}, r"baseline\.kind"),
        ("baseline", {"side": "banana"}, r"baseline\.side"),
        ("baseline", {"channel": 6}, r"baseline\.channel"),
        ("baseline", {"kind": "otsu"}, "goes with kind: threshold"),
    ],
)
def test_what_means_nothing_in_a_training_job_is_refused_by_name(tmp_path, section, changes, named):
    job = small("train-fire", tmp_path / "no-scenes-are-read", folds=0)
    job[section] |= changes
    with pytest.raises(JobError, match=named):
        train(job, tmp_path)


def test_scenes_of_one_ground_are_not_fitted_and_scored(tmp_path):
    for seed in range(2):
        write_synthetic_fire(tmp_path / "scenes", f"fire-{seed}", 64, seed)
    job = small("train-fire", tmp_path / "scenes", folds=2)
    with pytest.raises(LeakError, match=r"fire-0 and fire-1 .* ground that both cover"):
        train(job, tmp_path)
    job["training"]["split_by"] = "place"
    with pytest.raises(JobError, match="1 groups of scenes that belong together cannot be split into 2"):
        train(job, tmp_path)


@pytest.mark.parametrize(("folds", "named"), [(1, "one fold leaves nothing"), (3, "2 scenes cannot be split into 3")])
def test_folds_that_cannot_be_made_are_refused(tmp_path, folds, named):
    write_fires(tmp_path / "scenes", 2)
    with pytest.raises(JobError, match=named):
        train(small("train-fire", tmp_path / "scenes", folds=folds), tmp_path)


def test_a_simple_method_of_one_class_is_no_measure_of_several(tmp_path):
    job = small("train-fire", tmp_path / "scenes")
    job["card"]["classes"].append({"name": "water", "colour": "#0000ff"})
    with pytest.raises(JobError, match="'baseline' marks one class, and the card has 2"):
        train(job, tmp_path)
