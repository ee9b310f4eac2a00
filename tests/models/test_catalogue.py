from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import torch

from models.card import Network
from models.catalogue import CATALOGUE, FAMILIES, find
from models.errors import UnknownModelError
from models.networks.builders import build_network, network_geometry

TRAINED = [name for name, entry in CATALOGUE.items() if entry.fitted_by == "training"]


@pytest.mark.parametrize("name", TRAINED)
def test_the_catalogue_says_of_a_network_what_the_network_is(name):
    entry, network = CATALOGUE[name], Network(name=name)
    geometry = network_geometry(network)
    with torch.device("meta"):
        built = build_network(network, 3, 2)
    assert entry.parameters == sum(p.numel() for p in built.parameters())
    assert set(geometry.stride) == {entry.stride}
    assert geometry.receptive_field == (None if entry.receptive_field is None else (entry.receptive_field,) * 2)
    assert (geometry.output == "scores") == (entry.answer == "semantic")


def test_the_page_has_the_numbers_of_the_catalogue():
    page = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| ([\d,]+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert {name for name, *_ in rows} >= {"fcn32s", "fcn16s", "fcn8s", "segnet", "dilated", "refinenet"}
    for name, *numbers in rows:
        entry = CATALOGUE[name]
        told = [int(number.replace(",", "")) for number in numbers]
        assert told == [entry.parameters, entry.stride, entry.receptive_field]


def test_every_entry_says_what_it_is_for_and_where_it_comes_from():
    assert all(entry.purpose and entry.origin and entry.axes for entry in CATALOGUE.values())


def test_an_entry_names_the_library_that_makes_or_runs_it():
    known = packages_distributions()
    libraries = {entry.library for entry in (*CATALOGUE.values(), *FAMILIES.values())} - {None}
    assert all(version(library) for library in libraries)
    for name, entry in CATALOGUE.items():
        source = Path(importlib.util.find_spec(entry.module).origin).read_text()
        imported = {d for p in re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE) for d in known.get(p, ())}
        assert imported & libraries <= {entry.library}, name


def test_a_name_that_is_not_known_brings_the_nearest_ones():
    with pytest.raises(UnknownModelError, match=r"did you mean unet"):
        find("u-net")


def test_the_catalogue_is_read_without_torch():
    told = subprocess.run(
        [sys.executable, "-c", "import models.catalogue, sys; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "False"
