"""Walkthroughs are run line by line, in an empty folder, and say what really comes out."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.commands.app import app
from models.card import FixedNormalization
from tasks.jobs.job import load_job
from tasks.jobs.training import load_training_job

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs" / "walkthroughs").glob("*.md"))
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
# They start workers or fit networks: with make slow.
SLOW = ("segment", "nightly", "train")
# What looks at products, or at what came of a fit or a night.
AFTERWARDS = ("audit", "evaluate", "key", "status")
# Needs files that the page does not make.
NOT_HERE = {"swathe evaluate products references/ --json scores.json": "references are the reader's own"}


class SkippedError(Exception):
    """The rest of the page needs what was left to make slow."""


def said(text: str) -> str:
    return " ".join(text.split())


def run(line: str, expected: list[str]) -> None:
    program, name, *arguments = shlex.split(line)
    if program == "python":
        subprocess.run([sys.executable, name, *arguments], check=True)
        return
    if line in NOT_HERE or (name in (*SLOW, *AFTERWARDS) and not os.environ.get("SWATHE_TEST_SLOW")):
        if name == "train":
            raise SkippedError
        return
    ended = CliRunner().invoke(app, [name, *arguments])
    assert ended.exit_code == 0, f"{line}\n{ended.output}\n{ended.exception}"
    for shown in expected:
        assert said(shown) in said(ended.output), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_walkthrough_runs_line_by_line(tmp_path, monkeypatch, page):
    monkeypatch.chdir(tmp_path)
    # Keys lie where the user's data do.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("SWATHE_KEY_FILE", raising=False)
    blocks = BLOCK.findall(page.read_text())
    assert {"python", "console"} <= {language for language, _, _ in blocks}
    with contextlib.suppress(SkippedError):
        run_blocks(page, blocks)


def run_blocks(page: Path, blocks: list[tuple[str, str, str]]) -> None:
    for language, file, text in blocks:
        if language == "python":
            with warnings.catch_warnings():
                # Of torch, which wants people to export in another way.
                warnings.simplefilter("ignore")
                exec(compile(text, page.name, "exec"), {})
        elif file:
            Path(file).write_text(text)
            load = load_training_job if "training:" in text else load_job
            assert load(str(Path(file).absolute())).job == Path(file).stem
        elif language == "json":
            FixedNormalization.model_validate(json.loads(f"{{{text}}}")["normalization"])
        elif language == "console":
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, *expected = command.splitlines()
                run(line, expected)


def test_there_is_a_walkthrough_for_each_kind_of_thing_that_somebody_has():
    assert {page.stem for page in PAGES} >= {"my-raster", "my-scans", "my-labels", "my-model"}
