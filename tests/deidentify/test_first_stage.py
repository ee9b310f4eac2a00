"""De-identification as the first stage of a batch: nothing of a patient is anywhere but in the source."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dicom_corpus as made
import leaks
import numpy as np
import pytest
from deidentified import read
from wheels import program

from flows.batch.freeing import free_inputs
from flows.batch.receiving import receive
from flows.nightly.night import Nightly, run_night
from tasks.deidentify.crosswalk import Crosswalk
from tasks.errors import JobError
from tasks.files.keys import create_key, load_key
from tasks.files.pseudonyms import Pseudonyms
from tasks.inputs.input import Input
from tasks.intake.request import make_request
from tasks.jobs.job import load_job
from tasks.nights.forgetting import find_patient
from tasks.nights.worklist import write_worklist
from tasks.out.audit import AuditLog
from tasks.out.folder import OutFolder
from tasks.out.outcome import SceneOutcome
from tasks.products.dicom.returning import return_results

JOB = """
job: freed
kind: volume
source: {dicom: {modality: CT}}
model: {name: threshold, arguments: {threshold: 600}}
deidentify: {burnt_in: allow, crosswalk_days: 30}
output: {dicom: {}}
"""
N_SLICES = 6
PLACES = ("StudyDescription", "SeriesDescription", "ImageComments", "PatientComments", "ReferringPhysicianName",
          "InstitutionName", "AccessionNumber", "OperatorsName", "StationName", "PatientAddress")  # fmt: skip


def save_series(folder: Path, patient: int, markers: made.Markers) -> set[str]:
    """Write a series of one patient, and return what must not be found of it."""
    words = {place: markers.word() for place in PLACES}
    uids = {"1.2.826.0.1.3680043.8.498.77." + str(patient)}
    picture = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint16) * 31
    for number in range(N_SLICES):
        ds, patient_id = made.base(made.CT, number, patient, markers)
        ds.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.77.{patient}.9"
        ds.FrameOfReferenceUID = f"1.2.826.0.1.3680043.8.498.77.{patient}.8"
        for place, word in words.items():
            setattr(ds, place, word)
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 3 * number], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness, ds.InstanceNumber = [1, 1], 3, number + 1
        ds.RescaleSlope, ds.RescaleIntercept, ds.ImageType = 1, 0, ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.StudyID, ds.PatientBirthDate = f"Zqstudy{patient:04d}", "19531117"
        made.add_pixels(ds, picture)
        made.save(ds, folder / f"Zqfamily{patient} Zqgiven{patient}" / f"Zqfile{patient}-{number}.dcm")
    names = {f"Zqfamily{patient}", f"Zqgiven{patient}", f"Zqfile{patient}", patient_id, str(ds.StudyID), "19531117"}
    return {*words.values(), *uids, *names, str(ds.StudyDate)}


@pytest.fixture
def studies(tmp_path) -> tuple[Path, set[str]]:
    markers = made.Markers(11)
    words = set().union(*(save_series(tmp_path / "in", patient, markers) for patient in (3, 4)))
    cut = next((tmp_path / "in" / "Zqfamily4 Zqgiven4").glob("*-0.dcm"))
    (tmp_path / "in" / "Zqcut.dcm").write_bytes(cut.read_bytes()[:700])
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path, words | {"Zqcut"}


def swathe(folder: Path, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    """Run a command, with the institution's key and everything that it keeps in a folder."""
    key = folder / "keys" / "k"
    if not key.exists():
        create_key(key)
    environment = {
        **os.environ,
        "SWATHE_KEY_FILE": str(key),
        "PREFECT_HOME": str(folder / "prefect"),
        "SWATHE_CACHE": str(folder / "cache"),
    }
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, env=environment)


