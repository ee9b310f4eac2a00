"""What docs/extending.md shows is one package, which a job uses as it stands on the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scenes import write_raster

from models.errors import ExtensionError, SwatheError
from models.extensions import extensions
from tasks.errors import JobError
from tasks.intake.request import make_request
from tasks.jobs.job import load_job

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text()


def block(language: str) -> str:
    """Return the blocks of a language, one behind the other."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def install(site: Path, *, version: str = "1.0", module: str | None = None) -> None:
    """Put the package of the page into a folder of packages, as an installer does."""
    project = tomllib.loads(block("toml"))["project"]
    info = site / f"acme_swathe-{version}.dist-info"
    info.mkdir(parents=True)
    (site / "acme_swathe.py").write_text(block("python") if module is None else module)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n")
    groups = project["entry-points"].items()
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items()) for group, names in groups
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(block("yaml"))
    return str(path)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install the package for this process, and forget it afterwards."""

    def install_here(**how) -> None:
        site = tmp_path / f"site-{len(list(tmp_path.iterdir()))}"
        install(site, **how)
        monkeypatch.syspath_prepend(site)
        extensions.cache_clear()
        sys.modules.pop("acme_swathe", None)

    yield install_here
    monkeypatch.undo()
    extensions.cache_clear()
    sys.modules.pop("acme_swathe", None)


def test_a_predictor_a_source_an_analysis_and_a_product_of_another_package(tmp_path, job):
    install(tmp_path / "site")
    grey = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) % 151
    for day in ("02", "01"):
        write_raster(tmp_path / "archive" / "2026-07" / f"july-{day}.tif", grey[None])
    told = {"PYTHONPATH": str(tmp_path / "site"), "ACME_ARCHIVE": str(tmp_path / "archive")}
    line = re.search(r"^\$ swathe (.*)$", block("console"), re.MULTILINE)[1]
    ended = subprocess.run(
        [sys.executable, "-m", "flows.cli", *line.split()],
        cwd=tmp_path,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    bright = (grey > 100).astype(np.uint8)
    for scene in ("july-01", "july-02"):
        product = tmp_path / "out" / scene
        with rasterio.open(product / "mask.tif") as mask:
            assert (mask.read(1) == bright).all()
        assert (product / "mask.pgm").read_bytes() == b"P5 96 64 255\n" + bright.tobytes()
        summary = json.loads((product / "summary.json").read_text())
        assert (summary["largest"], summary["headline"]["largest_pixels"]) == ("bright", int(bright.sum()))
        report = (product / "report.html").read_text()
        assert "Largest class" in report
        assert "mask.pgm" in report


def test_another_version_of_a_package_makes_other_products(tmp_path, job, installed):
    keys = set()
    for version in ("1.0", "1.1"):
        installed(version=version)
        keys.add(make_request(load_job(job), tmp_path / "out").key("input"))
    assert len(keys) == 2


def test_keys_of_an_added_section_are_checked_like_ours(job, installed):
    installed()
    with pytest.raises(JobError, match=r"unknown key 'analysis\.ignored'"):
        load_job(job, ("analysis.ignored=[1]",))
    with pytest.raises(JobError, match=r"'analysis\.ignore(\.0)?': got 'water'"):
        load_job(job, ("analysis.ignore=[water]",))
    with pytest.raises(JobError, match="kind 'largest' does not fit a volume: area, tumour do"):
        load_job(job, ("kind=volume", "output.also=[]"))


def test_without_the_package_the_job_is_refused(job):
    with pytest.raises(JobError, match="no installed package adds pgm; known: none") as told:
        load_job(job)
    assert "largest" in str(told.value)


@pytest.mark.parametrize("module", ["import not_there", "Brighter = list_archive = LargestAnalysis = write_pgm = 1"])
def test_a_package_that_cannot_be_used_is_named(tmp_path, job, installed, module):
    installed(module=module)
    with pytest.raises(ExtensionError, match=r"acme-swathe 1\.0"):
        load_job(job)
    with pytest.raises(SwatheError, match=r"acme-swathe 1\.0"):
        make_request(load_job(job, ("analysis=null",)), tmp_path)


def test_two_packages_that_give_one_name_to_two_things_are_told_apart(tmp_path, job, installed):
    installed()
    (first,) = tmp_path.glob("site-*/*.dist-info")
    other = first.with_name("other-2.0.dist-info")
    shutil.copytree(first, other)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2.0\n")
    text = (other / "entry_points.txt").read_text()
    (other / "entry_points.txt").write_text(text.replace("LargestAnalysis", "Other"))
    extensions.cache_clear()
    with pytest.raises(ExtensionError, match="'largest' means one thing in"):
        load_job(job)
