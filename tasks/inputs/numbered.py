"""Volumes whose files are numbered as the channels of one case."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from tasks.errors import SceneError
from tasks.inputs.input import Input
from tasks.inputs.naming import scene_id, stem_of

# How nnU-Net numbers the channels of a case: CASE_0000.nii.gz, CASE_0001.nii.gz.
_NUMBERED = re.compile(r"(.+)_(\d{4})")


def numbered_cases(items: Sequence[Input], n_channels: int) -> list[Input]:
    """Return scenes whose files nnU-Net numbered as the channels of one case, each as one scene.

    Args:
        items: Scenes as they were listed; those that a table names stay as it names them.
        n_channels: Of the model; with one, every file is a scene.
    """
    if n_channels < 2:
        return list(items)
    cases: dict[tuple[str, str], dict[str, str]] = {}
    others: list[Input] = []
    for item in items:
        path = next(iter(item.files.values()), "")
        match = _NUMBERED.fullmatch(stem_of(path))
        is_plain = item == Input(id=item.id, files=dict.fromkeys(item.files, path))
        if match is not None and is_plain and item.id == scene_id(match[0]):
            cases.setdefault((str(PurePath(path).parent), match[1]), {})[match[2]] = path
        else:
            others.append(item)
    return [*(_case(name, files) for (_, name), files in cases.items()), *others]


def _case(name: str, files: dict[str, str]) -> Input:
    ordered = dict(sorted(files.items()))
    try:
        return Input(id=scene_id(name), files=ordered)
    except SceneError as error:
        return replace(Input(id="unnamed", files=ordered), error=str(error))
