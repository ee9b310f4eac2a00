"""Coded terms for the classes of a model: the standard's own, by their names, or the job's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydicom.sr.codedict import Collection, codes

from tasks.products.dicom.order import CodedTerm

SCHEME = "99SWATHE"
# Context groups of PS3.16 for segmented property types, and the category that each belongs to (CID 7150).
_CATEGORIES = {
    "cid7194": codes.SCT.MorphologicallyAbnormalStructure,
    "cid7192": codes.SCT.AnatomicalStructure,
    "cid7191": codes.SCT.Tissue,
    "cid7193": codes.SCT.PhysicalObject,
    "cid7197": codes.SCT.BodySubstance,
}
# Names that models give to classes, and the standard's.
_SYNONYMS = {
    "tumour": "neoplasm", "tumor": "neoplasm", "sarcoma": "neoplasm", "carcinoma": "neoplasm", "cancer": "neoplasm",
    "metastasis": "neoplasmSecondary", "oedema": "edema", "haemorrhage": "hemorrhage", "foreground": "lesion",
    "heart chambers": "heart",
}  # fmt: skip
_LONGEST_VALUE = 16
_LONGEST_MEANING = 64


def terms_of(name: str, given: Mapping[str, tuple[CodedTerm, CodedTerm]]) -> tuple[CodedTerm, CodedTerm]:
    """Return category and type of what a class is.

    A term of the standard has the class's name, written in any way; where there is none, the type is a term of the
    private scheme ``99SWATHE`` that means what the class is called.

    Args:
        name: Of the class.
        given: By the job, which go first.
    """
    if name in given:
        return given[name]
    wanted = _letters(_SYNONYMS.get(name.casefold().strip(), name))
    for group, category in _CATEGORIES.items():
        collection: Collection = getattr(codes, group)
        for keyword in collection.dir():
            if _letters(keyword) == wanted:
                found = getattr(collection, keyword)
                of_kind = CodedTerm(category.value, category.scheme_designator, category.meaning)
                return of_kind, CodedTerm(found.value, found.scheme_designator, found.meaning)
    tissue = codes.SCT.Tissue
    value = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")[:_LONGEST_VALUE] or "CLASS"
    return (
        CodedTerm(tissue.value, tissue.scheme_designator, tissue.meaning),
        CodedTerm(value, SCHEME, name[:_LONGEST_MEANING]),
    )


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
