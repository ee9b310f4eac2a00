"""Laws of verdicts: every file gets one, harm stays in the child, and good files go."""

from __future__ import annotations

import gzip
import os
import struct
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from tasks.errors import SceneError, UnreadableSceneError
from tasks.files import child_process
from tasks.inputs.input import Input
from tasks.jobs.job import Job
from tasks.verdict.check import check_files, check_inputs
from tasks.verdict.raster import check_raster
from tasks.verdict.sniff import sniff
from tasks.verdict.verdict import Verdict, merge
from tasks.verdict.volume import check_volume

DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "hostile-tiff").is_dir(), reason="the sample data is not there")


def tif(path, bands, nodata=None, **profile):
    bands = np.asarray(bands)
    options = {"driver": "GTiff", "height": bands.shape[1], "width": bands.shape[2], "count": bands.shape[0]}
    georeference = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(path, "w", dtype=bands.dtype, nodata=nodata, **options, **georeference, **profile) as out:
        out.write(bands)
    return str(path)


def nii(path, values, affine=None, **fields):
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return str(path)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 60_000, shape).astype(np.uint16)


def test_ground_control_points_are_told_of_with_their_crs(tmp_path):
    corners = [GroundControlPoint(row, col, 11 + col / 100, 44 - row / 100) for row in (0, 30) for col in (0, 40)]
    path = tmp_path / "gcp.tif"
    profile = {"driver": "GTiff", "height": 30, "width": 40, "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", **profile, gcps=corners, crs="EPSG:4326") as out:
        out.write(noise(1, 30, 40))
    verdict = check_raster(str(path))
    assert verdict.facts["crs"] == "WGS 84 by 4 ground control points"
    assert verdict.warnings == ("placed by ground control points alone: areas cannot be computed",)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.AnalyzeImage])
def test_a_pair_of_header_and_voxels_is_refused_by_what_it_is(tmp_path, kind):
    nibabel.save(kind(np.zeros((3, 4, 5), np.int16), np.eye(4)), tmp_path / "case.img")
    assert sniff(tmp_path / "case.img")[0] == "foreign"
    assert "pair (.hdr and .img)" in sniff(tmp_path / "case.img")[1]
    with pytest.raises(SceneError, match=r"NIfTI pair \(\.hdr and \.img\); convert it"):
        check_volume(str(tmp_path / "case.hdr"))


@needs_data
def test_every_hostile_file_gets_a_verdict(capfd):
    folders = [str(DATA / f"hostile-{kind}") for kind in ("tiff", "nifti")]
    verdicts = check_files(folders)
    held = sum(path.is_file() for folder in folders for path in Path(folder).rglob("*"))
    assert len(verdicts) == held
    for verdict in verdicts:
        assert verdict.go != bool(verdict.error), verdict
        assert verdict.message
        assert "Traceback" not in verdict.message
    assert capfd.readouterr() == ("", "")
    refused = {Path(v.path).name: v for v in verdicts if not v.go}
    assert refused["all-nodata.tif"].error == "EmptySceneError"
    assert "Git-LFS" in refused["liver_0.nii.gz"].message
    assert "4-dimensional" in refused["example_nifti2.nii.gz"].message
    assert "RGB" in refused["rgb_test_file.nii.gz"].message
    assert "FreeSurfer" in refused["test.mgz"].message
    assert not any("crashed" in v.message for v in verdicts)


@needs_data
def test_every_good_file_goes():
    folders = ("satellite-crop", "satellite-fire", "satellite-other", "medical-organ", "medical-tumour")
    files = [path for name in folders for path in sorted((DATA / name).rglob("*"))]
    files += sorted((DATA / "medical-train").rglob("*.nii*"))[:4]
    verdicts = check_files([str(path) for path in files if path.name.endswith((".tif", ".nii", ".nii.gz"))])
    assert len(verdicts) > 60
    assert [(v.path, v.message) for v in verdicts if not v.go] == []


