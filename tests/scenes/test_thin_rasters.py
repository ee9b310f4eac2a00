"""Strips, columns and single pixels: every picture is drawn; what cannot be drawn costs a warning, never a product."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scenes import write_raster

from flows.analysis import masks as mask_flow
from flows.analysis.crop import analyse as analyse_crops
from flows.analysis.crop import ask as ask_crops
from models.card import ClassEntry
from tasks.analysis.area import analyse_area
from tasks.analysis.subject import RasterMask
from tasks.jobs.analysis import AREA
from tasks.jobs.source import Source
from tasks.reports.legend import Caption
from tasks.reports.pictures.drawing import drawn_shape
from tasks.reports.pictures.raster_picture import read_picture, sparse_mask, steps_of
from tasks.scenes.raster.scene import describe_raster

CLASSES = (ClassEntry(name="background", colour="#000000"), ClassEntry(name="burned", colour="#d7301f"))
SHAPES = [(20, 30_000), (30_000, 20), (1, 1), (1, 5000), (5000, 1), (47, 561), (200, 30_000), (600, 700)]


def striped(shape):
    """A mask whose longer half is class 1."""
    labels = np.zeros(shape, np.uint8)
    halves = (
        (slice(shape[0] // 2, None), slice(None)) if shape[0] > shape[1] else (slice(None), slice(shape[1] // 2, None))
    )
    labels[halves] = 1
    return labels


def subject_of(tmp_path, shape) -> RasterMask:
    labels = striped(shape)
    image = np.stack([labels * 90 + 20, labels * 30 + 90, np.full(shape, 60, np.uint8)]).astype(np.uint8)
    path = write_raster(tmp_path / "image.tif", image)
    channels = ("red", "green", "blue")
    source = Source.model_validate({"bands": {name: {"band": k} for k, name in enumerate(channels, start=1)}})
    scene = describe_raster("strip", {"": str(path)}, source, channels)
    caption = Caption("Strip")
    return RasterMask(
        id="strip",
        grid=scene.grid,
        classes=CLASSES,
        read=lambda box: labels[box.slices],
        caption=caption,
        image=scene,
        channels=channels,
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_a_raster_of_any_shape_has_a_preview_and_maps_on_which_something_is_seen(tmp_path, shape):
    findings = analyse_area(subject_of(tmp_path, shape), AREA, tmp_path)
    assert findings.warnings == ()
    plain, classed = findings.sections[0].blocks
    for png in (plain.png, classed.png):
        with Image.open(io.BytesIO(png)) as picture:
            assert min(picture.size) >= 64
            assert max(picture.size) <= 1100
    # Both halves are there: the class is painted, and beside it the picture is as it was.
    before, after = (
        np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int) for png in (plain.png, classed.png)
    )
    changed = np.abs(before - after).sum(axis=2) > 0
    assert changed.mean() > 0.3 or shape == (1, 1)
    long_side = changed.any(axis=0 if shape[1] >= shape[0] else 1)
    assert shape[0] == shape[1] or long_side[: len(long_side) // 3].sum() == 0
    stretched = [block.caption for block in (plain, classed) if "as it is" in block.caption]
    assert len(stretched) == (2 if max(shape) > 20 * min(shape) else 0)
    with Image.open(tmp_path / "preview.png") as picture:
        assert picture.width == 1200


@settings(max_examples=100)
@given(st.integers(1, 40_000), st.integers(1, 40_000))
def test_a_picture_shows_rows_and_columns_of_every_raster_and_no_more_than_it_has_room_for(rows, cols):
    down, across = steps_of((rows, cols))
    shown = [len(range(step // 2, n, step)) for n, step in ((rows, down), (cols, across))]
    assert min(shown) >= 1
    assert max(shown) <= 561
    assert all(found >= min(n, 48) for found, n in zip(shown, (rows, cols), strict=True))


@settings(max_examples=100)
@given(st.tuples(st.integers(1, 9999), st.integers(1, 9999)), st.tuples(st.floats(0.01, 1e4), st.floats(0.01, 1e4)))
def test_drawings_fit_and_are_true_to_scale_or_say_by_how_much_they_are_not(shape, pixel_m):
    (rows, cols), told = drawn_shape(shape, pixel_m, (1100, 900))
    assert 64 <= rows <= 1100
    assert 64 <= cols <= 900
    height, width = shape[0] * pixel_m[0], shape[1] * pixel_m[1]
    distortion = (rows / height) / (cols / width)
    assert (told == "") == (max(distortion, 1 / distortion) < 1.1) or 1.05 < max(distortion, 1 / distortion) < 1.15


def test_a_mask_is_drawn_from_the_same_pixels_as_its_picture(tmp_path):
    subject = subject_of(tmp_path, (20, 30_000))
    picture = read_picture(subject.image, subject.channels, subject.read)
    assert picture.mask.shape == picture.observed.shape == (20, 556)
    assert np.array_equal(picture.mask, sparse_mask((20, 30_000), subject.read))


def test_a_picture_that_cannot_be_drawn_costs_a_warning(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("need at least one array to stack")

    monkeypatch.setattr("tasks.analysis.subject.raster_preview", broken)
    findings = analyse_area(subject_of(tmp_path, (60, 60)), AREA, tmp_path)
    assert ["no preview: it cannot be drawn" in text for text in findings.warnings] == [True]
    assert findings.headline["burned_pixels"] == 1800
    assert not (tmp_path / "preview.png").exists()


def test_one_mask_that_ends_in_any_error_costs_itself_alone(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        write_raster(tmp_path / "in" / f"{name}.tif", striped((40, 40))[np.newaxis])
    analysed = mask_flow.dataset_sha256

    def broken(path):
        if path.endswith("b.tif"):
            raise ZeroDivisionError("an error that nobody thought of")
        return analysed(path)

    monkeypatch.setattr(mask_flow, "dataset_sha256", broken)
    outcomes = analyse_crops([str(tmp_path / "in")], ask_crops(None, {}, ()), tmp_path / "out")
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert "ZeroDivisionError" in outcomes[1].error
    assert (tmp_path / "out" / "index.html").is_file()
    rows = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert len(rows["scenes"] if isinstance(rows, dict) else rows) == 3
