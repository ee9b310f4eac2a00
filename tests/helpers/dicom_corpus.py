"""DICOM files in which every row of PS3.15 Table E.1-1 occurs, with a marker in each: what must go, and what must stay.

Nothing here comes from the de-identifier but the table itself, which is data of the standard.
"""

from __future__ import annotations

import csv
import io
import random
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import DataElement, Dataset, config, dcmwrite
from pydicom.datadict import dictionary_keyword, dictionary_VR
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

TABLE = Path(__file__).parents[2] / "tasks/deidentify/profile.csv"

CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128"))
ENHANCED_MR, SEGMENTATION = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.66.4"
COMPREHENSIVE_SR, STRUCTURES, PLAN = (
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.481.3",
    "1.2.840.10008.5.1.4.1.1.481.5",
)
PRESENTATION, RADIOGRAPH, ULTRASOUND = (
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.6.1",
)
CLASSES = (CT, MR, PET, ENHANCED_MR, COMPREHENSIVE_SR, STRUCTURES, PLAN, PRESENTATION, RADIOGRAPH)
MODALITIES = {CT: "CT", MR: "MR", PET: "PT", ENHANCED_MR: "MR", COMPREHENSIVE_SR: "SR", STRUCTURES: "RTSTRUCT",
              PLAN: "RTPLAN", PRESENTATION: "PR", RADIOGRAPH: "DX"}  # fmt: skip

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED, JPEG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"

# Names as PS3.5 Annexes H to K write them, and the character sets that they are written in.
FOREIGN = {
    "ISO_IR 100": ("Zßmüllerq^Käthe", "zßmüllerq"),
    "ISO_IR 144": ("Люкceмбypгq", "Люкceмбypгq"),
    "ISO_IR 192": ("Wáng^Xiǎodōngq=王^小东q", "小东q"),
    "ISO_IR 126": ("Διονυσιοςq", "Διονυσιοςq"),
    "ISO_IR 127": ("قباني^لنزارq", "لنزارq"),
    "ISO_IR 138": ("שרון^דבורהq", "דבורהq"),
    "ISO_IR 13": ("ﾔﾏﾀﾞ^ﾀﾛｳq", "ﾔﾏﾀﾞ"),
    "GB18030": ("Wang^XiaoDong=王^小东q", "小东q"),
    "\\ISO 2022 IR 87": ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田"),
    "\\ISO 2022 IR 149": ("Hong^Gildong=洪^吉洞=홍^길동", "길동"),
}


@dataclass(frozen=True)
class Planted:
    """One element that was put into a file.

    Attributes:
        path: Keywords or tags from the data set down, without numbers of items.
        tag: Of the element.
        row: Its basic action in the table, or ``private``, ``kept``.
        options: Marks of the options by column.
        vr: Its value representation.
        value: That was planted, as text.
        marker: That must not be found, where it is one that can be searched for.
    """

    path: tuple[int, ...]
    tag: int
    row: str
    options: dict[str, str]
    vr: str
    value: str
    marker: str | None


@dataclass
class Planting:
    """A file and what was planted in it."""

    path: Path
    sop_uid: str
    patient_id: str
    planted: list[Planted] = field(default_factory=list)


@dataclass(frozen=True)
class TableRow:
    tag: int
    name: str
    basic: str
    options: dict[str, str]
    vr: str


def table_rows() -> list[TableRow]:
    """Return every row that can stand in a data set: not commands, file meta, and the last one, of private ones."""
    rows = []
    for row in csv.DictReader(line for line in TABLE.read_text().splitlines() if not line.startswith("#")):
        if row["tag"] == "PRIVATE" or row["tag"][:4] in ("0000", "0002", "0004"):
            continue
        tag = int(row["tag"].replace("XXXXXX", "003000").replace("60XX", "6002"), 16)
        options = dict(mark.split("=") for mark in row["options"].split())
        rows.append(TableRow(tag, row["name"], row["basic"], options, _vr(tag, row["name"])))
    return rows


