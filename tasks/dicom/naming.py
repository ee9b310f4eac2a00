"""What a volume of DICOM is called: by a hash, never by what names a patient."""

from __future__ import annotations

import hashlib
import re

from tasks.dicom.instance import Instance
from tasks.dicom.series import Found

_DIGITS = 12


def picture_id(instance: Instance) -> str:
    """Return the scene's id of a single picture."""
    return _named(instance.modality, instance.study_uid, instance.series_uid, instance.sop_instance_uid)


def scene_id(found: Found) -> str:
    """Return the scene's id: the same for the same series and volume, whatever files it lies in.

    A series that is sent again with more slices keeps it, so that its new product takes the place of the old one.
    """
    return _named(found.modality, found.study_uid, found.series_uid, found.sop_class_uid, found.group, found.label)


def file_id(path: str) -> str:
    """Return the id of a file that says nothing of itself."""
    return f"dicom-{pseudonym(path)}"


def _named(modality: str, *identifiers: str) -> str:
    return f"{re.sub(r'[^a-z0-9]', '', modality.casefold()) or 'ot'}-{pseudonym(*identifiers)}"


def pseudonym(*identifiers: str) -> str:
    """Return what stands for identifiers wherever they must not be seen."""
    return hashlib.sha256("\0".join(identifiers).encode()).hexdigest()[:_DIGITS]
