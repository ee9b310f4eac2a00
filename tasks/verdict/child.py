"""The process that opens files which may crash, hang or exhaust whoever opens them.

It reads one request per line and answers with one verdict per line; ``tasks.verdict.guard`` is its only caller.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.card import FixedNormalization
from models.errors import SwatheError
from models.quantities import QuantityName
from tasks.errors import ConstantSceneError, OversizedSceneError, SceneError, UnsupportedSceneError
from tasks.files.answering import answer_lines
from tasks.files.declared import is_local
from tasks.jobs.source import Source
from tasks.scenes.raster.scene import describe_raster
from tasks.scenes.stated import Stated
from tasks.scenes.volume.header import volume_header
from tasks.scenes.volume.scene import plan_volume
from tasks.scenes.volume_channels import files_by_channel
from tasks.verdict.constant import constant_channels, require_variation
from tasks.verdict.plausible import Expected, Fitted, check_values
from tasks.verdict.raster import check_raster, looked_at
from tasks.verdict.sniff import sniff
from tasks.verdict.verdict import Kind, Verdict, merge
from tasks.verdict.volume import check_volume

MAX_MEMORY_BYTES = 2 << 30


def main() -> None:
    """Answer requests until the input ends."""
    answer_lines(_answer, MAX_MEMORY_BYTES)


def _answer(line: str) -> str:
    request: dict[str, Any] = json.loads(line)
    name = request.get("id") or request["path"]
    kind: Kind = request["kind"] or "unknown"
    try:
        verdict = _check_scene(request) if "files" in request else _check_alone(request["path"], request["kind"])
    except SwatheError as error:
        verdict = Verdict.refusal(name, kind, error)
    except MemoryError:
        verdict = Verdict.refusal(
            name, kind, OversizedSceneError(f"{name}: its reader asks for more than {MAX_MEMORY_BYTES >> 30} GiB")
        )
    return verdict.to_json()


def _check_scene(request: dict[str, Any]) -> Verdict:
    source = Source.model_validate(request["source"])
    expected = _expected_by_file(request, source)
    found = {
        role: _check_file(path, request["kind"], source, expected.get(path)) for role, path in request["files"].items()
    }
    merged = merge(request["id"], list(found.values()))
    if not merged.go:
        return merged
    if request["kind"] != "raster":
        require_variation(request["id"], list(found.values()))
        return _check_channels(request, source, merged)
    stated = {role: tuple(Stated(**band) for band in bands) for role, bands in request["stated"].items()}
    channels: dict[str, QuantityName | None] = request["channels"]
    scene = describe_raster(request["id"], request["files"], source=source, channels=channels, stated=stated)
    if request["beside"]:
        # To see that they are there: what the analysis misses is known before the first block.
        beside = dict.fromkeys(request["beside"]) | channels
        describe_raster(request["id"], request["files"], source=source, channels=beside, stated=stated)
    facts = {**merged.facts, "shape": list(scene.grid.shape), "bands": scene.n_channels}
    numbers = request["numbers"]
    fitted = Fitted(
        request["model"], request["channels"], None if numbers is None else FixedNormalization.model_validate(numbers)
    )
    values = check_values(scene, looked_at(scene.grid.shape, len(scene.channels.bands)), fitted)
    warnings = tuple(dict.fromkeys((*merged.warnings, *scene.notes, *constant_channels(scene, found), *values)))
    return replace(merged, facts=facts, warnings=warnings)


def _expected_by_file(request: dict[str, Any], source: Source) -> dict[str, Expected]:
    """Return what job and model take each file of a volume scene for; nothing of rasters, whose bands are looked at."""
    if request["kind"] != "volume":
        return {}
    channels: dict[str, QuantityName | None] = request["channels"]
    numbers = request["numbers"]
    clips = [None] * len(channels) if numbers is None else FixedNormalization.model_validate(numbers).clip
    # What does not fit together is refused behind what is wrong with a file.
    with suppress(SceneError):
        paths = files_by_channel(request["id"], request["files"], source, tuple(channels))
        return {
            path: Expected(
                channel=channel,
                quantity=stated.quantity if (stated := source.bands.get(channel)) and stated.quantity else quantity,
                model=request["model"],
                clip=clip,
            )
            for path, (channel, quantity), clip in zip(paths, channels.items(), clips, strict=True)
        }
    return {}


def _check_channels(request: dict[str, Any], source: Source, merged: Verdict) -> Verdict:
    """See whether a volume has a file per channel, and whether they lie on one grid; those behind a URL are fetched."""
    paths = files_by_channel(request["id"], request["files"], source, tuple(request["channels"]))
    facts = {**merged.facts, "bands": len(paths)}
    if len(paths) == 1 or not all(map(is_local, paths)):
        return replace(merged, facts=facts)
    headers = [volume_header(Path(path), source.voxel_size) for path in paths]
    scene = plan_volume(request["id"], headers, "SAR", None)
    return replace(merged, facts=facts, warnings=tuple(dict.fromkeys((*merged.warnings, *scene.notes))))


def _check_alone(path: str, kind: str | None) -> Verdict:
    verdict = _check_file(path, kind, Source())
    if not verdict.go:
        return verdict
    try:
        require_variation(path, [verdict])
    except ConstantSceneError as error:
        if verdict.kind == "volume":
            raise
        # Of a raster it may be one of several files, such as a cloud mask without a cloud.
        return replace(verdict, warnings=(*verdict.warnings, str(error)))
    return verdict


def _check_file(path: str, kind: str | None, source: Source, expected: Expected | None = None) -> Verdict:
    found = "raster"
    try:
        if is_local(path):
            found, format_name = sniff(Path(path))
            if found == "dicom":
                raise UnsupportedSceneError(
                    f"{Path(path).name}: DICOM, zipped or under source.files. Unpack it, and give it by itself or as a "
                    "folder"
                )
            if found == "foreign" or (kind not in (None, found) and format_name != "no known format"):
                wanted = f"; the job segments a {kind}" if kind else ""
                raise UnsupportedSceneError(
                    f"{Path(path).name}: {format_name}{wanted}. Convert it to "
                    f"{'GeoTIFF' if kind == 'raster' else 'NIfTI (.nii.gz)' if kind else 'GeoTIFF or NIfTI'}"
                )
        if found == "volume" or kind == "volume":
            return check_volume(path, source.voxel_size, expected)
        return check_raster(path)
    except SceneError as error:
        return Verdict.refusal(path, "unknown" if found in ("foreign", "dicom") else found, error)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
