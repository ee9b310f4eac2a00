"""A verdict: whether an input can be segmented, and if not, why and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from models.errors import SwatheError
from tasks.errors import WarnedSceneError

Kind: TypeAlias = Literal["raster", "volume", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is known of an input before work.

    Attributes:
        path: The file as given, or the scene's id.
        kind: What the input is.
        go: Whether it can be segmented.
        error: Name of the error class where it cannot.
        message: The refusal, or what the input is in one line.
        facts: ``shape``, ``dtype``, ``bands``, ``crs`` or ``spacing_mm``, ``bytes`` when decompressed.
        warnings: What a user should know although it can be segmented; the product says it in the same words.
        unseen: What the look did not reach, where it was cut short: of the look, and not of the input.
        left_out: Whether nobody asked for it: a series of DICOM that the job does not take.
    """

    path: str
    kind: Kind
    go: bool
    error: str | None
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    left_out: bool = False

    @classmethod
    def refusal(cls, path: str, kind: Kind, error: SwatheError) -> Verdict:
        """Return the verdict that an error is."""
        return cls(path=path, kind=kind, go=False, error=type(error).__name__, message=str(error))

    def to_json(self) -> str:
        """Return the verdict as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Verdict:
        """Return the verdict that ``to_json`` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, **{name: tuple(fields[name]) for name in ("warnings", "unseen")}})

    def strictly(self) -> Verdict:
        """Return the verdict of a strict run: whatever has a warning is refused."""
        if not self.go or not self.warnings:
            return self
        why = "; ".join(self.warnings)
        error = WarnedSceneError(f"{why}. Refused by --strict: mend the input, or leave --strict out")
        return replace(self, go=False, error=type(error).__name__, message=str(error))


def merge(path: str, verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on a scene from those on its files: the first refusal, or go with everything known."""
    for verdict in verdicts:
        if not verdict.go:
            return Verdict(
                path=path,
                kind=verdict.kind,
                go=False,
                error=verdict.error,
                message=verdict.message,
                facts=verdict.facts,
            )
    message = "; ".join(dict.fromkeys(verdict.message for verdict in verdicts))
    warnings, unseen = (
        tuple(dict.fromkeys(text for verdict in verdicts for text in getattr(verdict, name)))
        for name in ("warnings", "unseen")
    )
    facts = {**verdicts[0].facts, "bytes": sum(verdict.facts.get("bytes", 0) for verdict in verdicts)}
    return Verdict(
        path=path,
        kind=verdicts[0].kind,
        go=True,
        error=None,
        message=message,
        facts=facts,
        warnings=warnings,
        unseen=unseen,
    )
