"""What ``swathe models`` prints: shipped models, every method by how it is fitted, and one of them in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from models.card import Card
from models.catalogue import Entry
from models.methods import Argument, Method

_FITTED = {
    "training": "Networks, fitted to labelled scenes by swathe train",
    "scene": "Fitted to each scene itself, without labels",
    "others": "Made elsewhere, run as they are",
    "nothing": "Nothing to fit",
}
_FAMILIES = "Networks of libraries, by the library's own names (swathe models smp lists them)"
_INDENT = (0, 0, 0, 4)
_LEGEND = """\
weights: with default arguments, three channels and two classes.
field: pixels that one score depends on, as a diameter; all: the whole tile.
stride: lengths of tiles are multiples of it.
swathe models NAME shows a model's card or a method's arguments."""


def listing(
    cards: Mapping[str, Card], methods: Mapping[str, Entry], families: Mapping[str, Entry]
) -> Iterator[RenderableType]:
    """Yield the shipped models and then all methods, grouped by how they are fitted; readable at 80 columns."""
    yield Text("Shipped models", "bold")
    for card in cards.values():
        yield from _shipped(card)
    for fitted_by, title in _FITTED.items():
        group = {name: entry for name, entry in methods.items() if entry.fitted_by == fitted_by}
        if group:
            yield from _group(title, group)
    yield from _group(_FAMILIES, {f"{name}:NAME": entry for name, entry in families.items()})
    yield Text(f"\n{_LEGEND}")


def _shipped(card: Card) -> Iterator[RenderableType]:
    scores = card.training.scores if card.training else {}
    dice = f"   Dice {scores['dice_mean']:.3f} over {scores['dice_n']:.0f}" if "dice_mean" in scores else ""
    yield Text.assemble((f"{card.name:<21}", "cyan"), f"{card.kind:<8}{card.parameters:>11,} weights{dice}")
    yield _below(card.title)
    yield _below(f"{', '.join(card.channels)} -> {', '.join(entry.name for entry in card.classes)}", "dim")


def _group(title: str, group: Mapping[str, Entry]) -> Iterator[RenderableType]:
    yield Text(f"\n{title}", "bold")
    yield Text(f"{'':<21}{'gives':<10}{'axes':<6}{'weights':>12}{'field':>8}{'stride':>8}", "dim")
    for name, entry in group.items():
        field = entry.receptive_field or ("-" if entry.stride is None else "all")
        numbers = f"{_number(entry.parameters):>12}{field:>8}{_number(entry.stride):>8}"
        axes = ", ".join(str(axis) for axis in entry.axes)
        yield Text.assemble((f"{name:<21}", "cyan"), f"{entry.answer:<10}{axes:<6}{numbers}")
        yield _below(entry.purpose)
        yield _below(entry.origin, "dim")


def described(method: Method) -> Iterator[RenderableType]:
    """Yield all that is known of one method, its arguments with defaults and meaning."""
    yield from _group(_FITTED[method.entry.fitted_by], {method.name: method.entry})
    if method.members:
        yield Text(f"\nNames behind {method.name}:", "bold")
        yield _below(", ".join(method.members))
        return
    yield Text("\nArguments" if method.arguments else "\nNo arguments", "bold")
    for argument in method.arguments:
        yield _argument(argument)
        if argument.meaning:
            yield _below(argument.meaning.replace("``", ""), "dim")


def _argument(argument: Argument) -> Text:
    default = "required" if argument.default is None else f"default {argument.default}"
    return Text.assemble((argument.name, "cyan"), f": {argument.kind}; " if argument.kind else "; ", default)


def _below(text: str, style: str = "") -> Padding:
    return Padding(Text(text, style), _INDENT, expand=False)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def card(shown: Card) -> Table:
    """Return a model's card, a row per field."""
    table = Table("field", "value", title=shown.title, show_lines=True)
    for name, value in shown.model_dump(mode="json", exclude_none=True).items():
        table.add_row(name, Text(_classes(shown) if name == "classes" else _lines(value)))
    return table


def _classes(shown: Card) -> str:
    return "\n".join(
        f"{number}  {entry.name}  {entry.colour}{'  thing' if entry.thing else ''}"
        for number, entry in enumerate(shown.classes)
    )


def _lines(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
    return _plain(value)


def _plain(value: object) -> str:
    """Write what JSON can say as people write it: no brackets, quotes or braces but round what is nested."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_nested(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_nested, value)) or "none"
    return str(value)


def _nested(value: object) -> str:
    return f"({_plain(value)})" if isinstance(value, (dict, list)) and value else _plain(value)
