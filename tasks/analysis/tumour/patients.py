"""The patients of an OUT folder over dates: lesions followed over all published scans, a folder per patient."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from models.errors import SwatheError
from tasks.analysis.masks.volume import open_volume_mask, volume_files
from tasks.analysis.summary import write_findings
from tasks.analysis.tumour.analyse import advance, read_study
from tasks.analysis.tumour.lesion_files import write_followup_csv
from tasks.analysis.tumour.patient_findings import Visit, patient_findings
from tasks.answers.tumour.components import total_ml
from tasks.answers.tumour.series import History
from tasks.errors import GridError, JobError
from tasks.inputs.naming import PATIENTS
from tasks.intake.request import digest
from tasks.jobs.tumour import TumourAnalysis
from tasks.out.folder import OutFolder, site_folder
from tasks.out.sightings import Sighting, SightingLedger
from tasks.products.publish import is_published, publish, read_published
from tasks.reports.legend import Caption

_MASK = "mask.nii.gz"


@dataclass(frozen=True)
class FollowedPatients:
    """What came of following the patients of an OUT folder.

    Attributes:
        done: Those whose follow-up was made.
        problems: Scans that were left out and patients that could not be followed, and why.
    """

    done: tuple[str, ...]
    problems: tuple[str, ...]


def follow_patients(
    out: OutFolder, title: str, settings: TumourAnalysis, sightings: Sequence[Sighting]
) -> FollowedPatients:
    """Compare the published scans of every patient who has two or more, and write ``patients/<patient>``.

    Everything is computed anew from the products where one of them changed, so that a scan that comes late, or again,
    corrects what follows from it. A patient who cannot be followed costs that patient's folder only.

    Args:
        out: Where the products are.
        title: Of pages.
        settings: Of the job.
        sightings: The scans of this run that have a product; the patient is the site.
    """
    ledger = SightingLedger(out.ledger)
    ledger.enter(sightings)
    patients = OutFolder(out.root / PATIENTS)
    done: list[str] = []
    problems: list[str] = []
    shown = {}
    for site in ledger.sites():
        scans = [scan for scan in ledger.sightings(site) if (out.link(scan.scene) / _MASK).is_file()]
        if len(scans) < 2:
            continue
        try:
            left_out = _follow(out, patients, title=title, settings=settings, scans=scans)
        except (SwatheError, OSError) as error:
            problems.append(f"{site}: lesions are not followed: {error}")
            continue
        shown[site_folder(site)] = site
        if left_out is not None:
            done.append(site)
            problems += [f"{site}: {text}" for text in left_out]
    _unpublish(patients, set(shown))
    return FollowedPatients(tuple(done), tuple(problems))


def _follow(
    out: OutFolder, patients: OutFolder, title: str, settings: TumourAnalysis, scans: Sequence[Sighting]
) -> list[str] | None:
    """Publish one patient; return the scans that were left out, and None where nothing has changed."""
    for one, other in pairwise(scans):
        if one.date == other.date:
            raise JobError(
                f"{one.scene} and {other.scene} are of one date, {one.date}, so that neither is the earlier one. "
                "Give the one that shall not be followed another site, or narrow source.dicom to one series of a study"
            )
    site = scans[0].site
    facts = {
        "job": title,
        "scans": [[scan.scene, scan.date, out.link(scan.scene).resolve().name] for scan in scans],
        "analysis": settings.model_dump(mode="json"),
    }
    key = digest({"patient": site, **facts, "swathe": version("swathe")})
    name = site_folder(site)
    if is_published(patients, name, key):
        return None
    patients.scratch.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="patient-", dir=patients.scratch))
    try:
        visits, left_out = _visits(out, settings, scans, work)
        if len(visits) < 2:
            raise GridError("; ".join(left_out))
        folder = work / "product"
        folder.mkdir()
        _write(folder, title, visits, {"patient": site, **facts, "warnings": left_out})
        publish(patients, name, key, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return left_out


def _visits(
    out: OutFolder, settings: TumourAnalysis, scans: Sequence[Sighting], work: Path
) -> tuple[list[Visit], list[str]]:
    history: History | None = None
    visits, left_out = [], []
    for scan in scans:
        mask = out.link(scan.scene).resolve() / _MASK
        with tempfile.TemporaryDirectory(dir=work, prefix="spool-") as spool:
            subject = open_volume_mask(
                volume_files(mask), scan.scene, job=None, label=settings.label, spool=Path(spool)
            )
            found = read_study(subject, settings)
        try:
            follow_up, history = advance(history, found, settings)
        except GridError as error:
            left_out.append(f"{scan.scene} of {scan.date} is left out: {error}")
            continue
        lesions = found.components.lesions
        visits.append(
            Visit(
                scene=scan.scene,
                date=scan.date,
                lesions=len(lesions),
                volume_ml=total_ml(lesions),
                recist_sum_mm=history.recist[-1].sum,
                rano_sum_mm2=history.rano[-1].sum,
                follow_up=follow_up,
            )
        )
    return visits, left_out


def _write(folder: Path, title: str, visits: Sequence[Visit], facts: dict[str, Any]) -> None:
    write_followup_csv([visit.follow_up for visit in visits if visit.follow_up is not None], folder / "followup.csv")
    site = facts["patient"]
    findings = patient_findings(visits)
    known = {"scene": site, **facts, "warnings": [*facts["warnings"], *findings.warnings]}
    write_findings(folder, findings, known, Caption(f"{title} · {site}", ("Lesions over the dates of one patient",)))


def _unpublish(patients: OutFolder, shown: set[str]) -> None:
    """Take away the links of patients who are no longer followed; what they pointed at stays in ``.products``."""
    for path in sorted(patients.root.glob("*/summary.json")):
        if path.parent.name not in shown:
            patients.link(path.parent.name).unlink(missing_ok=True)


def published_patients(out: OutFolder) -> dict[str, dict[str, Any]]:
    """Return what ``summary.json`` says of every patient who is followed, by the name of the folder.

    Raises:
        ProductError: When one is damaged.
    """
    found = sorted((out.root / PATIENTS).glob("*/summary.json"))
    return {path.parent.name: read_published(path, "patient", "headline") for path in found}
