"""Single pictures: radiographs, mammograms, ultrasound. Rasters without a CRS, in millimetres where calibrated."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.dicom.findings import Finding
from tasks.dicom.instance import Instance
from tasks.dicom.series import PICTURES
from tasks.jobs.source import DicomRule

_UNCALIBRATED = "no calibrated PixelSpacing: nothing is told in millimetres"


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        instance: Its file.
        refusal: Why it cannot be segmented; None where it can.
        left_out: Why a job does not take it; None where it does.
        notes: What a user should know although it can be segmented.
    """

    instance: Instance
    refusal: Finding | None = None
    left_out: Finding | None = None
    notes: tuple[Finding, ...] = ()

    @property
    def key(self) -> str:
        """What names it among all pictures."""
        return hashlib.sha256(self.instance.sop_instance_uid.encode()).hexdigest()[:16]


def pictures_in(instances: Iterable[Instance], rule: DicomRule) -> list[Picture]:
    """Return every file as a picture, those that a job leaves out among them; of other series one file stands for all.

    Args:
        instances: Of any kind.
        rule: The job's ``source.dicom``.
    """
    ordered = sorted(instances, key=lambda instance: (instance.sop_instance_uid, instance.path))
    others = {each.series_uid: each for each in reversed(ordered) if each.modality not in PICTURES}
    kept = [each for each in ordered if each.modality in PICTURES or others[each.series_uid] is each]
    return [
        Picture(instance, _refusal(instance), _left_out(instance, rule), tuple(_notes(instance))) for instance in kept
    ]


def _left_out(instance: Instance, rule: DicomRule) -> Finding | None:
    if instance.modality not in PICTURES:
        return Finding("not_a_picture", f"{instance.modality}: no single picture; a job of kind volume may take it")
    if rule.modality and instance.modality not in rule.modality:
        return Finding("wrong_modality", f"{instance.modality}; the job takes {', '.join(rule.modality)}")
    unlike = rule.description is not None and not re.search(rule.description, instance.description)
    if unlike or (rule.without is not None and re.search(rule.without, instance.description)):
        return Finding("other_description", "its description is not one that the job takes")
    return None


def _refusal(instance: Instance) -> Finding | None:
    layout = instance.layout
    if layout is None:
        return Finding("no_pixel_data", "an image without pixel data. Fetch it again")
    if len(instance.slices) != 1:
        return Finding("not_a_picture", f"{len(instance.slices)} frames; a picture has one")
    if layout.photometric.startswith("PALETTE") or (layout.samples != 1 and layout.bits_allocated != 8):
        return Finding("colour", f"colours as {layout.photometric} of {layout.bits_allocated} bits, which are not read")
    return None


def _notes(instance: Instance) -> Iterable[Finding]:
    if instance.calibrated_spacing_mm is None:
        yield Finding("uncalibrated", _UNCALIBRATED)
    if instance.is_lossy:
        yield Finding("lossy", "pixels were compressed with loss")
    if instance.is_burnt_in:
        yield Finding("burnt_in", "text is burnt into the pixels, by BurnedInAnnotation")
