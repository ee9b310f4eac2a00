"""The attack table of docs/security.md: each attempt is refused by name, and nothing is fetched."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
import shapely
from catalogues import make_item, write_catalogue
from pydantic import ValidationError
from scenes import write_raster, write_volume

from flows.analysis.masks import MaskTask, analyse_masks
from flows.batch.segment import listed
from flows.batch.triage import failed
from flows.commands.evaluate import Choices, Report, require_folder, write_json
from flows.commands.options import PlainConsole
from flows.commands.tables import outcomes as outcomes_table
from flows.commands.tables import verdicts
from flows.display.artifacts import batch_text
from flows.display.logs import JsonFormatter
from flows.local.processes import read_services
from flows.local.up import SERVICES
from models.card import ClassEntry, Weights, load_card
from models.errors import CardError, SwatheError, WeightsError
from models.foreign.monai_config import read_config
from models.foreign.nnunet import _classes, _read
from models.predictors.fakes import fake_card
from models.registry import card_without_weights
from tasks.analysis.subject import Findings
from tasks.errors import (
    CatalogueError,
    JobError,
    OversizedSceneError,
    PolygonError,
    ProductError,
    SceneError,
    StoreError,
    UndeclaredError,
    UnreadableSceneError,
    UnsupportedSceneError,
)
from tasks.files.declared import is_allowed_remote, leads_out, require_remote
from tasks.files.fingerprint import combined_sha256, facts_sha256, file_sha256, file_state
from tasks.inputs.clashes import fail_clashes
from tasks.inputs.input import Input
from tasks.inputs.listing import list_inputs, list_scenes
from tasks.inputs.naming import RESERVED, scene_id
from tasks.inputs.stac import Unreadable, search
from tasks.inputs.stac_scenes import list_catalogue
from tasks.intake.describe import identify, recall
from tasks.intake.request import make_request
from tasks.jobs.job import Job, load_job
from tasks.jobs.nightly import StacSearch
from tasks.jobs.source import Source
from tasks.jobs.training import load_training_job
from tasks.nights.night import Night
from tasks.nights.night_ledger import NightLedger
from tasks.nights.status import status_of
from tasks.out.fire_ledger import FireLedger
from tasks.out.folder import OutFolder, site_folder
from tasks.out.ledger import Ledger, ProductRow
from tasks.out.manifest import read_manifest
from tasks.out.outcome import SceneOutcome, write_batch
from tasks.out.tickets import Ticket, Tickets
from tasks.pairs.reading import Reading, list_pairs, opened_pair, with_ids
from tasks.products.publish import publish, read_published
from tasks.products.record import read_effort
from tasks.reports.index_rank import ranked
from tasks.reports.legend import Caption
from tasks.scenes.raster.class_names import class_names
from tasks.scenes.raster.dataset import DRIVERS
from tasks.scenes.raster.header import opened_raster, read_header
from tasks.scenes.raster.scene import describe_raster
from tasks.scenes.vectors import VectorTable, read_vectors
from tasks.scenes.volume.header import volume_header
from tasks.scenes.volume.spool import spool
from tasks.verdict.check import check_files, check_inputs
from tasks.verdict.guard import Guard
from tasks.verdict.verdict import Verdict

SOURCE = {"bands": {"b": {"band": 1}}}
RAW = {"job": "a", "kind": "raster", "model": {"name": "threshold", "arguments": {"threshold": 0}}, "source": SOURCE}
ONES = np.ones((1, 40, 30), np.uint8)
JOB = "job: a\nkind: raster\nmodel: {name: threshold, arguments: {threshold: 0}}\nsource: {bands: {b: {band: 1}}}\n"


# A process of its own: GDAL keeps Python's lock while it waits for some answers.
SERVER = """
import http.server, pathlib, sys
folder = pathlib.Path(sys.argv[1])
class Seeing(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with (folder / "seen").open("a") as log:
            log.write(self.path + "\\n")
        found = folder / self.path.strip("/")
        content = found.read_bytes() if found.is_file() and found.name != "seen" else b""
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
    do_HEAD = do_POST = do_GET
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Seeing)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    write_raster(folder / "given.tif", ONES)
    with subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}", folder / "seen"
        process.kill()


@pytest.fixture
def server(serving):
    """A server on this machine, and what asks it for the requests that it saw since."""
    url, log = serving
    log.unlink(missing_ok=True)
    return url, lambda: log.read_text().split() if log.exists() else []


@pytest.fixture
def secret(tmp_path_factory):
    """A file that nobody declared."""
    return write_raster(tmp_path_factory.mktemp("elsewhere") / "secret.tif", ONES)


def read_all(path: Path) -> None:
    """Do with a raster all that runs do."""
    with opened_raster(str(path)) as dataset:
        assert dataset.files
        assert dataset.overviews(1) is not None
        dataset.read()