def test_a_reader_that_dies_or_hangs_costs_its_file_only(tmp_path, monkeypatch):
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, sys, time\n"
        "from tasks.verdict.verdict import Verdict\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    path = json.loads(line)['path']\n"
        "    if path == 'kill': os.kill(os.getpid(), 11)\n"
        "    if path == 'raise': raise RuntimeError('odd header')\n"
        "    if path == 'hang': time.sleep(60)\n"
        "    print(Verdict(path=path, kind='raster', go=True, error=None, message='fine').to_json(), flush=True)\n"
    )
    popen = child_process.subprocess.Popen
    monkeypatch.setattr(child_process.subprocess, "Popen", lambda command, **k: popen([command[0], str(child)], **k))
    verdicts = check_files(["a", "kill", "b", "raise", "c", "hang", "d"], limit_s=1.0)
    assert [v.go for v in verdicts] == [True, False, True, False, True, False, True]
    assert "its reader crashed (SIGSEGV)" in verdicts[1].message
    assert "odd header" in verdicts[3].message
    assert "took longer than 1 s" in verdicts[5].message
    assert {v.error for v in verdicts if not v.go} == {"UnreadableSceneError"}


def test_raster_files_that_cannot_be_segmented_are_named(tmp_path):
    whole = Path(tif(tmp_path / "whole.tif", noise(1, 600, 600)))
    (tmp_path / "cut.tif").write_bytes(whole.read_bytes()[:-5000])
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("hello")
    tif(tmp_path / "nothing.tif", np.zeros((2, 300, 300), np.uint8), nodata=0)
    tif(tmp_path / "nan.tif", np.full((1, 300, 300), np.nan, np.float32))
    tif(tmp_path / "complex.tif", np.ones((1, 3, 3), np.complex64))
    huge = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 300_000, "width": 300_000, "tiled": True}
    with rasterio.open(tmp_path / "huge.tif", "w", **huge, sparse_ok=True, transform=Affine(1, 0, 5, 0, -1, 5)):
        pass
    expected = {
        "cut.tif": ("UnreadableSceneError", "cannot be decoded"),
        "empty.tif": ("UnreadableSceneError", "the file is empty"),
        "text.tif": ("UnreadableSceneError", "not a raster"),
        "absent.tif": ("UnreadableSceneError", "No such file"),
        "nothing.tif": ("EmptySceneError", "no pixel holds an observation"),
        "nan.tif": ("EmptySceneError", "no pixel holds an observation"),
        "complex.tif": ("UnsupportedSceneError", "complex"),
        "huge.tif": ("OversizedSceneError", "4000 to one"),
    }
    for verdict in check_files([str(tmp_path / name) for name in expected]):
        error, text = expected[Path(verdict.path).name]
        assert (verdict.go, verdict.error) == (False, error), verdict
        assert text in verdict.message


