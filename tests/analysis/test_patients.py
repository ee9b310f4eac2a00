"""Lesions of patients over the dates of a job's scans: folded anew, each patient for itself, shown where one looks."""

import csv
import json

import numpy as np
import pytest
from pages import Page
from scenes import oblique_affine, write_volume

from tasks.analysis.following import trails_of
from tasks.analysis.tumour.patients import follow_patients
from tasks.inputs.input import Input
from tasks.jobs.job import Job
from tasks.jobs.tumour import TumourAnalysis
from tasks.out.folder import OutFolder
from tasks.out.outcome import SceneOutcome
from tasks.out.sightings import Sighting, sighting_of
from tasks.products.publish import publish
from tasks.reports.index import render_index

pytestmark = pytest.mark.usefixtures("shared_worker")

SETTINGS = TumourAnalysis(kind="tumour")
SHAPE = (40, 44, 16)


def ball(radius: float, centre=(20, 20, 8)) -> np.ndarray:
    """A sphere in mm of the oblique grid, in file order."""
    offsets = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) - centre
    return (np.linalg.norm(offsets * (0.9, 0.9, 3.0), axis=-1) <= radius).astype(np.uint8)


class Ward:
    """An OUT folder with published scans."""

    def __init__(self, folder):
        self.out = OutFolder(folder / "out")
        self.out.scratch.mkdir(parents=True)

    def publish(self, scene, date, radius, site="anna", affine=None):
        folder = self.out.root / "work"
        folder.mkdir()
        write_volume(folder / "mask.nii.gz", ball(radius), affine)
        publish(self.out, scene, f"key-{radius}", folder)
        return Sighting(scene, site, date)

    def follow(self, *sightings):
        return follow_patients(self.out, "Scans", SETTINGS, sightings)

    def summary(self, site="anna"):
        return json.loads((self.out.root / "patients" / site / "summary.json").read_text())

    @property
    def categories(self):
        dates = self.summary()["dates"]
        return [
            date.get("follow_up", {}).get("proposed_response", {}).get("recist", {}).get("category") for date in dates
        ]


@pytest.fixture
def ward(tmp_path):
    return Ward(tmp_path)


def test_scans_are_followed_in_the_order_of_their_dates_whatever_order_they_come_in(ward):
    june, january = ward.publish("b", "2026-06-01", 11), ward.publish("c", "2026-01-01", 14)
    assert ward.follow(june, january).done == ("anna",)
    assert ward.categories == [None, "SD"]
    # A scan that comes late is the nadir of what follows it.
    ward.follow(ward.publish("a", "2026-03-01", 8))
    assert [date["scene"] for date in ward.summary()["dates"]] == ["c", "a", "b"]
    assert ward.categories == [None, "PR", "PD"]
    recist = ward.summary()["dates"][-1]["follow_up"]["proposed_response"]["recist"]
    assert recist["nadir_date"] == 1
    with (ward.out.root / "patients" / "anna" / "followup.csv").open() as file:
        rows = [(row["scene"], row["since"], row["change"]) for row in csv.DictReader(file)]
    assert rows == [("a", "c", "shrunk"), ("b", "c", "shrunk"), ("b", "a", "grown")]


def test_what_has_not_changed_is_not_made_again_and_a_changed_scan_corrects_what_follows(ward):
    first, second = ward.publish("a", "2026-01-01", 14), ward.publish("b", "2026-03-01", 8)
    assert ward.follow(first, second).done == ("anna",)
    before = (ward.out.root / "patients" / "anna").resolve()
    assert ward.follow(first, second).done == ()
    assert (ward.out.root / "patients" / "anna").resolve() == before
    ward.follow(ward.publish("a", "2026-01-01", 8))
    assert ward.categories == [None, "SD"]
    assert not list((ward.out.root / "patients" / ".swathe").glob("patient-*"))


def test_a_patient_with_one_scan_has_no_folder_and_loses_it_when_scans_go_elsewhere(ward):
    first, second = ward.publish("a", "2026-01-01", 14), ward.publish("b", "2026-03-01", 8)
    assert ward.follow(first) == ward.follow()
    assert not (ward.out.root / "patients" / "anna").exists()
    ward.follow(second)
    assert (ward.out.root / "patients" / "anna").is_symlink()
    ward.follow(Sighting("b", "berta", "2026-03-01"))
    assert not (ward.out.root / "patients" / "anna").is_symlink()


