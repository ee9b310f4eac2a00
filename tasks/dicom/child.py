"""The process that opens DICOM files, which may crash, hang or exhaust whoever opens them.

It reads one request per line and answers with one line; ``tasks.dicom.reader`` is its only caller.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import SwatheError
from tasks.dicom.convert import look_at, write_picture, write_series
from tasks.dicom.findings import SeriesError
from tasks.dicom.header import read_directory, read_instance
from tasks.dicom.instance import Instance
from tasks.dicom.labels import Target, write_labels
from tasks.dicom.series import Series
from tasks.files.answering import answer_lines

MAX_MEMORY_BYTES = 2 << 30


def main() -> None:
    """Answer requests until the input ends."""
    answer_lines(_answer, MAX_MEMORY_BYTES)


def _answer(line: str) -> str:
    try:
        return json.dumps({"answer": _done(json.loads(line))})
    except SeriesError as error:
        return json.dumps({"finding": asdict(error.finding)})
    except SwatheError as error:
        return json.dumps({"error": str(error), "class": type(error).__name__})
    except OSError as error:
        return json.dumps({"failed": error.strerror or str(error)})
    except MemoryError:
        return json.dumps({"error": f"its reader asks for more than {MAX_MEMORY_BYTES >> 30} GiB"})


def _done(request: dict[str, Any]) -> Any:  # noqa: ANN401 - what JSON can say
    if request["do"] == "header":
        return asdict(read_instance(request["path"]))
    if request["do"] == "list":
        return read_directory(request["path"])
    if request["do"] == "picture":
        to = request["to"]
        return write_picture(Instance.from_facts(request["instance"]), None if to is None else Path(to))
    if request["do"] == "labels":
        target = Target(tuple(request["shape"]), np.array(request["affine"], np.float64))
        return write_labels(request["path"], target, request["wanted"], Path(request["to"]))
    series = Series.from_facts(request["series"])
    if request["do"] == "look":
        return look_at(series, request["budget_s"])
    write_series(series, Path(request["to"]), request["factor"])
    return None


if __name__ == "__main__":
    main()
