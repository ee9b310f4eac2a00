"""From files in any order to volumes: series told apart, slices sorted by where they lie, one geometry."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.dicom.findings import Finding, SeriesError
from tasks.dicom.instance import Dose, Instance, PixelLayout, Slice, dose_from, slice_from
from tasks.dicom.stack import Stack, places_along, squared, stacked
from tasks.dicom.volumes import split_volumes

if TYPE_CHECKING:
    from highdicom import VolumeGeometry

Plane: TypeAlias = Literal["axial", "coronal", "sagittal", "oblique"]

# Directions that differ by less, in each of six numbers, are one.
SAME_DIRECTION = 1e-3
# A plane whose normal is within this cosine of a body axis has its name; 0.8 is 37 degrees.
_NAMED_PLANE = 0.8
_SPACING_DIGITS = 4
_BELIEVED_MM = (1e-4, 1e4)
_FEWEST_OF_ONE_KIND = 3
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
_LOCALIZER = re.compile(
    r"\b(locali[sz]ers?|loc|scouts?|survey|topograms?|surview|3.?plane|three.?plane)\b", re.IGNORECASE
)
_PROJECTIONS = ("PROJECTION IMAGE", "MIP", "MINIP", "MIN IP", "MAXIMUM INTENSITY PROJECTION", "SCREEN SAVE")
PICTURES = ("CR", "DX", "MG", "US", "RF", "XA", "IO", "PX", "ES", "OP", "GM", "SM", "XC", "IVUS")
_NO_IMAGES = (
    "RTSTRUCT", "RTPLAN", "RTRECORD", "RTDOSE", "SEG", "SR", "PR", "KO", "REG", "DOC", "PLAN", "AU", "ECG", "FID",
    "RWV",
)  # fmt: skip
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Series:
    """A volume: one geometry, slices in the order in which they lie in the patient.

    Attributes:
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        frame_of_reference_uid: Empty where the files do not tell.
        sop_class_uid: Of its files.
        transfer_syntax_uids: Of its files, each once.
        modality: Such as ``CT``.
        image_type: Values of ImageType.
        description: For patterns; never shown, since it may name a patient.
        label: What tells it from other volumes of its series, such as ``echo_ms=4.9``; empty where it is alone.
        layouts: How its files store numbers, each layout once; rows and columns are those of all.
        slices: Sorted along ``row direction x column direction``, that is along ``step_mm``.
        orientation: Direction of a row (along which columns count up), then of a column; left-posterior-superior.
        pixel_spacing_mm: Between rows, between columns.
        step_mm: From the first pixel of a slice to that of the next, left-posterior-superior.
        dose: Of PET.
        notes: What a user should know although it can be segmented.
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]
    modality: str
    image_type: tuple[str, ...]
    description: str
    label: str
    layouts: tuple[PixelLayout, ...]
    slices: tuple[Slice, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, float]
    step_mm: tuple[float, float, float]
    dose: Dose | None = None
    notes: tuple[Finding, ...] = ()

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Series:
        """Return the series whose ``asdict`` went through JSON."""
        fields = dict(facts)
        for name in ("transfer_syntax_uids", "image_type", "orientation", "pixel_spacing_mm", "step_mm"):
            fields[name] = tuple(fields[name])
        fields["layouts"] = tuple(PixelLayout(**layout) for layout in fields["layouts"])
        fields["slices"] = tuple(slice_from(plane) for plane in fields["slices"])
        fields["notes"] = tuple(Finding(n["code"], n["text"], tuple(n["paths"])) for n in fields["notes"])
        fields["dose"] = dose_from(fields["dose"])
        return cls(**fields)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, cols."""
        return len(self.slices), self.layouts[0].rows, self.layouts[0].cols

    @property
    def paths(self) -> tuple[str, ...]:
        """Its files, each once, in the order of the slices."""
        return tuple(dict.fromkeys(plane.path for plane in self.slices))

    @property
    def key(self) -> str:
        """What names this volume among all that its files hold, whatever else lies beside them."""
        planes = (f"{p.sop_instance_uid} {p.frame} {p.corner}" for p in self.slices)
        return hashlib.sha256("\n".join(planes).encode()).hexdigest()[:16]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between slices (along their stack), rows, cols."""
        return float(np.linalg.norm(self.step_mm)), *self.pixel_spacing_mm

    @property
    def affine_lps_mm(self) -> NDArray[np.float64]:
        """4 x 4, from ``(slice, row, col)`` to left-posterior-superior, as DICOM places pixel centres."""
        affine = np.eye(4)
        affine[:3, 0] = self.step_mm
        affine[:3, 1] = np.array(self.orientation[3:]) * self.pixel_spacing_mm[0]
        affine[:3, 2] = np.array(self.orientation[:3]) * self.pixel_spacing_mm[1]
        affine[:3, 3] = self.slices[0].position_mm or (0.0, 0.0, 0.0)
        return affine

    @property
    def affine_mm(self) -> NDArray[np.float64]:
        """4 x 4, from NIfTI voxels ``(col, rows - 1 - row, slice)`` to right-anterior-superior.

        Rows are turned round as dcm2niix turns them, so that masks lie on the grid of the file that it makes.
        """
        _, rows, _ = self.shape
        to_slices = np.array([[0.0, 0, 1, 0], [0, -1, 0, rows - 1], [1, 0, 0, 0], [0, 0, 0, 1]])
        return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.affine_lps_mm @ to_slices)

    @property
    def plane(self) -> Plane:
        """The body plane that its slices lie in."""
        return plane_of(self.orientation)

    @property
    def is_tilted(self) -> bool:
        """Whether slices are stacked otherwise than along their normal: the affine then has a shear."""
        return any(note.code == "gantry_tilt" for note in self.notes)

    def geometry(self) -> VolumeGeometry:
        """Return the grid ``(slice, row, col)`` as highdicom has it.

        Raises:
            SeriesError: When the gantry was tilted: highdicom has right angles only.
        """
        from highdicom import VolumeGeometry

        if self.is_tilted:
            raise SeriesError(next(note for note in self.notes if note.code == "gantry_tilt"))
        return VolumeGeometry(self.affine_lps_mm, self.shape, "PATIENT", self.frame_of_reference_uid or None)

    def slices_of(self, array: NDArray[_T]) -> NDArray[_T]:  # type: ignore[type-var]
        """Return an array ``(cols, rows, slices)`` on the grid of the NIfTI file as a view ``(slices, rows, cols)``."""
        return array[:, ::-1].transpose(2, 1, 0)

    def array_of(self, slices: NDArray[_T]) -> NDArray[_T]:  # type: ignore[type-var]
        """Return an array ``(slices, rows, cols)`` as a view ``(cols, rows, slices)`` on the grid of the NIfTI file."""
        return slices.transpose(2, 1, 0)[:, ::-1]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a set of files holds: a volume, or why it is none.

    Attributes:
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        sop_class_uid: Of the files.
        group: Matrix, spacing and orientation, which tell it from other slices of its series.
        label: As in ``Series``.
        modality: Such as ``CT``.
        image_type: Values of ImageType.
        description: For patterns; never shown.
        patient_id: Of its files; never shown.
        date: ISO, the first of its files; empty where none tells.
        n_slices: How many.
        paths: The files.
        plane: None where nothing places them.
        series: None where there is no volume.
        refusal: None where there is one.
    """

    study_uid: str
    series_uid: str
    sop_class_uid: str
    group: str = ""
    label: str = ""
    modality: str = "OT"
    image_type: tuple[str, ...] = ()
    description: str = ""
    patient_id: str = field(default="", repr=False)
    date: str = ""
    n_slices: int = 0
    paths: tuple[str, ...] = ()
    plane: Plane | None = None
    series: Series | None = None
    refusal: Finding | None = None


@dataclass(frozen=True)
class _Group:
    """Slices of one series that have one orientation, matrix and spacing."""

    instances: tuple[Instance, ...]
    slices: tuple[Slice, ...]
    orientation: tuple[float, ...]
    notes: tuple[Finding, ...] = field(default=())

    @property
    def first(self) -> Instance:
        return self.instances[0]


def plane_of(orientation: Sequence[float]) -> Plane:
    """Return the body plane that a row's and a column's direction span."""
    normal = np.abs(np.cross(orientation[:3], orientation[3:]))
    axis = int(np.argmax(normal))
    names: tuple[Plane, Plane, Plane] = ("sagittal", "coronal", "axial")
    return names[axis] if normal[axis] >= _NAMED_PLANE else "oblique"


def series_in(instances: Iterable[Instance]) -> list[Found]:
    """Tell the volumes of files apart.

    Args:
        instances: Of any patients, studies and modalities, in any order.

    Returns:
        In an order that does not depend on that of the files.
    """
    by_series: dict[tuple[str, ...], list[Instance]] = defaultdict(list)
    for instance in sorted(instances, key=lambda each: (each.sop_instance_uid, each.path)):
        kind = (instance.modality, instance.sop_class_uid, _aside(instance))
        by_series[instance.study_uid, instance.series_uid, *kind].append(instance)
    return [found for _, members in sorted(by_series.items()) for found in _in_series(members)]


def _aside(instance: Instance) -> str:
    """Return what kind of picture a file is that lies in one series with slices and is none."""
    types = {part.upper() for part in instance.image_type}
    if "LOCALIZER" in types:
        return "localizer"
    return "projection" if types & set(_PROJECTIONS) else ""


def _in_series(members: list[Instance]) -> list[Found]:
    kept = [instance for instance in members if not instance.is_quality_control]
    if not kept:
        return [_refused(members, Finding("quality_control", "a phantom, by the header's QualityControlImage"))]
    unlike = _unlike_a_volume(kept)
    if unlike is not None:
        return [_refused(kept, unlike)]
    kept, notes, clash = _each_once(kept)
    if clash is not None:
        return [_refused(kept, clash)]
    placed = [(instance, plane) for instance in kept for plane in instance.slices]
    unplaced = [i.path for i, p in placed if None in (p.position_mm, p.orientation, p.pixel_spacing_mm)]
    if unplaced:
        text = f"{len(unplaced)} of {len(placed)} slices lack a position, an orientation or PixelSpacing"
        return [_refused(kept, Finding("not_placed", text, tuple(unplaced[:2])))]
    groups = _alike(placed)
    mixed = _mixed(groups)
    if mixed is not None:
        return [_refused(kept, mixed)]
    return [found for group in groups for found in _volumes(replace(group, notes=notes))]


def _unlike_a_volume(members: list[Instance]) -> Finding | None:
    """Say why files are no slices of a volume, by their headers alone."""
    return next(_objections(members), None)


def _objections(members: list[Instance]) -> Iterator[Finding]:
    first = members[0]
    layouts = [instance.layout for instance in members if instance.layout is not None]
    if first.modality in _NO_IMAGES:
        yield Finding("not_an_image", f"{first.modality}: reports, plans and structures are no images of a patient")
    if first.sop_class_uid.startswith(_CAPTURES):
        yield Finding("secondary_capture", "pictures of a screen or a report, not slices")
    if first.modality in PICTURES:
        yield Finding("not_an_image", f"{first.modality}: single pictures, no volume; a job of kind raster takes them")
    if _aside(first) == "localizer" or _LOCALIZER.search(first.description):
        yield Finding("localizer", "scouts, by ImageType or description")
    if _aside(first) == "projection":
        yield Finding("projection", "projections of a volume, not slices of it")
    patients = {instance.patient_id for instance in members}
    if len(patients) > 1:
        text = f"slices of {len(patients)} patients under one UID. Find out which of them are right"
        yield Finding("mixed_patients", text, _paths(members))
    if len(layouts) < len(members):
        without = [instance for instance in members if instance.layout is None]
        text = f"{len(without)} of {len(members)} files hold no pixel data. Fetch the series again"
        yield Finding("no_pixel_data", text, _paths(without))
    yield from _objections_to_values(members)
    if any(layout.samples != 1 for layout in layouts):
        yield Finding("colour", "colours, not one number per pixel")


def _objections_to_values(members: list[Instance]) -> Iterator[Finding]:
    if any(instance.has_value_table for instance in members):
        yield Finding("not_scaled", "values are looked up in a table (ModalityLUTSequence), which is not read")
    unscaled = [plane.path for instance in members for plane in instance.slices if not _is_scaled(plane)]
    if unscaled:
        text = f"RescaleSlope or RescaleIntercept of {len(unscaled)} slices is no number, or 0 or without end"
        yield Finding("not_scaled", text, tuple(unscaled[:2]))


def _is_scaled(plane: Slice) -> bool:
    return math.isfinite(plane.slope) and plane.slope != 0 and math.isfinite(plane.intercept)


def _each_once(members: list[Instance]) -> tuple[list[Instance], tuple[Finding, ...], Finding | None]:
    """Drop copies of files; two contents under one UID are an error."""
    kept: dict[str, Instance] = {}
    copies = 0
    for instance in members:
        known = kept.setdefault(instance.sop_instance_uid, instance)
        if known is instance:
            continue
        if known.sha256 != instance.sha256 or known.sha256 is None:
            text = "two files have one SOPInstanceUID and different contents. Find out which one is right"
            return members, (), Finding("one_uid_two_contents", text, (known.path, instance.path))
        copies += 1
    notes = (Finding("duplicate_files", f"{copies} files are there twice; each was read once"),) if copies else ()
    return list(kept.values()), notes, None


def _alike(placed: list[tuple[Instance, Slice]]) -> list[_Group]:
    """Group slices by matrix and spacing, and within these by orientation."""
    groups: list[_Group] = []
    by_matrix = _grouped(placed, lambda pair: _matrix(*pair))
    for pairs in by_matrix:
        directions: list[tuple[NDArray[np.float64], list[tuple[Instance, Slice]]]] = []
        for pair in pairs:
            own = np.array(pair[1].orientation)
            for known, members in directions:
                if np.abs(known - own).max() < SAME_DIRECTION:
                    members.append(pair)
                    break
            else:
                directions.append((own, [pair]))
        for own, members in directions:
            # One instance per file, in order; the slices of one file stay together.
            instances = tuple({id(instance): instance for instance, _ in members}.values())
            groups.append(_Group(instances, tuple(plane for _, plane in members), tuple(own.tolist())))
    return groups


def _matrix(instance: Instance, plane: Slice) -> tuple[str, tuple[int, int] | None, tuple[float, ...]]:
    layout, spacing = instance.layout, plane.pixel_spacing_mm or (0.0, 0.0)
    sizes = tuple(round(side, _SPACING_DIGITS) for side in spacing)
    return instance.frame_of_reference_uid, None if layout is None else (layout.rows, layout.cols), sizes


def _grouped(items: Iterable[_T], of: Callable[[_T], Hashable]) -> list[list[_T]]:
    groups: dict[Hashable, list[_T]] = defaultdict(list)
    for item in items:
        groups[of(item)].append(item)
    return list(groups.values())


def _mixed(groups: list[_Group]) -> Finding | None:
    """Refuse a series of several geometries where one of them is too small to be meant."""
    few = [group for group in groups if len(group.slices) < _FEWEST_OF_ONE_KIND]
    if len(groups) < 2 or not few:
        return None
    counts = ", ".join(str(len(group.slices)) for group in groups[:6])
    if len({_matrix(group.first, group.slices[0]) for group in groups}) > 1:
        text = f"slices of several matrices, spacings or frames of reference under one UID: {counts}"
        return Finding("mixed_matrix", text, (few[0].slices[0].path,))
    text = f"slices of {len(groups)} orientations under one UID: {counts}"
    return Finding("mixed_orientation", text, (few[0].slices[0].path,))


def _name(group: _Group) -> str:
    """Return what tells a group from others of its series, whatever else lies in it."""
    _, matrix, sizes = _matrix(group.first, group.slices[0])
    along = " ".join(f"{value + 0.0:.2f}" for value in group.orientation)
    return f"{matrix} {sizes} {along}"


def _volumes(group: _Group) -> list[Found]:
    name = _name(group)
    try:
        orientation = squared(group.orientation)
    except SeriesError as error:
        return [replace(_refused(list(group.instances), error.finding), group=name)]
    group = replace(group, orientation=orientation)
    found = []
    for volume in split_volumes(group.slices, places_along(group.slices, orientation)):
        members = _members(group, volume.slices)
        facts = _facts(members, volume.label, len(volume.slices), orientation)
        try:
            if volume.refusal is not None:
                raise SeriesError(volume.refusal)
            series = _series(group, members, volume.label, stacked(volume.slices, orientation))
            found.append(replace(facts, group=name, series=series))
        except SeriesError as error:
            found.append(replace(facts, group=name, refusal=error.finding))
    return found


def _members(group: _Group, slices: Sequence[Slice]) -> list[Instance]:
    paths = {plane.path for plane in slices}
    return [instance for instance in group.instances if instance.path in paths]


def _series(group: _Group, members: list[Instance], label: str, stack: Stack) -> Series:
    first = members[0]
    spacing = stack.slices[0].pixel_spacing_mm
    if spacing is None or not all(_BELIEVED_MM[0] <= side <= _BELIEVED_MM[1] for side in spacing):
        raise SeriesError(Finding("not_placed", f"PixelSpacing is {spacing}"))
    doses = [instance.dose for instance in members if instance.dose is not None]
    return Series(
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        frame_of_reference_uid=first.frame_of_reference_uid,
        sop_class_uid=first.sop_class_uid,
        transfer_syntax_uids=tuple(sorted({instance.transfer_syntax_uid for instance in members})),
        modality=first.modality,
        image_type=first.image_type,
        description=first.description,
        label=label,
        layouts=tuple(dict.fromkeys(instance.layout for instance in members if instance.layout is not None)),
        slices=stack.slices,
        orientation=group.orientation,
        pixel_spacing_mm=spacing,
        step_mm=stack.step_mm,
        dose=None if not doses else min(doses, key=lambda dose: dose.acquired_s or 0.0),
        notes=(*group.notes, *_notes(members), *stack.notes),
    )


def _notes(members: list[Instance]) -> Iterable[Finding]:
    if "DERIVED" in members[0].image_type:
        yield Finding("derived", "made from other images, by ImageType")
    if any(instance.is_lossy for instance in members):
        yield Finding("lossy", "pixels were compressed with loss")
    if any(instance.is_burnt_in for instance in members):
        yield Finding("burnt_in", "text is burnt into the pixels, by BurnedInAnnotation")


def _facts(members: list[Instance], label: str, n_slices: int, orientation: tuple[float, ...] | None) -> Found:
    first = members[0]
    return Found(
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        sop_class_uid=first.sop_class_uid,
        group=_aside(first),
        label=label,
        modality=first.modality,
        image_type=first.image_type,
        description=first.description,
        patient_id=first.patient_id,
        date=min((instance.date for instance in members if instance.date), default=""),
        n_slices=n_slices,
        paths=tuple(instance.path for instance in members),
        plane=None if orientation is None else plane_of(orientation),
    )


def _refused(members: list[Instance], finding: Finding) -> Found:
    count = sum(len(instance.slices) for instance in members)
    return replace(_facts(members, "", count, None), refusal=finding)


def _paths(members: list[Instance]) -> tuple[str, ...]:
    return tuple(instance.path for instance in members[:2])
