"""Bands that are made of others: their values, where they are observed, and on which grid they lie."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin
from scenes import derive_earlier

from tasks.errors import BandError
from tasks.geometry.box import Box
from tasks.jobs.job import load_job
from tasks.jobs.source import Source
from tasks.scenes.raster.scene import describe_raster, fingerprint

DNBR = "(B8_pre - B12_pre) / (B8_pre + B12_pre) - (B8 - B12) / (B8 + B12)"
SHAPE = (150, 130)


def write(path: Path, values: np.ndarray, pixel: float, nodata: float | None = 0, shift: float = 0) -> str:
    rows, cols = values.shape[1:]
    profile = {"driver": "GTiff", "count": len(values), "height": rows, "width": cols, "dtype": values.dtype}
    transform = from_origin(500_000 + shift, 5_000_000, pixel, pixel)
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, nodata=nodata, **profile) as dataset:
        dataset.write(values)
    return str(path)


def source(text: str = DNBR) -> Source:
    bands = {
        "B8": {"file": "post", "band": 1, "scale": 1e-4},
        "B12": {"file": "post", "band": 2, "scale": 1e-4},
        "B8_pre": {"file": "pre", "band": 1, "scale": 1e-4, "offset": -0.1},
        "B12_pre": {"file": "pre", "band": 2, "scale": 1e-4, "offset": -0.1},
        "dNBR": {"index": text},
    }
    return Source.model_validate({"files": {"post": "{scene}"}, "pair": {"files": {"pre": "post"}}, "bands": bands})


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """The scene at 20 m, the earlier one at 10 m on a lattice that lies elsewhere; both with holes."""
    folder, rng = tmp_path_factory.mktemp("pair"), np.random.default_rng(3)
    post = rng.integers(1000, 5000, (2, *SHAPE), dtype=np.uint16)
    pre = rng.integers(2000, 5000, (2, 310, 260), dtype=np.uint16)
    post[0, 20:30, 20:30], pre[1, 100:140, 150:170] = 0, 0
    # Physical values whose sum is zero.
    pre[:, 200:240, 200:220] = 1000
    return {"post": write(folder / "post.tif", post, 20), "pre": write(folder / "pre.tif", pre, 10, shift=-5)}


def whole(scene, box: Box | None = None):
    with scene.open() as reader:
        return reader.read(box or Box.of_shape(scene.grid.shape))


def test_an_index_is_numpys_of_the_physical_values_of_aligned_bands(files):
    names = ("B8", "B12", "B8_pre", "B12_pre")
    bands, observed = whole(describe_raster("s", files, source(), names))
    found, valid = whole(describe_raster("s", files, source(), ("dNBR",)))
    b8, b12, b8_pre, b12_pre = bands.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = ((b8_pre - b12_pre) / (b8_pre + b12_pre) - (b8 - b12) / (b8 + b12)).astype(np.float32)
    assert 0 < (observed & ~np.isfinite(expected)).sum() < observed.sum()
    np.testing.assert_array_equal(valid, observed & np.isfinite(expected))
    np.testing.assert_array_equal(found[0], np.where(valid, expected, 0))


def test_an_index_stands_among_bands_in_the_order_of_the_channels(files):
    channels = ("B12", "dNBR", "B8")
    found, valid = whole(describe_raster("s", files, source(), channels))
    for k, name in enumerate(channels):
        single, _ = whole(describe_raster("s", files, source(), (name, *(n for n in channels if n != name))))
        np.testing.assert_array_equal(found[k], single[0])
    assert not found[:, ~valid].any()


@settings(max_examples=25)
@given(
    start=st.tuples(st.integers(0, 149), st.integers(0, 129)), size=st.tuples(st.integers(1, 90), st.integers(1, 90))
)
def test_any_window_equals_the_same_cut_of_the_whole(files, start, size):
    scene = pickle.loads(pickle.dumps(describe_raster("s", files, source("log(B8_pre) ** 2 / B12"), ("dNBR", "B8"))))
    box = Box(start, tuple(min(n, s + k) for n, s, k in zip(SHAPE, start, size, strict=True)))
    image, observed = whole(scene)
    part, part_observed = whole(scene, box)
    np.testing.assert_array_equal(part, image[(slice(None), *box.slices)])
    np.testing.assert_array_equal(part_observed, observed[box.slices])


def test_the_grid_is_the_scenes_own_though_the_earlier_one_is_finer_and_comes_first(files):
    scene = describe_raster("s", files, source(), ("dNBR",))
    assert scene.grid.shape == SHAPE
    assert {file.role: file.aligned for file in scene.files} == {"post": True, "pre": False}
    assert scene.n_channels == 1


def test_the_earlier_scene_belongs_to_what_identifies_a_scene(files, tmp_path):
    known = fingerprint(describe_raster("s", files, source(), ("dNBR",)))
    assert known == fingerprint(describe_raster("s", files, source(), ("dNBR",)))
    other = write(tmp_path / "pre.tif", np.full((2, 310, 260), 3000, np.uint16), 10, shift=-5)
    assert fingerprint(describe_raster("s", {**files, "pre": other}, source(), ("dNBR",))) != known


def test_a_band_that_an_index_lacks_is_named(files):
    with pytest.raises(BandError, match=r"s: band 'B11' missing; source\.bands\.dNBR\.index is made of it; found"):
        describe_raster("s", files, source("B8 - B11"), ("dNBR",))


@pytest.mark.parametrize("name", ["CAMPBELL_20241028", "CODY_20240608", "KENNETH_20250109"])
def test_dnbr_of_a_pair_is_the_dnbr_of_the_file(data, tmp_path, name):
    folder = data / "satellite-fire" / "calfire-s2"
    post, dnbr = folder / "post_fire" / f"{name}.tif", folder / "dnbr" / f"{name}.tif"
    pre = derive_earlier(post, dnbr, tmp_path / "pre.tif")
    job = load_job("fire-nightly")
    scene = describe_raster(name, {"post": str(post), "pre": str(pre)}, job.source, ("B8", "dNBR"))
    image, valid = whole(scene)
    with rasterio.open(dnbr) as dataset:
        given_dnbr = dataset.read(1)
    assert valid.sum() >= np.isfinite(given_dnbr).sum() - 1
    np.testing.assert_allclose(image[1][valid], given_dnbr[valid], atol=2e-6)
