"""One data set, element by element and at every depth: what stays is decided by the rules, never by what is in it."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName

from tasks.deidentify import csa
from tasks.deidentify.codes import is_public, is_scheme, meaning_of
from tasks.deidentify.damage import UNDECODABLE, require_damage
from tasks.deidentify.dates import shifted_date, shifted_datetime, valid_time, valid_zone
from tasks.deidentify.rules import Action, Rules, profile, safe_private
from tasks.deidentify.text import Scrubber
from tasks.files.pseudonyms import Pseudonyms, bare, whose

_E = TypeVar("_E", bound=DataElement | None)

DUMMY_TEXT = "ANONYMIZED"

_PATIENT_NAME = 0x00100010
_PATIENT_ID = 0x00100020
_STUDY_UID = 0x0020000D
_SUBJECT_ID = 0x00120040
_PATIENT_GROUP = 0x0010
_PIXELS = 0x7FE0
_FIRST_PIXELS = 0x0008
# Commands, file meta and directories: none of them belongs into a data set.
_NO_DATA_SET = (0x0000, 0x0002, 0x0004)
_TIMEZONE = 0x00080201
_TEXT_VALUE = 0x0040A160
_ROI_NAME = 0x30060026
_SEGMENT_LABEL = 0x00620005

# Defined terms although their VR is one of text: Rescale Type.
_TERMS = {0x00281054}
# Described by people in their own words, although Table E.1-1 does not name them.
_DESCRIBED = {_TEXT_VALUE, _ROI_NAME, _SEGMENT_LABEL}
_CODE_VALUE, _CODE_SCHEME, _CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
_CODE = (_CODE_VALUE, _CODE_SCHEME, _CODE_MEANING)
# Of a maker or a hospital; L is what HL7 called a local one.
_PRIVATE_SCHEME = re.compile(r"99[A-Z_]{1,14}|L")
# Of those, what is too short to count patients.
_PRIVATE_VALUE = re.compile(r"\d{1,5}")
# Versions, and names that makers give their machines: long numbers in them are no numbers of patients.
_MADE = {0x00080070, 0x00080103, 0x00081090, 0x00181020, 0x00181060}
# UIDs that name schemes of codes, which HL7 registers, and not what belongs to a patient.
_SCHEME_UIDS = {0x0008010C, 0x00080117, 0x00080118}
_SCHEMES_ROOT = "2.16.840.1.113883.6."
# Bytes that are numbers by definition; what else is stored as bytes may hold anything.
_BYTES = {0x00282000, 0x54001010, 0x54000100, 0x54000110, 0x54000112, 0x00281221, 0x00281222, 0x00281223}

_NUMBERS = frozenset(("AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV", "US or SS", "US or OW", "US or SS or OW"))
_DECIMALS = frozenset(("DS", "IS"))
_ARRAYS = frozenset(("OD", "OF", "OL", "OV", "OW", "OB or OW"))
_LINES = frozenset(("LO", "SH", "UC"))
_PAGES = frozenset(("LT", "ST", "UT"))
_DATES = frozenset(("DA", "DT", "TM"))

_CODE_STRING = re.compile(r"[A-Za-z0-9 _+\-./]{0,64}")
_DECIMAL = re.compile(r" *[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)? *")
_AGE_STRING = re.compile(r"(\d{3})([DWMY])")
# The profile asks that nobody be known as the oldest.
_OLDEST_YEARS = 89

_DUMMIES: Mapping[str, object] = {
    "AE": DUMMY_TEXT,
    "AS": "000Y",
    "CS": "ANON",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "FD": 0.0,
    "FL": 0.0,
    "IS": "0",
    "LO": DUMMY_TEXT,
    "LT": DUMMY_TEXT,
    "PN": "Anonymized",
    "SH": DUMMY_TEXT,
    "SL": 0,
    "SS": 0,
    "SV": 0,
    "ST": DUMMY_TEXT,
    "TM": "000000",
    "UC": DUMMY_TEXT,
    "UL": 0,
    "UR": "urn:anonymized",
    "US": 0,
    "UT": DUMMY_TEXT,
    "UV": 0,
}


@dataclass(frozen=True)
class Patient:
    """Whom a data set is of, as it says itself.

    Attributes:
        id: (0010,0020), or what stands in its place where that is empty.
        pseudonym: What stands for the id.
        days: By how many its dates move.
    """

    id: str = field(repr=False)
    pseudonym: str
    days: int


def patient_of(dataset: Dataset, pseudonyms: Pseudonyms) -> Patient:
    """Tell whom a data set is of; without an id every study is a patient of its own."""
    known = whose(_text(dataset, _PATIENT_ID), _text(dataset, _STUDY_UID))
    return Patient(known, pseudonyms.patient(known), pseudonyms.days(known))


@dataclass
class Done:
    """What was done to a file, in numbers.

    Attributes:
        counts: Elements by what became of them: kept, cleaned, shifted, replaced, emptied, removed.
        undecodable: Elements that were removed because nobody can read them.
    """

    counts: Counter[str] = field(default_factory=Counter)
    undecodable: int = 0


@dataclass(frozen=True)
class Cleaner:
    """Makes a data set that names nobody from one that does.

    Attributes:
        rules: Of its SOP class and the job.
        pseudonyms: Of the institution.
        patient: Whom it is of.
        scrubber: Knows the words that identify this patient.
        done: What was done, counted.
    """

    rules: Rules
    pseudonyms: Pseudonyms
    patient: Patient
    scrubber: Scrubber
    done: Done

    def cleaned(self, source: Dataset, *, dummies: bool = False) -> Dataset:
        """Return a new data set; nothing in it was in the source unless a rule says so.

        Args:
            source: At any depth.
            dummies: Whether everything in it is to be replaced: its sequence has to be there, and may say nothing.
        """
        target = Dataset()
        creators: dict[int, str] = {}
        for tag in sorted(source.keys()):
            raw = source.get_item(tag)
            if tag.is_private:
                element = None if dummies else self._private(source, tag, creators)
            else:
                element = self._standard(source, tag, raw.VR, dummies=dummies)
            if element is not None:
                target.add(element)
        for block, creator in creators.items():
            target.add_new(block, "LO", creator)
        return target

    def _standard(  # noqa: PLR0911 - one return per action
        self, source: Dataset, tag: BaseTag, vr: str | None, *, dummies: bool
    ) -> DataElement | None:
        if tag.element == 0 or tag.group in _NO_DATA_SET:
            return None
        action = self._action(tag)
        if action is Action.REMOVE or (tag.group == _PIXELS and tag.element >= _FIRST_PIXELS):
            # Pixels of the image itself are copied elsewhere; these would be in a sequence.
            return self._count("removed", None)
        vr = _known_vr(tag, vr)
        if tag in (_PATIENT_ID, _PATIENT_NAME, _SUBJECT_ID):
            return self._count("replaced", DataElement(tag, vr, self._whose(source)))
        if action is Action.EMPTY and not dummies:
            return self._count("emptied", DataElement(tag, vr, [] if vr == "SQ" else ""))
        if action is Action.DUMMY and vr not in ("SQ", "UI"):
            return self._count("replaced", self._dummy(tag, vr))
        try:
            element = _readable(source, tag)
            if tag in _CODE and not dummies:
                return self._code(source, element)
            return self._kept(element, action, dummies=dummies)
        except UNDECODABLE as error:
            require_damage(error)
            return self._lost()

    def _whose(self, source: Dataset) -> str:
        """Return what stands for the patient that a data set is of: one in a sequence may be of another."""
        known = bare(_text(source, _PATIENT_ID))
        return self.pseudonyms.patient(known) if known else self.patient.pseudonym

    def _action(self, tag: BaseTag) -> Action:
        action = self.rules.action(tag)
        if action is not None:
            return action
        if tag in self.rules.defined:
            return Action.CLEAN if tag in _DESCRIBED else Action.KEEP
        # Extended classes hold more than the standard's. Numbers measure, and short text may stay as a description.
        vr = _dictionary_vr(tag)
        if vr in _NUMBERS | _DECIMALS:
            return Action.KEEP
        return Action.CLEAN if vr in ("CS", "LO", "SH") else Action.REMOVE

    def _kept(  # noqa: PLR0911 - one return per kind of value
        self, element: DataElement, action: Action, *, dummies: bool
    ) -> DataElement | None:
        tag = element.tag
        # What a file says of its own elements may be wrong: text must not pass for numbers.
        vr = _dictionary_vr(tag) or element.VR
        if _family(vr) != _family(element.VR):
            return self._lost()
        if vr == "SQ":
            return self._sequence(element, dummies=dummies or action is Action.DUMMY)
        if vr == "UI" or action is Action.UID:
            return self._uids(element)
        if dummies:
            return self._count("replaced", self._dummy(tag, element.VR))
        if action is Action.SHIFT or vr in _DATES:
            return self._dated(element)
        if vr in _NUMBERS or vr in _ARRAYS or tag in _BYTES:
            # Bytes of any length are no number.
            fits = element.VR in _NUMBERS or vr in _ARRAYS or "OW" in vr or tag in _BYTES
            return self._count("kept", element) if fits else self._lost()
        cleaning = self._cleaning(tag, vr, action)
        if cleaning is None:
            return self._count("removed", None) if self.rules.action(tag) is None else self._emptied(element)
        return self._texts(element, cleaning)

    def _code(self, source: Dataset, element: DataElement) -> DataElement | None:
        """Keep what belongs to a code of a public scheme; elsewhere anybody may have written anything."""
        if _family(element.VR) != "text":
            return self._lost()
        scheme, value = bare(_text(source, _CODE_SCHEME)), bare(_text(source, _CODE_VALUE))
        if element.tag == _CODE_MEANING:
            text = bare(str(element.value or ""))
            known = text == meaning_of(scheme, value) or text == self.scrubber.described(text)
            said = text if known else self.scrubber.described(text) or meaning_of(scheme, value) or DUMMY_TEXT
        elif element.tag == _CODE_SCHEME:
            private = _PRIVATE_SCHEME.fullmatch(scheme) is not None and not self.scrubber.names(scheme[2:])
            said = scheme if private or is_scheme(scheme) else DUMMY_TEXT
        else:
            private = _PRIVATE_SCHEME.fullmatch(scheme) is not None and _PRIVATE_VALUE.fullmatch(value) is not None
            said = value if is_public(scheme, value) or (private and not self.scrubber.names(value)) else DUMMY_TEXT
        if said == bare(str(element.value or "")):
            return self._count("kept", element)
        return self._count("replaced", DataElement(element.tag, element.VR, said))

    def _sequence(self, element: DataElement, *, dummies: bool) -> DataElement:
        items = [self.cleaned(item, dummies=dummies) for item in element.value or ()]
        return self._count("kept", DataElement(element.tag, "SQ", DicomSequence(items)))

    def _uids(self, element: DataElement) -> DataElement | None:
        if element.VR != "UI":
            return self._emptied(element)
        values = [str(value) for value in _values(element)]
        if element.tag in _SCHEME_UIDS and all(value.startswith(_SCHEMES_ROOT) for value in values):
            return self._count("kept", element)
        mapped = [self.pseudonyms.uid(value) for value in values]
        return self._count(
            "kept" if mapped == values else "replaced", DataElement(element.tag, "UI", _one_or_more(mapped))
        )

    def _dated(self, element: DataElement) -> DataElement | None:
        """Move dates where the job wants them; elsewhere what the basic profile says holds."""
        if element.tag == _TIMEZONE:
            return self._texts(element, lambda text: valid_zone(text) or "")
        if "modified-dates" not in self.rules.options or element.VR not in _DATES:
            return self._emptied(element)
        days = self.patient.days
        moves: Mapping[str, Callable[[str], str | None]] = {
            "DA": lambda text: shifted_date(text, days),
            "DT": lambda text: shifted_datetime(text, days),
            "TM": valid_time,
        }
        values = [str(value) for value in _values(element)]
        if not values:
            return self._count("kept", DataElement(element.tag, element.VR, ""))
        moved = [date for value in values if (date := moves[element.VR](value)) is not None]
        if len(moved) < len(values):
            return self._emptied(element)
        return self._count("shifted", DataElement(element.tag, element.VR, _one_or_more(moved)))

    def _cleaning(  # noqa: PLR0911 - one return per kind of text
        self, tag: BaseTag, vr: str, action: Action
    ) -> Callable[[str], str] | None:
        """Return what is done to each value of an element of text; None where it cannot stay."""
        if vr in _DECIMALS:
            return lambda text: text if _DECIMAL.fullmatch(text) else ""
        if vr == "AS":
            return _age
        if (vr == "CS" and action is not Action.CLEAN) or tag in _TERMS:
            return lambda text: self.scrubber.coded(text) if _CODE_STRING.fullmatch(text) else ""
        if vr in _PAGES or (vr in _LINES | {"CS"} and (action is Action.CLEAN or tag.group == _PATIENT_GROUP)):
            return self.scrubber.described
        if vr in _LINES:
            return self.scrubber.made if tag in _MADE else self.scrubber.scrubbed
        if vr in ("AE", "PN") and action is Action.KEEP and self.rules.action(tag) is Action.KEEP:
            return self.scrubber.scrubbed
        return None

    def _texts(self, element: DataElement, cleaning: Callable[[str], str]) -> DataElement | None:
        values = [str(value) for value in _values(element)]
        cleaned = [cleaning(value) for value in values]
        if cleaned == values:
            return self._count("kept", element)
        if not any(cleaned):
            return self._emptied(element)
        return self._count("cleaned", DataElement(element.tag, element.VR, _one_or_more(cleaned)))

    def _emptied(self, element: DataElement) -> DataElement | None:
        """Do what the basic profile asks for where there is nothing left to keep."""
        fallback = Action.DUMMY if element.tag in _DESCRIBED else self.rules.fallback(element.tag)
        if fallback is Action.REMOVE and self.rules.action(element.tag) is not Action.KEEP:
            return self._count("removed", None)
        if fallback is Action.DUMMY:
            return self._count("replaced", self._dummy(element.tag, element.VR))
        return self._count("emptied", DataElement(element.tag, element.VR, ""))

    def _dummy(self, tag: BaseTag, vr: str) -> DataElement:
        if vr == "AT":
            return DataElement(tag, vr, 0)
        return DataElement(tag, vr, _DUMMIES.get(vr, b"\0\0"))

    def _private(self, source: Dataset, tag: BaseTag, creators: dict[int, str]) -> DataElement | None:
        """Keep what is known to be safe of a block whose creator is known; write down that the block is in use."""
        block = (tag.group << 16) | (tag.element >> 8)
        creator = _text(source, block).rstrip(" \0") if tag.element >= 0x1000 else ""
        known = safe_private().get((tag.group, tag.element & 0xFF, creator))
        hidden = (creator, tag.group, tag.element & 0xFF) == (csa.CREATOR, 0x0029, csa.ELEMENT)
        if (known is None and not hidden) or "safe-private" not in self.rules.options:
            return None if tag.element < 0x100 else self._count("removed", None)
        try:
            if known is None:
                kept = self._hidden(source[tag])
            else:
                element = _private_element(source.get_item(tag), source, tag, known.vr)
                kept = None if element is None else self._safe(element)
        except UNDECODABLE as error:
            require_damage(error)
            return self._lost()
        if kept is not None:
            creators[block] = creator
        return kept

    def _hidden(self, element: DataElement) -> DataElement | None:
        silent = csa.silent_header(element.value) if isinstance(element.value, bytes) else None
        if silent is None:
            return self._count("removed", None)
        return self._count("cleaned", DataElement(element.tag, "OB", silent))

    def _safe(self, element: DataElement) -> DataElement | None:
        vr = element.VR
        if vr == "SQ":
            return self._sequence(element, dummies=False)
        if vr in _DATES:
            return self._dated(element)
        if vr in _NUMBERS:
            return self._count("kept", element)
        cleaning = self._cleaning(element.tag, vr, Action.KEEP)
        if cleaning is None:
            return self._count("removed", None)
        kept = self._texts(element, cleaning)
        # Emptied, it says no more than that it was there.
        return kept if kept is not None and kept.value not in ("", None) else None

    def _lost(self) -> DataElement | None:
        """Remove what nobody can read."""
        self.done.undecodable += 1
        return self._count("removed", None)

    def _count(self, what: str, element: _E) -> _E:
        self.done.counts[what] += 1
        return element


def identifiers(dataset: Dataset, rules: Rules) -> Iterator[tuple[str, bool]]:
    """Yield what identifies in a data set, at every depth, and whether it is the name of a person."""
    for tag in sorted(dataset.keys()):
        if tag.is_private:
            continue
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value or ():
                    yield from identifiers(item, rules)
            elif element.VR == "PN" or _identifies(tag, element.VR, rules):
                yield from ((str(value), element.VR == "PN") for value in _values(element))
        except UNDECODABLE as error:
            require_damage(error)
            # It goes, whatever it is: see the cleaner.
            continue


def _identifies(tag: BaseTag, vr: str, rules: Rules) -> bool:
    """Tell whether the words of an attribute say who somebody is; those of a description are everybody's."""
    if vr not in _LINES | _PAGES:
        return False
    return rules.action(tag) in (Action.REMOVE, Action.EMPTY, Action.DUMMY) and not rules.describes(tag)


