"""What the pages say is so: commands parse, jobs load, scripts run, tables agree with the code."""

import csv
import io
import re
import shlex
import subprocess
from dataclasses import MISSING, fields
from pathlib import Path

import click
import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command
from typer.testing import CliRunner

from flows.commands.app import app
from models.card import Card, Network, Tiling, Training, Weights
from models.catalogue import CATALOGUE
from models.registry import zoo_cards
from models.training.settings import Augmentation, TrainSettings
from tasks.inputs.listing import list_inputs
from tasks.jobs import job as jobs
from tasks.jobs import training as training_job
from tasks.jobs.analysis import AreaAnalysis
from tasks.jobs.crop import CropAnalysis
from tasks.jobs.deidentify import Deidentification
from tasks.jobs.dicom_output import ClassTerms, DicomOutput, Term
from tasks.jobs.fire import AlertRules, FireAnalysis
from tasks.jobs.instances import InstanceSettings, PanopticSettings
from tasks.jobs.nightly import Nightly, Retention, StacSearch
from tasks.jobs.source import BandSource, DicomRule, Invalid, Pair, Source
from tasks.jobs.structures import StructuresAnalysis
from tasks.jobs.tumour import TumourAnalysis
from tasks.samples.synthetic import write_synthetic_fire, write_synthetic_volume

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "tests" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
SECTIONS = {
    "": jobs.Job,
    "source": Source,
    "source.bands.NAME": BandSource,
    "source.pair": Pair,
    "source.invalid": Invalid,
    "source.dicom": DicomRule,
    "model": jobs.ModelChoice,
    "tiling": jobs.Tiling,
    "run": jobs.Run,
    "output": jobs.Output,
    "output.instances": InstanceSettings,
    "output.panoptic": PanopticSettings,
    "output.dicom": DicomOutput,
    "output.dicom.terms.CLASS": ClassTerms,
    "output.dicom.terms.CLASS.type": Term,
    "deidentify": Deidentification,
    "nightly": Nightly,
    "nightly.retention": Retention,
    "nightly.stac": StacSearch,
    "analysis[area]": AreaAnalysis,
    "analysis[crop]": CropAnalysis,
    "analysis[fire]": FireAnalysis,
    "analysis[fire].alerts": AlertRules,
    "analysis[structures]": StructuresAnalysis,
    "analysis[tumour]": TumourAnalysis,
    "training": training_job.TrainingSource,
}


# Pages whose blocks belong together: tests/docs/test_walkthroughs.py and tests/docs/test_extending.py.
RUN_WHOLE = {"walkthroughs": ("python",), "extending": ("python", "yaml")}


def blocks(language: str) -> list:
    found = [
        pytest.param(text, id=f"{page.stem}-{number}")
        for page in PAGES
        if language not in RUN_WHOLE.get(page.stem, RUN_WHOLE.get(page.parent.name, ()))
        for number, text in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL))
    ]
    assert found, f"no {language} block in any page"
    return found


def commands() -> list[str]:
    lines = [line for block in blocks("console") for line in block.values[0].splitlines()]
    found = [re.sub(r"^\$ (?:[A-Z_]+=\S+ )*", "", line) for line in lines if line.startswith("$ ")]
    return sorted({line for line in found if line.startswith("swathe ")})


def rows(page: str) -> list[list[str]]:
    """Return the cells of all table rows of a page."""
    lines = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("line", commands())
def test_a_command_that_a_page_shows_is_one(line):
    name, *arguments = shlex.split(line)[1:]
    group = get_command(app)
    command = group.get_command(click.Context(group), name)
    assert command is not None, f"there is no swathe {name}"
    while hasattr(command, "get_command"):
        name, *arguments = arguments
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"there is no command {name} in: {line}"
    command.make_context(name, arguments)


def test_the_readme_names_a_command_for_each_task():
    lines = re.findall(r"`(swathe [^`]+)`", (ROOT / "README.md").read_text())
    assert len(lines) >= 10
    for line in lines:
        test_a_command_that_a_page_shows_is_one(line)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_job_that_a_page_shows_loads(tmp_path, text):
    path = tmp_path / "job.yaml"
    path.write_text(text)
    load = training_job.load_training_job if "training" in yaml.safe_load(text) else jobs.load_job
    assert load(str(path)).job


@pytest.mark.parametrize("text", blocks("python"))
def test_a_script_that_a_page_shows_runs(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "page", "exec"), {})
    shown = CliRunner().invoke(app, ["models", "weights/my-unet.json"])
    assert shown.exit_code == 0, shown.output
    assert "my-unet" in shown.output


@pytest.mark.parametrize("text", blocks("bash"))
def test_a_shell_script_that_a_page_shows_parses(text):
    assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=True).stderr == ""


def test_a_job_of_your_own_reads_the_table_that_is_shown_with_it(tmp_path):
    text = (ROOT / "docs" / "how-to" / "own-job.md").read_text().partition("## Several files per scene")[2]
    paths = {language: tmp_path / f"own.{language}" for language in ("yaml", "csv")}
    for language, path in paths.items():
        path.write_text(re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1])
    job = jobs.load_job(str(paths["yaml"]))
    table = list(csv.DictReader(io.StringIO(paths["csv"].read_text())))
    items = list_inputs([str(paths["csv"])], job)
    assert [(item.id, item.site, item.date, item.error) for item in items] == [
        (row["scene"], row["site"], row["date"], None) for row in table
    ]
    assert set(zoo_cards()[job.model.name].channels) <= set(job.source.bands)


