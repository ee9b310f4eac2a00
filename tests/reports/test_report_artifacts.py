"""What the Prefect UI shows: numbers, a quick-look, what needs a look; nothing that files are called."""

import asyncio
import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scenes import write_raster

from flows.display.artifacts import PRODUCTS_URL, artifact_key, batch_text, scene_text
from tasks.out.outcome import SceneOutcome
from tasks.reports.index_rank import ranked

pytestmark = pytest.mark.usefixtures("shared_worker")

JOB = """
job: Area_Test
kind: raster
model: {name: identity, arguments: {n_classes: 3}}
analysis: {kind: area}
"""
HEADLINE = {"burned_ha": 12.5, "lesions": None}


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_key_is_one_that_prefect_takes_and_no_other_scene_has_it(job, scene):
    key = artifact_key(job, scene)
    assert re.fullmatch(r"[a-z0-9-]+", key)
    assert artifact_key(job, f"{scene}x") != key
    assert artifact_key(job, scene.upper()) != key or scene.upper() == scene


def test_a_plain_name_is_its_own_key():
    assert artifact_key("fire", "creek-2024") == "fire-creek-2024"


def test_text_from_outside_is_no_markup(tmp_path):
    evil = "![x](http://h/x.png) <img src=x> [a](b) `c` **d**\n# e"
    text = scene_text(
        "fire",
        SceneOutcome(scene=evil, status="done", error=None, product=None, headline={evil: 1.0}, warnings=(evil,)),
        tmp_path,
        None,
    )
    unescaped = re.sub(r"\\.", "", text)
    assert not re.search(r"!\[|\]\(|<|`c|^# e", unescaped, re.MULTILINE)


def test_links_are_paths_until_a_server_shows_them(tmp_path, monkeypatch):
    outcome = SceneOutcome(scene="a b", status="done", error=None, product=None, headline=HEADLINE)
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "report.html").write_bytes(b"")
    monkeypatch.delenv(PRODUCTS_URL, raising=False)
    assert f"`{tmp_path}/a b/report.html`" in scene_text("fire", outcome, tmp_path, None)
    monkeypatch.setenv(PRODUCTS_URL, "https://maps.example/products/")
    text = scene_text("fire", outcome, tmp_path, None)
    assert f"(https://maps.example/products/{tmp_path.name}/a%20b/report.html)" in text
    assert "summary.json" not in text, "files that are not there are not offered"


def test_a_batch_names_what_failed_and_what_stands_out(tmp_path):
    rows = [
        SceneOutcome(scene=name, status="done", error=None, product=None, headline={"burned_ha": 10.0 + k})
        for k, name in enumerate("abcdef")
    ]
    rows += [
        SceneOutcome(scene="torn", status="failed", error="SceneError: ends early"),
        SceneOutcome(scene="far", status="done", error=None, product=None, headline={"burned_ha": 900.0}),
    ]
    text = batch_text("fire", ranked(rows), tmp_path)
    assert "8 scenes: 1 failed, 0 with warnings, 1 outlying" in text
    assert "**torn**: SceneError: ends early" in text
    assert re.search(r"\*\*far\*\*: Burned \\\(ha\\\) 900 ", text)
    assert "**a**" not in text


@pytest.mark.usefixtures("prefect_server")
def test_a_run_leaves_its_artifacts_and_says_no_file_name(tmp_path: Path):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    from flows.batch.flow import segment
    from flows.batch.orders import Batch

    image = np.random.default_rng(0).integers(0, 3, (1, 80, 90)).astype(np.uint8)
    write_raster(tmp_path / "Mustermann_Erika.tif", image)
    (tmp_path / "Mustermann_Emil.tif").write_bytes(b"II*\0")
    table = tmp_path / "scenes.csv"
    table.write_text(f"scene,file\nP-1,{tmp_path}/Mustermann_Erika.tif\nP-2,{tmp_path}/Mustermann_Emil.tif\n")
    job = tmp_path / "job.yaml"
    job.write_text(JOB)
    batch = Batch(inputs=[str(table)], job=str(job), out=tmp_path / "out", workers=1, device="cpu")
    run = segment(batch, return_state=True).state_details.flow_run_id

    async def artifacts():
        async with get_client() as client:
            # Other tests' runs left theirs on the same server.
            of_this = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
            return await client.read_artifacts(artifact_filter=of_this, limit=200)

    found = asyncio.run(artifacts())
    assert "Mustermann" not in str([(artifact.key, artifact.description, artifact.data) for artifact in found])
    told = [artifact for artifact in found if artifact.type in {"table", "markdown"}]
    by_type = {(artifact.type, artifact.description.split(":")[0]): artifact for artifact in told}
    numbers = json.loads(by_type["table", "P-1"].data)
    assert {"what": "Observed", "value": "100", "unit": "%"} in numbers
    scenes = json.loads(by_type["table", "Area_Test"].data)
    assert [(row["scene"], row["status"]) for row in scenes] == [("P-2", "failed"), ("P-1", "done")]
    assert "UnreadableSceneError" in scenes[0]["look at it for"]
    assert by_type["markdown", "P-1"].key is None
    picture = re.search(r"data:image/jpeg;base64,([\w+/=]+)\)", by_type["markdown", "P-1"].data)[1]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).width <= 768
    assert "P-2" in by_type["markdown", "Area_Test"].data.replace("\\", "")
    assert (tmp_path / "out" / "P-1" / "report.html").is_file()
    assert b"P-2" in (tmp_path / "out" / "index.html").read_bytes()
    assert b"Mustermann" not in (tmp_path / "out" / "index.html").read_bytes()
    assert b"Mustermann" not in (tmp_path / "out" / "P-1" / "report.html").read_bytes()
