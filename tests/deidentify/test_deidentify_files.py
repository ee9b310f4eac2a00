"""Files one by one: character sets, codestreams, reports, refusals; folders that are done again; the command."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import dicom_corpus as made
import leaks
import numpy as np
import pydicom
import pytest
from deidentified import ALL, BASIC, REFUSE, read, run
from dicoms import ramp, write_series

from tasks.deidentify import folder as folder_module
from tasks.deidentify.folder import find_source
from tasks.errors import IdentifyingError, StoreError
from tasks.files.keys import create_key, load_key
from tasks.files.pseudonyms import Pseudonyms
from tasks.inputs.naming import FREED
from tasks.jobs.deidentify import Deidentification


def test_a_name_in_any_character_set_is_gone_from_every_text(tmp_path):
    names = made.foreign_names(tmp_path / "in")
    assert {found.token for found in leaks.search(tmp_path / "in", names)} == set(names)
    assert {verdict.status for verdict in run(tmp_path / "in", tmp_path / "out")} == {"done"}
    assert leaks.search(tmp_path / "out", names) == []
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert read(path).StudyDescription == "CT abdomen"
        assert read(path).ManufacturerModelName == "Scanner"


def test_letters_that_stay_are_not_replaced_by_question_marks(tmp_path):
    """Halfwidth katakana beside Latin letters: pydicom reads them and cannot write them."""
    ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
    ds.SpecificCharacterSet = "ISO_IR 13"
    ds.PatientName = "YAMADA^TAROU"
    ds.Manufacturer = "ACME ﾄｳｼﾊﾞ".encode("shift_jis")
    made.save(ds, tmp_path / "in" / "a.dcm")
    (verdict,) = run(tmp_path / "in", tmp_path / "out")
    assert read(tmp_path / "out" / verdict.file).Manufacturer == "ACME ﾄｳｼﾊﾞ"


def test_comments_in_a_codestream_are_gone_and_its_pixels_are_not(tmp_path):
    was = made.save_jpeg(tmp_path / "in" / "a.dcm", b"Zqcomment of a name")
    assert len(leaks.search(tmp_path / "in", ["Zqcomment"])) == 1
    (verdict,) = run(tmp_path / "in", tmp_path / "out")
    assert leaks.search(tmp_path / "out", ["Zqcomment"]) == []
    now = read(tmp_path / "out" / verdict.file)
    assert len(now.PixelData) == len(was.PixelData)
    before = read(tmp_path / "in" / "a.dcm")
    assert np.array_equal(before.pixel_array, now.pixel_array)


def test_a_report_keeps_its_measurements_and_loses_its_names(tmp_path):
    ds, gone = made.sr_document(made.Markers(3))
    made.save(ds, tmp_path / "in" / "report.dcm")
    (verdict,) = run(tmp_path / "in", tmp_path / "out")
    assert leaks.search(tmp_path / "out", [*gone, "19650312"]) == []
    text = read(tmp_path / "out" / verdict.file).ContentSequence[0].ContentSequence[0].ContentSequence[0].TextValue
    assert "Liver lesion" in text
    assert "measures 12 mm" in text


def test_bytes_behind_the_pixels_are_gone(tmp_path):
    ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
    made.add_pixels(ds)
    ds.PixelData += b"Zqbehind of a name.."
    ds.add_new(0xFFFCFFFC, "OB", b"Zqpadding!")
    made.save(ds, tmp_path / "in" / "a.dcm")
    (verdict,) = run(tmp_path / "in", tmp_path / "out")
    assert leaks.search(tmp_path / "out", ["Zqbehind", "Zqpadding"]) == []
    before, after = read(tmp_path / "in" / "a.dcm").PixelData, read(tmp_path / "out" / verdict.file).PixelData
    assert after == before[:2048] + bytes(len(before) - 2048)


def test_overlays_in_unused_bits_are_gone_and_the_image_is_not(tmp_path):
    ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
    values = (np.arange(1024).reshape(32, 32) * 3 % 4096).astype(np.uint16)
    letters = (np.arange(1024).reshape(32, 32) % 5 == 0).astype(np.uint16)
    made.add_pixels(ds, values | letters << 12)
    ds.BitsStored, ds.HighBit = 12, 11
    ds.add_new(0x60000102, "US", 12)
    made.save(ds, tmp_path / "in" / "a.dcm")
    (verdict,) = run(tmp_path / "in", tmp_path / "out")
    assert np.array_equal(np.frombuffer(read(tmp_path / "out" / verdict.file).PixelData, np.uint16), values.ravel())


def test_what_is_refused_now_is_not_left_from_before(tmp_path):
    ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
    ds.Modality = "US"
    made.add_pixels(ds)
    made.save(ds, tmp_path / "in" / "a.dcm")
    (allowed,) = run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / allowed.file).is_file()
    (refused,) = run(tmp_path / "in", tmp_path / "out", REFUSE)
    assert refused.code == "burnt-in-kind"
    assert not (tmp_path / "out" / allowed.file).exists()


def test_text_that_passes_for_numbers_is_no_number(tmp_path):
    """A VR that lies: the file calls a name a matrix, an id a measurement."""
    ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
    ds.add(pydicom.DataElement(0x00180050, "OW", b"Zqslice of a name.."))
    ds.add(pydicom.DataElement(0x00181210, "OB", b"Zqkernel"))
    ds.add(pydicom.DataElement(0x00280106, "LO", "Zqsmallest"))
    ds.add(pydicom.DataElement(0x00189073, "OB", b"Zqduration of"))
    ds.add(pydicom.DataElement(0x00081090, "OW", b"Zqmodel of a name."))
    ds.add(pydicom.DataElement(0x00080104, "OB", b"Zqmeaning "))
    ds.add(pydicom.DataElement(0x00180088, "LO", "Zqspacing"))
    made.save(ds, tmp_path / "in" / "a.dcm")
    run(tmp_path / "in", tmp_path / "out")
    assert (
        leaks.search(
            tmp_path / "out", ["Zqslice", "Zqkernel", "Zqsmallest", "Zqspacing", "Zqduration", "Zqmodel", "Zqmeaning"]
        )
        == []
    )


def test_the_oldest_are_not_told_from_one_another(tmp_path):
    for number, age in enumerate(("045Y", "089Y", "090Y", "104Y", "006M", "about 91")):
        ds, _ = made.base(made.CT, number, number, made.Markers(0))
        ds.add(pydicom.DataElement("PatientAge", "AS", age, validation_mode=pydicom.config.IGNORE))
        made.save(ds, tmp_path / "in" / f"{number}.dcm")
    ages = {
        str(read(tmp_path / "out" / verdict.file).get("PatientAge"))
        for verdict in run(tmp_path / "in", tmp_path / "out")
    }
    assert ages == {"045Y", "089Y", "090Y", "006M", ""}


def test_it_says_what_was_done_in_the_codes_of_the_standard(tmp_path):
    ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
    made.save(ds, tmp_path / "in" / "a.dcm")
    codes = {}
    for name, settings in (("all", ALL), ("basic", BASIC), ("device", Deidentification(options=("device",)))):
        (verdict,) = run(tmp_path / "in", tmp_path / name, settings)
        now = read(tmp_path / name / verdict.file)
        assert now.PatientIdentityRemoved == "YES"
        assert now.DeidentificationMethod.startswith("swathe")
        assert now.file_meta.MediaStorageSOPInstanceUID == now.SOPInstanceUID
        assert now.preamble == bytes(128)
        codes[name] = [item.CodeValue for item in now.DeidentificationMethodCodeSequence]
        assert now.LongitudinalTemporalInformationModified == ("MODIFIED" if name == "all" else "REMOVED")
    assert codes == {
        "all": ["113100", "113104", "113105", "113107", "113108", "113111"],
        "basic": ["113100"],
        "device": ["113100", "113109"],
    }


@pytest.mark.parametrize(
    ("sop_class", "code"),
    [
        ("1.2.840.10008.5.1.4.1.1.104.1", "closed-content"),
        ("1.2.840.10008.5.1.4.1.1.9.4.1", "closed-content"),
        ("1.2.840.10008.5.1.4.1.1.66", "closed-content"),
        ("1.3.12.2.1107.5.9.1", "sop-class"),
    ],
)
def test_what_nobody_can_search_is_refused_by_name(tmp_path, sop_class, code):
    ds, _ = made.base(sop_class, 1, 1, made.Markers(0))
    made.save(ds, tmp_path / "in" / "Zqname.dcm")
    (verdict,) = run(tmp_path / "in", tmp_path / "out")
    assert (verdict.status, verdict.code) == ("refused", code)
    assert leaks.search_text(verdict.message, ["Zqname", "Zqfamily"], "message") == []


def test_every_hostile_file_gets_a_verdict(data, tmp_path):
    verdicts = run(data / "hostile-dicom", tmp_path / "out")
    codes = {verdict.code for verdict in verdicts if verdict.status != "done"}
    assert codes <= {"not-dicom", "truncated", "damaged", "incomplete", "two-contents", "sop-class", "no-pixels"}
    assert len(verdicts) == sum(path.is_file() for path in (data / "hostile-dicom").rglob("*"))


def test_one_uid_with_two_contents_is_refused_and_the_same_twice_is_not(tmp_path):
    for name, weight in (("a", 70), ("b", 70), ("c", 71)):
        ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
        ds.PatientWeight = weight
        made.save(ds, tmp_path / "in" / f"{name}.dcm")
    verdicts = run(tmp_path / "in", tmp_path / "out")
    assert [(verdict.status, verdict.code) for verdict in verdicts] == [
        ("done", ""),
        ("same", ""),
        ("refused", "two-contents"),
    ]
    assert verdicts[0].source in verdicts[2].message


def test_a_cut_file_is_refused(tmp_path):
    ds, _ = made.base(made.CT, 1, 1, made.Markers(0))
    made.add_pixels(ds)
    made.save(ds, tmp_path / "whole.dcm")
    whole = (tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "in").mkdir()
    for number, at in enumerate((200, 400, len(whole) - 3)):
        (tmp_path / "in" / f"{number}.dcm").write_bytes(whole[:at])
    verdicts = run(tmp_path / "in", tmp_path / "out")
    assert {verdict.status for verdict in verdicts} == {"refused"}
    assert list((tmp_path / "out").rglob("*.part")) == []


def listing(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".swathe" not in path.parts
    }


def test_again_does_no_work_and_a_change_is_done_again(tmp_path, monkeypatch):
    for number in range(3):
        ds, _ = made.base(made.CT, number, number, made.Markers(0))
        made.save(ds, tmp_path / "in" / f"{number}.dcm")
    run(tmp_path / "in", tmp_path / "out")
    before = listing(tmp_path / "out")
    calls = []
    real_one = folder_module.deidentify_file
    monkeypatch.setattr(
        folder_module,
        "deidentify_file",
        lambda path, *rest, **named: calls.append(path.name) or real_one(path, *rest, **named),
    )
    run(tmp_path / "in", tmp_path / "out")
    assert calls == []
    ds.PatientWeight = 77
    made.save(ds, tmp_path / "in" / "2.dcm")
    (tmp_path / "out" / run(tmp_path / "in", tmp_path / "out")[0].file).unlink()
    calls.clear()
    run(tmp_path / "in", tmp_path / "out")
    assert calls == ["0.dcm"]
    assert set(listing(tmp_path / "out")) == set(before)


def test_killed_and_started_again_it_ends_in_the_same_bytes(tmp_path):
    for number in range(150):
        ds, _ = made.base(made.CT, number, number % 7, made.Markers(0))
        made.add_pixels(ds)
        made.save(ds, tmp_path / "in" / f"{number:03d}.dcm")
    run(tmp_path / "in", tmp_path / "whole")
    program = (
        "import os, sys\nsys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\nimport deidentified as t\n"
        "from tasks.deidentify.folder import deidentify_folder\nfrom tasks.out.folder import OutFolder\nseen = []\n"
        "def told(verdict):\n    seen.append(verdict)\n    if len(seen) == 100:\n        os.kill(os.getpid(), 9)\n"
        "deidentify_folder(Path(sys.argv[2]), OutFolder(Path(sys.argv[3])), t.ALL, t.PSEUDONYMS, told)\n"
    )
    command = [sys.executable, "-c", program, Path(__file__).parents[1] / "helpers", tmp_path / "in", tmp_path / "out"]
    assert subprocess.run(command, check=False).returncode == -9
    run(tmp_path / "in", tmp_path / "out")
    assert listing(tmp_path / "out") == listing(tmp_path / "whole")


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, list[made.Planting]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, made.corpus(folder)


def test_the_command_says_nothing_that_names_anybody(planted, tmp_path):
    key = tmp_path / "keys" / "k"
    create_key(key)
    environment = {**os.environ, "SWATHE_KEY_FILE": str(key)}
    command = [sys.executable, "-m", "flows.cli", "deidentify", "--burnt-in", "allow"]
    source, out = planted[0], tmp_path / "out"
    ended = subprocess.run([*command, source, out], capture_output=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr
    words = {one.marker for planting in planted[1] for one in planting.planted if one.marker}
    words = {word for word in words if word.lower().startswith("zq")}
    assert leaks.search_text(ended.stdout + ended.stderr, words, "terminal") == []
    rows = list(csv.DictReader(StringIO((out / FREED).read_text())))
    assert len(rows) == len(planted[1])
    assert leaks.search(out, words) == []
    found = subprocess.run(
        [*command, source, out, "--find", rows[0]["source"]],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    label = Pseudonyms(load_key(key)).source(found.stdout.strip())
    assert label == rows[0]["source"]
    assert find_source(source, "F-NOSUCHFILE00", Pseudonyms(load_key(key))) is None


def test_in_and_out_lie_apart(tmp_path):
    (tmp_path / "in").mkdir()
    for out in (tmp_path / "in" / "out", tmp_path):
        with pytest.raises(StoreError, match="lies in the other"):
            run(tmp_path / "in", out)
    with pytest.raises(IdentifyingError, match="no such file"):
        run(tmp_path / "none", tmp_path / "out")


def test_a_mistake_of_ours_passes_for_no_damaged_file(tmp_path, monkeypatch):
    (path,) = write_series(tmp_path / "in", ramp(1, 4, 5))
    slope = b"\x28\x00\x53\x10DS\x02\x00"
    path.write_bytes(path.read_bytes().replace(slope + b"1 ", slope + b"x "))
    # What pydicom cannot read is lost, and the file is not.
    (found,) = run(tmp_path / "in", tmp_path / "damaged")
    assert (found.status, found.code) == ("done", "")
    assert read(tmp_path / "damaged" / found.file).RescaleSlope is None
    monkeypatch.setattr("tasks.deidentify.dataset._DECIMALS", None)
    (found,) = run(tmp_path / "in", tmp_path / "mistake")
    assert (found.status, found.code) == ("refused", "mistake")
    assert "TypeError in dataset.py:" in found.message
