"""What a job may say of results as DICOM objects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.jobs.section import Section


class Term(Section):
    """A term of a coding scheme.

    Attributes:
        value: Its code, such as ``10200004``.
        meaning: In words, such as ``Liver``.
        scheme: ``SCT`` is SNOMED CT.
    """

    value: Annotated[str, Field(min_length=1, max_length=16)]
    meaning: Annotated[str, Field(min_length=1, max_length=64)]
    scheme: Annotated[str, Field(min_length=1, max_length=16)] = "SCT"


class ClassTerms(Section):
    """What a class of the model is.

    Attributes:
        category: Such as Anatomical Structure or Morphologically Abnormal Structure.
        type: Such as Liver or Neoplasm.
    """

    category: Term
    type: Term


class DicomOutput(Section):
    """Results of a DICOM series as DICOM objects, beside the mask in ``dicom/``.

    Attributes:
        segmentation: ``labelmap`` holds all classes in one map; ``binary`` a bit per class, for receivers that do not
            know label maps.
        report: Whether measurements are written as a structured report.
        capture: Whether the largest lesion is drawn with its diameters as a Secondary Capture.
        patient: ``pseudonym`` names the patient, the study and all objects by keyed pseudonyms; ``original`` as the
            source does, so that results land in its study, and OUT identifies patients.
        terms: Coded terms by the name of a class, where the standard has none of that name or another is meant.
    """

    segmentation: Literal["labelmap", "binary"] = "labelmap"
    report: bool = True
    capture: bool = False
    patient: Literal["pseudonym", "original"] = "pseudonym"
    terms: dict[str, ClassTerms] = Field(default={})
