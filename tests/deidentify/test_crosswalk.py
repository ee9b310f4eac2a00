"""Whose pseudonyms are whose: known to one, for as long as was said, and gone when somebody is to be forgotten."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from deidentified import PSEUDONYMS, run
from dicoms import ramp, write_series

from tasks.deidentify.crosswalk import Crosswalk, crosswalk_path
from tasks.errors import KeyFileError
from tasks.files.pseudonyms import whose
from tasks.jobs.deidentify import Deidentification

STUDY = PSEUDONYMS.uid("2.25.1001")


def write_study(folder: Path) -> list[Path]:
    return write_series(folder, ramp(3, 4, 5), PatientName="Müller^Änne", SpecificCharacterSet="ISO_IR 192")


def crosswalk(folder: Path, today: str = "2026-11-30") -> Crosswalk:
    return Crosswalk(folder / "crosswalk.sqlite", today)


def test_a_study_is_known_with_its_names_dates_and_images(tmp_path):
    paths = write_study(tmp_path / "in")
    crosswalk(tmp_path).enter(paths, PSEUDONYMS, 30)
    study = crosswalk(tmp_path).study(STUDY)
    assert (str(study.header.PatientName), study.header.PatientID) == ("Müller^Änne", "PLANTED-77")
    assert study.days == PSEUDONYMS.days(whose("PLANTED-77", "2.25.1001"))
    # Images, series, study and frame of reference, each by what stands for it.
    assert len(study.uids) == 3 + 3
    assert all(PSEUDONYMS.uid(original) == uid for uid, original in study.uids.items())
    assert crosswalk(tmp_path).path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("today", "is_known"), [("2026-12-30", True), ("2026-12-31", False)])
def test_nobody_knows_a_study_when_its_time_is_over(tmp_path, today, is_known):
    paths = write_study(tmp_path / "in")
    crosswalk(tmp_path).enter(paths[:1], PSEUDONYMS, 30)
    # Later files of the study do not keep it longer.
    crosswalk(tmp_path, "2026-12-20").enter(paths, PSEUDONYMS, 30)
    assert (crosswalk(tmp_path, today).study(STUDY) is not None) == is_known
    content = (tmp_path / "crosswalk.sqlite").read_bytes()
    assert (b"PLANTED-77" in content) == is_known, "what is deleted is written over"


def test_a_patient_is_forgotten_and_others_are_not(tmp_path):
    crosswalk(tmp_path).enter(write_study(tmp_path / "a"), PSEUDONYMS, 30)
    other = write_series(tmp_path / "b", ramp(2, 4, 5), PatientID="OTHER", StudyInstanceUID="2.25.1002")
    crosswalk(tmp_path).enter(other, PSEUDONYMS, 30)
    assert crosswalk(tmp_path).forget(PSEUDONYMS.patient("PLANTED-77")) == 1
    assert crosswalk(tmp_path).study(STUDY) is None
    assert crosswalk(tmp_path).study(PSEUDONYMS.uid("2.25.1002")).header.PatientID == "OTHER"


def test_a_crosswalk_that_others_may_open_or_that_lies_in_out_is_refused(tmp_path, monkeypatch):
    crosswalk(tmp_path).enter(write_study(tmp_path / "in"), PSEUDONYMS, 30)
    (tmp_path / "crosswalk.sqlite").chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        crosswalk(tmp_path).study(STUDY)
    monkeypatch.setenv("SWATHE_CROSSWALK_FILE", str(tmp_path / "out" / "c.sqlite"))
    with pytest.raises(KeyFileError, match="SWATHE_CROSSWALK_FILE"):
        crosswalk_path(tmp_path / "out")


def test_only_files_that_were_freed_are_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SWATHE_CROSSWALK_FILE", str(tmp_path / "c.sqlite"))
    paths = write_study(tmp_path / "in")
    paths[0].write_bytes(paths[0].read_bytes()[:-20])
    run(tmp_path / "in", tmp_path / "out", Deidentification(burnt_in="allow", crosswalk_days=1))
    with closing(sqlite3.connect(tmp_path / "c.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM uids").fetchone() == (3 + 2,)