def test_volume_files_that_cannot_be_segmented_are_named(tmp_path):
    values = noise(40, 30, 20)
    whole = Path(nii(tmp_path / "whole.nii.gz", values))
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:-3000])
    plain = gzip.decompress(whole.read_bytes())
    (tmp_path / "short.nii.gz").write_bytes(gzip.compress(plain[:-3000]))
    (tmp_path / "short.nii").write_bytes(plain[:-3000])
    flipped = bytearray(whole.read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    (tmp_path / "flipped.nii.gz").write_bytes(flipped)
    huge = bytearray(plain)
    huge[40:56] = struct.pack("<8h", 3, 30_000, 30_000, 30_000, 1, 1, 1, 1)
    (tmp_path / "huge.nii.gz").write_bytes(gzip.compress(huge))
    nii(tmp_path / "four.nii", noise(4, 4, 4, 3))
    nii(tmp_path / "nan.nii", np.full((4, 4, 4), np.nan, np.float32))
    nii(tmp_path / "far.nii", values, np.diag([1e6, 1e6, 1e6, 1]))
    flat = bytearray(plain)
    flat[312:328] = bytes(16)
    (tmp_path / "flat.nii").write_bytes(flat)
    (tmp_path / "picture.nii").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    expected = {
        "cut.nii.gz": "UnreadableSceneError",
        "short.nii.gz": "UnreadableSceneError",
        "short.nii": "UnreadableSceneError",
        "flipped.nii.gz": "UnreadableSceneError",
        "huge.nii.gz": "OversizedSceneError",
        "four.nii": "UnsupportedSceneError",
        "nan.nii": "EmptySceneError",
        "far.nii": "UnreadableSceneError",
        "flat.nii": "UnreadableSceneError",
        "picture.nii": "UnreadableSceneError",
    }
    for verdict in check_files([str(tmp_path / name) for name in expected]):
        assert (verdict.go, verdict.error) == (False, expected[Path(verdict.path).name]), verdict


def test_odd_but_sound_files_go_with_a_warning(tmp_path):
    paths = [
        nii(tmp_path / "c.nii.gz", np.full((5, 5, 5), 7, np.int16)),
        tif(tmp_path / "one.tif", np.ones((1, 1, 1), np.uint8)),
    ]
    constant, one = check_files(paths)
    assert (constant.go, constant.error) == (False, "ConstantSceneError")
    assert "every value is 7: there is nothing to segment" in constant.message
    assert one.go
    sparse = np.zeros((1, 3000, 3000), np.uint8)
    sparse[0, 1500, 1300] = 1
    assert check_raster(tif(tmp_path / "sparse.tif", sparse, nodata=0, compress="deflate")).go
    assert check_volume(nii(tmp_path / "v.nii", noise(1, 1, 1))).go


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.95])
def test_random_damage_is_a_verdict_and_never_an_exception(tmp_path, place):
    for name in ("a.tif", "b.nii.gz"):
        rng = np.random.default_rng(int(place * 100))
        path = tmp_path / name
        tif(path, noise(1, 300, 300), compress="lzw") if name == "a.tif" else nii(path, noise(30, 30, 30))
        for _ in range(10):
            data = bytearray(path.read_bytes())
            at = int(place * len(data)) + rng.integers(0, max(1, len(data) // 20))
            data[at : at + 40] = rng.bytes(40)
            (tmp_path / f"x-{name}").write_bytes(data[: len(data) - int(rng.integers(0, 50))])
            with suppress(SceneError):
                (check_raster if name == "a.tif" else check_volume)(str(tmp_path / f"x-{name}"))


def test_a_scene_is_checked_with_all_its_files_and_bands(tmp_path):
    a, b = tif(tmp_path / "a.tif", noise(2, 8, 8)), tif(tmp_path / "b.tif", noise(1, 8, 8))
    source = {"files": {"a": "a/{scene}", "b": "b/{scene}"}}
    source["bands"] = {"B8": {"file": "a", "band": 2}, "B12": {"file": "b", "band": 1}}
    job = Job.model_validate({"job": "j", "kind": "raster", "model": {"name": "m"}, "source": source})
    items = [
        Input(id="good", files={"a": a, "b": b}),
        Input(id="bad", files={"a": a, "b": str(tmp_path / "absent.tif")}),
        Input(id="listed", files={}, error="listed: file 'b' missing"),
    ]
    good, bad, listed = check_inputs(items, job, ("B8", "B12"))
    assert (good.go, good.facts["bands"]) == (True, 2)
    assert (bad.go, bad.error) == (False, "UnreadableSceneError")
    assert (listed.go, listed.message) == (False, "listed: file 'b' missing")
    (band,) = check_inputs(items[:1], job, ("B8", "B4"))
    assert (band.error, "band 'B4' missing" in band.message) == ("BandError", True)


def test_a_file_of_the_other_kind_is_refused_by_name(tmp_path):
    path = tif(tmp_path / "a.tif", noise(1, 8, 8))
    job = Job.model_validate({"job": "j", "kind": "volume", "model": {"name": "m"}})
    (verdict,) = check_inputs([Input(id="a", files={"file": path})], job, ("T1",))
    assert verdict.error == "UnsupportedSceneError"
    assert "a TIFF file; the job segments a volume" in verdict.message


def test_the_first_refusal_of_a_file_is_the_scenes():
    fine = Verdict(path="a", kind="raster", go=True, error=None, message="fine", facts={"bytes": 3}, warnings=("w",))
    bad = Verdict.refusal("b", "raster", UnreadableSceneError("b: damaged"))
    assert merge("s", [fine, bad]).message == "b: damaged"
    merged = merge("s", [fine, fine])
    assert (merged.go, merged.facts["bytes"], merged.warnings) == (True, 6, ("w",))
    assert Verdict.from_json(merged.to_json()) == merged
