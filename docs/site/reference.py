"""Reference pages that are made from the code: commands, keys of a job, seams."""

from __future__ import annotations

import inspect
import re
from collections.abc import Container, Iterator
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from typer.main import get_command

from flows.commands.app import app
from models.training.settings import TrainSettings
from tasks.jobs.job import Job
from tasks.jobs.training import TrainingJob

MADE = "<!-- Made from the code whenever the site is built: docs/site/reference.py -->\n"
INTRODUCTION = """Every key that a job file may have, what it accepts and its default. [Jobs](../jobs.md) explains how
they work together, with examples; `swathe init` writes a job for a file of yours. A key that is not listed is an error.
`NAME` stands for a name that you choose, `analysis[fire]` for the section `analysis` where its kind is `fire`.
"""
SEAMS = {
    "A method that gives each pixel a class": ("models.predictor", ("PredictorSpec", "Predictor")),
    "A method that finds objects": ("models.predictor", ("ObjectPredictor", "TileObjects", "Detections")),
    "A kind of scene": ("tasks.scenes.scene", ("Scene", "SceneReader")),
    "A kind of analysis": ("tasks.jobs.analysis_section", ("AnalysisSection",)),
    "What goes on after a batch": ("tasks.analysis.following", ("Following",)),
    "A predictor of another package": ("models.predictors.added", ("PredictorClass",)),
    "Who carries out the steps of a run": ("flows.orchestration.orchestrator", ("Orchestrator", "Counter")),
}


def commands_page() -> str:
    """Return the page of all commands with their arguments and options."""
    root = get_command(app)
    parts = [
        "# Commands\n",
        MADE,
        "Every command with its arguments and options. `swathe COMMAND --help` shows the same in a terminal.\n",
        "Exit codes: 0 all well; 1 some scene failed or was refused; 2 the command, the job or the input is wrong.\n",
    ]
    return "\n".join([*parts, *_commands(root, root.context_class(root, info_name="swathe"))])


def _commands(command: Any, context: Any) -> Iterator[str]:
    if hasattr(command, "list_commands"):
        for name in sorted(command.list_commands(context)):
            child = command.get_command(context, name)
            yield from _commands(child, child.context_class(child, info_name=name, parent=context))
        return
    yield f"## {context.command_path}\n\n{_sentence(command.help)}\n"
    usage = re.sub(
        r"[{}]|(?<=\.\.\.)\.\.\.", "", " ".join((context.command_path, *command.collect_usage_pieces(context)))
    )
    yield f"```text\n{usage}\n```\n"
    yield "| argument or option | | meaning |\n|---|---|---|"
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            yield _row(*record)
    yield ""


def _row(names: str, text: str) -> str:
    """Return the row of an argument or an option; its default stands in brackets at the end of its help."""
    meaning, _, extra = text.replace(str(Path.home()), "~").partition("  [")
    names = re.sub(r"<(?:list\[(\w+)\]|int range)>", lambda found: f"<{found[1] or 'int'}>", names)
    return f"| `{_cell(names)}` | {_cell(extra.removesuffix(']'))} | {_cell(_sentence(meaning))} |"


def keys_page(described: dict[str, str]) -> str:
    """Return the page of all keys of a job.

    Args:
        described: What each key means, by its path, such as ``source.pair.days``.

    Raises:
        KeyError: When a key has no meaning: it is to be described in docs/jobs.md.
    """
    parts = [
        "# Keys of a job\n",
        MADE,
        INTRODUCTION,
    ]
    listed = dict(_keys(Job, "", described))
    training = {key: row for key, row in _keys(TrainingJob, "", described) if key not in listed}
    fitting = dict(_settings(TrainSettings, "settings"))
    for title, rows in (("A job", listed), ("A training job, beside `job`, `kind` and `source`", training | fitting)):
        parts.append(f"## {title}\n")
        parts.append("| key | accepts | default | meaning |\n|---|---|---|---|")
        parts += [f"| `{key}` | {accepts} | {default} | {described[key]} |" for key, (accepts, default) in rows.items()]
        parts.append("")
    return "\n".join(parts)


def described_keys(page: str) -> dict[str, str]:
    """Return what the tables of docs/jobs.md say that each key means, with links that hold one folder further down."""
    rows = re.findall(r"^\| `([^`|]+)` \| (?:required|`[^|]*`) \| (.*) \|$", page, re.MULTILINE)
    return {key: re.sub(r"\]\((#|[a-z])", _from_below, meaning) for key, meaning in rows}


def _from_below(link: re.Match[str]) -> str:
    return "](../jobs.md#" if link[1] == "#" else f"](../{link[1]}"


