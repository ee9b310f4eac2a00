"""The analysis that a job asks for, and ``summary.json``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from models.card import Card
from models.classical.card import is_fitted
from models.extensions import PRODUCTS, extensions
from tasks.analysis.masks.raster import open_bands
from tasks.analysis.subject import Answer, Findings, RasterMask, ReadLayer, VolumeMask
from tasks.analysis.summary import write_findings
from tasks.errors import ProductError
from tasks.files.room import writing
from tasks.inputs.naming import dates_of
from tasks.instances.layers import InstanceLayers, instance_layers, layer_reader
from tasks.intake.request import Request
from tasks.jobs.analysis import AREA
from tasks.jobs.analysis_section import AnalysisSection
from tasks.products.dicom.order import FOLDER as DICOM_FOLDER
from tasks.reports.legend import Caption
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.volume.scene import VolumeScene
from tasks.segment.fitting import FITTED_CARD
from tasks.segment.prepare import Prepared


def analyse(request: Request, prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Measure a mask, and write ``summary.json``, ``report.html`` and what the kind of analysis adds to them.

    All of it is a pure function of input, model, job and plan but for the block.

    Args:
        request: Names job and model.
        prepared: The scene, every block of which is in the store.
        folder: The product, not yet published.

    Returns:
        Headline numbers for the batch table, units in their names.

    Raises:
        DiskFullError: When there is no room for it.
    """
    # A model that is fitted to the scene has its classes from there.
    request = replace(request, card=prepared.work.card)
    with writing("the product", folder):
        return _analyse(request, prepared, folder)


def _analyse(request: Request, prepared: Prepared, folder: Path) -> dict[str, Any]:
    mask = _mask(request, prepared)
    findings = _findings(request, prepared, mask, folder)
    facts = _facts(request, prepared, findings)
    ending = "tif" if isinstance(mask, RasterMask) else "nii.gz"
    beside = [*(f"{name}.{ending}" for name in prepared.work.products), "run.json"]
    beside += [FITTED_CARD] if is_fitted(prepared.work.card) else []
    beside += [DICOM_FOLDER] if request.job.output.dicom is not None and prepared.series is not None else []
    beside += [name for added in request.job.output.also for name in _write_added(added, mask, findings, folder)]
    if isinstance(mask, RasterMask):
        mask.write_item(folder, (*beside, "summary.json", "report.html"))
    write_findings(
        folder, findings, facts=facts, caption=_caption(request, prepared.scene.id), card=request.card, beside=beside
    )
    return findings.headline


def _write_added(name: str, mask: RasterMask | VolumeMask, findings: Findings, folder: Path) -> Sequence[str]:
    """Let another package write a product of its own, and return the names of its files."""
    write: Any = extensions(PRODUCTS)[name].load()
    names: Sequence[str] = write(mask, findings, folder)
    missing = [written for written in names if not (folder / written).is_file()]
    if missing:
        raise ProductError(f"output.also: {name} tells of {', '.join(missing)}, and has not written it")
    return names


def _mask(request: Request, prepared: Prepared) -> RasterMask | VolumeMask:
    if isinstance(prepared.scene, VolumeScene):
        return _volume_mask(request, prepared, prepared.scene)
    return _raster_mask(request, prepared, prepared.scene)


def _findings(request: Request, prepared: Prepared, mask: RasterMask | VolumeMask, folder: Path) -> Findings:
    settings: AnalysisSection = request.job.analysis or AREA
    # Imported when it is asked for: tables of polygons bring pandas, which takes a second.
    answer: Answer = resolve_name(settings.answers[request.job.kind])
    return _with_instances(answer(mask, settings, folder), request, prepared, folder)


def _with_instances(findings: Findings, request: Request, prepared: Prepared, folder: Path) -> Findings:
    if not prepared.work.has_instances:
        return findings
    layers, scene, classes = instance_layers(prepared.work), prepared.scene, request.card.classes
    if isinstance(scene, VolumeScene):
        from tasks.analysis.instances.volume import describe_volume_instances

        described = describe_volume_instances(layers, scene, classes, folder)
    else:
        from tasks.analysis.instances.raster import Found, describe_instances

        found = Found.of_table(layers, layers.table)
        described = describe_instances(found, scene.grid, classes, folder)
        if prepared.work.panoptic is not None:
            from tasks.analysis.instances.segments import describe_segments

            names, read = [entry.name for entry in classes], _layer(prepared, "mask")
            segments = describe_segments(
                found, read, grid=scene.grid, names=names, rules=prepared.work.panoptic, folder=folder
            )
            described = described.and_also(segments)
    return findings.and_also(described).and_also(Findings({}, {}, warnings=_uncut(layers)))