def _vr(tag: int, name: str) -> str:
    if tag >> 16 in (0x5000, 0x6002):
        return "LO" if tag & 0xFFFF == 0x4000 else "OW"
    try:
        return dictionary_VR(tag)
    except KeyError:
        ends = {"Sequence": "SQ", "DateTime": "DT", "Comment": "UT", "URI": "UR"}
        return next((vr for end, vr in ends.items() if name.endswith(end)), "LO")


class Markers:
    """Values that occur nowhere else, each once."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._n = 0

    def word(self) -> str:
        self._n += 1
        letters = "".join(self._random.choice("bcdfghjkmnpqrstvwxz") for _ in range(5))
        return f"Zq{letters}{self._n:04d}"

    def day(self) -> str:
        return (date(1931, 1, 1) + timedelta(self._random.randrange(9000))).strftime("%Y%m%d")

    def value(self, vr: str) -> tuple[object, str, str | None]:
        """Return a value of a VR, the same as text, and what to search for."""
        word = self.word()
        number = str(self._random.randrange(10_000_019, 99_999_999))
        micro = (
            f"{self._random.randrange(10, 24)}{self._random.randrange(10, 60)}11.{self._random.randrange(10**5, 10**6)}"
        )
        values: dict[str, tuple[object, str | None]] = {
            "PN": (f"{word}^Given{word}", word),
            "DA": (self.day(), None),
            "TM": (micro, None),
            "DT": (f"{self.day()}{micro}+0100", None),
            "UI": (f"1.2.826.0.1.3680043.8.498.{number}.{self._n}", number),
            "AS": ("093Y", "093Y"),
            "DS": (number, number),
            "IS": (number, number),
            "CS": (word.upper(), word),
            "AE": (word, word),
            "SH": (word, word),
            "UR": (f"https://{word}.example/a", word),
            "OB": (word.encode().ljust(12), word),
            "UN": (word.encode().ljust(12), word),
            "OW": (word.encode().ljust(12), word),
            "US": (int(number) % 60000 + 1, None),
            "FD": (float(number), None),
            "FL": (float(int(number) % 9000 + 1), None),
        }
        value, marker = values.get(vr, (f"{word} was here", word))
        text = value.decode().strip() if isinstance(value, bytes) else str(value)
        return value, text, marker


def plant(dataset: Dataset, row: TableRow, path: tuple[int, ...], markers: Markers) -> Iterator[Planted]:
    """Put one row of the table into a data set; of a sequence, an item with a name, a text and a date in it."""
    if row.vr == "SQ":
        item = Dataset()
        inner = (*path, row.tag)
        for tag in (0x00080104, 0x00080100, 0x00400555, 0x0040A160, 0x0040A123):
            vr = dictionary_VR(tag)
            if vr == "SQ":
                continue
            value, text, marker = markers.value(vr)
            item.add(DataElement(tag, vr, value))
            yield Planted((*inner, tag), tag, f"in {row.basic}", row.options, vr, text, marker)
        dataset.add(DataElement(row.tag, "SQ", Sequence([item])))
        yield Planted(inner, row.tag, row.basic, row.options, "SQ", "", None)
        return
    value, text, marker = markers.value(row.vr)
    dataset.add(DataElement(row.tag, row.vr, value))
    yield Planted((*path, row.tag), row.tag, row.basic, row.options, row.vr, text, marker)


def base(sop_class: str, number: int, patient: int, markers: Markers) -> tuple[Dataset, str]:
    """Return a small object of a class, of one of a few patients."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.Modality = sop_class, MODALITIES.get(sop_class, "OT")
    study = f"1.2.826.0.1.3680043.8.498.77.{patient}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.{number}"
    ds.SOPInstanceUID = f"{study}.{number}.1"
    ds.PatientID, ds.PatientName = f"Zqpid{patient:05d}", f"Zqfamily{patient}^Zqgiven{patient}"
    ds.StudyDate, ds.StudyTime = f"1988{patient % 12 + 1:02d}17", "101112"
    del markers
    return ds, ds.PatientID


