"""A job as text, with comments for whoever opens it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tasks.inputs.naming import lettered

# What YAML reads as something else than text: numbers, and words of its own.
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n|\.nan|\.inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where a band is found.

    Attributes:
        band: Its number in the file, from 1.
        role: Of the file; None where a scene is one file.
        scale: Factor from stored to physical values; None where the file's own will do.
        remark: What one should know of it; empty for nothing.
    """

    band: int
    role: str | None = None
    scale: float | None = None
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A job that is written for what was looked at.

    Attributes:
        name: Of the job.
        kind: Of its scenes.
        about: What was looked at, in a line or more.
        files: Patterns by role; empty where a scene is one file.
        examples: Paths of the files that were looked at, by role; by None where a scene is one file.
        bands: Places by the name that the job gives the band.
        invalid: Rules on bands that are clouds or the like.
        assets: Keys of a STAC item's assets by role.
        site: The property of a STAC item that names its site; None for the usual one.
        dicom: Keys of ``source.dicom`` and their values.
        model: Keys of ``model`` and their values.
        model_remark: Why this model.
        remarks: What stands above ``source``: what was left out and why.
    """

    name: str
    kind: Literal["raster", "volume"]
    about: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str | None, str] = field(default_factory=dict)
    bands: Mapping[str, Place] = field(default_factory=dict)
    invalid: Sequence[Mapping[str, Any]] = ()
    assets: Mapping[str, str] = field(default_factory=dict)
    site: str | None = None
    dicom: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any]
    model_remark: str = ""
    remarks: tuple[str, ...] = ()

    def called(self, name: str) -> Draft:
        """Return the same job under another name."""
        return replace(self, name=job_name(name))

    def text(self) -> str:
        """Return the job as YAML."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# Written by swathe init. It runs as it is; change what you like."
        yield from (f"# {line}" for line in self.about)
        yield f"job: {_yaml(self.name)}"
        yield f"kind: {self.kind}"
        yield from (f"# {line}" for line in self.remarks)
        yield from self._source()
        if self.model_remark:
            yield f"# {self.model_remark}"
        yield f"model: {_yaml(self.model)}"
        yield "# true: also keep how probable the winning class is, in percent"
        yield "output: {confidence: false}"
        if self.kind == "raster":
            yield "# Hectares per class. Other answers: fire, crop (docs/fire.md, docs/crop.md)"
            yield "analysis: {kind: area}"
        else:
            yield "# Each connected part of class 1, with its volume and diameters (docs/tumour.md)"
            yield "analysis: {kind: tumour, label: 1}"
        if self.assets:
            yield "nightly:"
            yield "  stac:"
            yield "    # Which assets of an item are taken, by the role that bands name"
            yield f"    assets: {_yaml(self.assets)}"
            if self.site is not None:
                yield "    # The property that names an item's site; take a better one where there is one"
                yield f"    site: {_yaml(self.site)}"

    def _source(self) -> Iterator[str]:
        if not (self.files or self.bands or self.invalid or self.dicom):
            return
        yield "source:"
        if self.files:
            yield "  # Files of a scene by role; {scene} is the scene's name"
            yield f"  files: {_yaml(self.files)}"
        if self.dicom:
            yield "  # Which series are scenes; more keys: docs/dicom.md"
            yield f"  dicom: {_yaml(self.dicom)}"
        if self.bands:
            yield "  # Names are yours: models and expressions find bands by them"
            yield "  bands:"
        for name, place in self.bands.items():
            where: dict[str, Any] = {} if place.role is None else {"file": place.role}
            where |= {"band": place.band} | ({} if place.scale is None else {"scale": place.scale})
            remark = f"   # {place.remark}" if place.remark else ""
            yield f"    {_yaml(name)}: {_yaml(where)}{remark}"
        if self.invalid:
            yield "  # Pixels that are not answered for: clouds, their shadows, snow"
            yield f"  invalid: {_yaml(list(self.invalid))}"


def job_name(text: str) -> str:
    """Return a name for a job, made of that of a file or folder."""
    return lettered(text).strip("._-") or "my-job"


def _yaml(value: object) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
