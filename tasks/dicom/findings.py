"""What can be wrong with a series, or worth knowing of it: codes, and the error that carries one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from tasks.errors import UnsupportedSceneError

Code: TypeAlias = Literal[
    # No picture of a patient's volume: nobody misses it.
    "not_an_image", "localizer", "secondary_capture", "projection", "quality_control", "colour",
    # The job takes another.
    "wrong_modality", "other_description", "other_plane", "derived", "too_thick", "not_the_thinnest", "later_volume",
    # A volume that is not whole, or not one.
    "too_few_slices", "missing_slices", "duplicate_slices", "uneven_slices", "gantry_tilt", "mixed_orientation",
    "mixed_matrix", "mixed_patients", "not_placed", "not_scaled", "no_pixel_data", "damaged_pixel_data",
    "one_uid_two_contents", "unknown_transfer_syntax", "suv_impossible", "not_a_picture",
    # Only ever said of what can be read all the same.
    "duplicate_files", "lossy", "burnt_in", "uncalibrated",
]  # fmt: skip

# A run leaves these aside without a failure: they are not what a volume's job is about.
NO_VOLUME: frozenset[str] = frozenset(get_args(Code)[:6])


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        code: Its name; docs/dicom.md explains each.
        text: A sentence that names no patient, file or description.
        paths: The files it is about, for whoever may see names of files.
    """

    code: Code
    text: str
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class SeriesError(UnsupportedSceneError):
    """A series of DICOM that cannot be segmented, by the code of a finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding

    def __reduce__(self) -> tuple[type[SeriesError], tuple[Finding]]:
        """Keep the finding on the way to another process."""
        return SeriesError, (self.finding,)
