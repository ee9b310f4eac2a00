"""Results of a scene that came as a DICOM series, as DICOM objects beside its mask."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from models.card import ClassEntry
from tasks.answers.tumour.components import find_components
from tasks.dicom.reader import Reader
from tasks.dicom.scan import series_of
from tasks.errors import ProductError, StoreError, UnreadableSceneError
from tasks.files.child_process import ChildProcess, ReaderStoppedError
from tasks.files.keys import institution_key
from tasks.files.room import writing
from tasks.geometry.box import Box
from tasks.instances.layers import layer_reader
from tasks.intake.request import Request
from tasks.jobs.analysis import AREA
from tasks.jobs.dicom_output import DicomOutput, Term
from tasks.jobs.tumour import TumourAnalysis
from tasks.products.dicom.order import FOLDER, CodedTerm, Layer, Line, Measured, Order, Segment, Total
from tasks.products.publish import read_published
from tasks.segment.prepare import Prepared

_LIMIT_S = 300.0
_LIMIT_S_PER_SLICE = 5.0
_LESIONS = "lesions.npy"
# The digits of lesions.csv.
_ML_DIGITS, _MM_DIGITS = 4, 2
_ERRORS = {"UnreadableSceneError": UnreadableSceneError, "ProductError": ProductError}


def write_results(request: Request, prepared: Prepared, folder: Path) -> None:
    """Write the objects that docs/hospital.md lists, and hold them to mask and numbers.

    The same input, job, model and key give the same bytes.

    Args:
        request: With ``output.dicom``.
        prepared: A scene that came as a DICOM series.
        folder: The product, not yet published, with mask and ``summary.json``.

    Raises:
        KeyFileError: When the institution's key cannot be used.
        UnreadableSceneError: When headers of the source are damaged.
        ProductError: When an object cannot be made of them, or does not read back as meant.
        DiskFullError: When there is no room.
    """
    settings = request.job.output.dicom
    if settings is None or prepared.series is None:
        raise ValueError("results as DICOM are neither wanted nor possible")
    key = institution_key(request.out.root)
    with writing("the product", folder):
        to = folder / FOLDER
        to.mkdir(exist_ok=True)
        with Reader() as reader:
            series = series_of(prepared.files.values(), prepared.series, reader)
        summary = read_published(folder / "summary.json")
        main_class = (request.job.analysis or AREA).main_class
        classes = prepared.work.card.classes
        counts = _voxels(prepared, len(classes))
        name = classes[main_class].name
        weights = prepared.work.card.weights
        swathe = dict(prepared.work.plan.slot.versions)["swathe"]
        layers = [_classes(settings, classes, folder / "mask.nii.gz")]
        if summary.get("lesions"):
            # They were found as these settings say.
            settings_of_lesions = TumourAnalysis.model_validate(summary["analysis"])
            layers.append(_lesions(prepared, summary["lesions"], settings_of_lesions))
        order = Order(
            scene=prepared.scene.id,
            series=series,
            layers=tuple(layers),
            totals=tuple(
                Total(class_name=entry.name, volume_ml=round(count * prepared.volume.voxel_volume_ml, _ML_DIGITS))
                for entry, count in zip(classes, counts, strict=True)
                if entry is not classes[0] and count
            ),
            report=settings.report,
            capture=settings.capture,
            absent=() if counts[main_class] else (name,),
            # Of files that were freed of names the source's own are pseudonyms.
            whose=settings.patient if request.job.deidentify is None else "original",
            key=key.secret.hex(),
            made=prepared.product_key,
            model=prepared.work.card.name,
            version=weights.sha256[:16] if weights else swathe,
            swathe=swathe,
            terms={of: (_term(terms.category), _term(terms.type)) for of, terms in settings.terms.items()},
            folder=str(to),
        )
        ask(order)


def _voxels(prepared: Prepared, n_classes: int) -> list[int]:
    """Count the voxels of each class, a slice at a time."""
    read, shape = layer_reader(prepared.work, "mask"), prepared.volume.frame.native_shape
    counts = np.zeros(n_classes, np.int64)
    for depth in range(shape[0]):
        found = np.bincount(read(Box((depth, 0, 0), (depth + 1, *shape[1:]))).ravel(), minlength=n_classes)
        counts += found[:n_classes]
    return [int(count) for count in counts]


def _classes(settings: DicomOutput, classes: Sequence[ClassEntry], mask: Path) -> Layer:
    segments = [
        Segment(number=number, label=entry.name, class_name=entry.name, colour=entry.colour)
        for number, entry in enumerate(classes)
        if number
    ]
    return Layer(
        name="segmentation",
        kind=settings.segmentation,
        description="Segmentation by swathe",
        labels=str(mask),
        segments=tuple(segments),
    )


def _lesions(prepared: Prepared, told: Sequence[dict[str, Any]], settings: TumourAnalysis) -> Layer:
    """Return the lesions as a layer of their own, numbered as in ``lesions.csv``; the smallest may be left out.

    As bits: validators do not let a report name a segment of a label map.
    """
    told = told[: settings.measured]
    shape = prepared.volume.frame.native_shape
    mask = layer_reader(prepared.work, "mask")(Box.of_shape(shape))
    found = find_components(mask, prepared.volume.affine_mm, settings.label, settings.connectivity)
    number_of = np.zeros(len(found.lesions) + 1, np.min_scalar_type(len(told)))
    number_of[found.number_of[: len(told)]] = range(1, len(told) + 1)
    numbers = np.zeros(shape, number_of.dtype)
    numbers[found.window.slices] = number_of[found.numbers]
    path = prepared.work.store.parent / _LESIONS
    np.save(path, prepared.volume.turn.turn_back(numbers))
    entry = prepared.work.card.classes[settings.label]
    return Layer(
        name="lesions",
        kind="binary",
        description="Lesions by swathe",
        labels=str(path),
        segments=tuple(
            Segment(number=each["id"], label=f"{entry.name} {each['id']}", class_name=entry.name, colour=entry.colour)
            for each in told
        ),
        measured=tuple(map(_measured, told)),
        is_whole=False,
    )


def _measured(lesion: dict[str, Any]) -> Measured:
    return Measured(
        segment=lesion["id"],
        volume_ml=round(lesion["volume_ml"], _ML_DIGITS),
        long=_line(lesion["longest_axial_diameter"]),
        short=_line(lesion["short_axis"]),
    )


def _line(line: dict[str, Any] | None) -> Line | None:
    if line is None:
        return None
    start, stop = (_point(end) for end in line["ends_lps_mm"])
    return Line(length_mm=round(line["length_mm"], _MM_DIGITS), ends_lps_mm=(start, stop))


def _point(values: Iterable[float]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z


def _term(term: Term) -> CodedTerm:
    return CodedTerm(term.value, term.scheme, term.meaning)


def ask(order: Order) -> None:
    """Have the objects of an order written by a process of its own.

    Raises:
        UnreadableSceneError: When that dies, or headers of the source are damaged.
        ProductError: When an object does not read back as meant.
        StoreError: When the folder cannot be written to.
    """
    child = ChildProcess("tasks.products.dicom.child")
    try:
        limit_s = _LIMIT_S + _LIMIT_S_PER_SLICE * math.ceil(len(order.series.slices))
        answer = json.loads(child.exchange(json.dumps(asdict(order)), limit_s))
    except ReaderStoppedError as stopped:
        raise UnreadableSceneError(f"no results as DICOM: {stopped}") from None
    finally:
        child.close()
    if "error" not in answer:
        return
    raise _ERRORS.get(answer["class"], StoreError)(f"no results as DICOM: {answer['error']}")
