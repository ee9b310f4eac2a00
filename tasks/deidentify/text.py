"""Text that stays: words of an allow-list in descriptions, and never a token of this patient anywhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent

# Parts of names this short are also abbreviations of protocols; they are kept out by the vocabulary alone.
_SHORTEST = 3
# From here on a token is looked for within words as well: SMITHJOHN.
_LONG = 5
# Letters of abbreviations in defined terms, without and with a digit among them: W2, SOM5.
_ABBREVIATED, _NUMBERED = 2, 4
_SINGLE = frozenset("abcfhlmnoprstwx")

# Joined or not, dates of any common form, times of day, addresses of mail and pages, and numbers that are dialled or
# that count patients.
_MONTHS = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|jun(?:e)?|jul(?:y)?|aug(?:ust)?|sep(?:t|tember)?|"
    "oct(?:ober)?|nov(?:ember)?|dec(?:ember)?|januar|februar|märz|mai|juni|juli|oktober|dezember"
)
_PATTERNS = re.compile(
    r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\b(?:https?://|www\.)\S+"
    r"|\b\d+(?:\.\d+){4,}\b"
    r"|\b(?:19|20)\d{2}[.\-/_ ]\d{1,2}[.\-/_ ]\d{1,2}\b|\b\d{1,2}[.\-/_ ]\d{1,2}[.\-/_ ](?:19|20)\d{2}\b"
    r"|\b\d{1,2}[./-]\d{1,2}[./-]\d{2}\b"
    r"|(?<!\d)(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{4,6}(?:\.\d+)?)?(?!\d)"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th|\.)?[\s\-/.]*(?:{_MONTHS})\b[\s\-/.,]*(?:\d{{2,4}})?"
    rf"|\b(?:{_MONTHS})\b[\s\-/.]*\d{{1,2}}(?:st|nd|rd|th)?\b(?:[\s,\-/]*\d{{4}})?"
    r"|\b\d{1,2}:\d{2}(?::\d{2})?\b"
    r"|(?<!\w)[(+]*\d[\d()]*(?:[ \-/]\d+){1,}(?!\w)",
    re.IGNORECASE,
)
_FEWEST_DIALLED = 7
_DIGITS = re.compile(r"(?<![\d.])\d{6,}(?!\d)")

_TOKEN = re.compile(r"[^\W_]+(?:[.,]\d[^\W_]*)*")
# Where two words were written as one: HeadRoutine.
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PREFIXES = "b|bf|bl|br|c|d|fc|fl|h|hc|hr|i|k|l|m|q|qr|s|t|te|th|ti|tr|ur|v"
_UNITS = "mm|cm|ms|s|sec|min|h|hz|khz|mhz|t|d|g|mg|ml|cc|kv|ma|mas|mgy|mbq|x|st|nd|rd|th|w|f|s"
_NUMBER = re.compile(
    rf"(?:{_PREFIXES})?\d{{1,3}}(?:[.,]\d{{1,3}})?(?:{_UNITS})?"
    rf"|\d{{1,3}}(?:\.\d{{1,3}})?(?:x\d{{1,3}}(?:\.\d{{1,3}})?){{1,2}}(?:{_UNITS})?"
    rf"|(?:b|te|tr|ti)?[1-4]?\d[05]0(?:{_UNITS})?"
    r"|\d{1,2}(?:,[1-4]?\d{0,2}[05]0?){1,5}"
)
_IDEOGRAPHS = re.compile(r"[^\W\d_a-zA-Z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff]")
_BETWEEN = re.compile(r"[\s_]{2,}")
_EDGES = " \t\r\n-_/\\,;:.&+=()[]{}<>#*|'\"!?^~"


@cache
def vocabulary() -> frozenset[str]:
    """Return the words that may stay in descriptions, case folded."""
    return _words("vocabulary.txt")


@cache
def terms() -> frozenset[str]:
    """Return the words that defined terms are made of beside those of the vocabulary, case folded."""
    return _words("terms.txt")


def _words(name: str) -> frozenset[str]:
    lines = (_HERE / name).read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.casefold().split())


def _plain(text: str) -> str:
    """Fold case and accents, so that MÜLLER, Müller and Muller are one."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _spelt(text: str) -> set[str]:
    """Return a token as it is written with and without accents and umlauts."""
    out = text.casefold()
    for letter, written in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("ø", "oe"), ("å", "aa"), ("æ", "ae")):
        out = out.replace(letter, written)
    return {_plain(text), _plain(out)}