def vrt(folder: Path, source: str, element: str = "SourceFilename", subclass: str = "", relative: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "scene.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="30" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1" {subclass}>'
        f'<SimpleSource><{element} relativeToVRT="{relative}">{source}</{element}><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


# Job files

OUTSIDE = ["../secret/{scene}.tif", "/etc/{scene}.tif", "a/../../{scene}.tif", "/vsicurl/http://x/{scene}.tif"]


@pytest.mark.parametrize("pattern", OUTSIDE)
def test_a_pattern_of_files_stays_in_the_input_folder(tmp_path, pattern):
    assert leads_out(pattern)
    (tmp_path / "job.yaml").write_text(JOB.replace("source: {", f'source: {{files: {{post: "{pattern}"}}, '))
    with pytest.raises(JobError, match=r"source\.files\.post.*leads out of the input folder"):
        load_job(str(tmp_path / "job.yaml"))


def test_labels_of_a_training_job_stay_in_its_folder(tmp_path):
    (tmp_path / "job.yaml").write_text(
        'job: t\nkind: raster\ntraining: {folder: in, labels: "../{scene}.tif"}\ncard: {}\n'
    )
    with pytest.raises(JobError, match=r"training\.labels.*leads out"):
        load_training_job(str(tmp_path / "job.yaml"))


NAMING = {
    "analysis.fields": "analysis: {{kind: crop, fields: '{}'}}",
    "analysis.samples": "analysis: {{kind: crop, samples: '{}'}}",
    "analysis.alerts.assets": "analysis: {{kind: fire, alerts: {{asset_km: 1, assets: '{}'}}}}",
    "model.weights": "model: {{weights: '{}'}}",
    "nightly.stac.area": "nightly: {{stac: {{assets: {{a: b}}, area: '{}'}}}}",
}


@pytest.mark.parametrize("key", NAMING)
@pytest.mark.parametrize(
    "name", ["/etc/passwd", "JOBS/../secret.gpkg", "JOBS/link", "/vsicurl/http://x/a", "https://x/a"]
)
def test_files_that_a_job_names_lie_beside_it(tmp_path, monkeypatch, key, name):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (tmp_path / "secret.gpkg").touch()
    (jobs / "link").symlink_to(tmp_path / "secret.gpkg")
    told = NAMING[key].format(name.replace("JOBS", str(jobs)))
    base = JOB if key != "model.weights" else "job: a\nkind: raster\n"
    (jobs / "job.yaml").write_text(f"{base}{told}\n")
    with pytest.raises(JobError, match=rf"'{key}' names .* not below the job file's folder"):
        load_job(str(jobs / "job.yaml"))
    if "http" not in name:
        monkeypatch.setenv("SWATHE_FOLDERS", f"/etc{os.pathsep}{tmp_path}")
        load_job(str(jobs / "job.yaml"))


def test_what_a_command_names_is_declared(tmp_path):
    (tmp_path / "job.yaml").write_text(f"{JOB}analysis: {{kind: crop}}\n")
    job = load_job(str(tmp_path / "job.yaml"), ("analysis.fields=/etc/fields.gpkg",))
    assert job.analysis.fields == "/etc/fields.gpkg"


def test_fields_of_a_scene_that_are_a_link_are_refused(tmp_path, secret):
    (tmp_path / "fields").mkdir()
    (tmp_path / "fields" / "a.gpkg").symlink_to(secret)
    raw = {"job": "a", "kind": "raster", "model": {"name": "identity"}, "source": {"bands": {"b": {"band": 1}}}}
    job = Job.model_validate(raw | {"analysis": {"kind": "crop", "fields": f"{tmp_path}/fields/{{scene}}.gpkg"}})
    request = make_request(job, tmp_path / "out")
    scene = write_raster(tmp_path / "a.tif", ONES)
    with pytest.raises(UndeclaredError, match=r"analysis\.fields leads out of"):
        identify(request, Input(id="a", files={"file": str(scene)}))


# Inputs


@pytest.mark.parametrize("files", [{}, {"post": "{scene}.tif"}])
def test_a_link_out_of_the_input_folder_costs_that_scene_alone(tmp_path, secret, files, monkeypatch):
    folder = tmp_path / "in"
    inside = write_raster(folder / "a.tif", ONES)
    (folder / "b.tif").symlink_to(secret)
    (folder / "c.tif").symlink_to(inside)
    job = Job.model_validate({"job": "a", "kind": "raster", "model": {"name": "identity"}, "source": {"files": files}})
    errors = {item.id: item.error for item in list_inputs([str(folder)], job)}
    assert errors["a"] is errors["c"] is None
    assert "a link out of the input folder" in errors["b"]
    # The user names the link itself, or the operator allows where it leads.
    assert list_inputs([str(folder / "b.tif")], job)[0].error is None
    monkeypatch.setenv("SWATHE_FOLDERS", str(secret.parent))
    assert not any(item.error for item in list_inputs([str(folder)], job))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", ".", "a\\b"])
def test_ids_are_no_paths(name):
    with pytest.raises(SceneError, match="not a scene id"):
        scene_id(name)
    assert "/" not in site_folder(name)
    assert site_folder(name) not in (".", "..")


@pytest.mark.parametrize("name", [".products", ".swathe", "..."])
def test_ids_do_not_hide_among_what_a_run_keeps(name):
    assert not scene_id(name).startswith(".")


NESTED = [
    "/vsizip/a.zip/a.tif", "/vsitar/a.tar/a.tif", "/vsigzip/a.tif.gz", "/vsistdin/", "/vsimem/a.tif",
    "/vsisubfile/0_9,/etc/passwd", "/vsicurl/http://x/../y.tif", "/vsicached?file=/etc/passwd", "zip://a.zip!a.tif",
    "https://x/a.nii::file:///etc/passwd", "/vsizip//vsicurl/URL/a.zip", "/vsicurl//vsizip/a.zip",
    "vrt:///etc/passwd", "file:///etc/passwd", "ftp://x/a.tif",
]  # fmt: skip


@pytest.mark.parametrize("name", NESTED)
def test_archives_streams_and_chains_of_handlers_are_refused(server, name):
    url, seen = server
    with pytest.raises(UndeclaredError, match="archives, streams and chains"):
        read_all(name.replace("URL", url))
    assert seen() == []


def test_a_url_that_the_user_names_is_read(server):
    url, seen = server
    scene = describe_raster("a", {"": f"/vsicurl/{url}/given.tif"}, Source(), ("x",))
    assert scene.grid.shape == (40, 30)
    assert "/given.tif" in seen(), "the server that is asked in vain elsewhere does answer"


# Rasters that name other files


def test_a_vrt_names_files_below_its_own_folder_alone(tmp_path, secret, monkeypatch):
    inside = write_raster(tmp_path / "in" / "part" / "a.tif", ONES)
    read_all(vrt(tmp_path / "in", "part/a.tif", relative=1))
    read_all(vrt(tmp_path / "in", str(inside)))
    (tmp_path / "in" / "part" / "link.tif").symlink_to(secret)
    for name, relative in ((str(secret), 0), (os.path.relpath(secret, tmp_path / "in"), 1), ("part/link.tif", 1)):
        for element in ("SourceFilename", "sourcefilename", "SourceDataset", "DEMPath"):
            with pytest.raises(UndeclaredError, match="not below the folder of the VRT"):
                read_all(vrt(tmp_path / "in", name, element, relative=relative))
    monkeypatch.setenv("SWATHE_FOLDERS", str(secret.parent))
    read_all(vrt(tmp_path / "in", str(secret)))


def test_a_vrt_in_a_vrt_is_looked_through(tmp_path, secret):
    inner = vrt(tmp_path / "in", str(secret)).rename(tmp_path / "in" / "inner.vrt")
    with pytest.raises(UndeclaredError, match=r"inner\.vrt.*not below"):
        read_all(vrt(tmp_path / "in", inner.name, relative=1))


SOURCES = [
    " /vsicurl/URL/a.tif", "/vsicurl/URL/a.tif\n",
    "/vsicurl/URL/a.tif", "URL/a.tif", "WMS:URL/wms?", "vrt://URL/a.tif", "GTIFF_DIR:1:/etc/passwd", "NETCDF:/etc/x:v",
    "&lt;GDAL_WMS&gt;&lt;Service&gt;URL&lt;/Service&gt;&lt;/GDAL_WMS&gt;",
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("element", ["SourceFilename", "SourceDataset"])
def test_a_vrt_fetches_nothing_and_opens_no_connection(tmp_path, server, source, element):
    url, seen = server
    with pytest.raises(UndeclaredError, match=r"is a connection|which nobody declared"):
        read_all(vrt(tmp_path / "in", source.replace("URL", url), element))
    assert seen() == []


def test_verdicts_fetch_nothing_either(tmp_path, server):
    url, seen = server
    for number, source in enumerate(SOURCES):
        vrt(tmp_path / "in", source.replace("URL", url)).rename(tmp_path / "in" / f"{number}.vrt")
    verdicts = check_files([str(tmp_path / "in")])
    assert {verdict.error for verdict in verdicts} == {"UndeclaredError"}
    assert len(verdicts) == len(SOURCES)
    assert seen() == []


def test_what_a_vrt_may_fetch_is_said_by_the_operator(monkeypatch):
    monkeypatch.setenv("SWATHE_REMOTE", "https://data.example/open /vsis3/bucket/")
    assert is_allowed_remote("https://data.example/open/a.tif")
    assert is_allowed_remote("/vsicurl/https://data.example/open/a.tif")
    assert is_allowed_remote("/vsis3/bucket/a.tif")
    require_remote("http://[::1]:8000/a.tif")
    for name in ("https://data.example/opener/a.tif", "https://data.example/open/../a.tif", "/vsis3/bucket2/a.tif",
                 "/vsizip/vsis3/bucket/a.zip", "https://data.example.org/open/a.tif"):  # fmt: skip
        assert not is_allowed_remote(name)


@pytest.mark.parametrize("program", ["<PixelFunctionLanguage>Python</PixelFunctionLanguage>",
    "<PixelFunctionCode>import os</PixelFunctionCode>"])  # fmt: skip
def test_a_vrt_runs_no_program(tmp_path, program):
    write_raster(tmp_path / "in" / "a.tif", ONES)
    path = vrt(tmp_path / "in", "a.tif", subclass='subClass="VRTDerivedRasterBand"', relative=1)
    path.write_text(path.read_text().replace("<SimpleSource>", f"{program}<SimpleSource>"))
    with pytest.raises(UndeclaredError, match="holds a program"):
        read_all(path)


@pytest.mark.parametrize("kind", ["VRTRawRasterBand", "VRTProcessedDataset"])
def test_a_vrt_of_another_kind_is_refused(tmp_path, kind):
    write_raster(tmp_path / "in" / "a.tif", ONES)
    with pytest.raises(UndeclaredError, match=f"of the kind {kind}"):
        read_all(vrt(tmp_path / "in", "a.tif", subclass=f'subClass="{kind}"', relative=1))


def test_a_vrt_with_entities_or_in_another_encoding_is_refused(tmp_path):
    path = vrt(tmp_path / "in", "a.tif", relative=1)
    plain = path.read_text()
    path.write_text(f'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>{plain}')
    with pytest.raises(UndeclaredError, match="document type"):
        read_all(path)


# A table of VRTs: as many that are read as are refused, so that no door is shut by walling it up.

WKT = rasterio.crs.CRS.from_epsg(32632).to_wkt()
PLACE = "<GeoTransform>500000,20,0,5000000,0,-20</GeoTransform>"
GCPS = "".join(f'<GCP Pixel="{x}" Line="{y}" X="{x}" Y="{y}"/>' for x, y in ((0, 0), (1, 0), (0, 1)))


def simple(name: str = "a.tif", inner: str = "", kind: str = "SimpleSource") -> str:
    named = f'<SourceFilename relativeToVRT="1">{name}</SourceFilename>' if name else ""
    return f"<{kind}>{named}{inner}<SourceBand>1</SourceBand></{kind}>"


def mosaic(sources: str, head: str = "", attributes: str = "") -> str:
    return (
        f'<VRTDataset rasterXSize="30" rasterYSize="40">{head}<VRTRasterBand dataType="Byte" band="1" {attributes}>'
        f"{sources}</VRTRasterBand></VRTDataset>"
    )


def warped(source_srs: str, target_srs: str = WKT, more: str = "") -> str:
    return (
        '<VRTDataset rasterXSize="30" rasterYSize="40" subClass="VRTWarpedDataset">'
        f"<SRS>{WKT}</SRS>{PLACE}"
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTWarpedRasterBand"/><BlockXSize>30</BlockXSize>'
        '<BlockYSize>40</BlockYSize><GDALWarpOptions><SourceDataset relativeToVRT="1">a.tif</SourceDataset>'
        '<BandList><BandMapping src="1" dst="1"/></BandList><Transformer><GenImgProjTransformer>'
        "<SrcGeoTransform>500000,20,0,5000000,0,-20</SrcGeoTransform>"
        "<SrcInvGeoTransform>-25000,0.05,0,250000,0,-0.05</SrcInvGeoTransform>"
        f"<ReprojectTransformer><ReprojectionTransformer><SourceSRS>{source_srs}</SourceSRS>"
        f"<TargetSRS>{target_srs}</TargetSRS>{more}</ReprojectionTransformer></ReprojectTransformer>"
        "<DstGeoTransform>500000,20,0,5000000,0,-20</DstGeoTransform>"
        "<DstInvGeoTransform>-25000,0.05,0,250000,0,-0.05</DstInvGeoTransform>"
        "</GenImgProjTransformer></Transformer></GDALWarpOptions></VRTDataset>"
    )


def linked(folder: Path, name: str, target: Path) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(target)


def nested(folder: Path, depth: int, suffix: str = ".vrt") -> str:
    """Write VRTs of VRTs, each in a folder of its own, and return the outermost."""
    name = "a.tif"
    for level in range(depth):
        (folder / f"level{level}").mkdir()
        (folder / f"level{level}" / f"x{suffix}").write_text(mosaic(simple(f"../{name}")))
        name = f"level{level}/x{suffix}"
    return mosaic(simple(name))


def kept_as(folder: Path, name: str, driver: str) -> str:
    with rasterio.open(folder / "a.tif") as dataset:
        profile = {key: dataset.profile[key] for key in ("width", "height", "count", "dtype", "crs", "transform")}
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    with rasterio.open(folder / name, "w", driver=driver, **profile, **options) as dataset:
        dataset.write(ONES)
    return mosaic(simple(name))


def with_mask(folder: Path) -> str:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(folder / "a.tif", "r+") as dataset:
        dataset.write_mask(np.full((40, 30), 255, np.uint8))
    assert (folder / "a.tif.msk").exists()
    return mosaic(simple(inner="<UseMaskBand>true</UseMaskBand>", kind="ComplexSource"))


def with_overviews(folder: Path) -> str:
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(folder / "a.tif", "r+") as dataset:
        dataset.build_overviews([2])
    assert (folder / "a.tif.ovr").exists()
    return mosaic(simple())


def beside_source(name: str, text: str):
    def write(folder: Path, _secret: Path, _url: str) -> str:
        (folder / name).write_text(text)
        return mosaic(simple())

    return write


def moved(folder: Path, name: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / "a.tif").rename(folder / name)
    return mosaic(simple(name))


def through_link(folder: Path, _secret: Path, _url: str) -> str:
    linked(folder, "link.tif", folder / "a.tif")
    return mosaic(simple("link.tif"))


def vrt_through_link(folder: Path, _secret: Path, _url: str) -> str:
    (folder / "deep").mkdir()
    (folder / "deep" / "x.vrt").write_text(mosaic(simple("../a.tif")))
    linked(folder, "link.vrt", folder / "deep" / "x.vrt")
    return mosaic(simple("link.vrt"))


ACCEPTED = {
    "beside it": lambda folder, _secret, _url: mosaic(simple()),
    "by its whole path": lambda folder, _secret, _url: mosaic(
        simple("", f'<SourceFilename relativeToVRT="0">{folder / "a.tif"}</SourceFilename>')
    ),
    "without the attribute": lambda folder, _secret, _url: mosaic(
        simple("", f"<SourceFilename>{folder / 'a.tif'}</SourceFilename>")
    ),
    "below it": lambda folder, _secret, _url: moved(folder, "deep/er/a.tif"),
    "down and up again": lambda folder, _secret, _url: (folder / "deep").mkdir() or mosaic(simple("deep/../a.tif")),
    "blanks and other letters": lambda folder, _secret, _url: moved(folder, "Ä b/ü (1).tif"),
    "a link within": through_link,
    "a VRT in a VRT": lambda folder, _secret, _url: nested(folder, 1),
    "five deep": lambda folder, _secret, _url: nested(folder, 5),
    "a VRT called .tif": lambda folder, _secret, _url: nested(folder, 2, ".tif"),
    "a VRT behind a link": vrt_through_link,
    "twice the same": lambda folder, _secret, _url: mosaic(simple() + simple()),
    "a thousand times the same": lambda folder, _secret, _url: mosaic(simple() * 1000),
    "a mask beside": lambda folder, _secret, _url: with_mask(folder),
    "overviews beside": lambda folder, _secret, _url: with_overviews(folder),
    "metadata beside": beside_source(
        "a.tif.aux.xml", '<PAMDataset><Metadata><MDI key="url">https://a.example/</MDI></Metadata></PAMDataset>'
    ),
    "a world file beside": beside_source("a.tfw", "20\n0\n0\n-20\n500010\n4999990\n"),
    "PNG": lambda folder, _secret, _url: kept_as(folder, "b.png", "PNG"),
    "JPEG 2000": lambda folder, _secret, _url: kept_as(folder, "b.jp2", "JP2OpenJPEG"),
    "ERDAS Imagine": lambda folder, _secret, _url: kept_as(folder, "b.img", "HFA"),
    "WKT": lambda folder, _secret, _url: mosaic(simple(), f"<SRS>{WKT}</SRS>{PLACE}"),
    "a code and its axes": lambda folder, _secret, _url: mosaic(
        simple(), f'<SRS dataAxisToSRSAxisMapping="1,2">EPSG:32632</SRS>{PLACE}'
    ),
    "text of PROJ": lambda folder, _secret, _url: mosaic(
        simple(), f"<SRS>+proj=merc +a=6378137 +b=6378137 +nadgrids=@null +no_defs</SRS>{PLACE}"
    ),
    "control points": lambda folder, _secret, _url: mosaic(
        simple(), f'<GCPList Projection="EPSG:4326">{GCPS}</GCPList>'
    ),
    "warped": lambda folder, _secret, _url: warped(WKT),
    "warped between codes": lambda folder, _secret, _url: warped("EPSG:32632", "EPSG:32632"),
    "nodata of its own": lambda folder, _secret, _url: mosaic(simple(inner="<NODATA>0</NODATA>", kind="ComplexSource")),
    "an option of reading": lambda folder, _secret, _url: mosaic(
        simple(inner='<OpenOptions><OOI key="NUM_THREADS">1</OOI></OpenOptions>')
    ),
    "a product of bands": lambda folder, _secret, _url: mosaic(
        f"<PixelFunctionType>mul</PixelFunctionType>{simple()}{simple()}", attributes='subClass="VRTDerivedRasterBand"'
    ),
    "metadata that name a URL": lambda folder, _secret, url: mosaic(
        simple(), f'<Metadata><MDI key="source">{url}/about</MDI></Metadata>'
    ),
    "comments": lambda folder, _secret, _url: mosaic(f"<!-- made by hand -->{simple()}"),
}  # fmt: skip


def folder_of_formats(folder: Path, secret: Path, _url: str) -> str:
    """A VRT names a folder, which is DIMAP, whose data are PDS, whose pixels are any file."""
    text = secret.with_name("secret.txt")
    text.write_bytes(b"A" * 1200)
    scene = folder / "dimap"
    scene.mkdir()
    (scene / "metadata.dim").write_text(
        "<Dimap_Document><Raster_Dimensions><NROWS>40</NROWS><NCOLS>30</NCOLS><NBANDS>1</NBANDS></Raster_Dimensions>"
        '<Data_Access><Data_File><DATA_FILE_PATH href="b.lbl"/></Data_File></Data_Access></Dimap_Document>'
    )
    (scene / "b.lbl").write_text(
        f'PDS_VERSION_ID = PDS3\nRECORD_TYPE = FIXED_LENGTH\nRECORD_BYTES = 30\n^IMAGE = ("{text}", 1)\n'
        "OBJECT = IMAGE\n LINES = 40\n LINE_SAMPLES = 30\n SAMPLE_BITS = 8\n SAMPLE_TYPE = UNSIGNED_INTEGER\n"
        " BANDS = 1\nEND_OBJECT = IMAGE\nEND\n"
    )
    return mosaic(simple("dimap"))


def pipe(folder: Path, _secret: Path, _url: str) -> str:
    os.mkfifo(folder / "pipe.tif")
    return mosaic(simple("pipe.tif"))


def bomb(folder: Path, _secret: Path, _url: str) -> str:
    """Four to the fourteenth sources."""
    (folder / "x0.vrt").write_text(mosaic(simple() * 4))
    for level in range(1, 13):
        (folder / f"x{level}.vrt").write_text(mosaic(simple(f"x{level - 1}.vrt") * 4))
    return mosaic(simple("x12.vrt") * 4)


def beside_linked(suffix: str):
    def write(folder: Path, secret: Path, _url: str) -> str:
        linked(folder, f"a{suffix}", secret)
        return mosaic(simple())

    return write


def option_of_nested(folder: Path, secret: Path, _url: str) -> str:
    """With ROOT_PATH a VRT takes its names from another folder than its own."""
    (folder / "deep").mkdir()
    (folder / "deep" / "x.vrt").write_text(mosaic(simple("a.tif")))
    (folder / "a.tif").rename(folder / "deep" / "a.tif")
    return mosaic(simple("deep/x.vrt", inner='<OpenOptions><OOI key="ROOT_PATH">.</OOI></OpenOptions>'))


def behind_folder_link(folder: Path, secret: Path, _url: str) -> str:
    """Where a folder is a link, '..' leads to two places."""
    (folder / "one" / "two").mkdir(parents=True)
    linked(folder, "link", folder / "one" / "two")
    (folder / "one" / "secret.tif").write_bytes((folder / "a.tif").read_bytes())
    return mosaic(simple(f"link/../../{folder.name}x/../{folder.name}/a.tif"))


def other_format(folder: Path, _secret: Path, _url: str) -> str:
    (folder / "b.asc").write_text("ncols 30\nnrows 40\nxllcorner 0\nyllcorner 0\ncellsize 1\n" + "1 " * 1200)
    return mosaic(simple("b.asc"))


def nested_secret(folder: Path, secret: Path, _url: str) -> str:
    (folder / "b.tif").write_text(mosaic(simple("", f"<SourceFilename>{secret}</SourceFilename>")))
    return mosaic(simple("b.tif"))


def tagged(domain: str, key: str):
    def write(folder: Path, secret: Path, _url: str) -> str:
        with rasterio.open(folder / "a.tif", "r+") as dataset:
            dataset.update_tags(ns=domain, **{key: str(secret)})
        return mosaic(simple())

    return write


def named(text: str):
    return lambda folder, secret, url: mosaic(
        simple("", f"<SourceFilename>{text.format(secret=secret, url=url)}</SourceFilename>")
    )


def crs(text: str):
    return lambda folder, secret, url: mosaic(simple(), f"<SRS>{text.format(secret=secret, url=url)}</SRS>{PLACE}")


REFUSED = {
    "a folder": lambda folder, _secret, _url: (folder / "b").mkdir() or mosaic(simple("b")),
    "a folder of other formats": folder_of_formats,
    "a pipe": pipe,
    "a device": named("/dev/zero"),
    "a file of another format": other_format,
    "a file outside": named("{secret}"),
    "a file outside, by a nested VRT called .tif": nested_secret,
    "a URL": named("/vsicurl/{url}/given.tif"),
    "a file that is not there": named("/nowhere/b.tif"),
    "itself": lambda folder, _secret, _url: mosaic(simple("scene.vrt")),
    "four to the fourteenth": bomb,
    "twenty deep": lambda folder, _secret, _url: nested(folder, 20),
    "a name with a comment in it": named("a.tif<!-- -->"),
    "a name of two pieces": named("{secret}<![CDATA[/../../a.tif]]>"),
    "a name in an attribute": lambda folder, secret, _url: mosaic(
        f'<SimpleSource SourceFilename="{secret}"><SourceBand>1</SourceBand></SimpleSource>'
    ),
    "a root of its own": option_of_nested,
    "a way back behind a link": behind_folder_link,
    "a source CRS from a URL": lambda folder, _secret, url: warped(f"{url}/crs"),
    "a target CRS from a URL": lambda folder, _secret, url: warped(WKT, f"{url}/crs"),
    "a source CRS from a file": lambda folder, secret, _url: warped(str(secret)),
    "an operation with a grid": lambda folder, secret, _url: warped(
        WKT, more=f"<CoordinateOperation>+proj=hgridshift +grids={secret}</CoordinateOperation>"
    ),
    "control points with a CRS from a URL": lambda folder, _secret, url: mosaic(
        simple(), f'<GCPList Projection="{url}/crs">{GCPS}</GCPList>'
    ),
    "a CRS with a grid": crs("+proj=longlat +nadgrids={secret} +no_defs"),
    "a mask that is a link out": beside_linked(".tif.msk"),
    "overviews that are a link out": beside_linked(".tif.ovr"),
    "metadata that are a link out": beside_linked(".tif.aux.xml"),
    "a world file that is a link out": beside_linked(".tfw"),
    "a mask that is a pipe": lambda folder, _secret, _url: os.mkfifo(folder / "a.tif.msk") or mosaic(simple()),
    "overviews named in small letters": tagged("OVERVIEWS", "overview_file"),
    "a program": lambda folder, _secret, _url: mosaic(
        f"{simple()}<PixelFunctionLanguage>Python</PixelFunctionLanguage>", attributes='subClass="VRTDerivedRasterBand"'
    ),
    "raw bytes": lambda folder, secret, _url: mosaic(
        f"<SourceFilename>{secret}</SourceFilename>", attributes='subClass="VRTRawRasterBand"'
    ),
}  # fmt: skip


def test_as_many_vrts_are_read_as_are_refused():
    assert len(ACCEPTED) >= len(REFUSED)


@pytest.mark.parametrize("case", ACCEPTED)
def test_vrts_of_plain_files_are_read(tmp_path, server, secret, case):
    url, seen = server
    write_raster(tmp_path / "a.tif", ONES)
    (tmp_path / "scene.vrt").write_text(ACCEPTED[case](tmp_path, secret, url))
    with opened_raster(str(tmp_path / "scene.vrt")) as dataset:
        assert (dataset.read(1) == 1).all()
    assert seen() == []


@pytest.fixture(scope="module")
def guard():
    with Guard() as it:
        yield it


@pytest.mark.parametrize("case", REFUSED)
def test_vrts_of_anything_else_are_refused(tmp_path, server, secret, guard, case):
    url, seen = server
    write_raster(tmp_path / "a.tif", ONES)
    (tmp_path / "scene.vrt").write_text(REFUSED[case](tmp_path, secret, url))
    # In the guarded child: some would hang whoever opens them.
    verdict = guard.ask({"path": str(tmp_path / "scene.vrt"), "kind": "raster"})
    assert verdict.error in ("UndeclaredError", "UnreadableSceneError", "OversizedSceneError"), verdict
    assert "longer than" not in verdict.message
    assert "crashed" not in verdict.message
    assert seen() == []
    with pytest.raises((UndeclaredError, UnreadableSceneError, OversizedSceneError)):
        read_all(tmp_path / "scene.vrt")


def test_vrts_of_two_bands_are_read_as_their_report_says(tmp_path):
    reports = Path("../shared/reports/geo")
    if not reports.is_dir():
        pytest.skip(f"{reports} is not here")
    case = tmp_path / "23-perband-nodata-vrt"
    case.mkdir()
    shutil.copy(reports / "geolib.py", tmp_path)
    shutil.copy(reports / case.name / "make.py", case)
    subprocess.run([sys.executable, str(case / "make.py")], check=True, cwd=case)
    read_all(case / "beside" / "stack_beside.vrt")
    with pytest.raises(UndeclaredError, match="not below the folder of the VRT"):
        read_all(case / "up" / "vrt" / "stack_up_vrt.vrt")
    with pytest.raises(UnreadableSceneError, match=r"src/b\.tif, which is not there"):
        read_all(case / "gone" / "stack_gone.vrt")


def test_what_is_looked_through_once_is_looked_through_again_when_it_changes(tmp_path, secret):
    inner, scene = tmp_path / "inner.vrt", tmp_path / "scene.vrt"
    write_raster(tmp_path / "a.tif", ONES)
    inner.write_text(mosaic(simple()))
    scene.write_text(mosaic(simple("inner.vrt")))
    read_all(scene)
    inner.write_text(mosaic(simple("", f"<SourceFilename>{secret}</SourceFilename>")))
    with pytest.raises(UndeclaredError, match="not below"):
        read_all(scene)
    inner.write_text(mosaic(simple()))
    read_all(scene)
    linked(tmp_path, "a.tif.msk", secret)
    with pytest.raises(UndeclaredError, match="a link out of its folder"):
        read_all(scene)


def test_no_file_is_opened_by_a_driver_that_is_not_allowed():
    from tasks.scenes import vectors  # noqa: F401 - brings the other GDAL

    with rasterio.Env() as env:
        assert set(env.drivers()) <= {*DRIVERS, "MEM", "Memory"}
    assert set(pyogrio.list_drivers()) <= {"GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf", "MEM", "Memory"}


@pytest.mark.parametrize("suffix", [".tif.msk", ".tif.ovr", ".tif.aux.xml", ".tif.aux", ".tfw", "_RPC.TXT"])
def test_sidecars_that_are_links_out_of_the_inbox_are_refused(tmp_path, secret, suffix):
    path = write_raster(tmp_path / "a.tif", ONES)
    linked(tmp_path, f"a{suffix}", secret)
    with pytest.raises(UndeclaredError, match="a link out of its folder"):
        read_all(path)
    (verdict,) = check_files([str(path)])
    assert verdict.error == "UndeclaredError"


@pytest.mark.parametrize("suffix", [".dbf", ".shx", ".prj", ".CPG"])
def test_the_other_files_of_a_shapefile_that_are_links_out_are_refused(tmp_path, secret, suffix):
    point = VectorTable(
        name="a", crs_wkt=None, geometries=shapely.points([[1, 2]]), columns={"x": [1]}, geometry_type="Point"
    )
    pyogrio.raw.write(
        tmp_path / "a.shp", geometry=shapely.to_wkb(point.geometries), field_data=[np.array([1])], fields=["x"],
        geometry_type="Point", crs="EPSG:32632",
    )  # fmt: skip
    read_vectors(tmp_path / "a.shp")
    (tmp_path / f"a{suffix}").unlink(missing_ok=True)
    linked(tmp_path, f"a{suffix}", secret)
    with pytest.raises(UndeclaredError, match="a link out of its folder"):
        read_vectors(tmp_path / "a.shp")


def test_labels_that_are_a_link_out_of_their_folder_are_refused(tmp_path, secret):
    from flows.training.fit import read_scenes

    write_raster(tmp_path / "in" / "a.tif", ONES)
    linked(tmp_path / "in", "labels/a.tif", secret)
    (tmp_path / "job.yaml").write_text(
        f"job: t\nkind: raster\ntraining: {{folder: {tmp_path / 'in'}, labels: 'labels/{{scene}}.tif'}}\n"
        "card: {name: x, channels: [b], classes: [{name: a, colour: '#000000'}, {name: b, colour: '#ffffff'}]}\n"
        "source: {bands: {b: {band: 1}}}\n"
    )
    job = load_training_job(str(tmp_path / "job.yaml"))
    card = fake_card("identity", {}, ("b",), "raster")
    with pytest.raises(UndeclaredError, match="a link out of"):
        read_scenes(job, card, tmp_path / "scratch")


METADATA = [("OVERVIEWS", {"OVERVIEW_FILE": "NAME"}), ("GEOLOCATION", {"X_DATASET": "NAME", "Y_DATASET": "NAME"})]


@pytest.mark.parametrize(("domain", "tags"), METADATA)
def test_metadata_of_a_tiff_that_name_files_or_urls_are_refused(tmp_path, server, secret, domain, tags):
    url, seen = server
    for number, name in enumerate((f"/vsicurl/{url}/a.tif", str(secret))):
        path = write_raster(tmp_path / f"{number}.tif", ONES)
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(ns=domain, **{key: value.replace("NAME", name) for key, value in tags.items()})
        with pytest.raises(UndeclaredError, match=f"its metadata \\({domain}"):
            read_all(path)
        mosaic = vrt(tmp_path, path.name, relative=1)
        with pytest.raises(UndeclaredError, match="its metadata"):
            read_all(mosaic)
    assert seen() == []


@pytest.mark.parametrize("suffix", [".msk", ".ovr", ".msk.ovr"])
def test_sidecars_are_rasters_and_nothing_else(tmp_path, server, suffix):
    url, seen = server
    path = write_raster(tmp_path / "a.tif", ONES)
    for part in suffix.strip(".").split(".")[:-1]:
        write_raster(tmp_path / f"a.tif.{part}", ONES)
    beside = tmp_path / f"a.tif{suffix}"
    beside.write_text(f"<GDAL_WMTS><GetCapabilitiesUrl>{url}/wmts</GetCapabilitiesUrl></GDAL_WMTS>")
    with pytest.raises(UndeclaredError, match="beside a raster"):
        read_all(path)
    beside.unlink()
    (tmp_path / "a.tif.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/{url}/a.tif</MDI>'
        "</Metadata></PAMDataset>"
    )
    with pytest.raises(UndeclaredError, match="its metadata"):
        read_all(path)
    assert seen() == []


def test_hdf5_which_may_keep_its_pixels_in_any_file_is_refused(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2048))
    with pytest.raises(UnsupportedSceneError, match="other files of this machine"):
        read_all(tmp_path / "a.nc")
    # The signature may stand further on; then no driver that knows it is asked.
    (tmp_path / "b.nc").write_bytes(bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(2048))
    (verdict,) = check_files([str(tmp_path / "b.nc")])
    assert not verdict.go


@pytest.mark.parametrize("name", ["../../../secret.tif", "{secret}", "./link.tif"])
def test_a_catalogue_on_this_machine_names_files_below_its_folder_alone(tmp_path, secret, monkeypatch, name):
    folder = tmp_path / "catalogue"
    for other in (tmp_path / "secret.tif", folder / "s2" / "a" / "a.tif", folder / "s2" / "b" / "b.tif"):
        write_raster(other, ONES)
    linked(folder, "s2/a/link.tif", secret)
    told = name.format(secret=secret)
    good = make_item("b", "2026-07-20", {"B04": "./b.tif"}, site="MGRS-33TUM")
    write_catalogue(folder, [make_item("a", "2026-07-20", {"B04": told}), good])
    raw = {"job": "a", "kind": "raster", "model": {"name": "identity"}, "source": {"files": {"red": "{scene}.tif"}}}
    job = Job.model_validate(raw | {"nightly": {"stac": {"assets": {"red": "B04"}}}})
    inbox = str(folder / "catalog.json")
    items = {item.site: item for item in list_catalogue(inbox, job, "2026-07-01", "2026-07-21", lambda _: None)}
    assert "not below the catalogue's folder" in items["MGRS-32TQM"].error
    assert items["MGRS-32TQM"].files == {}
    assert items["MGRS-33TUM"].error is None
    monkeypatch.setenv("SWATHE_FOLDERS", f"{tmp_path}{os.pathsep}{secret.parent}")
    assert not any(item.error for item in list_catalogue(inbox, job, "2026-07-01", "2026-07-21", lambda _: None))


@pytest.mark.parametrize("rel", ["item", "search"])
@pytest.mark.parametrize("name", ["../elsewhere/a.json", "URL/a.json", "pipe.json"])
def test_a_catalogue_on_this_machine_leads_to_documents_below_its_folder_alone(tmp_path, server, rel, name):
    url, seen = server
    folder = tmp_path / "catalogue"
    write_catalogue(folder, [])
    write_raster(folder / "a.tif", ONES)
    os.mkfifo(folder / "pipe.json")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = make_item("a", "2026-07-20", {"B04": f"{folder}/a.tif"})
    (tmp_path / "elsewhere" / "a.json").write_text(json.dumps(elsewhere.to_dict()))
    catalogue = json.loads((folder / "catalog.json").read_text())
    catalogue["links"].append({"rel": rel, "href": name.replace("URL", url)})
    (folder / "catalog.json").write_text(json.dumps(catalogue))
    wanted = StacSearch(assets={"red": "B04"})
    try:
        found = list(search(str(folder / "catalog.json"), wanted, "2026-07-01", "2026-07-21"))
    except CatalogueError as error:
        found = [error]
    assert [type(one) for one in found] == [Unreadable if rel == "item" else CatalogueError]
    assert "UndeclaredError" in str(found[0])
    assert seen() == []


# Vector files

FEATURES = {
    "type": "FeatureCollection",
    "features": [{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1, 2]}}],
}
VECTORS = {
    "linked.geojson": json.dumps(FEATURES | {"crs": {"type": "link", "properties": {"href": "URL/crs"}}}),
    "escaped.geojson": json.dumps(FEATURES)[:-1] + r', "\u0063rs": {"type": "url", "properties": {"url": "URL/c"}}}',
    "upper.geojson": json.dumps(FEATURES)[:-1] + ', "CRS"/**/: {"Type": "link", "properties": {"href": "URL/c"}}}',
    "streamed.geojson": '{"type": "gdal_streamed_alg", "command_line": "gdal vector read /vsicurl/URL/a.gpkg"}',
    "vrt.geojson": '<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/vsicurl/URL/a.gpkg</SrcDataSource>'
    "</OGRVRTLayer></OGRVRTDataSource>",
    "wfs.gpkg": "<OGRWFSDataSource><URL>URL/wfs</URL></OGRWFSDataSource>",
    "table.csv": "name,url\na,URL\n",
}


