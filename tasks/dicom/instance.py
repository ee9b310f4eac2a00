"""What one DICOM file says of itself, as far as series and volumes are made of it. Knows no DICOM library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Trait: TypeAlias = str | float | int

# What tells volumes of one series apart, in the order in which it is tried.
TRAITS = (
    "image_type", "echo_ms", "echo", "b_value", "direction", "inversion_ms", "contrast", "time_index", "phase",
    "trigger_ms", "acquisition", "stack", "acquired", "content",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelLayout:
    """How numbers are stored.

    Attributes:
        rows: Of one slice.
        cols: Of one slice.
        samples: 1, or 3 for colours.
        photometric: Such as ``MONOCHROME2``.
        bits_allocated: Bits that a number takes.
        bits_stored: Bits of it that count.
        high_bit: The highest bit that counts.
        is_signed: Whether numbers may be negative.
        is_float: Whether they are floating point numbers.
    """

    rows: int
    cols: int
    samples: int = 1
    photometric: str = "MONOCHROME2"
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    is_signed: bool = False
    is_float: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """One plane of numbers: a file, a frame of one, or a tile of a mosaic.

    Attributes:
        path: The file.
        sop_instance_uid: Of the file.
        frame: Number in the file, from 0.
        corner: First row and column of the tile in a mosaic; None where the frame is the slice.
        position_mm: Centre of the first pixel, left-posterior-superior; None where the file does not tell.
        orientation: Direction of a row (along which columns count up), then of a column; None as above.
        pixel_spacing_mm: Between rows, between columns; None as above.
        thickness_mm: As the header says; None where it does not.
        slope: Values are ``slope * stored + intercept``.
        intercept: See ``slope``.
        number: InstanceNumber, or the frame's number; for order where nothing else tells.
        traits: What may tell volumes of one series apart, by the names in ``TRAITS``.
    """

    path: str
    sop_instance_uid: str
    frame: int = 0
    corner: tuple[int, int] | None = None
    position_mm: tuple[float, float, float] | None = None
    orientation: tuple[float, ...] | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    thickness_mm: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    number: int = 0
    traits: Mapping[str, Trait] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dose:
    """What body-weight SUV is made of; None for what the header does not say.

    Attributes:
        units: Of the values: ``BQML``, ``GML``, ``CNTS``.
        corrected: CorrectedImage, such as ``ATTN`` and ``DECY``.
        decay_correction: ``START``, ``ADMIN`` or ``NONE``.
        weight_kg: Of the patient.
        dose_bq: Injected.
        half_life_s: Of the radionuclide.
        injected_s: Time of injection, in seconds of a clock that ``series_s`` and ``acquired_s`` go by as well.
        series_s: Date and time of the series.
        acquired_s: Date and time of this file's acquisition.
    """

    units: str | None = None
    corrected: tuple[str, ...] = ()
    decay_correction: str | None = None
    weight_kg: float | None = None
    dose_bq: float | None = None
    half_life_s: float | None = None
    injected_s: float | None = None
    series_s: float | None = None
    acquired_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One file.

    Attributes:
        path: The file.
        sop_class_uid: What kind of object it is.
        sop_instance_uid: Its own UID.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        frame_of_reference_uid: Empty where the file does not tell.
        transfer_syntax_uid: How pixels are stored; empty where the file does not tell.
        modality: Such as ``CT``; ``OT`` where the file does not tell.
        image_type: Values of ImageType.
        description: SeriesDescription and ProtocolName, for patterns; never shown, since it may name a patient.
        layout: None where the file has no pixels.
        calibrated_spacing_mm: Of a single image, between rows and between columns, in the patient; None where unknown.
        patient_id: As the file says; no record, log or error shows it.
        date: ISO date of the acquisition, or of the study; empty where the file tells none.
        is_quality_control: Whether a phantom is shown.
        is_burnt_in: Whether the file says that text is burnt into its pixels.
        is_lossy: Whether pixels were compressed with loss.
        has_value_table: Whether values are looked up in a table (Modality LUT), rather than scaled.
        dose: Of PET.
        slices: In the order of the file.
        sha256: Of the file's bytes; only told where another file has the same UID.
    """

    path: str
    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str = ""
    transfer_syntax_uid: str = ""
    modality: str = "OT"
    image_type: tuple[str, ...] = ()
    description: str = ""
    layout: PixelLayout | None = None
    calibrated_spacing_mm: tuple[float, float] | None = None
    patient_id: str = field(default="", repr=False)
    date: str = ""
    is_quality_control: bool = False
    is_burnt_in: bool = False
    is_lossy: bool = False
    has_value_table: bool = False
    dose: Dose | None = None
    slices: tuple[Slice, ...] = ()
    sha256: str | None = None

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Instance:
        """Return the instance whose ``asdict`` went through JSON."""
        fields = dict(facts)
        fields["image_type"] = tuple(fields["image_type"])
        if fields["calibrated_spacing_mm"] is not None:
            fields["calibrated_spacing_mm"] = tuple(fields["calibrated_spacing_mm"])
        if fields["layout"] is not None:
            fields["layout"] = PixelLayout(**fields["layout"])
        fields["dose"] = dose_from(fields["dose"])
        fields["slices"] = tuple(slice_from(plane) for plane in fields["slices"])
        return cls(**fields)


def dose_from(facts: Mapping[str, Any] | None) -> Dose | None:
    """Return the dose whose ``asdict`` went through JSON."""
    return None if facts is None else Dose(**{**facts, "corrected": tuple(facts["corrected"])})


def slice_from(facts: Mapping[str, Any]) -> Slice:
    """Return the slice whose ``asdict`` went through JSON."""
    lists = ("corner", "position_mm", "orientation", "pixel_spacing_mm")
    return Slice(**{**facts, **{name: None if facts[name] is None else tuple(facts[name]) for name in lists}})
