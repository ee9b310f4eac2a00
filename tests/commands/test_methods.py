"""What ``swathe models`` tells: every method with its numbers, its arguments and their meaning."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.commands import model_tables
from flows.commands.app import app
from models.catalogue import CATALOGUE, FAMILIES
from models.errors import UnknownModelError
from models.methods import method
from models.registry import zoo_cards


def listed(width: int) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        for part in model_tables.listing(zoo_cards(), CATALOGUE, FAMILIES):
            console.print(part)
    return captured.get()


def test_every_model_and_method_is_listed_within_80_columns():
    lines = [line.rstrip() for line in listed(80).splitlines()]
    assert max(map(len, lines)) <= 80
    heads = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    for name in (*zoo_cards(), *CATALOGUE, "smp:NAME", "monai:NAME"):
        assert heads.count(name) == 1, name
    # Unbroken: a name, its numbers and what it gives stand on one line.
    (unet,) = [line for line in lines if line.startswith("unet ")]
    assert unet.split() == ["unet", "semantic", "2,", "3", "482,754", "103", "8"]


def test_the_list_says_what_each_is_for_and_where_it_comes_from():
    text = listed(200)
    for entry in (*CATALOGUE.values(), *FAMILIES.values()):
        assert entry.purpose in text
        assert entry.origin in text


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_argument_of_a_method_has_a_meaning(name):
    described = method(name)
    assert all(argument.kind for argument in described.arguments)
    assert [argument.name for argument in described.arguments if not argument.meaning] == []
    assert not {argument.name for argument in described.arguments} & set(described.entry.given)


def test_defaults_and_types_are_those_of_the_class_that_checks_them():
    found = {argument.name: argument for argument in method("unet").arguments}
    assert (found["padding"].kind, found["padding"].default) == ("same | valid", "same")
    assert (found["widths"].kind, found["widths"].default) == ("tuple[int, ...]", "(16, 32, 64, 128)")


def test_a_network_of_a_library_shows_its_constructors_arguments():
    found = {argument.name: argument for argument in method("monai:SegResNet").arguments}
    assert found["init_filters"].default == "8"
    assert "convolution" in found["init_filters"].meaning
    assert {"in_channels", "out_channels"} & found.keys() == set()
    assert "stride" in found
    assert {"SegResNet", "SwinUNETR"} <= set(method("monai").members)
    assert {"Unet", "Segformer"} <= set(method("smp:NAME").members)


@pytest.mark.parametrize(("name", "shown"), [("fire-unet", "Burned area"), ("pspnet", "dropout"), ("smp", "Segformer")])
def test_the_command_shows_a_card_a_method_or_a_library(name, shown):
    result = CliRunner().invoke(app, ["models", name])
    assert result.exit_code == 0, result.output
    assert shown in result.output


@pytest.mark.parametrize("card", zoo_cards().values(), ids=zoo_cards())
def test_a_card_is_shown_as_plain_text(card):
    told = StringIO()
    Console(file=told, width=300, color_system=None).print(model_tables.card(card))
    assert not set("{}[]") & set(told.getvalue())
    assert "': " not in told.getvalue()
    for number, entry in enumerate(card.classes):
        assert f"{number}  {entry.name}  {entry.colour}" in told.getvalue()


@pytest.mark.parametrize(("name", "near"), [("pspnett", "pspnet"), ("fire-unett", "fire-unet")])
def test_a_name_that_is_nothing_brings_the_nearest_models_and_methods(name, near):
    with pytest.raises(UnknownModelError, match=f"called '{name}'; did you mean .*{near}"):
        CliRunner().invoke(app, ["models", name], catch_exceptions=False)


def test_the_list_does_not_wait_for_torch():
    program = (
        "from typer.testing import CliRunner; from flows.commands.app import app; import sys;"
        "assert CliRunner().invoke(app, ['models']).exit_code == 0; print(*sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"torch", "prefect", "monai"} & set(told.stdout.split()) == set()