@pytest.mark.parametrize("name", VECTORS)
def test_vector_files_fetch_nothing(tmp_path, server, name):
    url, seen = server
    (tmp_path / name).write_text(VECTORS[name].replace("URL", url))
    with pytest.raises(
        (UndeclaredError, PolygonError), match=r"to be fetched|a program of GDAL|by its name and content"
    ):
        read_vectors(tmp_path / name)
    assert seen() == []


def test_geojson_that_names_its_crs_is_read(tmp_path):
    named = FEATURES | {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}}
    (tmp_path / "a.geojson").write_text(json.dumps(named))
    assert "UTM zone 32N" in read_vectors(tmp_path / "a.geojson").crs_wkt


@pytest.mark.parametrize("name", ["/vsicurl/URL/a.gpkg", "URL/a.geojson", "/vsizip/a.zip/a.gpkg"])
def test_vector_files_are_read_from_disk(server, name):
    url, seen = server
    with pytest.raises(UndeclaredError, match="read from disk"):
        read_vectors(name.replace("URL", url))
    assert seen() == []


def test_parquet_that_unpacks_to_absurd_lengths_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.scenes.vector_formats._MAX_PARQUET_ROWS", 1000)
    pq.write_table(pa.table({"geometry": [b""] * 1001}), tmp_path / "a.parquet")
    with pytest.raises(PolygonError, match="declares 1001 features"):
        read_vectors(tmp_path / "a.parquet")