def _keys(section: type[BaseModel], prefix: str, described: Container[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each key under its path, with what it accepts and its default.

    Keys of a small section, such as two bands, that are described with it stand in what it accepts.
    """
    for name, field in section.model_fields.items():
        key = f"{prefix}{name}"
        if name == "kind" and prefix.endswith("]."):
            continue
        inner = _sections(field.annotation)
        kinds = {str(get_args(kind.model_fields["kind"].annotation)[0]): kind for kind in inner if len(inner) > 1}
        below = {f"{key}[{name}].": kind for name, kind in kinds.items()}
        if not kinds and inner:
            below = {f"{key}.NAME." if get_origin(field.annotation) is dict else f"{key}.": inner[0]}
            below = {
                path: kind for path, kind in below.items() if any(f"{path}{k}" in described for k in kind.model_fields)
            }
        if key in described or not below:
            yield key, (_accepts(field, inner, below), _default(field))
        if kinds:
            yield f"{key}.kind", (", ".join(f"`{kind}`" for kind in kinds), "required")
        for path, kind in below.items():
            yield from _keys(kind, path, described)


def _accepts(field: FieldInfo, inner: list[type[BaseModel]], below: dict[str, type[BaseModel]]) -> str:
    if not inner:
        whole = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        return _words(TypeAdapter(whole).json_schema())
    section = "a section" if below else "a section with " + ", ".join(f"`{name}`" for name in inner[0].model_fields)
    if get_origin(field.annotation) is dict:
        return f"{section} for each name"
    if get_origin(field.annotation) is tuple:
        return f"{section}, or a list of them"
    return f"text, or {section}" if str in get_args(field.annotation) else section


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that an annotation holds, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, Annotated, dict, tuple, list):
        return [section for part in get_args(annotation) for section in _sections(part)]
    return []


def _settings(kind: type, prefix: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each setting of a fit as ``_keys`` does."""
    types = get_type_hints(kind)
    for field in fields(kind):
        key = f"{prefix}.{field.name}"
        if is_dataclass(types[field.name]):
            yield from _settings(types[field.name], key)
        else:
            default = "required" if field.default is MISSING else _yaml(field.default)
            yield key, (_words(TypeAdapter(types[field.name]).json_schema()), default)


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else _yaml(field.get_default(call_default_factory=True))


def _yaml(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, BaseModel):
        return "`{}`"
    if value in ((), {}) or isinstance(value, bool):
        return f"`{str(value).lower()}`" if value else {"()": "`[]`", "{}": "`{}`", "False": "`false`"}[str(value)]
    return f"`{list(value) if isinstance(value, tuple) else value}`"


_PLAIN = {"string": "text", "number": "a number", "integer": "a whole number", "boolean": "`true` or `false`"}
_BOUNDS = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}


def _words(schema: dict[str, Any]) -> str:
    """Return what a JSON schema accepts, in words."""
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            parts = [_words(part) for part in schema[key] if part.get("type") != "null"]
            return ", or ".join(dict.fromkeys(parts))
    kind = schema.get("type")
    if kind == "array" and "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])}: {_words(schema['prefixItems'][0])} each"
    if kind == "array":
        return f"a list: {_words(schema['items'])} each" if schema.get("items") else "a list"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"names with a value each: {_words(inner)}" if isinstance(inner, dict) and inner else "names with values"
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return " ".join([_PLAIN.get(str(kind), "any value"), " and ".join(bounds)]).strip()


def seams_page() -> str:
    """Return the page of the protocols that a new method, format or orchestrator implements."""
    parts = [
        "# Seams\n",
        MADE,
        "Where swathe can be extended. [How a scene becomes a mask](../architecture.md) shows where each is.\n",
    ]
    for title, (module_name, names) in SEAMS.items():
        module = import_module(module_name)
        parts.append(f"## {title}\n\nIn `{module_name.replace('.', '/')}.py`. {_sentence(module.__doc__)}\n")
        parts += [part for name in names for part in _described(getattr(module, name))]
    return "\n".join(parts)


def _described(kind: type) -> Iterator[str]:
    yield f"### {kind.__name__}\n\n{_docstring(kind)}\n"
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) and member.fget is not None:
            returns = inspect.get_annotations(member.fget).get("return", "")
            yield f"**`{name}: {returns}`**\n\n{_docstring(member)}\n"
        elif inspect.isfunction(member):
            signature = str(inspect.signature(member)).replace("'", "").replace("(self, ", "(")
            yield f"**`{name}{signature}`**\n\n{_docstring(member)}\n"


def _docstring(of: object) -> str:
    """Return a docstring in Google style as Markdown."""
    text = (inspect.getdoc(of) or "").replace("``", "`")
    text = re.sub(r"^(Attributes|Args|Raises|Returns|Yields):$", r"\n*\1:*\n", text, flags=re.MULTILINE)
    text = re.sub(r"^    ([\w*]+): ", r"- `\1`: ", text, flags=re.MULTILINE)
    return re.sub(r"^ {4,}", "  ", text, flags=re.MULTILINE)


def _sentence(text: str | None) -> str:
    return " ".join((text or "").replace("``", "`").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
