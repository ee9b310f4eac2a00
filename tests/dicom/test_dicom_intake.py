"""From a folder of DICOM to scenes: what a job takes, what it leaves out, what each is called, and verdicts."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicoms import ramp, rotated, write_series, write_slice
from pydicom import dcmread

from flows.commands.check import check_batch
from tasks.dicom.findings import SeriesError
from tasks.dicom.reader import Reader
from tasks.dicom.scan import scan
from tasks.dicom.suv import suv_factor
from tasks.errors import ChangedSceneError, JobError, UnreadableSceneError
from tasks.inputs.listing import list_all_inputs, list_inputs
from tasks.intake.describe import describe, identify, require_unchanged
from tasks.intake.request import make_request
from tasks.jobs.job import Job, load_job
from tasks.out.manifest import keep_manifest, read_manifest
from tasks.verdict.check import check_files, check_inputs

DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[2] / ".." / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the sample data is not here: set SWATHE_SAMPLES")
MODEL = {"name": "threshold", "arguments": {"threshold": 0}}
PLANTED = ("Doe", "Planted", "PLANTED", "19500101")


def job(**rule) -> Job:
    return Job.model_validate({"job": "t", "kind": "volume", "model": MODEL, "source": {"dicom": rule}})


def study(folder: Path) -> Path:
    """A patient: a thick and a thin CT, a coronal MR, a scout, a report, and a file that is damaged."""
    ids = {"StudyInstanceUID": "2.25.71"}
    write_series(folder / "A", ramp(6, 8, 9), gap=5.0, SeriesInstanceUID="2.25.1", SeriesDescription="abdomen", **ids)
    write_series(folder / "B", ramp(9, 8, 9), gap=1.0, SeriesInstanceUID="2.25.2", SeriesDescription="thin", **ids)
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    options = {"orientation": coronal, "modality": "MR", "SeriesInstanceUID": "2.25.3", "SeriesDescription": "T1 cor"}
    write_series(folder / "C", ramp(4, 8, 9), **options, **ids)
    scout = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write_slice(folder / "scout", ramp(8, 9), (0, 0, 0), ImageType=scout, SeriesInstanceUID="2.25.4", **ids)
    write_slice(folder / "report", ramp(8, 9), (0, 0, 0), Modality="SR", SeriesInstanceUID="2.25.5", **ids)
    return folder


def reasons(items) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in items:
        code = "taken" if item.error is None else item.error.partition(":")[0]
        counts[code] = counts.get(code, 0) + 1
    return counts


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, {"taken": 3, "localizer": 1, "not_an_image": 1}),
        ({"modality": "CT"}, {"taken": 2, "wrong_modality": 1, "localizer": 1, "not_an_image": 1}),
        ({"modality": ["CT", "MR"], "take": "thinnest"}, {"taken": 1, "not_the_thinnest": 2}),
        ({"description": "(?i)^ABDO"}, {"taken": 1, "other_description": 2}),
        ({"without": "thin|T1"}, {"taken": 1, "other_description": 2}),
        ({"plane": "coronal"}, {"taken": 1, "other_plane": 2}),
        ({"thickest_mm": 2.5}, {"taken": 2, "too_thick": 1}),
    ],
)
def test_a_rule_takes_series_and_says_of_all_others_why_not(rule, expected, tmp_path):
    items = list_all_inputs([str(study(tmp_path))], job(**rule))
    told = reasons(items)
    assert expected.items() <= told.items()
    assert sum(told.values()) == 5
    taken = list_inputs([str(tmp_path)], job(**rule))
    assert [item.id for item in taken] == [item.id for item in items if item.error is None]
    assert all(item.series for item in taken)


def test_nothing_that_names_a_patient_leaves_the_intake(tmp_path):
    folder = study(tmp_path / "DOE_JOHN")
    (folder / "damaged.dcm").write_bytes((folder / "scout").read_bytes()[:300])
    items = list_all_inputs([str(folder)], job(description="thin"))
    texts = [text for item in items for text in (item.id, item.error or "")]
    assert not [text for text in texts for planted in (*PLANTED, "DOE", "abdomen", "cor") if planted in text]
    assert not [item.id for item in items if item.id.partition("-")[2].strip("0123456789abcdef")]


def test_a_folder_of_which_nothing_is_taken_is_a_scene_that_failed(tmp_path):
    (item,) = list_inputs([str(study(tmp_path / "DOE_JOHN"))], job(modality="PT"))
    assert item.error == (
        "none of 5 series is taken: 1 localizer, 1 not_an_image, 3 wrong_modality. Run swathe check on it with the job"
    )
    assert "DOE" not in item.id


def test_a_broken_series_that_a_job_takes_fails_and_one_that_it_does_not_take_does_not(tmp_path):
    write_series(tmp_path / "A", ramp(6, 8, 9), SeriesInstanceUID="2.25.1", without=(3,))
    write_series(tmp_path / "B", ramp(6, 8, 9), SeriesInstanceUID="2.25.2", modality="MR")
    assert reasons(list_inputs([str(tmp_path)], job())) == {"missing_slices": 1, "taken": 1}
    assert reasons(list_inputs([str(tmp_path)], job(modality="MR"))) == {"taken": 1}


def test_ids_depend_on_the_series_alone(tmp_path):
    write_series(tmp_path / "a", ramp(4, 8, 9))
    (before,) = list_inputs([str(tmp_path / "a")], job())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    write_series(tmp_path / "b" / "late", ramp(5, 8, 9)[4:], origin=(-10.0, -20.0, 40.0))
    (after,) = list_inputs([str(tmp_path / "b")], job())
    assert before.id == after.id
    assert before.series != after.series
    (one_file,) = list_inputs([str(tmp_path / "a" / "000.dcm")], job())
    assert one_file.error.startswith("too_few_slices")


def test_a_row_of_a_table_may_lead_to_a_folder_of_dicom(tmp_path):
    study(tmp_path / "p1")
    (tmp_path / "t.csv").write_text("scene,file,date\nfirst,p1,2024-01-02\n")
    (item,) = list_inputs([str(tmp_path / "t.csv")], job(modality="CT", take="thinnest"))
    assert (item.id, item.date, item.error) == ("first", "2024-01-02", None)
    assert len(item.files) == 9
    (item,) = list_inputs([str(tmp_path / "t.csv")], job(modality="CT"))
    assert "2 series are taken" in item.error


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    paths = write_series(tmp_path / "secret", ramp(4, 8, 9))
    write_series(tmp_path / "in", ramp(4, 8, 9), without=(2,))
    (tmp_path / "in" / "002.dcm").symlink_to(paths[2])
    (item,) = list_inputs([str(tmp_path / "in")], job())
    assert item.error.startswith("UndeclaredError")
    assert "secret" not in item.error


def test_manifests_keep_which_volume_a_scene_is(tmp_path):
    for echo in (5.0, 10.0):
        write_series(tmp_path / "in" / str(echo), ramp(4, 8, 9), modality="MR", EchoTime=echo)
    request = make_request(job(), tmp_path / "out")
    items = list_inputs([str(tmp_path / "in")], job())
    assert len({item.id for item in items}) == 2
    request.out.prepare() if hasattr(request.out, "prepare") else request.out.root.mkdir(parents=True, exist_ok=True)
    assert read_manifest(keep_manifest(request.out, items)) == items


def test_a_series_is_described_and_identified_as_the_nifti_file_that_it_is(tmp_path):
    volume = ramp(5, 8, 9)
    write_series(tmp_path / "in", volume, orientation=rotated((10, 0, 0)), spacing=(0.7, 0.9))
    request = make_request(job(), tmp_path / "out")
    (item,) = list_inputs([str(tmp_path / "in")], job())
    scene = describe(request, item)
    assert scene.id == item.id
    assert scene.header.notes == (), "sform and qform of one placement"
    np.testing.assert_allclose(sorted(scene.spacing_mm), [0.7, 0.9, 2.5], rtol=1e-6)
    image = nib.load(scene.data_path)
    np.testing.assert_array_equal(np.sort(np.asarray(image.dataobj), None), np.sort(volume, None))
    stamp = scene.data_path.stat().st_mtime_ns
    assert describe(request, item).data_path.stat().st_mtime_ns == stamp
    known = identify(request, item)
    assert known.content_hashed
    for k, path in enumerate(sorted((tmp_path / "in").iterdir())):
        path.rename(tmp_path / "in" / f"renamed{9 - k}")
    (renamed,) = list_inputs([str(tmp_path / "in")], job())
    assert identify(request, renamed).sha256 == known.sha256
    data = dcmread(tmp_path / "in" / "renamed7")
    data.PixelData = bytes(len(data.PixelData))
    data.save_as(tmp_path / "in" / "renamed7")
    with pytest.raises(ChangedSceneError):
        require_unchanged(request, renamed, known)


def test_two_volumes_of_one_file_have_two_fingerprints(tmp_path):
    for echo in (5.0, 10.0):
        write_series(tmp_path / "in" / str(echo), ramp(4, 8, 9), modality="MR", EchoTime=echo)
    request = make_request(job(), tmp_path / "out")
    items = list_inputs([str(tmp_path / "in")], job())
    assert len({identify(request, item).sha256 for item in items}) == 2


# Verdicts.


def test_check_gives_a_verdict_on_what_is_taken_and_tells_what_is_not(tmp_path):
    folder = study(tmp_path / "in")
    (tmp_path / "job.yaml").write_text(
        "job: t\nkind: volume\nmodel: {name: threshold, arguments: {threshold: 0}}\nsource: {dicom: {modality: CT}}\n"
    )
    verdicts = check_batch([str(folder)], str(tmp_path / "job.yaml"), None, ())
    assert [(v.go, v.left_out) for v in verdicts].count((True, False)) == 2
    assert sum(v.left_out for v in verdicts) == 3
    thin = next(v for v in verdicts if v.go and v.facts["spacing_mm"][2] == 1.0)
    assert thin.facts["shape"] == [9, 8, 9]
    assert json.loads(thin.to_json())["facts"]["modality"] == "CT"


def test_a_check_says_that_series_are_one_channel_each_and_of_which_modality_they_should_be(tmp_path):
    folder = study(tmp_path)
    asked = Job.model_validate({**job().model_dump(), "source": {"bands": {"CT": {"band": 1, "quantity": "HU"}}}})
    items = list_inputs([str(folder)], asked)
    verdicts = {v.facts["modality"]: v for v in check_inputs(items, asked, ("CT",)) if v.go}
    assert verdicts["CT"].warnings == ()
    assert verdicts["MR"].warnings == ("a series of MR, and the model takes CT for HU, as CT has it",)
    refused = check_inputs(items, job(), ("T1", "T2"))
    assert {verdict.error for verdict in refused} == {"BandError"}
    assert all("Write the series as NIfTI and name a file per channel" in verdict.message for verdict in refused)


def test_pixels_are_looked_at_before_any_work(tmp_path):
    def each(k, data):
        if k == 3:
            data.PixelData = data.PixelData[:-20]

    write_series(tmp_path, ramp(6, 8, 9), each=each)
    items = list_inputs([str(tmp_path)], job())
    (verdict,) = check_inputs(items, job(), ("1",))
    assert (verdict.go, verdict.error) == (False, "SeriesError")
    assert verdict.message.startswith("damaged_pixel_data: ")


@needs_data
def test_every_hostile_file_gets_a_verdict_of_its_own(capfd):
    files = [path for path in sorted((DATA / "hostile-dicom").rglob("*")) if path.is_file()]
    assert len(files) == 18
    for path, verdicts in zip(files, ([*check_files([str(path)])] for path in files), strict=True):
        (verdict,) = verdicts
        assert not verdict.go, path
        assert verdict.error, path
        assert not verdict.left_out, path
        assert "crashed" not in verdict.message, path
        assert "Traceback" not in verdict.message, path
    assert capfd.readouterr() == ("", "")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 << 20


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + b"\xff" * 4096,
        bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0" + b"\x08\x00\x05\x00CS\xff\xff",
        # A sequence of undefined length in itself, over and over.
        bytes(128) + b"DICM" + b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 3000,
    ],
)
def test_damaged_headers_are_refused_by_name(content, tmp_path):
    (tmp_path / "a.dcm").write_bytes(content)
    with Reader() as reader:
        found = scan(tmp_path / "a.dcm", reader)
    assert found.found == ()
    (unread,) = found.unread
    assert isinstance(unread.error, UnreadableSceneError)
    assert str(tmp_path) not in str(unread.error)


def test_a_header_that_declares_more_than_memory_is_refused(tmp_path):
    def each(_, data):
        data.Rows = data.Columns = 60_000

    write_series(tmp_path, ramp(3, 4, 4), each=each)
    (verdict,) = check_files([str(tmp_path)])
    assert not verdict.go
    assert "damaged_pixel_data" in verdict.message or "GiB" in verdict.message


# SUV.


def pet(folder: Path, **elements) -> Path:
    from pydicom.dataset import Dataset

    given = Dataset()
    given.RadionuclideTotalDose, given.RadionuclideHalfLife = 370e6, 6586.2
    given.RadiopharmaceuticalStartTime = elements.pop("injected", "091112")
    defaults = {
        "Units": "BQML", "CorrectedImage": ["ATTN", "DECY"], "DecayCorrection": "START", "PatientWeight": 70.0,
        "SeriesDate": "20240102", "SeriesTime": "101112", "AcquisitionDate": "20240102", "AcquisitionTime": "101112",
        "RadiopharmaceuticalInformationSequence": [given], "RescaleSlope": 2.0, "RescaleIntercept": 0,
    }  # fmt: skip
    write_series(folder, ramp(4, 4, 5, dtype="uint16"), modality="PT", **(defaults | elements))
    return folder


def the_series(folder):
    with Reader() as reader:
        (found,) = scan(folder, reader).found
    return found.series


def test_uptake_is_dose_and_weight_and_decay(tmp_path):
    factor = suv_factor(the_series(pet(tmp_path)))
    # An hour after the injection, of 370 MBq in 70 kg.
    assert factor == pytest.approx(70_000 / (370e6 * 0.5 ** (3600 / 6586.2)), rel=1e-9)
    admin = suv_factor(the_series(pet(tmp_path / "admin", DecayCorrection="ADMIN")))
    assert admin == pytest.approx(70_000 / 370e6)
    midnight = suv_factor(the_series(pet(tmp_path / "night", injected="233000", SeriesTime="003000")))
    assert midnight == pytest.approx(factor)
    late = suv_factor(the_series(pet(tmp_path / "reprocessed", SeriesTime="180000")))
    assert late == pytest.approx(factor)
    assert suv_factor(the_series(pet(tmp_path / "done", Units="GML"))) == 1.0


@pytest.mark.parametrize(
    "elements",
    [
        {"Units": "CNTS"},
        {"CorrectedImage": ["ATTN"]},
        {"DecayCorrection": "NONE"},
        {"PatientWeight": 0},
        {"injected": ""},
        {"RadiopharmaceuticalInformationSequence": []},
    ],
)
def test_uptake_is_refused_where_headers_do_not_allow_it(elements, tmp_path):
    pet(tmp_path, **elements)
    with pytest.raises(SeriesError, match=r"^suv_impossible: "):
        suv_factor(the_series(tmp_path))
    (item,) = list_inputs([str(tmp_path)], job(values="suv"))
    assert item.error.startswith("suv_impossible: ")
    assert list_inputs([str(tmp_path)], job())[0].error is None


def test_a_job_that_says_suv_sees_suv(tmp_path):
    pet(tmp_path / "in")
    request = make_request(job(values="suv"), tmp_path / "out")
    (item,) = list_inputs([str(tmp_path / "in")], request.job)
    values = np.asarray(nib.load(describe(request, item).data_path).dataobj)
    expected = ramp(4, 4, 5, dtype="uint16") * 2.0 * suv_factor(the_series(tmp_path / "in"))
    np.testing.assert_allclose(np.sort(values, None), np.sort(expected, None), rtol=1e-6)
    with pytest.raises(JobError, match="description"):
        load_job("sarcoma", ("source.dicom.description='('",))