def test_the_commands_that_only_look_run_on_generated_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_synthetic_fire(Path("scenes"), "CREEK", 64)
    write_synthetic_volume(Path("scans"), "study")
    run = CliRunner().invoke
    listed = run(app, ["models"])
    assert listed.exit_code == 0
    assert all(name[:8] in listed.output for name in zoo_cards())
    assert run(app, ["check", "scenes/post_fire/CREEK.tif", "--job", "fire"]).exit_code == 0
    assert run(app, ["check", "scenes", "scans"]).exit_code == 0
    Path("scenes/dnbr/CREEK.tif").unlink()
    refused = run(app, ["check", "scenes", "--job", "fire"])
    assert refused.exit_code == 1
    assert "SceneError" in refused.output


def expected_defaults(name: str, section: type[BaseModel]) -> dict[str, str]:
    prefix = f"{name}." if name else ""
    found = {}
    for key, field in section.model_fields.items():
        # Its keys are described one by one.
        if isinstance(field.default, BaseModel) or field.annotation is jobs.ModelChoice:
            continue
        value = "required" if field.is_required() else yaml_word(field.get_default(call_default_factory=True))
        found[f"`{prefix}{key}`"] = value if value == "required" else f"`{value}`"
    return found


def fit_defaults(prefix: str, settings: type) -> dict[str, str]:
    found = {}
    for field in fields(settings):
        required = field.default is MISSING
        # Its keys are described one by one.
        if required and field.default_factory is not MISSING:
            continue
        found[f"`{prefix}.{field.name}`"] = "required" if required else f"`{yaml_word(field.default)}`"
    return found


def yaml_word(value: object) -> str:
    if value in ((), {}) or value is None or isinstance(value, bool):
        return {"()": "[]", "{}": "{}", "None": "null", "True": "true", "False": "false"}[str(value)]
    return str(list(value) if isinstance(value, tuple) else value) or '""'


def test_every_key_of_a_job_is_described_with_its_default():
    described = {cells[0]: cells[1] for cells in rows("docs/jobs.md") if len(cells) == 3 and cells[0].startswith("`")}
    expected = {}
    for name, section in SECTIONS.items():
        expected |= expected_defaults(name, section)
    assert all(expected.pop(f"`{name}.kind`") == "required" for name in SECTIONS if name.endswith("]"))
    expected["`analysis.kind`"] = "required"
    training = expected_defaults("", training_job.TrainingJob)
    expected |= {key: default for key, default in training.items() if key not in expected and key != "`training`"}
    expected |= expected_defaults("baseline", training_job.Baseline)
    expected |= fit_defaults("settings", TrainSettings) | fit_defaults("settings.augmentation", Augmentation)
    assert described == expected


def test_every_field_of_a_card_is_described():
    text = (ROOT / "docs" / "models.md").read_text()
    fields = [key for model in (Card, Network, Tiling, Training, Weights) for key in model.model_fields]
    missing = [key for key in fields if f"`{key}`" not in text]
    assert missing == []
    assert [name for name in CATALOGUE if f"`{name}`" not in text] == []


def quality_row(card: Card) -> list[str]:
    def dice(figures: dict[str, float]) -> str:
        return f"{figures['dice_mean']:.3f} ± {figures['dice_std']:.3f}" if figures else "none"

    scores, disagreement = card.training.scores, card.tiling.disagreement
    return [
        f"`{card.name}`",
        f"{card.parameters:,}",
        dice(scores),
        f"{scores['dice_min']:.3f}",
        f"{scores['dice_n']:.0f}",
        dice(card.training.baseline),
        "not measured" if disagreement is None else f"{100 * disagreement:.3f} %",
    ]


def test_the_figures_of_the_shipped_models_are_those_of_their_cards():
    shown = [cells for cells in rows("docs/quality.md") if len(cells) == 7 and cells[0].startswith("`")]
    cards = [card for card in zoo_cards().values() if card.training is not None and card.training.scores]
    assert sorted(shown) == sorted(quality_row(card) for card in cards)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_and_links_that_a_page_names_are_there(page):
    text = page.read_text()
    named = re.findall(r"`((?:flows|tasks|models|tests|docs|docker|configs)/[\w./-]+\.\w+)`", text)
    linked = [link.split("#")[0] for link in re.findall(r"\]\((?!https?:|#)([^)]+)\)", text)]
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [link for link in linked if not (page.parent / link).exists()]
    assert missing == []


def test_the_pictures_are_small():
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    assert all(path.stat().st_size <= 300_000 for path in pictures)


def test_a_folder_of_the_schedule_is_used_by_hand_with_the_job_of_the_schedule_alone():
    shipped = yaml.safe_load((ROOT / "flows" / "prefect.yaml").read_text())["deployments"]
    orders = [entry["parameters"]["order"] for entry in shipped if "nightly" in entry["tags"]]
    jobs = {order["out"].replace("{{ $SWATHE_OUT }}", "/out"): order["job"] for order in orders}
    jobs |= {order["inbox"].replace("{{ $SWATHE_DATA }}", "/data"): order["job"] for order in orders}
    found = 0
    for page in (ROOT / "docs").rglob("*.md"):
        for line in re.findall(r"^\$ (.*--job .*)$", page.read_text(), re.MULTILINE):
            (job,) = re.findall(r"--job (\S+)", line)
            for folder in set(line.split()) & set(jobs):
                found += 1
                assert job == jobs[folder], f"{page.name}: {line}"
    assert found >= 5
