"""A scene whose files are replaced while they are read has no product of either content."""

import numpy as np
import pytest
from scenes import write_raster

from tasks.errors import ChangedSceneError
from tasks.inputs.input import Input
from tasks.intake.describe import identify, require_unchanged
from tasks.intake.request import make_request
from tasks.jobs.job import Job

RAW = {"job": "test", "kind": "raster", "model": {"name": "threshold", "arguments": {"threshold": 1}}}


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 9, (1, 40, 50)).astype(np.uint8)


@pytest.fixture
def scene(tmp_path):
    path = write_raster(tmp_path / "in" / "scene.tif", image(1))
    request = make_request(Job.model_validate(RAW), tmp_path / "out")
    work = request.out.work("scene", "key")
    work.mkdir(parents=True)
    return path, request, Input(id="scene", files={"image": str(path)}), work


def test_what_was_made_of_replaced_files_is_thrown_away(scene):
    path, request, item, work = scene
    found = identify(request, item)
    write_raster(path.with_name("fresh.tif"), image(2)).replace(path)
    with pytest.raises(ChangedSceneError, match=r"scene: its files were replaced .* Run again"):
        require_unchanged(request, item, found)
    assert not work.exists(), "blocks of both contents may lie in it"


def test_files_that_were_only_touched_are_the_same(scene):
    path, request, item, work = scene
    found = identify(request, item)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    require_unchanged(request, item, found)
    assert work.exists()
