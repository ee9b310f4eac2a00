"""Diameters are drawn where they were measured, and grey values as the modality wants them."""

import io

import numpy as np
import pytest
from PIL import Image
from scenes import oblique_affine, write_volume

from models.card import ClassEntry
from tasks.analysis.subject import VolumeMask
from tasks.analysis.tumour.picture import lesion_pictures, tumour_preview
from tasks.answers.tumour.components import find_components
from tasks.answers.tumour.measure import Sources, measure
from tasks.geometry.box import Box
from tasks.jobs.tumour import TumourAnalysis
from tasks.reports.legend import Caption
from tasks.reports.pictures.drawing import PAGE
from tasks.reports.pictures.planes import axis_of, on_plane, plane_section
from tasks.scenes.volume.scene import describe_volume

SETTINGS = TumourAnalysis(kind="tumour")
CLASSES = (ClassEntry(name="background", colour="#000000"), ClassEntry(name="tumour", colour="#e69f00"))
YELLOW = np.array((255, 236, 64))


def subject(folder, codes: str, image: np.ndarray, mask: np.ndarray, has_image: bool = True) -> VolumeMask:
    path = write_volume(folder / "v.nii", image.astype(np.float32), oblique_affine())
    scene = describe_volume("v", path, codes, None, folder / "spool")
    labels = scene.turn.turn(mask)
    return VolumeMask(
        id="v",
        scene=scene,
        classes=CLASSES,
        read=lambda box: np.array(labels[box.slices]),
        caption=Caption("v", ()),
        has_image=has_image,
    )


def measured(found: VolumeMask):
    shape = found.scene.frame.native_shape
    components = find_components(found.read(Box.of_shape(shape)), found.scene.affine_mm, 1)
    return measure(components, Sources(shape, axis_of(found.scene.codes, "SI")), SETTINGS)


def blob() -> np.ndarray:
    rows, cols, planes = np.meshgrid(np.arange(40), np.arange(30), np.arange(9), indexing="ij")
    mask = ((rows - 14) / 10) ** 2 + ((cols - 17) / 4) ** 2 + ((planes - 3) / 2) ** 2 <= 1
    mask[20:28, 20:24, 3] = True
    return mask.astype(np.uint8)


@pytest.mark.parametrize("codes", ["SAR", "IPL", "RSA", "LAS", "ASR"])
def test_lines_end_at_the_edge_of_the_lesion_on_the_screen(tmp_path, codes):
    mask = subject(tmp_path, codes, blob() * 100.0, blob())
    (found, *_) = measured(mask)
    axial = axis_of(codes, "SI")
    assert found.slice_index in (3, mask.scene.frame.native_shape[axial] - 4)
    point = [0, 0, 0]
    point[axial] = found.slice_index
    section = plane_section(mask.scene, mask.read, "axial", found.slice_index, tuple(point))
    for line in (found.long, found.short):
        for end in line.ends_voxel:
            row, col = on_plane(mask.scene, "axial", end)
            low, high = int(np.floor(row)), int(np.floor(col))
            near = section.mask[low : low + 2, high : high + 2] == 1
            assert near.any()
            wide = section.mask[max(0, low - 1) : low + 3, max(0, high - 1) : high + 3] == 1
            assert not wide.all()


@pytest.mark.parametrize("has_image", [True, False])
def test_the_preview_shows_lines_and_is_the_same_each_time(tmp_path, has_image):
    mask = subject(tmp_path, "SAR", blob() * 100.0, blob(), has_image)
    found = measured(mask)
    drawn = tumour_preview(mask, found, SETTINGS)
    assert drawn == tumour_preview(mask, found, SETTINGS)
    pixels = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")).astype(int)
    assert (np.abs(pixels - YELLOW).sum(axis=-1) < 12).sum() > 200
    pictures = lesion_pictures(mask, found, SETTINGS, drawn)
    assert f"{found[0].long.length_mm:.1f} by {found[0].short.length_mm:.1f} mm" in pictures[0].alt
    assert ("No image" in pictures[0].caption) == (not has_image)


def test_a_volume_with_air_is_drawn_in_a_soft_tissue_window(tmp_path):
    values = np.full((40, 30, 9), 40.0)
    values[:5] = -1000.0
    mask = subject(tmp_path, "SAR", values, blob())
    found = measured(mask)
    automatic = tumour_preview(mask, found, SETTINGS)
    assert automatic == tumour_preview(mask, found, SETTINGS.model_copy(update={"modality": "ct"}))
    assert automatic == tumour_preview(mask, found, SETTINGS.model_copy(update={"window": (-160.0, 240.0)}))
    assert automatic != tumour_preview(mask, found, SETTINGS.model_copy(update={"modality": "mr"}))


@pytest.mark.parametrize(
    ("lowest", "changes", "said"),
    [
        (-1000.0, {}, "Soft-tissue window, -160 to 240 HU, as values reach those of air."),
        (0.0, {}, "Grey from 0 to 40, the 1st to the 99th percentile of what is shown, as no value is that of air."),
        (-1000.0, {"modality": "mr"}, "Grey from -1000 to 40, the 1st to the 99th percentile of what is shown."),
        (0.0, {"modality": "ct"}, "Soft-tissue window, -160 to 240 HU."),
        (0.0, {"window": (1.0, 2.0)}, "Window 1 to 2, as the job says."),
    ],
)
def test_a_caption_says_which_window_its_picture_has(tmp_path, lowest, changes, said):
    values = np.full((40, 30, 9), 40.0)
    values[:5] = lowest
    mask = subject(tmp_path, "SAR", values, blob())
    chosen = SETTINGS.model_copy(update=changes)
    found = measured(mask)
    picture = lesion_pictures(mask, found, chosen, tumour_preview(mask, found, chosen))[0]
    assert picture.caption.endswith(said)


def test_without_an_image_no_place_of_the_preview_stays_empty(tmp_path):
    mask = subject(tmp_path, "SAR", blob() * 100.0, blob(), has_image=False)
    pixels = np.asarray(Image.open(io.BytesIO(tumour_preview(mask, measured(mask), SETTINGS))).convert("RGB"))
    painted = (pixels != PAGE).any(axis=-1)
    # The last row of panels reaches from margin to margin.
    full = painted[:, 40:-40].mean(axis=1) > 0.97
    assert full.sum() > 200


def test_a_mask_without_lesions_has_a_picture_that_says_so(tmp_path):
    mask = subject(tmp_path, "SAR", blob() * 100.0, blob() * 0)
    found = measured(mask)
    (picture,) = lesion_pictures(mask, found, SETTINGS, tumour_preview(mask, found, SETTINGS))
    assert "no lesion" in picture.alt


def test_several_lesions_get_a_montage(tmp_path):
    two = blob()
    two[33:38, 2:7, 6:8] = 1
    mask = subject(tmp_path, "SAR", two * 100.0, two)
    found = measured(mask)
    assert len(found) == 2
    _, montage = lesion_pictures(mask, found, SETTINGS, tumour_preview(mask, found, SETTINGS))
    assert "lesion 1" in montage.alt
    assert "lesion 2" in montage.alt
