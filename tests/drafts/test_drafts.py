"""A job that is written for what somebody has loads, finds its scenes and describes them, without an edit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import rasterio
from catalogues import make_item
from dicoms import ramp, write_series
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin
from typer.testing import CliRunner

from flows.commands.app import app
from models.registry import zoo_cards
from tasks.drafts.draft import Draft, Place
from tasks.drafts.look import Model, draft_job
from tasks.errors import CatalogueError, JobError, UnreadableSceneError
from tasks.inputs.listing import list_inputs
from tasks.intake.describe import describe
from tasks.intake.request import make_request
from tasks.jobs.job import load_job
from tasks.verdict import child
from tasks.verdict.verdict import Verdict

RNG = np.random.default_rng(0)


class _Here:
    """The child that gives verdicts, without a process of its own: these files do no harm."""

    def __init__(self, limit_s: float) -> None: ...

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def ask(self, request: Mapping[str, Any], n_files: int = 1) -> Verdict:
        return Verdict.from_json(child._answer(json.dumps(request)))


@pytest.fixture(autouse=True)
def verdicts_are_given_here(monkeypatch):
    monkeypatch.setattr("tasks.verdict.check.Guard", _Here)


def raster(path: Path, n_bands: int, names=(), colours=(), dtype="uint16", highest=5000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = {"crs": "EPSG:32632", "transform": from_origin(5e5, 5e6, 10, 10), "width": 40, "height": 30}
    with rasterio.open(path, "w", driver="GTiff", count=n_bands, dtype=dtype, **grid) as file:
        file.write((RNG.random((n_bands, 30, 40)) * highest).astype(dtype))
        if names:
            file.descriptions = names
        if colours:
            file.colorinterp = colours
    return path


def four_bands(folder: Path) -> str:
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    # Near infrared in the fourth band, which the program that wrote it calls alpha.
    return str(raster(folder / "ortho photo.tif", 4, colours=colours))


def two_roles(folder: Path) -> str:
    for scene in ("A_20240101", "B_20240203"):
        raster(folder / "in" / "post" / f"{scene}.tif", 3)
        raster(folder / "in" / "dnbr" / f"{scene}.tif", 1, dtype="float32", highest=1)
        raster(folder / "in" / "masks" / f"{scene}.tif", 1, dtype="uint8", highest=2)
    return str(folder / "in")


def stac_item(folder: Path) -> str:
    assets = {key: str(raster(folder / f"{key}.tif", 1)) for key in ("red", "nir", "SCL")}
    item = make_item("one", "2024-07-01", {**assets, "thumbnail": str(folder / "t.png")}, site=None)
    path = folder / "item.json"
    path.write_text(json.dumps(item.to_dict(include_self_link=False)))
    return str(path)


def nifti(folder: Path) -> str:
    path = folder / "Doe_Jane.nii.gz"
    nibabel.Nifti1Image(RNG.normal(100, 20, (12, 14, 10)).astype("int16"), np.eye(4)).to_filename(path)
    return str(path)


def dicom(folder: Path) -> str:
    write_series(folder / "cd" / "a", ramp(5, 12, 14))
    return str(folder / "cd")


def many_bands(folder: Path) -> str:
    return str(raster(folder / "hyper.tif", 40))


def pictures(folder: Path) -> str:
    for k in range(2):
        path = folder / "pics" / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((RNG.random((30, 40, 3)) * 250).astype("uint8")).save(path)
    return str(folder / "pics")


def table(folder: Path) -> str:
    raster(folder / "a" / "one.tif", 3)
    raster(folder / "b" / "two.tif", 1)
    (folder / "scenes.csv").write_text("scene,image,height,date\nx,a/one.tif,b/two.tif,2024-07-01\n")
    return str(folder / "scenes.csv")


def list_of_files(folder: Path) -> str:
    (folder / "list.txt").write_text(f"{raster(folder / 'one.tif', 3)}\n")
    return f"@{folder / 'list.txt'}"


def landsat(folder: Path) -> str:
    name = "LC08_L2SP_042034_20240701_20240710_02_T1"
    for band in ("SR_B4", "SR_B5", "QA_PIXEL", "SR_QA_AEROSOL", "ST_QA"):
        raster(folder / "scenes" / f"{name}_{band}.TIF", 1)
    return str(folder / "scenes")


def safe(folder: Path) -> str:
    for day in ("20240701", "20240711"):
        inside = f"in/S2A_MSIL2A_{day}T101031_N0510_R022_T32TQM_{day}T140000.SAFE/GRANULE/L2A_T32TQM_A1_{day}/IMG_DATA"
        for band, metres in (("B04", 10), ("B04", 20), ("B08", 10), ("B12", 20), ("SCL", 20), ("TCI", 10)):
            path = folder / inside / f"R{metres}m" / f"T32TQM_{day}T101031_{band}_{metres}m.jp2"
            path.parent.mkdir(parents=True, exist_ok=True)
            side = {10: 60, 20: 30}[metres]
            grid = {
                "crs": "EPSG:32632",
                "transform": from_origin(5e5, 5e6, metres, metres),
                "width": side,
                "height": side,
            }
            with rasterio.open(path, "w", driver="JP2OpenJPEG", count=1, dtype="uint16", **grid) as file:
                file.write((RNG.random((1, side, side)) * 5000).astype("uint16"))
    return str(folder / "in")


# How many scenes each has.
N_SCENES = {two_roles: 2, pictures: 2, safe: 2}
MADE = (four_bands, two_roles, stac_item, nifti, dicom, many_bands, pictures, table, list_of_files, landsat, safe)
INPUTS = {make.__name__: make for make in MADE}


@pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS)
def test_a_job_runs_without_an_edit(tmp_path, make):
    named = make(tmp_path)
    draft = draft_job(named)
    path = tmp_path / "job.yaml"
    path.write_text(draft.text())
    job = load_job(str(path))
    request = make_request(job, tmp_path / "out")
    items = list_inputs([named], job)
    assert [item.error for item in items] == [None] * len(items)
    assert len(items) == N_SCENES.get(make, 1)
    for item in items:
        if item.series is None:
            assert describe(request, item).n_channels == request.card.n_channels
    assert "Doe" not in draft.text(), "names of files may tell who a patient is"


def test_bands_are_those_that_hold_something(tmp_path):
    assert list(draft_job(four_bands(tmp_path)).bands) == ["red", "green", "blue", "band_4"]
    told = draft_job(two_roles(tmp_path))
    assert set(told.bands) == {"post_1", "post_2", "post_3", "dnbr"}
    assert told.files == {"post": "post/{scene}.tif", "dnbr": "dnbr/{scene}.tif"}
    item = draft_job(stac_item(tmp_path))
    assert (set(item.bands), set(item.assets)) == ({"red", "nir", "SCL"}, {"red", "nir", "SCL"})
    assert [rule["band"] for rule in item.invalid] == ["SCL"]
    of_esa = draft_job(safe(tmp_path / "esa"))
    assert set(of_esa.bands) == {"B04", "B08", "B12", "SCL"}
    assert of_esa.files["B04"].endswith("R10m/*_B04_10m.jp2")
    assert {place.scale for name, place in of_esa.bands.items() if name != "SCL"} == {1e-4}


def test_a_model_finds_its_channels_and_their_scale(tmp_path):
    card = zoo_cards()["fire-unet"]
    path = raster(tmp_path / "a.tif", 6, highest=1900, names=tuple(name.lower() for name in card.channels))
    draft = draft_job(str(path), Model({"name": card.name}, card))
    assert list(draft.bands) == list(card.channels)
    assert {name: place.scale for name, place in draft.bands.items() if place.scale} == {
        "B8": 1e-4,
        "B12": 1e-4,
        "dNBR": 1e-3,
    }
    with pytest.raises(JobError, match="takes TCI_R"):
        draft_job(four_bands(tmp_path), Model({"name": card.name}, card))


@pytest.mark.parametrize("name", ["true", "12", "a: b", "#x", "Größe", "x y", "null", "1e5", "-", "{scene}"])
def test_every_name_survives_yaml(tmp_path, name):
    draft = Draft(name="j", kind="raster", about=(), bands={name: Place(1)}, model={"name": "otsu"})
    path = tmp_path / "job.yaml"
    path.write_text(draft.text())
    assert list(load_job(str(path)).source.bands) == [name]


def test_what_cannot_be_segmented_is_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(JobError, match=r"nothing to segment found.*looked for \.tif"):
        draft_job(str(tmp_path / "empty"))
    with pytest.raises(JobError, match="no such file"):
        draft_job(str(tmp_path / "gone.tif"))
    (tmp_path / "bad.tif").write_bytes(b"II*\x00 nothing of the kind")
    with pytest.raises(UnreadableSceneError, match=r"bad\.tif"):
        draft_job(str(tmp_path / "bad.tif"))
    for name in ("red.tif", "nir.tif"):
        raster(tmp_path / "site" / name, 1)
    with pytest.raises(JobError, match=rf"one scene.*swathe init {tmp_path}"):
        draft_job(str(tmp_path / "site"))
    (tmp_path / "job.yaml").write_text("job: a")
    with pytest.raises(JobError, match="looks like a job"):
        draft_job(str(tmp_path / "job.yaml"))
    (tmp_path / "numbers.csv").write_text("x,y\n1,2\n")
    with pytest.raises(JobError, match="no table of scenes"):
        draft_job(str(tmp_path / "numbers.csv"))
    (tmp_path / "places.geojson").write_text('{"type": "Feature", "properties": {}, "geometry": null}')
    with pytest.raises(CatalogueError, match="no STAC item"):
        draft_job(str(tmp_path / "places.geojson"))


def run(*arguments: object) -> tuple[int, str, object]:
    ended = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return ended.exit_code, ended.output, ended.exception


def test_a_job_is_not_written_over_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = raster(tmp_path / "valley.tif", 1)
    assert run("init", path)[0] == 0
    written = Path("valley.yaml").read_text()
    _, _, error = run("init", path)
    assert isinstance(error, JobError)
    assert "--out" in str(error)
    assert Path("valley.yaml").read_text() == written
    assert run("init", path, "--out", "-")[1] == written


@pytest.mark.parametrize(
    "command", [["check"], ["check", "--job", "crop"], ["segment", "--job", "crop", "--out", "out"]]
)
def test_a_folder_of_nothing_ends_the_command_and_says_what_was_looked_for(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    name, *options = command
    _, _, error = run(name, "empty", *options)
    assert isinstance(error, JobError), error
    assert "looked for" in str(error)


def test_a_segmentation_without_a_job_says_what_it_needs(tmp_path):
    _, _, error = run("segment", raster(tmp_path / "a.tif", 1), "--out", tmp_path / "out")
    assert "--model" in str(error)
    assert not (tmp_path / "out").exists()


def test_the_version_is_told():
    code, told, _ = run("--version")
    assert code == 0
    assert told.startswith("swathe ")