@pytest.mark.parametrize(
    "options",
    [(), pytest.param(("--prefect",), marks=pytest.mark.slow)],
    ids=["plain", "prefect"],
)
@pytest.mark.timeout(1800)
def test_not_one_marker_is_anywhere_after_a_batch(studies, options):
    folder, words = studies
    out = folder / "out"
    assert {found.token for found in leaks.search(folder / "in", words)} == words
    ended = swathe(folder, "segment", folder / "in", "--job", folder / "job.yaml", "--out", out, *options,
                   *(("--home", folder / "home") if options else ()))  # fmt: skip
    # The file that was cut off is refused; both series have products.
    assert ended.returncode == 1, ended.stderr
    assert (out / "batch.json").exists(), ended.stderr
    rows = json.loads((out / "batch.json").read_text())["scenes"]
    assert [row["status"] for row in rows] == ["done", "done"]
    with (out / "worklist.csv").open() as file:
        assert sorted(row["status"] for row in csv.DictReader(file)) == ["done", "done", "refused"]
    assert len(list(out.glob("*/dicom/segmentation.dcm"))) == 2
    assert leaks.search_text(ended.stdout + ended.stderr, words - {str(folder)}, "terminal") == []
    assert leaks.search(out, words) == []
    for kept in ("prefect", "home", "cache"):
        assert leaks.search(folder / kept, words) == []
    back = returned(folder, out)
    assert leaks.search(out, words) == []
    assert returned_here(folder, out) == back
    audited = swathe(folder, "audit", out)
    assert audited.returncode == 0, audited.stdout
    again = swathe(folder, "segment", folder / "in", "--job", folder / "job.yaml", "--out", out)
    assert again.returncode == 1
    rows = json.loads((out / "batch.json").read_text())["scenes"]
    assert [row["status"] for row in rows] == ["skipped", "skipped"]
    is_forgotten(folder, out)