def _age(text: str) -> str:
    match = _AGE_STRING.fullmatch(text.strip())
    if match is None:
        return ""
    return f"{_OLDEST_YEARS + 1:03d}Y" if match[2] == "Y" and int(match[1]) > _OLDEST_YEARS else text


def _values(element: DataElement) -> list[object]:
    """Return the values of an element, none where it is empty."""
    value = element.value
    if value is None or (isinstance(value, (str, bytes)) and not value):
        return []
    if isinstance(value, PersonName):
        return [value]
    return list(value) if isinstance(value, (list, tuple, MultiValue)) else [value]


def _one_or_more(values: list[str]) -> list[str] | str:
    """Return what a new element is given: one value alone, several as a list."""
    return values if len(values) > 1 else "".join(values)


def _family(vr: str) -> str:
    """Return what a VR is kin to: text with text, numbers with numbers."""
    if vr in _NUMBERS or vr in _ARRAYS or vr == "OB":
        return "numbers"
    return vr if vr in ("SQ", "UN") else "text"


def _text(dataset: Dataset, tag: int) -> str:
    """Return the value of an element as text; nothing where it is not there or cannot be read."""
    try:
        value = dataset[tag].value if tag in dataset else None
    except UNDECODABLE as error:
        require_damage(error)
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return "" if value is None else str(value)


