"""Tables and lists of scenes, as far as a draft looks into them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tasks.errors import JobError
from tasks.inputs.listing import EXTENSIONS, all_named
from tasks.scenes.tables import TableError, read_table

# Columns that name no file.
_OTHERS = ("scene", "site", "date")


def table_files(path: Path) -> tuple[dict[str, str], Literal["raster", "volume"]]:
    """Return the files of the first scene of a table, by column, and their kind.

    Raises:
        JobError: When it is no table of scenes.
    """
    try:
        table = read_table(path)
    except TableError as error:
        raise JobError(f"{path}: {error}") from error
    how = "A table of scenes has the columns scene and file, or one column per file of a scene, and a row per scene"
    if "scene" not in table.columns or not table.rows:
        raise JobError(f"{path}: no table of scenes: found the columns {', '.join(table.columns)}. {how}")
    row = table.rows[0]
    files = {
        name: text if "://" in text else str(path.parent / text)
        for name in table.columns
        if name not in _OTHERS and (text := row[name].strip())
    }
    there = {name: text for name, text in files.items() if "://" in text or Path(text).exists()}
    if not there:
        raise JobError(
            f"{path}: none of the files of scene {row['scene']} is there: {', '.join(files.values())}. {how}"
        )
    is_volume = all(text.casefold().endswith(EXTENSIONS["volume"]) for text in there.values())
    return there, "volume" if is_volume else "raster"


def first_of_list(named: str) -> str:
    """Return the first input that a list names.

    Raises:
        JobError: When it cannot be read, or names nothing.
    """
    first = next(all_named([named]), None)
    if first is None:
        raise JobError(f"{named}: the list names nothing. Write a path per line")
    return first
