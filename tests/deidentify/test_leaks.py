"""The search for what names a patient finds twenty leaks put back by hand, and shares nothing with its subject."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import dicom_corpus as made
import leaks
import pydicom
import pytest
from deidentified import read, run
from pydicom.sequence import Sequence


def change(path: Path, edit) -> None:
    ds = read(path)
    edit(ds)
    ds.save_as(path, enforce_file_format=True)


def with_meta(ds):
    ds.file_meta.SourceApplicationEntityTitle = "ZQLEAK77"


def with_sequence(ds):
    item = ds
    for word in ("ReferencedImageSequence", "PurposeOfReferenceCodeSequence", "ReferencedSOPSequence"):
        setattr(item, word, Sequence([pydicom.Dataset()]))
        item = item[word].value[0]
    item.PersonName = "Zqleak77^A"


def with_charset(charset, name):
    def edit(ds):
        ds.SpecificCharacterSet = charset
        ds.PatientName = name

    return edit


def with_private(ds):
    ds.private_block(0x0099, "MAKER", create=True).add_new(1, "UN", b"zqLEAK77")


def with_overlay(ds):
    ds.add_new(0x60004000, "LO", "Zqleak77")


def appended(data: bytes):
    def leak(folder: Path) -> None:
        with next(folder.rglob("*.dcm")).open("ab") as file:
            file.write(data)

    return leak


def in_file(name: str, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


def edited(edit):
    return lambda folder: change(next(folder.rglob("*.dcm")), edit)


def with_preamble(folder: Path) -> None:
    path = next(folder.rglob("*.dcm"))
    path.write_bytes(b"Zqleak77".ljust(128) + path.read_bytes()[128:])


def as_deflated(folder: Path) -> None:
    ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
    ds.StudyDescription = "seen by Zqleak77"
    made.save(ds, folder / "deflated.dcm", made.DEFLATED)


def in_a_database(folder: Path) -> None:
    with sqlite3.connect(folder / "runs.sqlite") as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.execute("INSERT INTO runs VALUES ('case of Zqleak77')")
    connection.close()


def in_an_archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "logs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run.log", "case of Zqleak77 " * 9)


def as_a_link(folder: Path) -> None:
    (folder / "case").symlink_to("/data/Zqleak77/1.dcm")


def packed(data: bytes) -> bytes:
    return gzip.compress(data)


PUT_BACK = {
    "preamble": with_preamble,
    "file meta": edited(with_meta),
    "three sequences deep": edited(with_sequence),
    "private block of unknown values": edited(with_private),
    "overlay comment": edited(with_overlay),
    "behind the data set": appended(b"\xfc\xff\xfc\xff\x08\0\0\0Zqleak77"),
    "codestream": lambda folder: made.save_jpeg(folder / "j.dcm", b"Zqleak77"),
    "deflated data set": as_deflated,
    "name of a file": lambda folder: (folder / "Zqleak77.txt").write_text(""),
    "name of a folder": lambda folder: (folder / "of ZQLEAK77").mkdir(),
    "table": in_file("t.csv", b"a,b\n1,zqleak77\n"),
    "database": in_a_database,
    "packed log": in_file("run.log.gz", packed(b"case of Zqleak77")),
    "archive": in_an_archive,
    "link": as_a_link,
    "base64 in JSON": in_file("a.json", b'{"a": "' + base64.b64encode(b"xxZqleak77yy") + b'"}'),
    "UTF-16": in_file("a.bin", "of Zqleak77".encode("utf-16")),
    "Japanese": edited(with_charset(["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう")),
    "Korean": edited(with_charset(["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동")),
    "Cyrillic": edited(with_charset("ISO_IR 144", "Люкceмбypг")),
    "Chinese": edited(with_charset("GB18030", "Wang=王^小东")),
    "date of another form": in_file("report.html", b"<p>born 12.03.1965</p>"),
    "hexadecimal": in_file("a.txt", b"key " + b"Zqleak77".hex().encode()),
}
SOUGHT = ["Zqleak77", "山田", "길동", "Люкceмбypг", "小东", "19650312"]


@pytest.fixture(scope="module")
def clean_folder(tmp_path_factory) -> Path:
    ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
    made.add_pixels(ds)
    folder = tmp_path_factory.mktemp("clean")
    made.save(ds, folder / "in" / "a.dcm")
    run(folder / "in", folder / "out")
    return folder / "out"


@pytest.mark.parametrize("leak", PUT_BACK)
def test_a_leak_put_back_by_hand_is_found(clean_folder, tmp_path, leak):
    folder = Path(shutil.copytree(clean_folder, tmp_path / "out"))
    assert leaks.search(folder, SOUGHT) == []
    PUT_BACK[leak](folder)
    assert leaks.search(folder, SOUGHT)


def test_there_are_twenty_of_them():
    assert len(PUT_BACK) >= 20


def test_the_search_shares_nothing_with_what_it_searches_after():
    program = "import sys, leaks; print(*[name for name in sys.modules if name.split('.')[0] in ('tasks', 'pydicom')])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "helpers")}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert ended.stdout.split() == []
