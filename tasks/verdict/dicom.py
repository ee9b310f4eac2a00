"""Verdicts on DICOM: a volume of a job, or all that a path leads to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from models.quantities import QuantityName
from tasks.dicom.choose import Choice, choose
from tasks.dicom.findings import NO_VOLUME, Finding, SeriesError
from tasks.dicom.naming import picture_id, scene_id
from tasks.dicom.picture import Picture, pictures_in
from tasks.dicom.reader import Reader
from tasks.dicom.scan import scan, series_of
from tasks.dicom.series import PICTURES, Series
from tasks.errors import ConstantSceneError, EmptySceneError, SceneError
from tasks.inputs.input import Input
from tasks.jobs.source import DicomRule
from tasks.scenes.volume_channels import require_one_channel
from tasks.verdict.constant import one_value
from tasks.verdict.verdict import Verdict

# Time after which a volume is taken for whole although it was not decoded to its end.
BUDGET_S = 8.0
_MOST_BYTES = 4
# Which series hold a quantity.
_MODALITIES: Mapping[str | None, tuple[str, ...]] = {"HU": ("CT",), "SUV": ("PT",)}


def check_series(item: Input, reader: Reader, channels: Mapping[str, QuantityName | None]) -> Verdict:
    """Give the verdict on a volume that a job takes.

    Args:
        item: With the key of a series.
        reader: Reads its files.
        channels: What each channel of the model holds, by name; None where nobody says.
    """
    try:
        require_one_channel(item.id, tuple(channels))
        series = series_of(item.files.values(), item.series or "", reader)
        verdict = _verdict(item.id, series, reader)
        ((channel, quantity),) = channels.items()
        if quantity not in _MODALITIES or series.modality in _MODALITIES[quantity]:
            return verdict
        wanted = " or ".join(_MODALITIES[quantity])
        doubt = f"a series of {series.modality}, and the model takes {channel} for {quantity}, as {wanted} has it"
        return replace(verdict, warnings=(*verdict.warnings, doubt))
    except SceneError as error:
        return Verdict.refusal(item.id, "volume", error)


def check_picture(item: Input, reader: Reader) -> Verdict:
    """Give the verdict on a single picture that a job takes; arguments as above."""
    try:
        instance = reader.header(item.files["file"])
        (picture,) = pictures_in([instance], DicomRule())
        return _picture_verdict(item.id, picture, reader)
    except SceneError as error:
        return Verdict.refusal(item.id, "raster", error)


def check_dicom(named: Path, reader: Reader) -> list[Verdict]:
    """Give a verdict on every volume that a path leads to, without a job: what is no volume is only told.

    Args:
        named: A file, a folder or a DICOMDIR.
        reader: Reads the files.
    """
    found = scan(named, reader)
    choices = choose(found.found, DicomRule())
    verdicts = [_unasked(choice, reader) for choice in choices if choice.found.modality not in PICTURES]
    pictures = [picture for picture in pictures_in(found.instances, DicomRule()) if picture.left_out is None]
    verdicts += [_unasked_picture(picture, reader) for picture in pictures]
    verdicts += [Verdict.refusal(unread.path, "unknown", unread.error) for unread in found.unread]
    if any(not verdict.left_out for verdict in verdicts):
        return verdicts
    # Where there is nothing else, it was asked about.
    return [replace(verdict, left_out=False) for verdict in verdicts]


def _unasked(choice: Choice, reader: Reader) -> Verdict:
    found = choice.found
    name = f"{scene_id(found)} ({found.paths[0]})" if found.paths else scene_id(found)
    finding = choice.left_out or choice.refusal
    if finding is None and found.series is not None:
        try:
            return _verdict(name, found.series, reader)
        except SceneError as error:
            return Verdict.refusal(name, "volume", error)
    finding = finding or Finding("not_an_image", "nothing that could be segmented")
    verdict = refusal(name, finding, shown=finding.paths)
    facts = {"files": len(found.paths), "code": finding.code}
    return replace(verdict, facts=facts, left_out=finding.code in NO_VOLUME)


def _unasked_picture(picture: Picture, reader: Reader) -> Verdict:
    instance = picture.instance
    name = f"{picture_id(instance)} ({instance.path})"
    try:
        return _picture_verdict(name, picture, reader)
    except SceneError as error:
        return Verdict.refusal(name, "raster", error)


def _picture_verdict(name: str, picture: Picture, reader: Reader) -> Verdict:
    instance, layout = picture.instance, picture.instance.layout
    if picture.refusal is not None or layout is None:
        raise SeriesError(picture.refusal or Finding("no_pixel_data", "an image without pixel data"))
    look = reader.picture(instance)
    spacing = instance.calibrated_spacing_mm
    sides = "no millimetres" if spacing is None else f"{spacing[1]:g} x {spacing[0]:g} mm"
    facts = {
        "shape": [layout.rows, layout.cols],
        "dtype": f"{'int' if layout.is_signed else 'uint'}{layout.bits_allocated}",
        "bands": layout.samples,
        "crs": "no CRS",
        "bytes": layout.rows * layout.cols * layout.samples * layout.bits_allocated // 8,
        "modality": instance.modality,
        "codes": [note.code for note in picture.notes],
    }
    message = f"{instance.modality}, {layout.rows} x {layout.cols}, {layout.samples} band(s), {sides}"
    if look["lowest"] == look["highest"] and layout.rows * layout.cols > 1:
        raise ConstantSceneError(one_value(name, [float(look["lowest"])]))
    return Verdict(
        path=name,
        kind="raster",
        go=True,
        error=None,
        message=message,
        facts=facts,
        warnings=tuple(str(note) for note in picture.notes),
    )


def refusal(name: str, finding: Finding, shown: tuple[str, ...] = ()) -> Verdict:
    """Return the verdict that a finding is.

    Args:
        name: Of the scene, or what was given.
        finding: Why it cannot be segmented.
        shown: Files to name, where names of files may be seen.
    """
    verdict = Verdict.refusal(name, "volume", SeriesError(finding))
    if not shown:
        return verdict
    return replace(verdict, message=f"{verdict.message} ({', '.join(Path(path).name for path in shown)})")


def _verdict(name: str, series: Series, reader: Reader) -> Verdict:
    look, unseen = reader.look(series, BUDGET_S), tuple[str, ...]()
    if look["n_slices"] < len(series.slices):
        unseen = (f"only {look['n_slices']} of {len(series.slices)} slices were decoded within {BUDGET_S:g} s",)
    elif look["lowest"] is None:
        raise EmptySceneError(f"{name}: no voxel holds a finite value. Check the series' source")
    elif look["lowest"] == look["highest"] and math.prod(series.shape) > 1:
        raise ConstantSceneError(one_value(name, [float(look["lowest"])]))
    slices, rows, cols = series.shape
    spacing = tuple(round(side, 6) for side in (series.spacing_mm[2], series.spacing_mm[1], series.spacing_mm[0]))
    facts = {
        "shape": [cols, rows, slices],
        "dtype": f"{'int' if series.layouts[0].is_signed else 'uint'}{series.layouts[0].bits_allocated}",
        "bands": 1,
        "spacing_mm": list(spacing),
        "bytes": math.prod(series.shape) * _MOST_BYTES,
        "files": len(series.paths),
        "modality": series.modality,
        "plane": series.plane,
        "codes": [note.code for note in series.notes],
    }
    sides = " x ".join(f"{side:g}" for side in spacing)
    message = f"{series.modality}, {cols} x {rows} x {slices}, {sides} mm, {series.plane}, {len(series.paths)} files"
    warnings = tuple(str(note) for note in series.notes)
    return Verdict(
        path=name, kind="volume", go=True, error=None, message=message, facts=facts, warnings=warnings, unseen=unseen
    )
