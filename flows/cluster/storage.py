"""What workers on other hosts have to see under the same paths: OUT, the model, the inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from flows.cluster.environment import Shared
from flows.orchestration.interruption import interruption
from tasks.errors import StoreError
from tasks.files.declared import is_local
from tasks.inputs.input import Input
from tasks.intake.request import Request

# Of a batch of 10 000 scans, each worker looks for some: mounts are missing as a whole.
_MOST_INPUTS = 50


@contextmanager
def shared_storage(request: Request, items: Sequence[Input]) -> Iterator[Shared]:
    """Put a marker under OUT for as long as the context lasts, and say what else workers need.

    Raises:
        StoreError: When OUT cannot be written to.
    """
    token = uuid4().hex
    marker = request.out.scratch / f"seen-{token[:12]}"
    try:
        marker.write_text(token)
    except OSError as error:
        raise StoreError(f"{request.out.root}: cannot be written to: {error.strerror}. Name another --out") from error
    interruption.write_down("marker", lambda text: _remove(marker))
    try:
        yield Shared(_paths(request, items), str(marker), token)
    finally:
        _remove(marker)


def _remove(marker: Path) -> None:
    """Remove it, and what workers have written beside it."""
    for left in marker.parent.glob(f"{marker.name}*"):
        left.unlink(missing_ok=True)


def _paths(request: Request, items: Sequence[Input]) -> dict[str, str]:
    paths = {}
    if request.card_folder is not None:
        paths[f"the model {request.card_folder}"] = str(request.card_folder)
    step = max(1, len(items) // _MOST_INPUTS)
    for item in items[::step]:
        for role, path in item.files.items():
            if is_local(path):
                # A name may tell who the patient is: a volume's is not told.
                shown = f", {Path(path)}" if request.job.kind == "raster" else ""
                paths[f"'{role}' of scene {item.id}{shown}"] = path
    return paths
