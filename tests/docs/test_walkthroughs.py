"""Walkthroughs are run line by line, in an empty folder, and say what really comes out."""

from __future__ import annotations

import json
import os
import re
import shlex
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.commands.app import app
from models.card import FixedNormalization

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs" / "walkthroughs").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# They start workers: with make slow.
SLOW = ("segment",)
# Needs files that the page does not make.
NOT_HERE = {"swathe evaluate products references/ --json scores.json": "references are the reader's own"}


def said(text: str) -> str:
    return " ".join(text.split())


def run(line: str, expected: list[str]) -> None:
    name, *arguments = shlex.split(line)[1:]
    if line in NOT_HERE or (name in SLOW and not os.environ.get("SWATHE_TEST_SLOW")):
        return
    ended = CliRunner().invoke(app, [name, *arguments])
    assert ended.exit_code == 0, f"{line}\n{ended.output}\n{ended.exception}"
    for shown in expected:
        assert said(shown) in said(ended.output), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_walkthrough_runs_line_by_line(tmp_path, monkeypatch, page):
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(page.read_text())
    assert {"python", "console"} <= {language for language, _ in blocks}
    for language, text in blocks:
        if language == "python":
            with warnings.catch_warnings():
                # Of torch, which wants people to export in another way.
                warnings.simplefilter("ignore")
                exec(compile(text, page.name, "exec"), {})
        elif language == "json":
            FixedNormalization.model_validate(json.loads(f"{{{text}}}")["normalization"])
        elif language == "console":
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, *expected = command.splitlines()
                run(line, expected)


def test_there_is_a_walkthrough_for_each_kind_of_thing_that_somebody_has():
    assert {page.stem for page in PAGES} >= {"my-raster", "my-scans", "my-model"}
