"""Verdicts on many inputs in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.card import Card, FixedNormalization
from models.quantities import QuantityName
from tasks.dicom.files import DICOMDIR, is_dicom_file
from tasks.dicom.reader import Reader
from tasks.errors import SceneError
from tasks.files.declared import is_local, require_utf8
from tasks.inputs.input import Input
from tasks.verdict.dicom import check_dicom, check_picture, check_series
from tasks.verdict.guard import Guard
from tasks.verdict.verdict import Verdict

if TYPE_CHECKING:
    from tasks.jobs.job import Job

# What lies beside rasters and is no input itself.
_SIDECARS = (".aux.xml", ".ovr", ".msk", ".tfw", ".prj")


def check_files(inputs: Sequence[str], limit_s: float = 20.0) -> list[Verdict]:
    """Give a verdict on every file named, and on every file below every folder named; on DICOM, one per volume.

    Args:
        inputs: Files, folders, URLs or /vsi paths.
        limit_s: Time per file.
    """
    with Guard(limit_s) as guard, Reader() as reader:
        return [verdict for text in inputs for verdict in _check_named(guard, reader, text)]


def check_inputs(
    items: Sequence[Input], job: Job, channels: tuple[str, ...], card: Card | None = None, limit_s: float = 20.0
) -> list[Verdict]:
    """Give a verdict on every scene: on its files, whether model and analysis find their bands, and on the values.

    Where the job is strict, whatever has a warning is refused.

    Args:
        items: Scenes as ``list_inputs`` returns them.
        job: What they are to be segmented by.
        channels: Names of the model's channels in order.
        card: Of the model: values are held against what it was fitted on.
        limit_s: Time per file.

    Returns:
        One verdict per scene, in order.
    """
    numbers = None if card is None or not isinstance(card.normalization, FixedNormalization) else card.normalization
    asked = {
        "kind": job.kind,
        "source": job.source.model_dump(mode="json"),
        "channels": dict.fromkeys(channels) if card is None else card.by_channel,
        "model": "" if card is None else card.name,
        "numbers": None if numbers is None else numbers.model_dump(mode="json"),
        "beside": [] if job.analysis is None else list(job.analysis.extra_bands),
    }
    with Guard(limit_s) as guard, Reader() as reader:
        verdicts = [_check_item(guard, reader, item, asked) for item in items]
    return [verdict.strictly() for verdict in verdicts] if job.run.strict else verdicts


def _check_named(guard: Guard, reader: Reader, text: str) -> Iterator[Verdict]:
    path = Path(text)
    if is_local(text) and path.is_dir():
        files = [file for file in _below(path) if not is_dicom_file(file)]
        if len(files) < sum(1 for _ in _below(path)):
            yield from check_dicom(path, reader)
        yield from (_check_file(guard, str(file)) for file in files)
    elif is_local(text) and (path.name.upper() == DICOMDIR or is_dicom_file(path)):
        yield from check_dicom(path, reader)
    else:
        yield _check_file(guard, text)


def _check_file(guard: Guard, path: str) -> Verdict:
    return _unnamed(path, [path]) or guard.ask({"path": path, "kind": None})


def _check_item(guard: Guard, reader: Reader, item: Input, asked: Mapping[str, Any]) -> Verdict:
    if item.error is not None:
        return Verdict(
            path=item.id, kind="unknown", go=False, error="SceneError", message=item.error, left_out=item.left_out
        )
    if refused := _unnamed(item.id, item.files.values()):
        return refused
    if item.series is not None:
        return check_picture(item, reader) if asked["kind"] != "volume" else check_series(item, reader, _said(asked))
    stated = {role: [asdict(band) for band in bands] for role, bands in item.stated.items()}
    request = {"id": item.id, "files": item.files, "stated": stated, **asked}
    verdict = guard.ask(request, n_files=len(item.files))
    warnings = tuple(item.pseudonymised(warning) for warning in (*item.remarks, *verdict.warnings))
    unseen = tuple(item.pseudonymised(text) for text in verdict.unseen)
    return replace(verdict, message=item.pseudonymised(verdict.message), warnings=warnings, unseen=unseen)


def _said(asked: Mapping[str, Any]) -> dict[str, QuantityName | None]:
    """Return what each channel of a volume holds: by the job, else by the model."""
    bands = asked["source"]["bands"]
    return {name: bands.get(name, {}).get("quantity") or quantity for name, quantity in asked["channels"].items()}


def _unnamed(path: str, files: Iterable[str]) -> Verdict | None:
    """Refuse files that no child can be told of; None where there are none."""
    try:
        for name in files:
            require_utf8(name)
    except SceneError as error:
        return Verdict(path=path, kind="unknown", go=False, error=type(error).__name__, message=str(error))
    return None


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and not path.name.casefold().endswith(_SIDECARS):
            yield path