def _uncut(layers: InstanceLayers) -> tuple[str, ...]:
    """Warn of areas that the job wants cut into objects and that are too large for it."""
    if not layers.n_whole:
        return ()
    from tasks.instances.split import MOST_PIXELS

    most = f"{MOST_PIXELS:,}"
    return (f"{layers.n_whole} area(s) with more than {most} pixels in their box were not cut into objects",)


def _raster_mask(request: Request, prepared: Prepared, scene: RasterScene) -> RasterMask:
    return RasterMask(
        id=scene.id,
        grid=scene.grid,
        classes=request.card.classes,
        read=_layer(prepared, "mask"),
        caption=_caption(request, scene.id),
        confidence=_layer(prepared, "confidence") if prepared.work.confidence else None,
        image=scene,
        channels=request.card.channels,
        bands=partial(open_bands, scene.id, prepared.files, request.job.source, stated=prepared.stated)
        if prepared.files
        else None,
        dates=_dates(request, prepared),
    )


def _dates(request: Request, prepared: Prepared) -> dict[str, str]:
    """Return the dates in the scene's id; one that a table gives is that of the picture after."""
    found = dates_of(prepared.scene.id, request.job.source.dates)
    if prepared.date is None or prepared.date in found.values():
        return found
    return found | {"post": prepared.date}


def _volume_mask(request: Request, prepared: Prepared, scene: VolumeScene) -> VolumeMask:
    return VolumeMask(
        id=scene.id,
        scene=scene,
        classes=request.card.classes,
        read=_layer(prepared, "mask"),
        caption=_caption(request, scene.id),
        confidence=_layer(prepared, "confidence") if prepared.work.confidence else None,
    )


def _layer(prepared: Prepared, name: str) -> ReadLayer:
    return layer_reader(prepared.work, name)


def _caption(request: Request, scene_id: str) -> Caption:
    card = request.card
    told = card.training.attribution if card.training else ""
    return Caption(
        title=f"{request.job.title or request.job.job} · {scene_id}",
        lines=(f"{card.name}: {card.title}", *quality_of(card)),
        attribution=f"Data that the model was fitted on: {told}" if told else "",
    )


def quality_of(card: Card) -> tuple[str, ...]:
    """Return a line with the quality that was measured of a model; none where its card states no Dice."""
    scores = card.training.scores if card.training else {}
    if "dice_mean" not in scores:
        return ()
    more = [
        f"{word} {scores[key]:.2f}" for word, key in (("median", "dice_median"), ("worst", "dice_min")) if key in scores
    ]
    scenes = f" of {scores['dice_n']:.0f} scenes" if "dice_n" in scores else ""
    rest = f" ({', '.join(more)})" if more else ""
    return (f"Quality that its card states: mean Dice {scores['dice_mean']:.2f}{scenes}{rest}",)


def _facts(request: Request, prepared: Prepared, findings: Findings) -> dict[str, Any]:
    scene, card = prepared.scene, request.card
    notes = scene.notes
    return {
        "scene": scene.id,
        "job": request.job.job,
        "shape": scene.frame.native_shape,
        "pixels": math.prod(scene.frame.native_shape),
        "input_sha256": prepared.fingerprint.sha256,
        "input_content_hashed": prepared.fingerprint.content_hashed,
        "model": card.name,
        "weights_sha256": card.weights.sha256 if card.weights else None,
        "attribution": card.training.attribution if card.training else None,
        "analysis": request.job.analysis.model_dump(mode="json") if request.job.analysis else None,
        "plan": prepared.work.plan.identity(),
        "warnings": list(
            dict.fromkeys((*prepared.warnings, *notes, *findings.warnings, *_without_dicom(request, prepared)))
        ),
    }


def _without_dicom(request: Request, prepared: Prepared) -> tuple[str, ...]:
    """Warn where a job wants results as DICOM and the scan came as another format."""
    if request.job.output.dicom is None or prepared.series is not None:
        return ()
    return ("no results as DICOM (output.dicom): the scan is no DICOM series, so there is no study for them",)