def add_pixels(ds: Dataset, picture: np.ndarray | None = None) -> None:
    """Give an object pixels, uncompressed."""
    if picture is None:
        picture = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint16) * 31
    ds.Rows, ds.Columns = picture.shape
    ds.BitsAllocated = 8 * picture.itemsize
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = ds.BitsAllocated, ds.BitsAllocated - 1, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.PixelData = picture.tobytes()
    ds["PixelData"].VR = "OW" if picture.itemsize == 2 else "OB"


def save(ds: Dataset, path: Path, syntax: str = EXPLICIT, *, preamble: bytes = bytes(128), source_ae: str = "") -> None:
    """Write a file, with whatever values it has."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = UID(syntax), UID("1.2.826.0.1.3680043.8.498.1")
    if source_ae:
        meta.SourceApplicationEntityTitle = source_ae
        meta.PrivateInformationCreatorUID = UID("1.2.826.0.1.3680043.8.498.2")
        meta.PrivateInformation = source_ae.encode() * 2
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = FileDataset(str(path), ds, preamble=preamble, file_meta=meta)
    mode = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcmwrite(path, whole, enforce_file_format=True)
    finally:
        config.settings.writing_validation_mode = mode


# By these a file is known; ``base`` writes them.
IDENTIFYING = (0x00080018, 0x0020000D, 0x0020000E, 0x00100020)

# Sequences that stay in every object, one in the other, down to where rows are planted.
NEST = (0x00081140, 0x0040A170, 0x00081199)


def nested(ds: Dataset, depth: int) -> Dataset:
    """Return an item so many sequences deep."""
    for tag in NEST[:depth]:
        if tag not in ds:
            ds.add(DataElement(tag, "SQ", Sequence([Dataset()])))
        ds = ds[tag].value[0]
    return ds


def private_block(ds: Dataset, path: tuple[int, ...], markers: Markers) -> Iterator[Planted]:
    """Plant every VR in a block of a maker, and the safe attributes of one that the standard knows."""
    block = ds.private_block(0x0099, f"{markers.word()} PRIV", create=True)
    yield Planted((*path, 0x00990010), 0x00990010, "private", {}, "LO", block.private_creator, block.private_creator)
    for offset, vr in enumerate(("LO", "PN", "DA", "TM", "DT", "UI", "DS", "IS", "CS", "SH", "ST", "LT", "UT", "UC",
                                 "AE", "AS", "UR", "OB", "OW", "UN", "US", "FD", "FL"), 1):  # fmt: skip
        value, text, marker = markers.value(vr)
        block.add_new(offset, vr, value)
        tag = block.get_tag(offset)
        yield Planted((*path, int(tag)), int(tag), "private", {}, vr, text, marker)
    item = Dataset()
    value, text, marker = markers.value("PN")
    item.add_new(0x00100010, "PN", value)
    block.add_new(0x80, "SQ", Sequence([item]))
    yield Planted((*path, int(block.get_tag(0x80)), 0x00100010), 0x00100010, "private", {}, "PN", text, marker)
    # A private sequence that nobody knows for one, as implicit files and old archives have them.
    value, text, marker = markers.value("PN")
    encoded = text.encode().ljust(2 * (len(text) + 1 >> 1))
    inner = struct.pack("<HHI", 0x0010, 0x0010, len(encoded)) + encoded
    block.add_new(0x81, "UN", struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner)
    yield Planted((*path, int(block.get_tag(0x81))), int(block.get_tag(0x81)), "private", {}, "UN", text, marker)


def philips_block(ds: Dataset, markers: Markers) -> Iterator[Planted]:
    """Plant what PS3.15 calls safe, between what it does not."""
    block = ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", 4.25)
    yield Planted((0x2005100E,), 0x2005100E, "safe", {}, "FL", "4.25", None)
    value, text, marker = markers.value("LO")
    block.add_new(0x33, "LO", value)
    yield Planted((0x20051033,), 0x20051033, "private", {}, "LO", text, marker)


def corpus(folder: Path, seed: int = 1) -> list[Planting]:
    """Write the corpus: every row of the table on top and three sequences deep, private blocks, names in file names."""
    markers = Markers(seed)
    rows = table_rows()
    plantings = []
    for number, chunk in enumerate(_chunks(rows, 40)):
        sop_class = CLASSES[number % len(CLASSES)]
        for depth in (0, 3):
            ds, patient_id = base(sop_class, 2 * number + bool(depth), number % 4, markers)
            path = folder / f"{ds.PatientName.family_name} {number % 4}" / f"{markers.word()} {number} {depth}.dcm"
            planting = Planting(path, ds.SOPInstanceUID, patient_id)
            where = nested(ds, depth)
            for row in chunk:
                if row.tag in IDENTIFYING and not depth:
                    continue
                if row.tag in NEST and depth:
                    continue
                planting.planted += plant(where, row, NEST[:depth], markers)
            planting.planted += private_block(where, NEST[:depth], markers)
            if not depth:
                planting.planted += philips_block(ds, markers)
                if sop_class in (CT, MR, PET, RADIOGRAPH):
                    add_pixels(ds)
            syntax = (EXPLICIT, IMPLICIT, BIG, DEFLATED)[number % 4]
            save(ds, path, syntax, preamble=markers.word().encode().ljust(128), source_ae=markers.word())
            plantings.append(planting)
    return plantings


def _chunks(rows: list[TableRow], size: int) -> Iterator[list[TableRow]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def jpeg_with_comment(comment: bytes) -> bytes:
    """Return a JPEG whose comment and EXIF segments hold something."""
    buffer = io.BytesIO()
    picture = Image.fromarray((np.add.outer(np.arange(64), np.arange(64)) * 2).astype(np.uint8))
    exif = Image.Exif()
    exif[0x010E] = comment.decode()
    picture.save(buffer, "JPEG", comment=comment, exif=exif)
    return buffer.getvalue()


def save_jpeg(path: Path, comment: bytes) -> Dataset:
    """Write a CT slice in baseline JPEG with a comment in its codestream."""
    ds, _ = base(CT, 900, 3, Markers(0))
    add_pixels(ds, np.zeros((64, 64), np.uint8))
    ds.PixelData = encapsulate([jpeg_with_comment(comment)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    save(ds, path, JPEG)
    return ds


def sr_document(markers: Markers, number: int = 700) -> tuple[Dataset, list[str]]:
    """Return a report whose text, names, dates and codes hold markers between words that stay."""
    ds, _ = base(COMPREHENSIVE_SR, number, 2, markers)
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    gone = []

    def content(value_type: str, **values: object) -> Dataset:
        item = Dataset()
        item.RelationshipType, item.ValueType = "CONTAINS", value_type
        for keyword, value in values.items():
            setattr(item, keyword, value)
        return item

    word, other, person = markers.word(), markers.word(), markers.word()
    gone += [word, other, person]
    text = content("TEXT", TextValue=f"Liver lesion of {word} measures 12 mm, seen by Dr. {other} on 12.03.1965")
    name = content("PNAME", PersonName=f"{person}^{person}")
    inner = content("CONTAINER", ContentSequence=Sequence([text]))
    ds.ContentSequence = Sequence([content("CONTAINER", ContentSequence=Sequence([inner, name]))])
    return ds, gone


def foreign_names(folder: Path) -> list[str]:
    """Write a file per character set, and return the names that must not be found."""
    names = []
    for number, (charset, (name, marker)) in enumerate(FOREIGN.items()):
        ds, _ = base(CT, 800 + number, 100 + number, Markers(0))
        ds.SpecificCharacterSet = charset.split("\\")
        ds.PatientName = name
        ds.StudyDescription = f"CT abdomen {name.split('=')[-1].split('^')[-1]}"
        model = f"Scanner {name.split('=')[-1].split('^')[0]}"
        # pydicom writes no Latin letters beside katakana; hospitals do.
        ds.ManufacturerModelName = model.encode("shift_jis") if charset == "ISO_IR 13" else model
        ds.ReferencedImageSequence = Sequence([Dataset()])
        ds.ReferencedImageSequence[0].PersonName = name
        add_pixels(ds)
        save(ds, folder / f"{number}.dcm")
        names.append(marker)
    return names


def keyword(tag: int) -> str:
    try:
        return dictionary_keyword(tag) or f"{tag:08X}"
    except KeyError:
        return f"{tag:08X}"


Leak = Callable[[Path], None]