def _known_vr(tag: BaseTag, vr: str | None) -> str:
    """Return a VR that a new element may have: the dictionary's where it has one for it, else the file's own."""
    known = _dictionary_vr(tag)
    if known is None or " or " in known:
        return vr if vr is not None and vr != "UN" else (known or "UN").split(" or ")[0]
    return known


def _dictionary_vr(tag: int) -> str | None:
    try:
        return dictionary_VR(tag)
    except KeyError:
        row = profile().get(f"{tag:08X}")
        return row.vr if row is not None and row.vr else None


def _readable(source: Dataset, tag: BaseTag) -> DataElement:
    """Return an element as what it is; one that came as unknown, as what the table says it is."""
    element = source[tag]
    vr = _dictionary_vr(tag)
    if element.VR != "UN" or vr is None or not isinstance(element.value, bytes) or _family(vr) != "text":
        return element
    return DataElement(tag, vr, element.value.decode("ascii").rstrip(" \0"))


def _private_element(raw: DataElement | RawDataElement, source: Dataset, tag: BaseTag, vr: str) -> DataElement | None:
    """Return a private element read as what it is known to be; None where its bytes are not that."""
    element = source[tag]
    if element.VR == vr:  # noqa: SIM300 - a name, no constant
        return element
    value = element.value
    if vr == "SQ":
        return None
    if not isinstance(value, bytes):
        # Another VR than the one that is known to be safe.
        return DataElement(tag, vr, value) if {element.VR, vr} <= _NUMBERS | _DECIMALS else None
    return _decoded(tag, vr, value, little_endian=raw.is_little_endian if isinstance(raw, RawDataElement) else True)


_FORMATS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "UL": "I", "US": "H"}


def _decoded(tag: BaseTag, vr: str, value: bytes, *, little_endian: bool) -> DataElement | None:
    if vr in _FORMATS:
        size = struct.calcsize(_FORMATS[vr])
        if not value or len(value) % size:
            return None
        order = "<" if little_endian else ">"
        numbers = list(struct.unpack(f"{order}{len(value) // size}{_FORMATS[vr]}", value))
        return DataElement(tag, vr, numbers if len(numbers) > 1 else numbers[0])
    text = value.decode("ascii").rstrip(" \0")
    return DataElement(tag, vr, text.split("\\") if "\\" in text else text)
