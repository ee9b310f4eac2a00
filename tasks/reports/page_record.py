"""How a product was made, as tables of name and value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.card import Card
from tasks.reports.blocks import Table
from tasks.reports.page_figures import cell, heading

_LABELS = {
    "scene": "Scene",
    "job": "Job",
    "shape": "Shape",
    "pixels": "Pixels",
    "input_sha256": "SHA-256 of the input",
    "input_content_hashed": "Whole content hashed",
    "inputs_sha256": "SHA-256 of the inputs",
    "versions": "Versions that decide the bits of the mask",
    "analysis": "Settings of the analysis",
    "settings": "Settings",
}
_PER_AXIS = {"shape", "tile", "halo", "overlap", "stride", "margin"}
_AXES = {2: "rows, cols", 3: "depth, rows, cols"}
# Said elsewhere on the page.
_ELSEWHERE = {"warnings", "attribution", "plan", "model", "weights_sha256", "headline"}


def record_tables(facts: Mapping[str, Any], card: Card | None = None) -> tuple[Table, ...]:
    """Return what a reader needs to make the product again.

    Args:
        facts: Of ``summary.json``; nested ``plan`` and its ``versions`` get tables of their own. What is null or
            empty is left out.
        card: Of the model that segmented; None where the mask was made elsewhere.
    """
    own = {name: value for name, value in facts.items() if name not in _ELSEWHERE}
    model = [] if card is None else [_table("Model", _card_rows(card))]
    return (*_nested("Input", own), *model, *_nested("plan", facts.get("plan") or {}))


def _nested(name: str, facts: Mapping[str, Any]) -> list[Table]:
    """Return a table of what is plain, and tables of what is nested."""
    plain = {key: value for key, value in facts.items() if not isinstance(value, Mapping) and _is_set(value)}
    tables = [_table(_label(name), plain)] if plain else []
    for key, value in facts.items():
        tables += _nested(key, value) if isinstance(value, Mapping) else []
    return tables


def _card_rows(card: Card) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "Name": card.name,
        "Title": card.title,
        "Parameters": card.parameters,
        "Channels": card.channels,
        "Classes": [entry.name for entry in card.classes],
        "SHA-256 of the weights": card.weights.sha256 if card.weights else "no weights",
        "Licence": card.licence,
    }
    if card.training is None:
        return rows
    told: dict[str, Any] = {
        "Fitted on": card.training.data,
        "Licence of that data": card.training.licence,
        "Validation": card.training.protocol,
        "Scores": _scores(card.training.scores),
        **{f"Scores of {name}": _scores(scores) for name, scores in card.training.by_class.items()},
        "A simple method on the same folds": _scores(card.training.baseline),
    }
    # A card that is silent on something says nothing of it.
    return rows | {name: value for name, value in told.items() if value}


def _scores(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {cell(value)}" for name, value in scores.items())


def _table(caption: str, rows: Mapping[str, Any]) -> Table:
    return Table(caption, (), tuple((_label(name), _text(name, value)) for name, value in rows.items()))


def _label(name: str) -> str:
    return _LABELS.get(name) or heading(name)


def _is_set(value: Any) -> bool:  # noqa: ANN401 - anything that JSON can say
    """Tell what was said from what was left out: that is at its default, and not a number that is missing."""
    return value is not None and value not in ([], (), "")


def _text(name: str, value: Any) -> str:  # noqa: ANN401 - anything that JSON can say
    if name in _PER_AXIS and isinstance(value, (list, tuple)) and len(value) in _AXES:
        return f"{' x '.join(cell(part) for part in value)} ({_AXES[len(value)]})"
    return cell(value)
