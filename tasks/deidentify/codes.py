"""Coded entries: codes of public schemes stay, with the meaning that they have; what only looks like a code goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from pydicom.sr.codedict import codes

# How the codes of public schemes are written (PS3.16 Table 8-1); what is written otherwise is none of them.
_SCHEMES: Mapping[str, re.Pattern[str]] = {
    scheme: re.compile(pattern)
    for schemes, pattern in (
        ("SCT SNOMED", r"\d{6,18}"),
        ("SRT SNM3 99SDM", r"[A-Z][A-Z0-9]?-[0-9A-Z]{4,6}"),
        ("DCM", r"\d{5,6}"),
        ("LN", r"\d{1,6}-\d"),
        ("RADLEX", r"RID\d{1,6}"),
        ("FMA UBERON_CID NEU ITIS_TSN PUBCHEM_CID NCBITAXON", r"\d{1,9}"),
        ("UMLS NCIt MSH", r"[CD]\d{3,9}"),
        ("I10 I10P I9 I9C ICD10 ICD-10", r"[A-Z]?\d{2,3}(\.\d{1,4})?"),
        ("IBSI", r"[A-Z0-9]{4}"),
        ("UCUM", r"[A-Za-z0-9%/.*^\[\]'\-]{1,12}|\{[a-z ]{1,12}\}"),
        ("RFC5646 ISO639_1 ISO639_2 ISO3166_1", r"[A-Za-z]{2,3}(-[A-Za-z]{2,4})?"),
    )
    for scheme in schemes.split()
}


@cache
def _known() -> Mapping[tuple[str, str], str]:
    """Return the meanings of the codes that DICOM's context groups hold, by scheme and value."""
    return {
        (str(concept.scheme_designator), str(concept.value)): str(concept.meaning)
        for scheme in codes.schemes()
        for concept in getattr(codes, scheme).concepts.values()
    }


def meaning_of(scheme: str, value: str) -> str | None:
    """Return what a code of a context group means; None where it is in none."""
    return _known().get((scheme, value))


def is_public(scheme: str, value: str) -> bool:
    """Tell whether a code is one of a public scheme, or is written as its codes are."""
    pattern = _SCHEMES.get(scheme)
    return (pattern is not None and pattern.fullmatch(value) is not None) or (scheme, value) in _known()


def is_scheme(scheme: str) -> bool:
    """Tell whether a designator is that of a public scheme."""
    return scheme in _SCHEMES or any(scheme == known for known, _ in _known())
