"""Reading a job file: YAML, overrides, and errors that name the key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from models.parsed import from_yaml
from models.plain import MOST_TEXT_BYTES, read_plain
from tasks.errors import JobError
from tasks.files.declared import place_files_of_job
from tasks.jobs.section import Section

# Beside this package, in a checkout as in an installed wheel.
CONFIGS = Path(__file__).resolve().parents[2] / "configs"

# Of a wrong value, in an error.
_LONGEST = 80


def list_jobs() -> list[str]:
    """Return the names of the jobs that ship."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


_S = TypeVar("_S", bound=Section)


def is_shipped(name_or_path: str) -> bool:
    """Tell whether a name is that of a job that ships: it goes before a file of that name in the working directory."""
    return "/" not in name_or_path and _shipped(name_or_path).is_file()


def load_section(name_or_path: str, section: type[_S], overrides: tuple[str, ...]) -> _S:
    """Read one file into one kind of section.

    Args:
        name_or_path: A name in ``configs/`` or the path of a YAML file.
        section: What it shall be.
        overrides: ``key.path=value`` settings that replace the file's; values are YAML.

    Raises:
        JobError: When there is no such file, a key or value of it is wrong, or it names files that it may not name.
    """
    text, origin, folder = _read_text(name_or_path)
    try:
        raw = from_yaml(text)
    except ValueError as error:
        raise JobError(f"{origin}: not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise JobError(f"{origin}: a job is a mapping of keys; found {type(raw).__name__}. See configs/ for examples")
    place_files_of_job(raw, origin, folder, {override.partition("=")[0] for override in overrides})
    return build_section(raw, origin, section, overrides)


def build_section(raw: dict[str, Any], origin: str, section: type[_S], overrides: tuple[str, ...]) -> _S:
    """Validate what a file, or a command in its stead, says.

    Args:
        raw: Keys and values; overrides are put into it.
        origin: Where they come from, for errors.
        section: What they shall be.
        overrides: As ``load_section`` takes them.

    Raises:
        JobError: When a key or value is wrong.
    """
    if "training" in raw and "training" not in section.model_fields:
        raise JobError(f"{origin}: a training job; run it by swathe train")
    for override in overrides:
        _override(raw, override)
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise JobError(_explain(error, origin, section)) from error


def _read_text(name_or_path: str) -> tuple[str, str, Path]:
    """Return a job's text, its name for errors, and the folder that it may name files in."""
    if is_shipped(name_or_path):
        return _shipped(name_or_path).read_text(), f"configs/{name_or_path}.yaml", CONFIGS
    path = Path(name_or_path)
    try:
        return read_plain(path, MOST_TEXT_BYTES).decode(), name_or_path, path.resolve().parent
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(
            f"no job '{name_or_path}': neither a name in configs/ ({', '.join(list_jobs())}) nor a readable file "
            f"({error.strerror if isinstance(error, OSError) else error})"
        ) from error


def _shipped(name: str) -> Path:
    return CONFIGS / f"{name}.yaml"


def _override(raw: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise JobError(f"--set {override}: expected key.path=value, such as tiling.halo=64")
    *parents, last = key.split(".")
    node = raw
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise JobError(f"--set {override}: '{parent}' is a value in this job, not a section")
    try:
        node[last] = from_yaml(value)
    except ValueError as error:
        raise JobError(f"--set {override}: the value is not YAML: {error}") from error


def _explain(error: ValidationError, origin: str, section: type[BaseModel]) -> str:
    wrong: dict[str, list[str]] = {}
    for item in error.errors():
        *parents, last = item["loc"] or ("the job",)
        keys, parent, ended = _locate(section, parents)
        # Behind the key of a value pydantic names the types that it tried.
        where = ".".join(keys if ended else [*keys, str(last)])
        if item["type"] == "extra_forbidden":
            known_here = f"; known here: {', '.join(parent.model_fields)}" if parent is not None else ""
            wrong[where] = [f"unknown key '{where}'{known_here}"]
        else:
            known = wrong.setdefault(where, [f"'{where}': got {_shortened(item.get('input'))}"])
            known.append(item["msg"][:1].lower() + item["msg"][1:])
    return "\n".join(f"{origin}: {first}{_or(rest)}" for first, *rest in wrong.values())


def _or(reasons: list[str]) -> str:
    return f"; {', or '.join(dict.fromkeys(reasons))}" if reasons else ""


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _locate(section: type[BaseModel], parents: Sequence[int | str]) -> tuple[list[str], type[BaseModel] | None, bool]:
    """Return the keys as the file has them, the section they lead to, and whether a value came before the end.

    The section is None where it is of a kind that another package adds.
    """
    keys: list[str] = []
    current, choices = section, [section]
    for part in parents:
        if part in (tags := {_tag(choice): choice for choice in choices} if len(choices) > 1 else {}):
            # pydantic names the member of a union that it took; the file does not.
            current, choices = tags[part], [tags[part]]
            continue
        keys.append(str(part))
        if isinstance(part, str) and part in current.model_fields:
            annotation = current.model_fields[part].annotation
            choices = list(_sections_in(annotation))
            if not choices and get_origin(annotation) not in (dict, list, tuple):
                return keys, current, True
            current = choices[0] if choices else current
    return keys, current if len(choices) == 1 else None, False


def _tag(section: type[BaseModel]) -> object:
    kind = section.model_fields.get("kind")
    return None if kind is None else get_args(kind.annotation)[0]


def _sections_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, tuple, dict, Annotated):
        for argument in get_args(annotation):
            yield from _sections_in(argument)