def test_a_patient_who_cannot_be_followed_costs_that_patient_only(ward):
    good = [ward.publish("a", "2026-01-01", 14), ward.publish("b", "2026-03-01", 8)]
    twice = [ward.publish(name, "2026-01-01", 9, site="twice") for name in ("c", "d")]
    elsewhere = oblique_affine()
    elsewhere[:3, 3] += 500
    apart = [ward.publish("e", "2026-01-01", 9, "far"), ward.publish("f", "2026-02-01", 9, "far", elsewhere)]
    followed = ward.follow(*good, *twice, *apart)
    assert followed.done == ("anna",)
    assert len(followed.problems) == 2
    assert "do not meet in space" in followed.problems[0]
    assert "c and d are of one date, 2026-01-01" in followed.problems[1]
    assert sorted(path.name for path in (ward.out.root / "patients").glob("[a-z]*")) == ["anna"]


def test_a_scan_that_meets_no_other_is_left_out_and_the_page_says_so(ward):
    elsewhere = oblique_affine()
    elsewhere[:3, 3] += 500
    scans = [
        ward.publish("a", "2026-01-01", 14),
        ward.publish("b", "2026-02-01", 9, affine=elsewhere),
        ward.publish("c", "2026-03-01", 8),
    ]
    (problem,) = ward.follow(*scans).problems
    assert "b of 2026-02-01 is left out: a and b do not meet" in problem
    assert ward.categories == [None, "PR"]
    page = (ward.out.root / "patients" / "anna" / "report.html").read_bytes()
    assert "b of 2026-02-01 is left out" in " ".join(Page.read(page).text)


def test_the_page_of_a_batch_leads_to_its_patients(ward):
    ward.follow(ward.publish("a", "2026-01-01", 14, "An na"), ward.publish("b", "2026-03-01", 8, "An na"))
    (trail,) = trails_of(ward.out, SETTINGS)
    assert trail.rows[0][0] == "An na"
    assert trail.rows[0][-2:] == ("PR", "PR")
    assert (ward.out.root / trail.links[0]).is_file()
    outcomes = [SceneOutcome(scene=name, status="done", headline={"lesions": 1}) for name in "ab"]
    page = Page.read(render_index(ward.out.root, "Scans", outcomes, [trail]))
    assert trail.links[0] in [link["href"] for link in page.all("a")]
    assert "Patients over dates" in page.text
    from flows.display.artifacts import batch_text
    from tasks.reports.index_rank import ranked

    text = batch_text("scans", ranked(outcomes), ward.out.root, [trail])
    assert "Patients over dates" in text
    assert "RECIST 1\\.1 PR" in text or "RECIST 1.1 PR" in text


def test_only_scans_with_a_date_are_followed_and_the_site_is_the_patient():
    job = Job.model_validate(
        {"job": "t", "kind": "volume", "model": {"name": "identity"}, "analysis": {"kind": "tumour"},
         "source": {"dates": {"scan": "{scene:%Y%m%d}"}}}
    )  # fmt: skip
    assert sighting_of(job, Input(id="x", files={}, site="anna")) is None
    assert sighting_of(job, Input(id="x", files={}, site="anna", date="2026-01-01")) == Sighting(
        "x", "anna", "2026-01-01"
    )
    assert sighting_of(job, Input(id="anna_20260101", files={}, date="2026-01-01")) == Sighting(
        "anna_20260101", "anna", "2026-01-01"
    )
    area = job.model_copy(update={"analysis": None})
    assert sighting_of(area, Input(id="x", files={}, date="2026-01-01")) is None


def test_a_batch_of_scans_follows_its_patients(tmp_path):
    from flows.batch.orders import Batch
    from flows.batch.segment import segment_batch

    job = tmp_path / "job.yaml"
    job.write_text(
        "job: scans\nkind: volume\nmodel: {name: identity, arguments: {n_classes: 2}}\n"
        "tiling: {tile: 16, halo: 2, overlap: 4}\nanalysis: {kind: tumour}\n"
    )
    rows = ["scene,file,site,date"]
    for name, day, radius in (("x1", "2026-05-01", 8), ("x2", "2026-01-01", 14)):
        write_volume(tmp_path / f"{name}.nii.gz", ball(radius).astype(np.int16))
        rows.append(f"{name},{name}.nii.gz,anna,{day}")
    (tmp_path / "scans.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    outcomes = segment_batch(
        Batch(inputs=[str(tmp_path / "scans.csv")], job=str(job), out=out, workers=1, device="cpu")
    )
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    found = json.loads((out / "patients" / "anna" / "summary.json").read_text())
    assert [date["scene"] for date in found["dates"]] == ["x2", "x1"]
    assert found["headline"]["recist_proposed"] == "PR"
    assert "patients/anna/report.html" in (out / "index.html").read_text()
