"""DICOM files lose what names a patient, and nothing else: every row of PS3.15 Table E.1-1, scored as MIDI-B does."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import dicom_corpus as made
import leaks
import midi_b
import pydicom
import pytest
from deidentified import ALL, BASIC, PSEUDONYMS, read, run
from dicom_corpus import Planted, Planting

from tasks.deidentify.dates import shifted_date
from tasks.deidentify.journal import FileVerdict
from tasks.jobs.deidentify import Deidentification

# What goes although the profile would let it stay, each for its reason. Anything else that goes fails the test.
OVER_REMOVED = {
    "SegmentLabel": "one is called Green, as people are",
    "ContentDescription": "holds a word that is a part of the patient's id",
    "SegmentAlgorithmName": "holds a word that is a part of the patient's id",
}
# These it writes itself.
OWN = {"PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"}


def value_at(ds: pydicom.Dataset, path: tuple[int, ...]) -> str | None:
    """Return the value at a path as text; None where it is not there."""
    for tag in path[:-1]:
        if tag not in ds or ds[tag].VR != "SQ" or not ds[tag].value:
            return None
        ds = ds[tag].value[0]
    if path[-1] not in ds:
        return None
    value = ds[path[-1]].value
    if isinstance(value, bytes):
        return value.decode("latin-1").strip()
    return "" if value is None else str(value)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, list[Planting]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, made.corpus(folder)


@pytest.fixture(scope="module")
def cleaned(planted, tmp_path_factory) -> dict[str, tuple[Path, list[FileVerdict]]]:
    """The corpus, de-identified with the usual options and with none."""
    outs = {name: tmp_path_factory.mktemp("out") / name for name in ("all", "basic")}
    return {name: (out, run(planted[0], out, {"all": ALL, "basic": BASIC}[name])) for name, out in outs.items()}


def pairs(planted, cleaned, name) -> list[tuple[Planting, pydicom.Dataset]]:
    out, verdicts = cleaned[name]
    by_source = {verdict.source: verdict for verdict in verdicts}
    return [
        (planting, read(out / by_source[PSEUDONYMS.source(str(planting.path.resolve()))].file))
        for planting in planted[1]
    ]


def test_every_row_of_the_table_occurs_on_top_and_three_sequences_deep(planted):
    rows = {row.tag for row in made.table_rows()}
    depths = {(len(one.path) - 1, one.tag) for planting in planted[1] for one in planting.planted}
    assert len(rows) >= 621
    assert rows - set(made.IDENTIFYING) <= {tag for depth, tag in depths if depth == 0}
    assert rows - set(made.NEST) <= {tag for depth, tag in depths if depth == 3}
    kinds = {one.vr for planting in planted[1] for one in planting.planted}
    wanted = "AE AS CS DA DS DT IS LO LT OB OW PN SH SQ ST TM UC UI UN UR US UT FD FL"
    assert kinds >= set(wanted.split())


def test_every_file_is_done(cleaned):
    for _, verdicts in cleaned.values():
        assert {verdict.status for verdict in verdicts} == {"done"}


def leftover_by_option(planting: Planting, options: tuple[str, ...]) -> set[str]:
    """Markers that an option asks to keep: an age below 90, a weight, a size."""
    if "patient-characteristics" not in options:
        return set()
    return {one.marker for one in planting.planted if one.marker and one.options.get("patient") == "K"}


@pytest.mark.parametrize("name", ["all", "basic"])
def test_not_one_marker_is_left_anywhere(planted, cleaned, name):
    options = {"all": ALL, "basic": BASIC}[name].options
    kept = {marker for planting in planted[1] for marker in leftover_by_option(planting, options)}
    tokens = {one.marker for planting in planted[1] for one in planting.planted if one.marker}
    tokens |= {part for planting in planted[1] for part in planting.path.relative_to(planted[0]).as_posix().split()}
    tokens -= {"0", "1", "2", "3", "0.dcm", "3.dcm"} | {f"{n}" for n in range(40)}
    words = {token for token in tokens - kept if token.lower().startswith("zq") or token.isdigit() or "/" in token}
    assert len(words) > 1000
    assert leaks.search(cleaned[name][0], words) == []


def test_no_date_of_the_corpus_is_left(planted, cleaned):
    days: dict[str, set[str]] = {}
    for planting in planted[1]:
        moves = PSEUDONYMS.days(planting.patient_id)
        for one in planting.planted:
            if one.vr in ("DA", "DT"):
                days.setdefault(one.value[:8], set()).add(shifted_date(one.value[:8], moves))
    # What one date became may be what another was.
    searched = days.keys() - set().union(*days.values())
    assert len(searched) > 0.7 * len(days)
    for out, _ in cleaned.values():
        assert leaks.search(out, searched) == []


def score(planting: Planting, ds: pydicom.Dataset, settings: Deidentification, checks, total: midi_b.Score) -> None:
    patient = planting.patient_id
    total.add("patid_consistent", str(planting.path), checks["patient"](str(ds.PatientID), patient))
    for one in planting.planted:
        for action, share in asked(one, value_at(ds, one.path), settings, PSEUDONYMS.days(patient), checks["uid"]):
            total.add(action, f"{made.keyword(one.tag)} {one.vr} {one.row} at depth {len(one.path) - 1}", share)


COLUMNS = {
    "clean-descriptors": "descriptors",
    "clean-structured-content": "structured",
    "patient-characteristics": "patient",
    "modified-dates": "modified_dates",
}


def asked(one: Planted, value: str | None, settings: Deidentification, days: int, uid_consistent):
    """Yield what the profile asks for of one element, in the actions of MIDI-B."""
    marks = {one.options.get(column) for option, column in COLUMNS.items() if option in settings.options}
    dated = "modified_dates" in one.options and "modified-dates" in settings.options
    if one.row == "safe" and "safe-private" in settings.options:
        yield "text_retained", midi_b.text_retained(value, one.value)
    elif one.row in ("safe", "private"):
        yield "text_removed", midi_b.text_removed(value, one.value)
    elif one.row == "U" or (one.row == "D" and one.vr == "UI"):
        yield "tag_retained", midi_b.tag_retained(value, one.value)
        yield "uid_changed", midi_b.uid_changed(value, one.value)
        yield "uid_consistent", uid_consistent(value, one.value)
    elif dated and one.vr in ("DA", "DT"):
        yield "tag_retained", midi_b.tag_retained(value, one.value)
        yield "date_shifted", midi_b.date_shifted(value, one.value, days)
    elif dated and one.vr == "TM":
        yield "text_retained", midi_b.text_retained(value, one.value)
    elif "K" in marks and one.vr in ("DS", "IS", "CS", "US", "SQ"):
        yield "tag_retained", midi_b.tag_retained(value, one.value)
        if one.vr in ("DS", "IS", "US"):
            yield "text_retained", midi_b.text_retained(value, one.value)
    elif not one.row.startswith("in "):
        yield from asked_of_a_row(one, value)


def asked_of_a_row(one: Planted, value: str | None):
    """Yield what the letters of the basic profile ask for."""
    codes = one.row.split("/")
    if one.vr != "SQ":
        yield "text_removed", midi_b.text_removed(value, one.value)
    if "X" not in codes:
        yield "tag_retained", midi_b.tag_retained(value, one.value)
    if codes == ["D"] and one.vr != "SQ":
        yield "text_notnull", midi_b.text_notnull(value, one.value)


@pytest.mark.parametrize("name", ["all", "basic"])
def test_the_corpus_scores_as_high_as_the_best_of_midi_b(planted, cleaned, name):
    total = midi_b.Score()
    checks = {"patient": midi_b.Consistent(), "uid": midi_b.Consistent()}
    for planting, ds in pairs(planted, cleaned, name):
        score(planting, ds, {"all": ALL, "basic": BASIC}[name], checks, total)
    assert total.asked > 2500
    assert total.share >= 0.9993, total.failures[:40]
    assert total.failures == []


REAL = (
    "medical-tumour/ibsi-sts/STS_002/*/image/000001.dcm",
    "medical-tumour/ibsi-sts/STS_002/*/mask/*.dcm",
    "dicom-series/oblique-mr/Study3/*/000001.dcm",
    "dicom-series/torchio-ct/tests/image_data/dicom/IMG0002.dcm",
    "dicom-series/rt-utils-mock/tests/mock_data/[!i]*.dcm",
    "dicom-series/*/In/**/*0[12]*",
    "dicom-seg/dcmqi-ct-3slice/*.dcm",
    "dicom-seg/highdicom/*.dcm",
    "dicom-seg/qin-headneck/image/*-13*.dcm",
    "dicom-seg/qin-headneck/mask/*.dcm",
    "medical-tumour/ibsi-1-ct-phantom/dicom/*/*1.dcm",
)


def dcm(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[128:132] == b"DICM"


@pytest.fixture(scope="module")
def real(data, tmp_path_factory) -> tuple[list[Path], Path, dict[str, FileVerdict]]:
    folder, out = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("out") / "real"
    found = [path for pattern in REAL for path in sorted(data.glob(pattern))[:4] if dcm(path)]
    links = [folder / f"{number}.dcm" for number in range(len(found))]
    for link, path in zip(links, found, strict=True):
        link.write_bytes(path.read_bytes())
    verdicts = run(folder, out)
    assert {verdict.status for verdict in verdicts} == {"done"}
    return links, out, {verdict.source: verdict for verdict in verdicts}


def pairs_of(real) -> list[tuple[pydicom.Dataset, pydicom.Dataset]]:
    links, out, verdicts = real
    rows = [(link, verdicts[PSEUDONYMS.source(str(link.resolve()))]) for link in links]
    return [(read(link), read(out / verdict.file)) for link, verdict in rows]


def kept_by_the_profile(was: pydicom.Dataset, now: pydicom.Dataset | None, named: set[int]):
    """Yield every standard attribute that the table does not name, at every depth, with what it is now."""
    for element in was:
        # Lengths of groups are retired, and would be wrong.
        if element.tag.is_private or element.tag.element == 0 or element.tag.group in (0x0002, 0x7FE0):
            continue
        if element.tag in named or element.keyword in OWN:
            continue
        other = now[element.tag] if now is not None and element.tag in now else None
        if element.VR != "SQ":
            yield element, other
            continue
        yield element, other
        items = [] if other is None else other.value
        for inner, item in zip(element.value, [*items, *[None] * len(element.value)], strict=False):
            yield from kept_by_the_profile(inner, item, named)


def test_what_the_profile_lets_stay_stays_but_for_what_is_listed(real):
    named = {row.tag for row in made.table_rows()}
    total, lost = midi_b.Score(), set()
    for was, now in pairs_of(real):
        for element, other in kept_by_the_profile(was, now, named):
            value = None if other is None else str(other.value or "")
            before = str(element.value or "")
            total.add("tag_retained", element.keyword, midi_b.tag_retained(value, before))
            if element.VR in ("UI", "SQ", "DA", "TM", "DT"):
                continue
            share = midi_b.text_retained(value, before)
            total.add("text_retained", element.keyword, share)
            if share < 1:
                lost.add(element.keyword)
    assert total.asked > 3000
    assert total.share >= 0.9993, total.failures
    assert lost == set(OVER_REMOVED), lost ^ set(OVER_REMOVED)


def test_pixels_are_the_same_to_the_last_bit(real):
    n_pictures = 0
    for was, now in pairs_of(real):
        if "PixelData" in was:
            n_pictures += 1
            assert was.PixelData == now.PixelData
            assert was.file_meta.TransferSyntaxUID == now.file_meta.TransferSyntaxUID
    assert n_pictures > 15


def test_geometry_and_numbers_are_the_same(real):
    for was, now in pairs_of(real):
        for word in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "Rows",
                     "PatientWeight", "EchoTime", "SliceThickness", "SharedFunctionalGroupsSequence"):  # fmt: skip
            if word in was and word != "SharedFunctionalGroupsSequence":
                assert now[word].value == was[word].value


def test_decay_correction_is_what_it_was(real):
    """The seconds between injection and acquisition, whichever of date and time they are written with."""
    seen = 0
    for was, now in pairs_of(real):
        if "RadiopharmaceuticalInformationSequence" in was:
            seen += 1
            for ds in (was, now):
                ds.drug = ds.RadiopharmaceuticalInformationSequence[0]
            assert now.drug.RadionuclideHalfLife == was.drug.RadionuclideHalfLife
            assert now.drug.RadionuclideTotalDose == was.drug.RadionuclideTotalDose
            assert now.drug.RadiopharmaceuticalStartTime == was.drug.RadiopharmaceuticalStartTime
            assert now.SeriesTime == was.SeriesTime
            assert now.SeriesDate != was.SeriesDate
    assert seen


def test_mosaics_keep_the_numbers_of_their_hidden_header_and_nothing_else_of_it(real):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom import csareader
    seen = 0
    for was, now in pairs_of(real):
        if "MOSAIC" in was.get("ImageType", ()):
            seen += 1
            before, after = (csareader.read(ds[0x00291010].value)["tags"] for ds in (was, now))
            assert set(after) < set(before)
            for name in ("NumberOfImagesInMosaic", "SliceNormalVector", "MosaicRefAcqTimes"):
                assert after[name]["items"] == [item for item in before[name]["items"] if item != ""]
            assert b"Patient" not in now[0x00291010].value
            assert 0x00291020 not in now
    assert seen


def test_the_same_becomes_the_same_in_every_file(real):
    same = {word: midi_b.Consistent() for word in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
                                                   "PatientID", "SOPInstanceUID")}  # fmt: skip
    for was, now in pairs_of(real):
        for word, check in same.items():
            if word in was:
                assert check(str(now[word].value), str(was[word].value)) == 1


def test_references_still_find_what_they_refer_to(real):
    """An RTSTRUCT or SEG names the images that it was drawn on."""
    new = {str(was.SOPInstanceUID): str(now.SOPInstanceUID) for was, now in pairs_of(real)}
    found = 0
    for was, now in pairs_of(real):
        for old, fresh in zip(references(was), references(now), strict=True):
            assert old != fresh
            if old in new:
                found += 1
                assert fresh == new[old]
    assert found


def references(ds: pydicom.Dataset) -> list[str]:
    return [str(element.value) for element in ds.iterall() if element.keyword == "ReferencedSOPInstanceUID"]


def test_what_was_written_is_dicom(real):
    """dciodvfy finds no more errors in a file than it found before."""
    links, out, verdicts = real
    for link in links[::3]:
        verdict = verdicts[PSEUDONYMS.source(str(link.resolve()))]
        assert errors(out / verdict.file) <= errors(link)


def errors(path: Path) -> set[str]:
    program = Path(sys.executable).with_name("dciodvfy")
    if not program.exists():
        program = Path(pydicom.__file__).parents[4] / "bin" / "dciodvfy"
    said = subprocess.run([program, path], capture_output=True, check=False)
    return {re.sub(r"<[^>]*>", "", line) for line in said.stderr.decode("latin-1").splitlines() if "Error" in line}
