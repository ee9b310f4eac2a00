"""Grids whose axes are not square to each other (gantry tilt): distances are those between places in the world."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree
from typer.testing import CliRunner

from flows.commands.app import app
from tasks.answers.metrics.surface import Tolerance, surface_scores
from tasks.pairs.labels import LabelRules
from tasks.pairs.volume import opened_volume_pair
from tasks.scenes.volume.scene import describe_volume

SHAPE = (40, 44, 18)
# Slices 2.5 mm apart, each moved against the one below by a tilt of 25 degrees; and rows that lean.
TILTED = np.array([[0.8, 0, 0, -15], [0, 0.9, 2.5 * np.tan(np.radians(25)), -30], [0, 0, 2.5, -20], [0, 0, 0, 1.0]])
LEANING = np.array([[-0.8, 0.35, 0.4, 20], [0.1, 0.9, 0.7, -25], [0.2, -0.1, 2.2, -20], [0, 0, 0, 1.0]])


def places(affine, shape=SHAPE):
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]


def ball(affine, offset, radius):
    centre = affine[:3, :3] @ (np.array(SHAPE) / 2) + affine[:3, 3] + offset
    return np.linalg.norm(places(affine) - centre, axis=-1) <= radius


def written(path, mask, affine):
    image = nib.Nifti1Image(mask.astype(np.uint8), affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


@pytest.mark.parametrize("affine", [TILTED, LEANING], ids=["tilted", "leaning"])
@pytest.mark.parametrize("flipped", [False, True])
def test_distances_of_surfaces_are_those_between_places(tmp_path, affine, flipped):
    predicted, reference = ball(affine, (1.5, 1, 2), 11), ball(affine, (0, 0, 0), 12)
    edges = [places(affine)[mask & ~binary_erosion(mask)] for mask in (predicted, reference)]
    forth, back = (cKDTree(there).query(here)[0] for here, there in (edges, edges[::-1]))
    paths = [written(tmp_path / name, mask, affine) for name, mask in (("p.nii", predicted), ("r.nii", reference))]
    if flipped:
        nib.save(nib.load(paths[0]).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]])), tmp_path / "f.nii")
        paths[0] = tmp_path / "f.nii"
    with opened_volume_pair("p", tuple(paths), (LabelRules("p"), LabelRules("r")), resample=False) as pair:
        found = {key: score.value for key, score in surface_scores(pair, 1, Tolerance(1.0, "mm")).items()}
    assert found["hd95_mm[monai]"] == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)), rel=1e-5)
    assert found["hd95_mm[medpy]"] == pytest.approx(np.percentile(np.hstack([forth, back]), 95), rel=1e-5)
    assert found["assd_mm[panoptica]"] == pytest.approx((forth.mean() + back.mean()) / 2, rel=1e-5)


def test_slices_are_as_far_apart_as_their_planes(tmp_path):
    for affine, right in ((TILTED, 2.5), (LEANING, None)):
        path = written(tmp_path / "m.nii", ball(affine, (0, 0, 0), 9), affine)
        scene = describe_volume("m", path, "SAR", None, tmp_path)
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        across = abs(affine[:3, 2] @ normal) / np.linalg.norm(normal)
        assert scene.distance_mm(0) == pytest.approx(across)
        assert right is None or across == pytest.approx(right)


def test_a_lesion_has_the_volume_and_diameter_of_the_world_on_a_tilted_grid(tmp_path):
    mask = ball(TILTED, (0, 0, 0), 12)
    path = written(tmp_path / "m.nii", mask, TILTED)
    ended = CliRunner().invoke(app, ["analyse", "tumour", str(path), "--out", str(tmp_path / "out")])
    assert ended.exit_code == 0, ended.output
    headline = json.loads((tmp_path / "out" / "m" / "summary.json").read_text())["headline"]
    assert headline["class_1_ml"] == pytest.approx(mask.sum() * 0.8 * 0.9 * 2.5 / 1000, rel=1e-4)
    # The widest slice of a ball of 12 mm, in pixels of 0.8 x 0.9 mm.
    assert headline["longest_axial_mm"] == pytest.approx(24, abs=1.3)