# Compressed files


def test_a_volume_that_goes_on_behind_its_last_voxel_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.scenes.volume.spool._MAX_SURPLUS_BYTES", 1 << 20)
    plain = write_volume(tmp_path / "a.nii", np.ones((4, 4, 4), np.int16)).read_bytes()
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(plain + bytes(8 << 20)))
    header = volume_header(bomb)
    with pytest.raises(OversizedSceneError, match="built to do harm"):
        spool(bomb, header.n_bytes, tmp_path / "spool")
    assert not list((tmp_path / "spool").glob("*.nii"))
    assert sum(path.stat().st_size for path in (tmp_path / "spool").iterdir()) <= header.n_bytes


def test_a_header_that_promises_more_than_its_file_can_hold_is_refused(tmp_path):
    content = bytearray(write_volume(tmp_path / "a.nii", np.ones((4, 4, 4), np.int16)).read_bytes())
    content[42:48] = np.array([32767, 32767, 32767], "<i2").tobytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(content)))
    (verdict,) = check_files([str(tmp_path / "b.nii.gz")])
    assert verdict.error == "OversizedSceneError"


# Stale products

RASTER_JOB = {"job": "a", "kind": "raster", "model": {"name": "threshold", "arguments": {"threshold": 1}}}


def replace_quietly(path: Path, content: bytes) -> None:
    """Put another file of the same size and time of change in place of one."""
    before = path.stat()
    assert len(content) == before.st_size
    other = path.with_name("other")
    other.write_bytes(content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def twos(folder: Path) -> bytes:
    """A raster like the one of the table of VRTs, with other pixels."""
    return write_raster(folder / "twos" / "a.tif", ONES * 2).read_bytes()


STALE = {
    "a VRT": lambda folder: mosaic(simple()),
    "a VRT in a VRT": lambda folder: nested(folder, 1),
    "five deep": lambda folder: nested(folder, 5),
    "VRTs called .tif": lambda folder: nested(folder, 2, ".tif"),
    "twice the same": lambda folder: mosaic(simple() * 2),
}


@pytest.mark.parametrize("case", STALE)
@pytest.mark.parametrize("name", ["scene.vrt", "scene.tif"])
def test_a_vrt_is_another_input_when_pixels_of_its_sources_change(tmp_path, case, name):
    write_raster(tmp_path / "a.tif", ONES)
    (tmp_path / name).write_text(STALE[case](tmp_path))
    request = make_request(Job.model_validate(RASTER_JOB), tmp_path / "out")
    item = Input(id="scene", files={"file": str(tmp_path / name)})
    before = identify(request, item)
    assert recall(request, item) == before
    replace_quietly(tmp_path / "a.tif", twos(tmp_path))
    assert recall(request, item) is None
    assert identify(request, item) != before


def test_a_vrt_of_urls_is_hashed_again_every_time(tmp_path, server, monkeypatch):
    url, seen = server
    monkeypatch.setenv("SWATHE_REMOTE", url)
    (tmp_path / "scene.vrt").write_text(
        mosaic(simple("", f"<SourceFilename>/vsicurl/{url}/given.tif</SourceFilename>"))
    )
    request = make_request(Job.model_validate(RASTER_JOB), tmp_path / "out")
    item = Input(id="scene", files={"file": str(tmp_path / "scene.vrt")})
    before = identify(request, item)
    n_asked = len(seen())
    assert recall(request, item) is None
    assert len(seen()) == n_asked
    assert identify(request, item) == before
    assert len(seen()) > n_asked


@pytest.mark.parametrize("name", ["a.tif.msk", "level0/x.tif.msk"])
def test_a_mask_that_comes_to_lie_beside_a_source_makes_another_input(tmp_path, name):
    write_raster(tmp_path / "a.tif", ONES)
    (tmp_path / "scene.vrt").write_text(nested(tmp_path, 1, ".tif"))
    request = make_request(Job.model_validate(RASTER_JOB), tmp_path / "out")
    item = Input(id="scene", files={"file": str(tmp_path / "scene.vrt")})
    before = identify(request, item)
    write_raster(tmp_path / name, ONES * 0)
    assert recall(request, item) is None
    assert identify(request, item) != before


@pytest.mark.parametrize("name", ["a.tif", "a.nii", "a.nii.gz"])
def test_a_file_replaced_by_one_of_the_same_size_and_time_is_another_input(tmp_path, name):
    one, other = tmp_path / name, tmp_path / "elsewhere" / name
    kind = "raster" if name == "a.tif" else "volume"
    for path, value in ((one, 1), (other, 2)):
        if kind == "raster":
            write_raster(path, ONES * value)
        else:
            write_volume(path, np.full((4, 4, 4), value, np.int16))
    job = Job.model_validate(RASTER_JOB | {"kind": kind, "model": {"name": "identity"}})
    request, item = make_request(job, tmp_path / "out"), Input(id="a", files={"file": str(one)})
    before = identify(request, item)
    header = volume_header(one) if kind == "volume" else None
    kept = spool(one, header.n_bytes, tmp_path / "spool") if name == "a.nii.gz" else None
    size = max(one.stat().st_size, other.stat().st_size)
    for path in (one, other):
        # What stands behind the end of either format does not count.
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    before = identify(request, item)
    replace_quietly(one, other.read_bytes())
    assert recall(request, item) is None
    assert identify(request, item) != before
    if kept is not None:
        assert spool(one, header.n_bytes, tmp_path / "spool") != kept


def test_field_files_replaced_by_ones_of_the_same_size_and_time_are_another_input(tmp_path):
    scene = write_raster(tmp_path / "a.tif", ONES)
    fields = tmp_path / "fields" / "a.geojson"
    fields.parent.mkdir()
    fields.write_text(json.dumps(FEATURES))
    analysis = {"kind": "crop", "fields": f"{fields.parent}/{{scene}}.geojson"}
    request = make_request(Job.model_validate(RASTER_JOB | {"analysis": analysis}), tmp_path / "out")
    item = Input(id="a", files={"file": str(scene)})
    before = identify(request, item)
    replace_quietly(fields, json.dumps(FEATURES).replace("[1, 2]", "[2, 1]").encode())
    assert identify(request, item) != before


def test_a_scene_that_is_skipped_costs_a_stat_per_file(tmp_path, monkeypatch):
    for number in range(30):
        write_raster(tmp_path / "in" / f"s{number}.tif", ONES)
    (tmp_path / "in" / "inner.vrt").write_text(mosaic("".join(simple(f"s{number}.tif") for number in range(30))))
    (tmp_path / "in" / "scene.vrt").write_text(mosaic(simple("inner.vrt")))
    # Folders in which something has just changed are listed.
    os.utime(tmp_path / "in", (1, 1))
    request = make_request(Job.model_validate(RASTER_JOB), tmp_path / "out")
    item = Input(id="scene", files={"file": str(tmp_path / "in" / "scene.vrt")})
    found = identify(request, item)
    asked = []

    def counting(path):
        asked.append(str(path))
        return file_state(path)

    def refusing(*_, **__):
        pytest.fail("a file was opened")

    assert recall(request, item) == found
    monkeypatch.setattr("tasks.intake.input_state.file_state", counting)
    for name in ("tasks.files.fingerprint.file_sha256", "tasks.scenes.raster.dataset.DatasetReader",
                 "pathlib.Path.open", "pathlib.Path.read_bytes", "os.listdir", "os.scandir"):  # fmt: skip
        monkeypatch.setattr(name, refusing)
    assert recall(request, item) == found
    files = [path for path in asked if path != str(tmp_path / "in")]
    assert sorted(files) == sorted(str(tmp_path / "in" / name) for name in os_names(30))


def os_names(n: int) -> list[str]:
    return ["scene.vrt", "inner.vrt", *(f"s{number}.tif" for number in range(n))]


def with_a_product_of_the_first(folder: Path, summary: str):
    """Return a request and two inputs, the first of which has a product with that summary."""
    request = make_request(Job.model_validate(RASTER_JOB), folder / "out")
    items = [Input(id=name, files={"file": str(write_raster(folder / f"{name}.tif", ONES))}) for name in "ab"]
    key = request.key(identify(request, items[0]).sha256)
    request.out.product("a", "p").mkdir(parents=True)
    (request.out.product("a", "p") / "summary.json").write_text(summary)
    request.out.link("a").symlink_to(request.out.product("a", "p"))
    Ledger(request.out.ledger).record(
        ProductRow(scene="a", request=key, product="p", status="done", error=None, headline={}), "run", "now"
    )
    return request, items


def test_what_is_skipped_is_not_checked_again(tmp_path, monkeypatch):
    from flows.batch import steps
    from flows.batch.triage import triage

    request, items = with_a_product_of_the_first(tmp_path, '{"warnings": []}')
    checked = []

    def check(_job, _request, given):
        checked.extend(item.id for item in given)
        return [Verdict(path=item.id, kind="raster", go=True, error=None, message="") for item in given]

    monkeypatch.setattr(steps, "check", check)
    monkeypatch.setattr(steps, "identify_input", identify)
    outcomes, fresh = triage(request, items, "run")
    assert checked == ["b"]
    assert outcomes["a"].status == "skipped"
    assert [scene.item.id for scene in fresh] == ["b"]


def test_an_earlier_product_that_is_damaged_costs_its_scene_alone(tmp_path, monkeypatch):
    from flows.batch import steps
    from flows.batch.triage import triage

    request, items = with_a_product_of_the_first(tmp_path, "{")
    verdicts = [Verdict(path=item.id, kind="raster", go=True, error=None, message="") for item in items]
    monkeypatch.setattr(steps, "check", lambda *_: verdicts)
    monkeypatch.setattr(steps, "identify_input", identify)
    outcomes, fresh = triage(request, items, "run")
    assert outcomes["a"].error.startswith("ProductError: ")
    assert "summary.json: cannot be read" in outcomes["a"].error
    assert [scene.item.id for scene in fresh] == ["b"]


LEDGER_0_1_0 = """
CREATE TABLE runs (id TEXT PRIMARY KEY, job TEXT NOT NULL, started TEXT NOT NULL, finished TEXT, outcome TEXT);
CREATE TABLE products (
    scene TEXT PRIMARY KEY, request TEXT NOT NULL, product TEXT, status TEXT NOT NULL, error TEXT,
    run TEXT NOT NULL, finished TEXT NOT NULL, headline TEXT NOT NULL
);
CREATE TABLE fingerprints (files TEXT PRIMARY KEY, sha256 TEXT NOT NULL, content_hashed INTEGER NOT NULL);
"""


def test_a_ledger_of_before_goes_on(tmp_path):
    scene = write_raster(tmp_path / "a.tif", ONES)
    request = make_request(Job.model_validate(RASTER_JOB), tmp_path / "out")
    request.out.root.mkdir()
    # As 0.1.0 found it for these bytes: the bytes of the file, and what its header says.
    facts = asdict(read_header(str(scene)))
    del facts["path"]
    sha256 = combined_sha256([("file", facts_sha256(facts)), ("file/0", file_sha256(scene))])
    with closing(sqlite3.connect(request.out.ledger)) as connection, connection:
        connection.executescript(LEDGER_0_1_0)
        connection.execute("INSERT INTO fingerprints VALUES ('x', ?, 1)", (sha256,))
        row = ("a", request.key(sha256), "p", "done", None, "run", "now", "{}")
        connection.execute("INSERT INTO products VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    ledger, item = Ledger(request.out.ledger), Input(id="a", files={"file": str(scene)})
    assert ledger.product("a").product == "p"
    found = identify(request, item)
    assert request.key(found.sha256) == ledger.product("a").request
    assert recall(request, item) == found


# What would take all memory or time


def sparse(path: Path, start: bytes, n_bytes: int) -> Path:
    path.write_bytes(start)
    os.truncate(path, n_bytes)
    return path


def volume_of(path: Path, shape: tuple[int, int, int]) -> bytes:
    content = bytearray(write_volume(path, np.ones((4, 4, 4), np.int16)).read_bytes())
    content[42:48] = np.array(shape, "<i2").tobytes()
    path.unlink()
    return bytes(content)


def many_bands(folder: Path) -> Path:
    bands = "".join(f'<VRTRasterBand dataType="Byte" band="{k}"/>' for k in range(1, 65536))
    path = folder / "scene.vrt"
    path.write_text(f'<VRTDataset rasterXSize="30" rasterYSize="40">{bands}</VRTDataset>')
    return path


def many_bands_in_tiff(folder: Path) -> Path:
    profile = {"driver": "GTiff", "width": 1, "height": 1, "count": 65535, "dtype": "uint8", "interleave": "pixel"}
    with rasterio.open(folder / "a.tif", "w", crs="EPSG:32632", transform=rasterio.Affine(1, 0, 1, 0, 1, 0), **profile):
        return folder / "a.tif"


def bomb_of_vrts(folder: Path) -> Path:
    write_raster(folder / "a.tif", ONES)
    (folder / "scene.vrt").write_text(bomb(folder, folder, ""))
    return folder / "scene.vrt"


BOMBS = {
    "four to the fourteenth": (bomb_of_vrts, "OversizedSceneError"),
    "65,535 bands": (many_bands, "OversizedSceneError"),
    "65,535 bands in a TIFF": (many_bands_in_tiff, "OversizedSceneError"),
    "a sparse volume": (
        lambda folder: sparse(folder / "a.nii", volume_of(folder / "b.nii", (32767, 32767, 2048)), 4 << 40),
        "OversizedSceneError",
    ),
    "a sparse raster": (
        lambda folder: sparse(folder / "a.tif", write_raster(folder / "b.tif", ONES).read_bytes(), 4 << 40),
        "OversizedSceneError",
    ),
    "a sparse VRT": (lambda folder: sparse(folder / "a.vrt", b"<VRTDataset", 4 << 40), "OversizedSceneError"),
    "a sparse file of nothing": (lambda folder: sparse(folder / "a.tif", b"", 4 << 40), "OversizedSceneError"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_end_in_an_error_with_a_name(tmp_path, guard, case):
    make, error = BOMBS[case]
    path = make(tmp_path)
    verdict = guard.ask({"path": str(path), "kind": None})
    assert verdict.error == error, verdict.message
    assert "its reader" not in verdict.message, "that is named before the child's memory or time ends"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".onnx"])
@pytest.mark.parametrize("named", ["weights", "card"])
def test_a_pipe_is_no_model(tmp_path, suffix, named):
    weights, card = tmp_path / f"a{suffix}", tmp_path / "a.json"
    network = {".onnx": {"name": "onnx", "arguments": {"stride": [1, 1]}}}.get(suffix, {"name": "unet"})
    kept = fake_card("identity", {}, ("b",), "raster").model_dump(mode="json", exclude_none=True)
    told = kept | {"network": network, "weights": {"file": weights.name, "sha256": "0" * 64}}
    card.write_text(json.dumps(told))
    weights.touch()
    pipe_of = weights if named == "weights" else card
    pipe_of.unlink()
    os.mkfifo(pipe_of)
    # In a process of its own: on a pipe it would wait for ever.
    program = (
        "import sys\nfrom models.errors import ModelError\nfrom models.registry import resolve_model, verify_model\n"
        "try:\n    verify_model(*resolve_model(sys.argv[1]))\n"
        "except ModelError as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(card)], capture_output=True, text=True, timeout=120, check=True
    )
    wanted = {"weights": "WeightsError", "card": "CardError"}[named]
    assert done.stdout.startswith(wanted), done.stdout + done.stderr
    assert "a folder, pipe or device, not a file" in done.stdout


@pytest.mark.parametrize("left", ["pipe", "hole", "nothing"])
def test_weights_that_are_no_file_are_refused_before_a_worker_is_asked(tmp_path, left):
    weights = tmp_path / "a.safetensors"
    match left:
        case "pipe":
            os.mkfifo(weights)
        case "hole":
            sparse(weights, b"", 1 << 42)
    kept = fake_card("identity", {}, ("b",), "raster").model_dump(mode="json", exclude_none=True)
    told = kept | {"network": {"name": "unet"}, "weights": {"file": weights.name, "sha256": "0" * 64}}
    (tmp_path / "a.json").write_text(json.dumps(told))
    job = Job.model_validate(RAW | {"model": {"name": str(tmp_path / "a.json")}})
    with pytest.raises(WeightsError, match=r"the weights cannot be read: (a folder, pipe|a sparse file|No such file)"):
        make_request(job, tmp_path / "out")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_weights_that_declare_more_than_they_hold_are_refused_before_they_are_unpacked(compression):
    import torch

    from models.weights.state_dict import unpickle_state_dict

    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(1 << 22)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", compression) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    content = packed.getvalue()
    if compression == zipfile.ZIP_STORED:
        # The directory alone says that one of the tensors has gigabytes.
        start = content.rindex(b"PK\x01\x02", 0, content.rindex(b"/data/0"))
        content = content[: start + 24] + (0xF0000000).to_bytes(4, "little") + content[start + 28 :]
    with pytest.raises(WeightsError, match=r"declares \d+ bytes and is \d+ bytes long"):
        unpickle_state_dict("a.pt", content)


def test_safetensors_whose_header_claims_gigabytes_are_refused(tmp_path):
    import torch

    from models.weights.files import parse_weights, read_weights

    claim = b'{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}'
    for length, header in ((1 << 33, b"{}"), (80, claim)):
        content = length.to_bytes(8, "little") + header.ljust(80)
        with pytest.raises(WeightsError, match="damaged, or not safetensors"):
            parse_weights(tmp_path / "a.safetensors", content)
    path = sparse(tmp_path / "a.safetensors", (1 << 33).to_bytes(8, "little") + b"{", 1 << 42)
    with pytest.raises(WeightsError, match="a sparse file, with next to nothing"):
        read_weights(path, "0" * 64, torch.nn.Linear(1, 1))


ALIASES = "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}' if k else '1'] * 10)}]\n" for k in range(12))
EXPANDING = {
    "aliases of aliases": ALIASES,
    "mappings of mappings": "a0: &a0 {x: 1}\n"
    + "".join(f"a{k}: &a{k} {{l: *a{k - 1}, r: *a{k - 1}, m: *a{k - 1}}}\n" for k in range(1, 20)),
    "an alias of itself": "a: &a [*a]\n",
}


@pytest.mark.parametrize("case", EXPANDING)
def test_yaml_that_grows_is_refused(tmp_path, case):
    (tmp_path / "job.yaml").write_text(EXPANDING[case] + JOB)
    with pytest.raises(JobError, match=r"not YAML: .* Write (it|them) out"):
        load_job(str(tmp_path / "job.yaml"))
    (tmp_path / "inference.yaml").write_text(EXPANDING[case])
    with pytest.raises(CardError, match=r"cannot be read: .* Write (it|them) out"):
        read_config(tmp_path / "inference.yaml")


def test_yaml_on_the_command_line_does_not_grow_either(tmp_path):
    (tmp_path / "job.yaml").write_text(JOB)
    with pytest.raises(JobError, match="the value is not YAML"):
        load_job(str(tmp_path / "job.yaml"), ("title=&a [*a]",))


def test_yaml_with_plain_aliases_is_read(tmp_path):
    text = JOB.replace("{threshold: 0}", "&a {threshold: 0}").replace("{b: {band: 1}}", "{b: &b {band: 1}, c: *b}")
    (tmp_path / "job.yaml").write_text(text)
    assert load_job(str(tmp_path / "job.yaml")).source.bands["c"].band == 1


# Who may only read, and where output goes


def test_whoever_may_only_read_the_folder_cannot_hold_its_lock():
    if os.geteuid():
        pytest.skip("takes another user, whom only root can become")
    program = (
        "import fcntl, os, pathlib, sys\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "kept = []\n"
        "for path in pathlib.Path(sys.argv[1]).rglob('*'):\n"
        "    for flags in (os.O_RDONLY, os.O_RDWR):\n"
        "        try:\n"
        "            kept.append(os.open(path, flags))\n"
        "            fcntl.flock(kept[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "        except OSError:\n"
        "            pass\n"
        "print(len(kept), flush=True)\n"
        "sys.stdin.read()"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        out = OutFolder(root / "out")
        out.scratch.mkdir(parents=True)
        # As 0.1.0 made it, for everybody to read.
        (out.scratch / "lock").touch(0o644)
        with out.locked(), Tickets(out.tickets).offered(Ticket("a", "b", ())):
            (ticket,) = out.tickets.glob("*.json")
            assert not ticket.stat().st_mode & 0o077
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with child:
            assert int(child.stdout.readline()) > 0
            with out.locked():
                assert out.is_locked()
            assert not out.is_locked()
            child.stdin.close()


@pytest.mark.parametrize("target", ["/proc/self/fd/1", "/dev/null", "pipe", "file"])
@pytest.mark.parametrize("is_link", [True, False])
def test_what_is_written_replaces_no_device_pipe_or_link(tmp_path, target, is_link):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    named = tmp_path / target
    if is_link:
        named = tmp_path / "named"
        named.symlink_to(target)
    if target == "file" and not is_link:
        require_folder(named, "--json")
        return
    with pytest.raises(JobError, match="link, pipe or device; name a plain file, or - for standard output"):
        require_folder(named, "--json")


@pytest.mark.parametrize("name", ["a.json.part", ".a.json.part"])
def test_a_file_is_not_written_through_a_link_that_lies_in_wait(tmp_path, name):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / name).symlink_to(precious)
    write_json(Report((), (), Reading(), Choices()), tmp_path / "a.json")
    assert precious.read_text() == "kept"
    assert json.loads((tmp_path / "a.json").read_text())["pairs"] == []


def test_a_dash_is_standard_output(tmp_path):
    mask = write_raster(tmp_path / "a.tif", ONES)

    def evaluated(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flows.cli", "evaluate", str(mask), str(mask), *options]
        there = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=there, cwd=tmp_path)

    done = evaluated("--json", "-")
    assert [pair["id"] for pair in json.loads(done.stdout)["pairs"]] == ["a"]
    assert done.stderr
    assert evaluated("--csv", "-").stdout.startswith("pair,label,class,metric")
    done = evaluated("--csv", "-", "--json", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert not (tmp_path / "-").exists()


# The folder of products


@pytest.mark.parametrize("name", [".swathe", ".products", "fires", "patients", "nights", ".products/a", "state.sqlite"])
def test_links_in_the_folder_of_products_are_refused(tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out = OutFolder(tmp_path / "out")
    (out.root / name).parent.mkdir(parents=True)
    (out.root / name).symlink_to(elsewhere / "db" if name == "state.sqlite" else elsewhere)
    with pytest.raises(StoreError, match="runs write below --out alone"), out.locked():
        pytest.fail("the folder was taken")
    with pytest.raises(StoreError, match="runs write below --out alone") if name == ".swathe" else nullcontext():
        out.keep_inputs(["a.tif"])
    assert list(elsewhere.iterdir()) == []


def test_a_product_is_not_moved_through_a_link(tmp_path):
    out = OutFolder(tmp_path / "out")
    finished = out.scratch / "scenes" / "a" / "product"
    finished.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (out.root / ".products").mkdir()
    (out.root / ".products" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="runs write below --out alone"):
        publish(out, "a", "key", finished)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_scene_that_is_a_link_elsewhere_is_replaced_and_not_followed(tmp_path):
    out = OutFolder(tmp_path / "out")
    finished = out.scratch / "scenes" / "a" / "product"
    finished.mkdir(parents=True)
    (finished / "mask.tif").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.link("a").symlink_to(elsewhere)
    publish(out, "a", "key", finished)
    assert list(elsewhere.iterdir()) == []
    assert (out.link("a") / "mask.tif").exists()


# Cards


@pytest.mark.parametrize("file", ["/etc/passwd", "../secret.safetensors", "a/../../b.pt"])
def test_weights_lie_beside_their_card(file):
    with pytest.raises(ValidationError, match="leads out of the card's folder"):
        Weights(file=file, sha256="0" * 64)


# Names


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_scene_is_called_like_what_a_run_keeps(tmp_path, name):
    for called in (name, name.upper()):
        with pytest.raises(SceneError, match="cannot be called so"):
            scene_id(called)
    # A scene that came before costs itself only, and OUT can be used afterwards.
    write_raster(tmp_path / "in" / f"{name}.tif", ONES)
    write_raster(tmp_path / "in" / "a.tif", ONES)
    items = list_inputs([str(tmp_path / "in")], Job.model_validate(RAW))
    assert [(item.id, item.error is None) for item in items if item.id == "a"] == [("a", True)]
    assert ["cannot be called so" in (item.error or "") for item in items if item.id != "a"] == [True]


def test_what_sqlite_lays_beside_the_ledger_is_no_place_for_a_scene(tmp_path):
    """SQLite would take a scene of that name for what a run that died had left, or could not open the ledger at all."""
    out = OutFolder(tmp_path / "out")
    ledger = Ledger(out.ledger)
    kept = set()
    for mode in ("DELETE", "WAL"):
        ledger.begin_run(mode, "a", "2026-01-01")
        with closing(sqlite3.connect(out.ledger)) as database:
            database.execute(f"PRAGMA journal_mode={mode}")
            database.execute("BEGIN IMMEDIATE")
            database.execute("DELETE FROM runs")
            kept |= {path.name for path in out.root.iterdir() if path.is_file()}
    assert len(kept) == 4
    for name in kept:
        with pytest.raises(SceneError, match="cannot be called so"):
            scene_id(name)


TWINS = {
    "two files for one role": ({"post": "{scene}_*.tif"}, ("x_doe-anna.tif", "x_doe-berta.tif")),
    "two scenes of one id": ({}, ("x doe.tif", "x+doe.tif")),
}


@pytest.mark.parametrize("case", TWINS)
def test_an_error_about_several_files_names_none_of_them(tmp_path, caplog, case):
    patterns, names = TWINS[case]
    for name in names:
        write_raster(tmp_path / "in" / name, ONES)
    request = make_request(Job.model_validate(RAW | {"source": SOURCE | {"files": patterns}}), tmp_path / "out")
    (item,) = fail_clashes(list_scenes([str(tmp_path / "in")], request.job), "Name them apart")
    assert all(name in item.error for name in names), "who looks at a terminal has to know which"
    (verdict,) = check_inputs([item], request.job, request.card.channels)
    with caplog.at_level("INFO", "flows"):
        outcome = failed(request, item, f"{verdict.error}: {verdict.message}", "run")
    write_batch(request.out.root, "a", [outcome])
    shown = batch_text("a", ranked([outcome]), tmp_path)
    told = (request.out.root / "batch.csv").read_text() + caplog.text + shown
    assert item.id in told
    assert not [name for name in names if Path(name).stem in told]


def test_a_flow_tells_prefect_of_no_files_that_cannot_be_listed(tmp_path):
    table = tmp_path / "doe-anna.csv"
    table.write_text("neither,of,these\n1,2,3\n")
    with pytest.raises(JobError, match="doe-anna"):
        list_inputs([str(table)], Job.model_validate(RAW))
    with pytest.raises(JobError, match=r"cannot be listed \(JobError\)") as caught:
        listed([str(table)], make_request(Job.model_validate(RAW), tmp_path / "out"))
    assert "doe" not in str(caught.value)


def test_a_path_that_is_not_there_stands_in_no_table(tmp_path):
    job = Job.model_validate(RAW)
    (item,) = list_inputs([str(tmp_path / "doe-anna.tif")], job)
    outcome = failed(make_request(job, tmp_path / "out"), item, f"SceneError: {item.error}", "run")
    assert "no such file" in outcome.error
    assert str(tmp_path) not in outcome.error


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_path_with_an_end_of_line_is_one_path(tmp_path, end):
    names = [str(write_raster(tmp_path / f"a{end}b.tif", ONES)), str(write_raster(tmp_path / "c.tif", ONES))]
    kept = OutFolder(tmp_path / "out").keep_inputs(names)
    items = list_inputs([kept], Job.model_validate(RAW))
    assert [item.files["file"] for item in items] == names
    assert [item.error for item in items] == [None, None]
    # Those of users are lines: only what editors write ends one.
    lines = tmp_path / "list.txt"
    lines.write_bytes("\r\n".join(names[1:]).encode() if "\n" in end else "\n".join(names).encode())
    assert [item.files["file"] for item in list_inputs([f"@{lines}"], Job.model_validate(RAW))] == names["\n" in end :]


def dangerous(name: str) -> str:
    return f"{name}\x1b[2J\x1b]0;owned\x07\x9b31m\r\nforged,line\u202e"


STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")


def test_class_names_steer_no_terminal_log_or_table(tmp_path, caplog):
    entry = ClassEntry(name=dangerous("forest"), colour="#000000")
    assert entry.name.startswith("forest\u241b[2J\u241b]0;owned\u2407\ufffd31m\u240d\u240aforged")
    names = [entry.name, "other"]
    card = card_without_weights(
        "threshold", {"threshold": 0, "names": [dangerous("forest"), "other"]}, ("b",), "raster"
    )
    assert [one.name for one in card.classes] == names
    mask = write_raster(tmp_path / "mask.tif", ONES)
    table = "".join(f"<FieldDefn index='{k}'><Usage>{usage}</Usage></FieldDefn>" for k, usage in enumerate((5, 2)))
    # XML holds no ESC; the others of a kind it does.
    (tmp_path / "mask.tif.aux.xml").write_text(
        f"<PAMDataset><GDALRasterAttributeTable>{table}<Row><F>1</F><F>forest&#x9b;31m&#13;&#10;forged</F></Row>"
        "</GDALRasterAttributeTable></PAMDataset>"
    )
    (named,) = class_names(mask).values()
    assert named.name == "forest\ufffd31m\u240d\u240aforged"
    assert not STEERING.search("".join((*names, named.name)))


def test_names_of_models_of_other_programs_are_cleaned(tmp_path):
    labels = {dangerous("background"): 0, dangerous("organ"): 1}
    found = [entry.name for entry in _classes({"labels": labels})]
    assert [name[:6] for name in found] == ["backgr", "organ\u241b"]
    assert not STEERING.search("".join(found))


def test_names_of_files_steer_no_terminal_log_or_table(tmp_path, caplog):
    name = "a\x1b[2J\x9b31m\nforged.tif"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"no picture")
    job = Job.model_validate(RAW)
    (item,) = list_inputs([str(tmp_path / "in")], job)
    (verdict,) = check_files([str(tmp_path / "in")])
    shown = io.StringIO()
    console = PlainConsole(file=shown, width=300)
    for line in verdicts([verdict]):
        console.print(line)
    console.print(outcomes_table([SceneOutcome(scene="a", status="failed", error=dangerous("x"))], tmp_path))
    assert "forged" in shown.getvalue()
    assert not STEERING.search(shown.getvalue())

    request = make_request(job, tmp_path / "out")
    with caplog.at_level("INFO", "flows"):
        outcome = failed(request, item, f"UnreadableSceneError: {tmp_path}/in/{name}: {dangerous('x')}", "run")
    write_batch(request.out.root, "a", [outcome])
    logged = [JsonFormatter().format(record) for record in caplog.records]
    told = [(request.out.root / "batch.csv").read_text(), caplog.messages[0], *logged, outcome.error]
    assert not [text for text in told if STEERING.search(text)]
    assert "\n" not in outcome.error
    # However it is spelt: as it is, as it is shown, and as Python quotes it.
    for spelt in (name, str(SceneError(name)).replace("\n", "\u240a"), repr(name)[1:-1]):
        assert item.pseudonymised(f"x {spelt}") == f"x {item.id}"


def test_errors_of_ours_steer_no_terminal():
    shown = str(UnreadableSceneError(f"{dangerous('a')}: damaged.\nSecond line"))
    assert not STEERING.search(shown)
    assert shown.count("\n") == 2, "lines are ours as well"
    assert str(pickle.loads(pickle.dumps(UnreadableSceneError(dangerous("a"))))) == str(SceneError(dangerous("a")))


def analyse_never(folder: Path) -> tuple[Findings, dict[str, Any], Caption]:
    pytest.fail(f"{folder}: the mask was analysed")


def test_an_analysis_that_fails_names_no_file_in_its_table(tmp_path):
    path = write_raster(tmp_path / "doe-anna.tif", ONES)

    def analyse(folder: Path) -> tuple[Findings, dict[str, Any], Caption]:
        raise UnreadableSceneError(f"{path}: cannot be read, {path.name}")

    (outcome,) = analyse_masks(tmp_path / "out", "a", [MaskTask("x", {"mask": str(path)}, {}, analyse)])
    assert outcome.error == "UnreadableSceneError: x: cannot be read, x"
    assert "doe" not in (tmp_path / "out" / "batch.csv").read_text()


def test_names_that_are_no_utf8_cost_their_scene_alone(tmp_path):
    folder = tmp_path / "in"
    write_raster(folder / "a.tif", np.arange(1200, dtype=np.int16).reshape(1, 40, 30))
    wrong = os.fsencode(folder) + b"/caf\xe9.tif"
    shutil.copy(folder / "a.tif", wrong)
    job = Job.model_validate(RAW)
    items = list_inputs([str(folder)], job)
    checked = {verdict.path: verdict for verdict in check_inputs(items, job, ("b",))}
    assert {name: verdict.go for name, verdict in checked.items()} == {"a": True, "caf_": False}
    assert "not UTF-8" in checked["caf_"].message
    assert [verdict.go for verdict in check_files([str(folder)])] == [True, False]
    outcome = failed(make_request(job, tmp_path / "out"), items[1], f"SceneError: {checked['caf_'].message}", "run")
    assert outcome.error.encode()
    assert Ledger(tmp_path / "out" / "state.sqlite").product("caf_").error == outcome.error
    pairs = {pair.id: pair for pair in list_pairs(folder, folder)}
    with pytest.raises(SceneError, match="not UTF-8"), opened_pair(pairs["caf\ufffd"], Reading()):
        pytest.fail("the pair was opened")
    task = MaskTask("x", {"mask": os.fsdecode(wrong)}, {}, analyse_never)
    (masked,) = analyse_masks(tmp_path / "analysed", "a", [task])
    assert masked.error == "SceneError: x: a name that is not UTF-8. Rename it, such as with convmv"


# Tracebacks


def swathe(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as users do, in a process that nothing can hang."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(
        command, capture_output=True, timeout=100, check=False, cwd=folder, errors="replace", text=True
    )


def refused(done: subprocess.CompletedProcess[str], error: str, *told: str) -> None:
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith(f"{error}: ")
    shown = " ".join(done.stderr.split())
    assert not [text for text in told if text not in shown], shown


def test_arguments_that_are_no_utf8_are_refused(tmp_path):
    done = swathe("status", os.fsencode(tmp_path) + b"/caf\xe9")
    refused(done, "SceneError", "caf\ufffd", "not UTF-8")


def filled_ledger(out: Path) -> Path:
    ledger = NightLedger(out / "state.sqlite")
    ledger.begin_run("run", "a", "2026-01-01T00:00:00+00:00")
    ledger.record(
        ProductRow(scene="x", request="request", product="product", status="done", error=None, headline={"ha": 1.0}),
        "run",
        "2026-01-01T00:00:00+00:00",
    )
    ledger.enter(Night(date="2026-01-01", job="a"), "2026-01-01T00:00:00+00:00")
    FireLedger(out / "state.sqlite").enter([])
    with closing(sqlite3.connect(out / "state.sqlite")) as database, database:
        database.execute("INSERT INTO alerts VALUES ('k', 1, 1)")
        payload = json.dumps({"key": "k", "text": "burns"})
        database.execute("INSERT INTO alert_messages VALUES ('i', 'raised', ?, '2026-01-01', 1)", (payload,))
    return out / "state.sqlite"


def overwrite(path: Path, begin: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(content)


def run_sql(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(statement)


DEEP = "[" * 100_000
DAMAGE = {
    "no database": lambda path: path.write_bytes(b"no database" * 1000),
    "a damaged header": lambda path: overwrite(path, 0, b"\0" * 40),
    "a damaged page": lambda path: overwrite(path, 4096, b"\xff" * 40960),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "other tables": lambda path: run_sql(path, "DROP TABLE products; CREATE TABLE products (a)"),
    "no JSON": lambda path: run_sql(path, "UPDATE products SET headline = '{'"),
    "a list for an object": lambda path: run_sql(path, "UPDATE products SET headline = '[]'"),
    "deep JSON": lambda path: run_sql(path, f"UPDATE products SET headline = '{DEEP}'"),
    "bytes for text": lambda path: run_sql(path, "UPDATE products SET headline = x'ff00'"),
    "text that is none": lambda path: run_sql(path, "UPDATE products SET scene = CAST(x'ff' AS TEXT)"),
    "a night that is none": lambda path: run_sql(path, "UPDATE nights SET facts = '{}'"),
    "a night at no time": lambda path: run_sql(path, "UPDATE nights SET finished = 'yesterday'"),
    "an alert that is none": lambda path: run_sql(path, "UPDATE alert_messages SET payload = '[1]'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_ledger_is_an_error_with_a_name(tmp_path, damage):
    path = filled_ledger(tmp_path / "out")
    assert status_of(tmp_path / "out", "2026-01-01T01:00:00+00:00").alerts == ("burns",)
    DAMAGE[damage](path)
    with pytest.raises(StoreError, match=r"state\.sqlite: the ledger is damaged, or is none .* move it away"):
        status_of(tmp_path / "out", "2026-01-01T01:00:00+00:00")


def test_a_damaged_ledger_ends_commands_by_name(tmp_path):
    filled_ledger(tmp_path / "out").write_bytes(b"no database" * 1000)
    refused(swathe("status", tmp_path / "out", "--home", tmp_path), "StoreError", "the ledger is damaged")


SERVICES_FILES = {
    "no JSON": b"{",
    "deep JSON": DEEP.encode(),
    "no list": b"{}",
    "no services": b"[1]",
    "other fields": b'[{"name": "server"}]',
    "no number": b'[{"name": "server", "pid": [], "created": 1}]',
    "no UTF-8": b'["\xff"]',
}


@pytest.mark.parametrize("damage", SERVICES_FILES)
def test_a_damaged_file_of_services_is_an_error_with_a_name(tmp_path, damage):
    path = tmp_path / "services.json"
    path.write_bytes(SERVICES_FILES[damage])
    with pytest.raises(SwatheError, match=r"services\.json: does not say which services run"):
        read_services(path)


def test_a_damaged_file_of_services_ends_commands_by_name(tmp_path):
    (tmp_path / SERVICES).write_text("{")
    for command in ("status", "down"):
        refused(swathe(command, "--home", tmp_path), "SwatheError", "does not say which services run")


# So deep that reading them ends in Python, and so that what walks through them would.
DEPTHS = (100_000, 900, 80)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("opened", ["[", "{a: ", "- "])
def test_deep_yaml_is_an_error_with_a_name(tmp_path, depth, opened):
    # A block in a block for each space: long, and no deeper than what Python can hold.
    value = opened * depth if opened != "- " else opened * min(depth, 900)
    job = tmp_path / "job.yaml"
    closing_signs = {"[": "]", "{a: ": "}"}.get(opened, "") * depth
    job.write_text(f"job:\n  {value}1{closing_signs}\n")
    with pytest.raises(JobError, match=r"job\.yaml: not YAML: nested deeper than 64 levels"):
        load_job(str(job))
    with pytest.raises(JobError, match=r"--set title.*nested deeper"):
        load_job("fire", (f"title={value}1{closing_signs}",))


@pytest.mark.parametrize("text", ["!!bool perhaps", "!!timestamp x", "!!int ''", "2026-13-45", "&a [*a]"])
def test_yaml_that_says_nothing_is_an_error_with_a_name(tmp_path, text):
    (tmp_path / "job.yaml").write_text(f"job: a\ntitle: {text}\n")
    with pytest.raises(JobError, match=r"job\.yaml: not YAML: "):
        load_job(str(tmp_path / "job.yaml"))


@pytest.mark.parametrize("depth", DEPTHS)
def test_deep_json_is_an_error_with_a_name(tmp_path, depth):
    text = "[" * depth + "]" * depth
    for name, read, error in (
        ("card.json", load_card, CardError),
        ("inference.json", read_config, CardError),
        ("inference.yaml", read_config, CardError),
        ("plans.json", _read, CardError),
        ("summary.json", read_published, ProductError),
    ):
        (tmp_path / name).write_text(f'{{"network_def": {text}}}')
        with pytest.raises(error, match=re.escape(name)):
            read(tmp_path / name)
    (tmp_path / "run.json").write_text(text)
    assert read_effort(tmp_path / "run.json") is None
    kept = tmp_path / "a.scenes.json"
    kept.write_text(text)
    with pytest.raises(JobError, match="cannot be read"):
        read_manifest(f"@{kept}")


def test_deep_json_in_vector_files_and_catalogues_is_an_error_with_a_name(tmp_path):
    deep = '{"":' * 1020
    (tmp_path / "a.geojson").write_text(json.dumps(FEATURES)[:-1] + f', "crs": {deep}')
    with pytest.raises(UndeclaredError, match="its CRS is to be fetched"):
        read_vectors(tmp_path / "a.geojson")
    for number, geo in enumerate((deep.encode(), b"[]", b'{"primary_column": "x", "columns": []}', b"{")):
        table = pa.table({"geometry": [b""]}).replace_schema_metadata({b"geo": geo})
        pq.write_table(table, tmp_path / f"{number}.parquet")
        with pytest.raises(PolygonError, match="not GeoParquet"):
            read_vectors(tmp_path / f"{number}.parquet")
    (tmp_path / "catalog.json").write_text(DEEP)
    with pytest.raises(CatalogueError, match="no STAC catalogue can be read there"):
        list(search(str(tmp_path / "catalog.json"), StacSearch(assets={"a": "b"}), "2026-01-01", "2026-01-02"))


@pytest.mark.parametrize("side", ["predicted", "reference", "a link to it", "in a folder", "ids"])
def test_a_pipe_given_to_evaluate_is_an_error_with_a_name(tmp_path, side):
    mask = write_raster(tmp_path / "masks" / "a.tif", ONES)
    pipe = tmp_path / "pipes" / "a.tif"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    (tmp_path / "link.tif").symlink_to(pipe)
    predicted, reference, *ids = {
        "predicted": (pipe, mask),
        "reference": (mask, pipe),
        "a link to it": (mask, tmp_path / "link.tif"),
        "in a folder": (tmp_path / "masks", pipe.parent),
        "ids": (mask, mask, str(pipe), str(mask)),
    }[side]
    told = {"in a folder": "no mask found", "ids": "there is no file"}.get(side, "no file, but a pipe")
    with pytest.raises(SceneError, match=told):
        with_ids(list_pairs(predicted, reference), predicted, reference, *(ids or (None, None)))
    if side == "predicted":
        refused(swathe("evaluate", pipe, mask), "SceneError", told)
