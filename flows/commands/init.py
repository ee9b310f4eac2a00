"""``swathe init``, and commands that name no job: a job is written for what somebody has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.display.told import Told
from models.card import write_card
from models.drafting import Asked, draft_card, holds_program
from models.errors import CardError
from models.foreign.folder import is_foreign
from models.registry import WEIGHTS, is_named, is_without_weights, resolve_model, verify_model
from tasks.drafts.draft import Draft
from tasks.drafts.look import Model, draft_for_card, draft_job
from tasks.errors import JobError
from tasks.jobs.job import Job, load_job
from tasks.out.folder import OutFolder


def draft(named: str, model: str | None) -> Draft:
    """Look at an input, or at a model, and write a job for it.

    Args:
        named: As ``draft_job`` takes it; or weights, a program or a folder of another program's model.
        model: Name or path of what segments, instead of a method that needs no training.

    Raises:
        JobError: When there is nothing there that a job could be written for.
        SceneError: When it cannot be segmented.
        ModelError: When the model cannot be used.
    """
    if is_model(named):
        card, _ = resolve_model(named)
        return draft_for_card(card, {"weights": named}, card.name)
    return draft_job(named, None if model is None else _model(model))


def is_model(named: str) -> bool:
    """Tell whether a path is that of weights, of a program, or of a folder of another program's model."""
    return named.casefold().endswith((*WEIGHTS, ".pkl", ".pickle")) or is_foreign(Path(named))


def write_job(written: Draft, named: str, file: str | None) -> Iterator[Told]:
    """Write a job into a file that is not there yet, and yield what to tell: what was seen, and what to do next.

    Args:
        written: The job.
        named: What it was written for.
        file: Where to; called after the job in the working directory where left out.

    Raises:
        JobError: When the file is there already, cannot be written, or names a model out of its folder.
    """
    path = Path(file or f"{written.name}.yaml")
    try:
        with path.open("x") as stream:
            stream.write(written.text())
    except FileExistsError as error:
        raise JobError(f"{path}: is there already, and is not replaced. Name another file with --out") from error
    except OSError as error:
        raise JobError(f"{path}: cannot be written: {error.strerror}. Name another file with --out") from error
    try:
        # With a folder before it, so that it is not taken for the name of a job that ships.
        job = load_job(str(path.absolute()))
    except JobError:
        path.unlink()
        raise
    yield from (_said(line) for line in (*written.about, *written.remarks))
    # By its file: where it lies stands in the job.
    yield _said(f"Written: {path} (kind {job.kind}, model {job.model.name or Path(job.model.weights or '').name})")
    scenes = "INPUT" if is_model(named) else named
    yield _said("Next:")
    for command in (f"check {scenes} --job {path}", f"segment {scenes} --job {path} --out products"):
        yield Told(f"  swathe {command}", is_flush=True, is_whole=True)


def _said(text: str) -> Told:
    return Told(text, is_flush=True, indent=2)


def write_card_of(file: Path, asked: Asked) -> Iterator[Told]:
    """Write the card of a program beside it, and yield what to tell: what was found, and what to look at in the card.

    Args:
        file: An ONNX or a TorchScript file.
        asked: What its user says of it.

    Raises:
        ModelError: When it cannot be described, or does not run as described.
    """
    path = file.with_suffix(".json")
    if path.exists():
        raise CardError(f"{path}: is there already, and is not replaced. Move it away, or edit it")
    found, doubts = draft_card(file, asked)
    # As it will be run: a card that does not hold is not written.
    verify_model(found, file.parent)
    write_card(found, path)
    strides = " x ".join(map(str, found.network.arguments["stride"]))
    yield _said(
        f"{file.name}: {found.network.name}, {found.n_channels} channel(s), {found.n_classes} classes as "
        f"{found.network.output}, stride {strides}"
    )
    yield _said(f"Written: {path}")
    if doubts:
        yield _said("Look at these before you believe a mask:")
    yield from (_said(f"- {doubt}") for doubt in doubts)


def write_missing_card(named: str) -> Iterator[Told]:
    """Write the card of a program that has none beside it, as ``write_card_of`` does; nothing of anything else.

    Raises:
        ModelError: As ``write_card_of`` does.
    """
    file = Path(named)
    is_model = named.casefold().endswith(WEIGHTS) and file.is_file() and not file.with_suffix(".json").exists()
    if is_model and holds_program(file):
        yield from write_card_of(file, Asked())


def job_for(
    inputs: Sequence[str], out: Path, model: str, overrides: Sequence[str]
) -> tuple[str, list[str], str | None]:
    """Write a job into OUT for a command that names a model and no job.

    Args:
        inputs: Of the command; the first is looked at.
        out: Of the command.
        model: Of the command.
        overrides: Of the command; keys that no job has are arguments of the method, such as ``classes=4``.

    Returns:
        The job's path, the overrides by the keys of a job, and the model that the job does not name itself.

    Raises:
        JobError: When there is nothing there that a job could be written for.
        SceneError: When it cannot be segmented.
        ModelError: When the model cannot be used.
    """
    own = is_named(model)
    chosen = _model(model) if own else Model({}, _model(model).card)
    # One OUT, one job: its name must not change with the name of the first file.
    text = draft_job(inputs[0], chosen).called(model if own else Path(model).stem).text()
    path = OutFolder(out.resolve()).keep_list(text, ".yaml")
    return str(path), [_of_method(override) for override in overrides], None if own else model


def _of_method(override: str) -> str:
    key = override.partition("=")[0].partition(".")[0]
    return override if key in Job.model_fields else f"model.arguments.{override}"


def _model(name: str) -> Model:
    """Return what a job says of a model that a command names."""
    if is_without_weights(name):
        return Model({"name": name})
    card, _ = resolve_model(name)
    return Model({"name": name} if is_named(name) else {"weights": name}, card)