def is_forgotten(folder: Path, out: Path) -> None:
    """Delete one of the two patients, and look for anything that is left of them."""
    with (out / "worklist.csv").open() as file:
        first, second = (row for row in csv.DictReader(file) if row["status"] == "done")
    gone = {first["patient"], first["study"], first["scenes"]}
    assert {found.token for found in leaks.search(out, gone)} == gone
    ended = swathe(folder, "forget", first["patient"], "--out", out, "--home", folder / "home")
    assert ended.returncode == 0, ended.stderr
    assert b"1 products of 1 scenes, 1 folders of freed files, 1 studies in the crosswalk deleted" in ended.stdout
    # The log is evidence, and says by its last line that the patient was forgotten.
    assert {found.where for found in leaks.search(out, gone)} == {"audit.jsonl"}
    last = json.loads((out / "audit.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["patient"]) == ("patient forgotten", first["patient"])
    assert leaks.search(folder / "keys", {first["patient"]}) == []
    assert list(AuditLog(OutFolder(out), load_key(folder / "keys" / "k")).findings()) == []
    assert (out / second["scenes"] / "dicom" / "report.dcm").is_file()
    assert json.loads((out / "batch.json").read_text())["scenes"][0]["scene"] == second["scenes"]
    assert find_patient(OutFolder(out), first["patient"]).scenes == ()


def returned(folder: Path, out: Path) -> dict[str, bytes]:
    """Bring results back, hold them to the hospital's files, and return them."""
    ended = swathe(folder, "return", out, "--to", folder / "back")
    assert ended.returncode == 0, ended.stderr
    originals = {str(ds.SOPInstanceUID): ds for ds in map(read, (folder / "in").glob("Zqfamily*/*.dcm"))}
    by_study = {str(ds.StudyInstanceUID): ds for ds in originals.values()}
    results = sorted((folder / "back").glob("*/*.dcm"))
    assert {path.parent.name for path in results} == set(by_study)
    pseudonymous = {str(read(path).SOPInstanceUID) for path in out.glob("*/dicom/*.dcm")}
    for path in results:
        found = read(path)
        source = by_study[str(found.StudyInstanceUID)]
        for name in ("PatientName", "PatientID", "PatientBirthDate", "StudyID", "StudyDate", "AccessionNumber"):
            assert found[name].value == source[name].value
        assert path.stat().st_mode & 0o077 == 0
        assert found.SOPInstanceUID not in pseudonymous
        named = {str(element.value) for element in found.iterall() if element.keyword == "ReferencedSOPInstanceUID"}
        assert named & set(originals), "it refers to the images of the hospital"
        assert named <= set(originals) | {str(read(other).SOPInstanceUID) for other in results}
        assert found.get("FrameOfReferenceUID", source.FrameOfReferenceUID) == source.FrameOfReferenceUID
        assert found.SeriesDate >= source.StudyDate
        told = subprocess.run([program("dicom3tools", "dciodvfy"), path], capture_output=True, text=True, check=False)
        assert "Error" not in told.stderr, told.stderr
    assert (folder / "keys" / "crosswalk.sqlite").stat().st_mode & 0o777 == 0o600
    return {path.name: path.read_bytes() for path in results}


def returned_here(folder: Path, out: Path) -> dict[str, bytes]:
    """Return results that are brought back once more, by the same crosswalk."""
    crosswalk = Crosswalk(folder / "keys" / "crosswalk.sqlite", "2000-01-01")
    pseudonyms = Pseudonyms(load_key(folder / "keys" / "k"))
    found = return_results(OutFolder(out), folder / "again", crosswalk, pseudonyms)
    return {path.name: path.read_bytes() for one in found for path in one.files}


def request_of(folder: Path):
    return make_request(load_job(str(folder / "job.yaml")), folder / "out", None)


def test_freed_inputs_are_a_folder_per_series_and_are_taken_as_they_are(studies):
    folder, _ = studies
    request = request_of(folder)
    freed = free_inputs([str(folder / "in")], request)
    assert (len(freed.inputs), freed.n_refused) == (2, 1)
    assert free_inputs(freed.inputs, request).inputs == freed.inputs
    # Asked for one slice less, a series has one less.
    next((folder / "in" / "Zqfamily3 Zqgiven3").glob("*-5.dcm")).unlink()
    free_inputs([str(folder / "in")], request)
    assert sorted(len(list(Path(series).glob("*.dcm"))) for series in freed.inputs) == [N_SLICES - 1, N_SLICES]


def test_a_night_frees_what_is_new_in_the_inbox(studies, monkeypatch):
    folder, _ = studies
    done: list[list[Input]] = []

    def run(_order, _request, items):
        done.append(items)
        return [SceneOutcome(scene=item.id, status="skipped") for item in items]

    monkeypatch.setattr("flows.nightly.night.run_held", run)
    order = Nightly(inbox=str(folder / "in"), job=str(folder / "job.yaml"), out=folder / "out")
    night = run_night(order)
    assert [scene.error.partition(":")[0] for scene in night.failed] == ["truncated"]
    # Again, and with nothing but what cannot be freed.
    for gone in (folder / "in").glob("Zqfamily*"):
        shutil.rmtree(gone)
    run_night(order)
    assert [[(item.site or "")[:2] for item in items] for items in done] == [["P-", "P-"], []]


def test_what_is_no_dicom_is_refused_without_its_name(studies):
    folder, _ = studies
    with pytest.raises(JobError, match="takes DICOM files and folders") as refused:
        free_inputs([str(folder / "Zqnone")], request_of(folder))
    assert "Zqnone" not in str(refused.value)


def test_a_table_names_folders_and_a_series_without_one_of_its_files_goes_no_further(studies):
    folder, _ = studies
    names = [path.name for path in sorted((folder / "in").glob("Zqfamily*"))]
    rows = "".join(f"Zqscene{number},in/{name}\n" for number, name in enumerate(names)) + "Zqgone,in/Zqgone\n"
    (folder / "list.csv").write_text(f"scene,file\n{rows}")
    # Its header can be read, its pixels end in the middle.
    cut = next((folder / "in" / names[0]).glob("*-0.dcm"))
    cut.write_bytes(cut.read_bytes()[:-900])
    request = request_of(folder)
    freed = free_inputs([str(folder / "list.csv")], request)
    assert (len(freed.inputs), freed.n_refused) == (1, 2)
    receive(request, (), (), "2026-11-30T10:00:00+00:00")
    write_worklist(request.out)
    text = (request.out.root / "worklist.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert sorted((row["verdict"], row["status"]) for row in rows) == [("missing", "refused"), ("truncated", "refused")]
    assert "Zq" not in text
    # Mended, it goes on, and its row is one of a scene from now on.
    save_series(folder / "in", 3, made.Markers(11))
    assert len(free_inputs([str(folder / "list.csv")], request).inputs) == 2
    write_worklist(request.out)
    assert (request.out.root / "worklist.csv").read_text().count("refused") == 1
