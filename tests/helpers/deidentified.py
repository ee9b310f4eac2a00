"""What the tests of de-identification share: a key, settings, a run, and how a file is read back."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom

from tasks.deidentify.folder import deidentify_folder
from tasks.deidentify.journal import FileVerdict
from tasks.files.keys import InstitutionKey
from tasks.files.pseudonyms import Pseudonyms
from tasks.jobs.deidentify import Deidentification
from tasks.out.folder import OutFolder

PSEUDONYMS = Pseudonyms(InstitutionKey(bytes(range(32))))
ALL = Deidentification(burnt_in="allow")
BASIC = Deidentification(options=(), burnt_in="allow")
REFUSE = Deidentification()


def run(source: Path, out: Path, settings: Deidentification = ALL) -> list[FileVerdict]:
    return deidentify_folder(source, OutFolder(out), settings, PSEUDONYMS, lambda verdict: None)


def read(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        ds.decode()
    return ds
