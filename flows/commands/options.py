"""Options, exit codes and consoles that the commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from models.errors import SwatheError
from models.printable import printable

# Lines in a log are not to be broken at the width of a terminal that is not there.
_WIDE = 200


class PlainConsole(Console):
    """Shows what others wrote, such as the names of files, without the control characters that a terminal obeys."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the pieces of what is printed; those that steer the terminal are our own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, lines=True))


OUT = PlainConsole(width=None if sys.stdout.isatty() else _WIDE)
ERR = PlainConsole(stderr=True, width=None if sys.stderr.isatty() else _WIDE)

# Exit codes: all well is 0; some scene failed; the command or the job is wrong.
FAILED_SCENES = 1
WRONG = 2
# What nobody foresaw: EX_SOFTWARE of sysexits.h.
UNEXPECTED = 70

Device = Literal["auto", "cpu", "cuda"]
VoxelSize = Literal["sform", "pixdim"]
Inputs = Annotated[list[str], typer.Argument(help="Files, folders, or a CSV table of scenes.", metavar="INPUT...")]
JobName = Annotated[str, typer.Option("--job", help="A name in configs/ or the path of a job file.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for the products; it belongs to one job.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key of the job, such as tiling.halo=64.", metavar="KEY=VALUE"),
]
ModelName = Annotated[str | None, typer.Option("--model", help="A model's name or path instead of the job's.")]
Cluster = Annotated[str, typer.Option("--cluster", help="local, or the address of a running Dask scheduler.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes of a local cluster.")]
DeviceChoice = Annotated[
    Device | None, typer.Option("--device", help="What to compute on, instead of what the job says.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse whatever has a warning.")]
VoxelSizeChoice = Annotated[
    VoxelSize | None,
    typer.Option("--voxel-size", help="What to believe where the sform and pixdim of a NIfTI header differ."),
]
Prefect = Annotated[
    bool, typer.Option("--prefect", help="Start a Prefect server for this run where none is named and none runs here.")
]
HOME = Path(platformdirs.user_state_dir("swathe"))
Home = Annotated[
    Path, typer.Option(envvar="SWATHE_HOME", help="Where swathe up keeps database, logs, password, and what runs.")
]


class OptionError(SwatheError):
    """An option of a command has a value that is not allowed."""
