"""``worklist.csv``: a row per study of a folder: what came, what was made of it, what a reader has to look at."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tasks.errors import ProductError
from tasks.files.durable import replace_file
from tasks.inputs.naming import PATIENTS, WORKLIST
from tasks.out.folder import OutFolder, site_folder
from tasks.out.ledger import Ledger, ProductRow
from tasks.out.worklist import Received, WorklistLedger
from tasks.products.publish import read_published, warnings_of
from tasks.products.record import read_effort

logger = logging.getLogger(__name__)

COLUMNS = (
    "study", "patient", "date", "received", "scenes", "verdict", "status", "seconds", "lesions", "volumes_ml",
    "follow_up", "review", "reasons",
)  # fmt: skip
# The code of a finding, behind the name of an error where there is one; else that name.
_CODE = re.compile(r"(?:\w+: )?([a-z][a-z0-9_-]*): |(\w+): ")
_VOLUME = "_ml"
_LARGEST = "largest_ml"
# Of several scenes of one study.
_BETWEEN = "; "
# The worst of a study's scenes is the study's.
_STATUSES = ("failed", "refused", "waiting", "done", "left out")
# RECIST 1.1: progressive disease.
_PROGRESSION = "PD"
_NO_CATEGORY = "none"


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One scene of a study, in the words of the table."""

    scene: str
    verdict: str
    status: str
    seconds: float | None = None
    lesions: str = ""
    volumes_ml: str = ""
    follow_up: str = ""
    reasons: tuple[str, ...] = ()


def write_worklist(out: OutFolder) -> None:
    """Put the table of a folder in place in one step; a folder to which no study came gets none.

    Raises:
        StoreError: When the ledger cannot be read.
    """
    received = WorklistLedger(out.ledger).arrivals()
    if not received:
        return
    products = {row.scene: row for row in Ledger(out.ledger).products()}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for _, grouped in groupby(received, key=lambda each: each.arrival.study):
        members = list(grouped)
        # Series that nobody asked for are told of where the study has no other.
        wanted = [each for each in members if each.arrival.reception != "left out"] or members
        changes = _changes(out, wanted[0].arrival.patient)
        table.writerow(_told(wanted, [_row(out, each, products.get(each.arrival.scene), changes) for each in wanted]))
    replace_file(out.root / WORKLIST, text.getvalue().encode())


def _told(members: Sequence[Received], rows: Sequence[_Row]) -> list[str]:
    first = members[0].arrival
    status = min((row.status for row in rows), key=_STATUSES.index)
    seconds = [row.seconds for row in rows if row.seconds is not None]
    reasons = [reason for row in rows for reason in row.reasons]
    return [
        *(first.study, first.patient, first.date, min(each.time for each in members)),
        _BETWEEN.join(row.scene for row in rows),
        _BETWEEN.join(dict.fromkeys(row.verdict for row in rows)),
        status,
        f"{sum(seconds):.1f}" if seconds else "",
        *(_BETWEEN.join(values) if any(values) else "" for values in _columns(rows)),
        "yes" if reasons else "no",
        " | ".join(dict.fromkeys(reasons)),
    ]


def _columns(rows: Sequence[_Row]) -> tuple[list[str], ...]:
    return (
        [row.lesions for row in rows],
        [row.volumes_ml for row in rows],
        [row.follow_up for row in rows],
    )


def _row(out: OutFolder, received: Received, product: ProductRow | None, changes: Mapping[str, str]) -> _Row:
    arrival = received.arrival
    if arrival.reception != "taken":
        return _Row(
            scene=arrival.scene,
            verdict=_code(arrival.reason),
            status=arrival.reception,
            reasons=(arrival.reason,),
        )
    if product is None:
        return _Row(scene=arrival.scene, verdict="", status="waiting")
    if product.product is None or product.status == "failed":
        error = product.error or ""
        return _Row(scene=arrival.scene, verdict=_code(error), status="failed", reasons=(error,))
    folder, numbers = out.product(arrival.scene, product.product), product.headline
    effort = read_effort(folder / "run.json")
    change = changes.get(arrival.scene, "")
    progression = ("progression is proposed",) if change == _PROGRESSION else ()
    try:
        warnings = warnings_of(folder)
    except ProductError as error:
        # It costs this row only, and the next run makes the product again.
        warnings = (str(error),)
    return _Row(
        scene=arrival.scene,
        verdict="go",
        status="done",
        seconds=None if effort is None else sum(effort.stages_s.values()),
        lesions=str(numbers.get("lesions", "")),
        volumes_ml=_volumes(numbers),
        follow_up=change,
        reasons=(*progression, *warnings),
    )


def _volumes(numbers: Mapping[str, Any]) -> str:
    named = {name.removesuffix(_VOLUME): value for name, value in numbers.items() if name.endswith(_VOLUME)}
    named.pop(_LARGEST.removesuffix(_VOLUME), None)
    return ", ".join(f"{name} {value:g}" for name, value in named.items())


def _code(error: str) -> str:
    found = _CODE.match(error)
    return "" if found is None else found[1] or found[2]


def _changes(out: OutFolder, patient: str) -> dict[str, str]:
    """Return what RECIST 1.1 would call the change since earlier dates, by scene, of a patient who is followed."""
    path = out.root / PATIENTS / site_folder(patient) / "summary.json"
    if not patient or not path.is_file():
        return {}
    try:
        visits = read_published(path, "dates")["dates"]
    except ProductError as error:
        logger.warning("what became of %s over dates is not in the worklist: %s", patient, error)
        return {}
    return {
        visit["scene"]: visit["follow_up"]["proposed_response"]["recist"]["category"] or _NO_CATEGORY
        for visit in visits
        if "follow_up" in visit
    }