@dataclass(frozen=True)
class Scrubber:
    """Takes out of text what identifies the patient of one file.

    Attributes:
        persons: Parts of names of people that the file itself holds, folded.
        places: Parts of ids, addresses and names of places, folded.
    """

    persons: frozenset[str]
    places: frozenset[str]

    @classmethod
    def of(cls, identifiers: Iterable[tuple[str, bool]]) -> Scrubber:
        """Build from values of attributes that identify, and whether each is the name of a person.

        Words of the vocabulary in an institution's or a station's name identify nobody; in a person's name they do.
        """
        found: dict[bool, set[str]] = {True: set(), False: set()}
        for value, of_person in identifiers:
            tokens = found[of_person]
            for part in re.split(r"[\s^=,;\\/_.()\-]+", value):
                if _tells(part, of_person=of_person):
                    tokens |= _spelt(part)
            whole = re.sub(r"[\s^=]+", "", value)
            if len(whole) >= _LONG and (of_person or not _known(whole.casefold())):
                tokens |= _spelt(whole)
        return cls(frozenset(found[True] - {""}), frozenset(found[False] - {""}))

    def names(self, token: str, *, places: bool = True) -> bool:
        """Tell whether a word is, or holds, a token of this patient; of places, where they count."""
        spellings = _spelt(token)
        known = self.persons | self.places if places else self.persons
        if spellings & known:
            return True
        return any(
            (len(one) >= _LONG or _IDEOGRAPHS.search(one)) and one in spelling
            for one in known
            for spelling in spellings
        )

    def scrubbed(self, text: str) -> str:
        """Return text without tokens of this patient, dates, addresses and long numbers."""
        without = _DIGITS.sub("", _without_patterns(text))
        cleaned = _TOKEN.sub(lambda match: "" if self.names(match[0]) else match[0], without)
        return text if cleaned == text else _tidy(cleaned)

    def made(self, text: str) -> str:
        """Return the name of a machine or a program without people: it holds numbers, and its maker is no place."""
        cleaned = _TOKEN.sub(lambda match: "" if self.names(match[0], places=False) else match[0], text)
        return text if cleaned == text else _tidy(cleaned)

    def coded(self, text: str) -> str:
        """Return a defined term as it is where it is made of known words, whoever is called like it; others go."""
        if all(_is_term(token[0]) for token in _TOKEN.finditer(text)):
            return text
        return _tidy(_TOKEN.sub(self._kept_term, text))

    def described(self, text: str) -> str:
        """Return text with words of the vocabulary and short numbers alone; line breaks stay."""
        return "\n".join(line for line in map(self._described_line, re.split(r"\r\n|\n|\r|\f", text)) if line)

    def _described_line(self, line: str) -> str:
        cleaned = _TOKEN.sub(self._kept, _without_patterns(line))
        return line if cleaned == line else _tidy(cleaned)

    def _kept_term(self, match: re.Match[str]) -> str:
        token = match[0]
        return token if _is_term(token) and not self.names(token) else ""

    def _kept(self, match: re.Match[str]) -> str:
        token = match[0]
        return token if _is_known(token) and not self.names(token) else ""


def _tells(part: str, *, of_person: bool) -> bool:
    # One ideograph may be a family name.
    if _IDEOGRAPHS.search(part):
        return True
    word = part.casefold()
    # Short names, too, where nothing else is called so.
    return (of_person and len(part) >= _SHORTEST) or (len(part) >= _SHORTEST - of_person and not _known(word))


def _is_term(token: str) -> bool:
    """Tell whether a word may stand in a term: abbreviations this short name nobody."""
    short = len(token) <= _ABBREVIATED or (len(token) <= _NUMBERED and any(map(str.isdigit, token)))
    return short or token.casefold() in terms() or _is_known(token)


def _is_known(token: str) -> bool:
    return _known(token.casefold()) or all(_known(part.casefold()) for part in _HUMPS.split(token))


def _known(word: str) -> bool:
    return word in vocabulary() or word in _SINGLE or _NUMBER.fullmatch(word) is not None


def _without_patterns(text: str) -> str:
    def gone(match: re.Match[str]) -> str:
        found = match[0]
        dialled = re.fullmatch(r"[(+]*\d[\d()]*(?:[ \-/]\d+)+", found)
        few = sum(letter.isdigit() for letter in found) < _FEWEST_DIALLED
        dated = re.fullmatch(r"(?:19|20)\d{2}[\- /]\d{1,2}[\- /]\d{1,2}|\d{1,2}[\-/]\d{1,2}[\-/]\d{2}(?:\d{2})?", found)
        return found if dialled and few and not dated else " "

    return _PATTERNS.sub(gone, text)


def _tidy(text: str) -> str:
    """Take away what stood between words that are gone."""
    text = re.sub(r"\(\s*\)|\[\s*\]|\{\s*\}", " ", text)
    text = re.sub(r"([\-/,;:.&+=^|*])(?:\s*[\-/,;:.&+=^|*])+", r"\1", text)
    text = re.sub(r"\s+([,;:.])(?=\s)", r"\1", text)
    return _BETWEEN.sub(" ", text).strip(_EDGES)
