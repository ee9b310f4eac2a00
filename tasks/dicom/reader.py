"""Asks a child process of what DICOM files hold: a damaged file costs itself only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from tasks.dicom.findings import Finding, SeriesError
from tasks.dicom.instance import Instance
from tasks.dicom.series import Series
from tasks.errors import GridError, SceneError, StoreError, UnreadableSceneError, UnsupportedSceneError
from tasks.files.child_process import ChildProcess, ReaderStoppedError

HEADER_LIMIT_S = 20.0
SLICE_LIMIT_S = 20.0
LABELS_LIMIT_S = 600.0
_ERRORS: dict[str | None, type[SceneError]] = {"GridError": GridError, "UnsupportedSceneError": UnsupportedSceneError}
_HARM = "The file is damaged, or built to do harm; copy it again or leave it out"


class Reader:
    """Reads headers and pixels in a process of its own, which may take 2 GiB of address space."""

    def __init__(self) -> None:
        self._child = ChildProcess("tasks.dicom.child")

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close()

    def header(self, path: str) -> Instance:
        """Return what a file says of itself.

        Raises:
            UnreadableSceneError: When it is no DICOM, or damaged.
        """
        return Instance.from_facts(self._ask({"do": "header", "path": path}, HEADER_LIMIT_S))

    def listed(self, path: str) -> list[list[str]]:
        """Return the files that a DICOMDIR names, each by its folders and its own name.

        Raises:
            UnreadableSceneError: When it is none, or damaged.
        """
        answer: list[list[str]] = self._ask({"do": "list", "path": path}, HEADER_LIMIT_S)
        return answer

    def look(self, series: Series, budget_s: float) -> Mapping[str, Any]:
        """Decode slices for as long as time allows; returns what ``tasks.dicom.convert.look_at`` does.

        Raises:
            SeriesError: When pixels cannot be decoded.
            UnreadableSceneError: When the process that decodes dies of them.
        """
        request = {"do": "look", "series": asdict(series), "budget_s": budget_s}
        answer: Mapping[str, Any] = self._ask(request, budget_s + SLICE_LIMIT_S)
        return answer

    def convert(self, series: Series, destination: Path, factor: float = 1.0) -> None:
        """Write a series as an uncompressed NIfTI file.

        Args:
            series: What to write.
            destination: In a folder that is there.
            factor: To multiply values by.

        Raises:
            SeriesError: When pixels cannot be decoded.
            UnreadableSceneError: When the process that decodes dies of them.
            StoreError: When the file cannot be written.
        """
        request = {"do": "convert", "series": asdict(series), "to": str(destination), "factor": factor}
        self._ask(request, SLICE_LIMIT_S * len(series.slices))

    def picture(self, instance: Instance, destination: Path | None = None) -> Mapping[str, Any]:
        """Decode a single picture, and write it where a file is named; returns what ``write_picture`` does.

        Raises:
            SeriesError: When pixels cannot be decoded.
            UnreadableSceneError: When the process that decodes dies of them.
            StoreError: When the file cannot be written.
        """
        to = None if destination is None else str(destination)
        request = {"do": "picture", "instance": asdict(instance), "to": to}
        answer: Mapping[str, Any] = self._ask(request, SLICE_LIMIT_S)
        return answer

    def labels(
        self, path: str, shape: Sequence[int], affine_mm: Sequence[Sequence[float]], wanted: str | None, to: Path
    ) -> Mapping[str, Any]:
        """Write structures as a class map; arguments, answer and errors are those of ``tasks.dicom.labels``."""
        grid = {"shape": list(shape), "affine": affine_mm}
        request = {"do": "labels", "path": path, **grid, "wanted": wanted, "to": str(to)}
        answer: Mapping[str, Any] = self._ask(request, LABELS_LIMIT_S)
        return answer

    def _ask(self, request: Mapping[str, Any], limit_s: float) -> Any:  # noqa: ANN401 - what JSON can say
        try:
            answer = json.loads(self._child.exchange(json.dumps(request), limit_s))
        except ReaderStoppedError as stopped:
            raise UnreadableSceneError(f"{stopped}. {_HARM}") from None
        if "finding" in answer:
            raise SeriesError(Finding(**{**answer["finding"], "paths": tuple(answer["finding"]["paths"])}))
        if "failed" in answer:
            raise StoreError(f"a series cannot be unpacked into the work folder: {answer['failed']}; make room there")
        if "error" in answer:
            raise _ERRORS.get(answer.get("class"), UnreadableSceneError)(answer["error"])
        return answer["answer"]
