"""The cases of ``reports/med``: what is asked of each, and what is right."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np

from reported.bench import Case, case, near
from reported.rasters import shown

THRESHOLD = """
job: threshold
kind: volume
model: {name: threshold, arguments: {threshold: 15}}
analysis: {kind: tumour}
"""


def threshold_job(asked: Case) -> str:
    """Write the job that calls values above 15 a lesion."""
    (asked.folder / "threshold.yaml").write_text(THRESHOLD)
    return "threshold.yaml"


def evaluated(asked: Case, *words: object) -> dict[str, float]:
    """Return the metrics of class 1, or of the only class, as ``swathe evaluate`` gives them."""
    done = asked.run("evaluate", *words, "--csv", "scores.csv")
    rows = asked.table("scores.csv")
    return {row["metric"]: float(row["value"] or "nan") for row in rows if row.get("class", "") not in ("0", "")} | {
        "exit": float(done.code)
    }


@case("med/appledouble")
def appledouble(asked: Case) -> None:
    done = asked.asked("segment", "scans", "--job", threshold_job(asked))
    asked.tell(
        "scans beside ._ files",
        "two, exit 0",
        f"{list(asked.scenes())}, exit {done.code}",
        sorted(asked.scenes()) == ["p1", "p2"] and not done.code,
    )
    done = asked.asked("analyse tumour", "masks", out="masks_out")
    asked.tell(
        "masks beside ._ files",
        "two, exit 0",
        f"{list(asked.scenes('masks_out'))}, exit {done.code}",
        len(asked.scenes("masks_out")) == 2 and not done.code,
    )


@case("med/autoscale")
def autoscale(asked: Case) -> None:
    asked.asked(
        "analyse tumour", *(f"{name}.nii.gz" for name in ("true", "int16_scaled", "float32_rounded", "slope_0.0039"))
    )
    true = asked.headline("true", "class_1_ml")
    for name in ("int16_scaled", "float32_rounded"):
        found = asked.headline(name, "class_1_ml")
        asked.tell(name, f"{true:.4g} mL", shown(found), found == true)
    asked.tell("slope_0.0039", "refused with its values", asked.errors()[:160], "0.00392" in asked.errors())


@case("med/badbatch")
def badbatch(asked: Case) -> None:
    done = asked.asked("segment", "in", "--job", threshold_job(asked))
    status = {name: scene["status"] for name, scene in asked.scenes().items()}
    right = {"c0": "done", "c1": "failed", "c2": "done", "c3": "failed"}
    asked.tell(
        "a damaged and an empty file",
        "c0 and c2 done, exit 1",
        f"{status}, exit {done.code}",
        status == right and done.code == 1,
    )


@case("med/containers")
def containers(asked: Case) -> None:
    files = [
        "garbage/garbage.nii.gz",
        "zeros/zeros.nii.gz",
        "members/members.nii.gz",
        "notgz/notgz.nii.gz",
        "isgz/isgz.nii",
        "upper/SCAN.NII.GZ",
        "ok/plain.nii",
    ]
    done = asked.asked("segment", *files, "--job", threshold_job(asked))
    found = {name: asked.classes(name).get(1) for name in asked.scenes()}
    asked.tell(
        "seven containers",
        "all read alike, exit 0",
        f"{len(found)} read, exit {done.code}",
        len(set(found.values())) == 1 and len(found) == len(files) and not done.code,
    )
    for name in ("pair", "analyze"):
        done = asked.run("check", f"{name}/case.img")
        asked.tell(name, "refused by what it is", done.said[-240:], done.code and done.says("pair"))
    done = asked.asked("segment", "both", "--job", "threshold.yaml", out="both_out")
    asked.tell(
        "T1.nii beside T1.nii.gz", "one named refusal", (asked.errors("both_out") or done.said)[-240:], done.code
    )
    done = asked.asked("analyse tumour", "upper_masks", out="upper_out")
    asked.tell("a mask SCAN.NII.GZ", "read", list(asked.scenes("upper_out")), not done.code)


@case("med/followup")
def followup(asked: Case) -> None:
    asked.asked("analyse tumour", "d1.nii.gz", "d2.nii.gz", "d3.nii.gz", "--follow-up")
    rows = asked.table("out/d3/followup.csv")
    answer = json.dumps(asked.summary("d3"))
    asked.tell(
        "three dates on three grids",
        "X grown, Y, Z new; progressive disease",
        [list(row.values())[:6] for row in rows],
        "PD" in answer and "new" in answer,
    )
    balls = [sum(4 / 3 * np.pi * r**3 for r in radii) / 1000 for radii in ((9, 7), (9, 5), (12, 5, 6))]
    found = [asked.headline(f"d{day}", "class_1_ml") for day in (1, 2, 3)]
    asked.tell(
        "millilitres of the dates",
        shown(*balls),
        shown(*found),
        all(near(one, other, 0.03) for one, other in zip(found, balls, strict=True)),
    )


@case("med/hd")
def hausdorff(asked: Case) -> None:
    for name in ("pred", "pred_ras"):
        found = evaluated(asked, f"{name}.nii.gz", "ref.nii.gz")
        close = {key: value for key, value in found.items() if "hd95" in key.casefold() or "assd" in key.casefold()}
        values = list(close.values())
        asked.tell(
            f"distances of {name}",
            "HD95 3.300 (monai), 3.015 (medpy), assd 0.5677",
            close,
            all(any(near(value, right, 1e-3) for value in values) for right in (3.300, 3.015, 0.5677)),
        )
    asked.asked("analyse tumour", "ref.nii.gz")
    found = asked.headline("ref", "longest_axial_mm")
    asked.tell("longest axial diameter", "31.52 mm", found, near(found, 31.52, 5e-4))


@case("med/many")
def many(asked: Case) -> None:
    for neighbours, right in ((26, 227), (6, 228)):
        asked.asked(
            "analyse tumour", "mask.nii.gz", "--set", f"analysis.connectivity={neighbours}", out=str(neighbours)
        )
        lesions = asked.headline(asked.folder.name, "lesions", str(neighbours))
        volume = asked.headline(asked.folder.name, "class_1_ml", str(neighbours))
        asked.tell(
            f"lesions by {neighbours}",
            f"{right}, 2.721 mL",
            f"{lesions:g}, {volume:g} mL",
            lesions == right and volume == 2.721,
        )


@case("med/mask255")
def mask255(asked: Case) -> None:
    found = evaluated(asked, "pred/p1.nii.gz", "ref/p1.nii.gz")
    dice = [value for key, value in found.items() if "dice" in key.casefold()]
    asked.tell("Dice of masks of 0 and 255", "0.9163", shown(*dice), any(near(value, 0.9163, 1e-3) for value in dice))
    asked.asked("analyse tumour", "pred/p1.nii.gz", "--set", "analysis.label=255")
    volume, lesions = asked.headline("p1", "class_255_ml"), asked.headline("p1", "lesions")
    asked.tell("class 255", "one lesion, 3.13 mL", f"{lesions:g}, {volume:g} mL", (lesions, volume) == (1, 3.13))
    asked.asked("analyse tumour", "pred/p1.nii.gz", out="one")
    asked.tell("class 1 of it", "a warning", asked.warnings("one"), "does not hold class 1" in asked.warnings("one"))


@case("med/microns")
def microns(asked: Case) -> None:
    asked.asked("analyse tumour", "mask.nii.gz")
    volume, length = (
        asked.headline(asked.folder.name, "class_1_ml"),
        asked.headline(asked.folder.name, "longest_axial_mm"),
    )
    asked.tell(
        "a lesion in micrometres",
        "5.25e-7 mL, 0.1006 mm",
        f"{volume:.3g} mL, {length:.4g} mm",
        near(volume, 5.25e-7, 2e-3) and near(length, 0.1006, 1e-2),
    )


@case("med/models_odd")
def models_odd(asked: Case) -> None:
    done = asked.run("models", "odd/tsbundle")
    asked.tell(
        "a bundle with model.ts alone", "refused, naming it", done.said[-240:], done.code and done.says("model.ts")
    )
    asked.run("check", "odd/net.json")
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(24, 24, 12)), np.eye(4)), asked.folder / "v.nii.gz")
    done = asked.asked("segment", "v.nii.gz", "--model", "odd/net.json")
    asked.tell(
        "ONNX with data beside it",
        "read, or how to export",
        f"exit {done.code} {(asked.errors() or done.said)[-200:]}",
        not done.code or done.says("export"),
    )


@case("med/names")
def names(asked: Case) -> None:
    threshold_job(asked)
    for folder in ("cjk", "latin", "odd"):
        done = asked.asked("segment", folder, "--job", "threshold.yaml", out=f"{folder}_out")
        found = list(asked.scenes(f"{folder}_out"))
        asked.tell(folder, "three scenes", f"{', '.join(found)}, exit {done.code}", len(found) == 3 and not done.code)


@case("med/nnfolder")
def nnfolder(asked: Case) -> None:
    for name, words in (("best_only", ("checkpoint_best",)), ("regions", ("region",))):
        done = asked.run("models", f"nn/{name}")
        asked.tell(name, "refused by name", done.said[-240:], done.code and all(word in done.said for word in words))
    asked.tell("labels of the other four", "those of nnUNetPredictor", *_of_nnunet(asked))


def _of_nnunet(asked: Case) -> tuple[str, bool]:
    """Compare labels on one oblique volume with those of nnU-Net itself."""
    import torch
    from nnunet_folders import their_labels

    rng = np.random.default_rng(0)
    affine = np.diag([0.9, 0.9, 2.5, 1.0])
    values = rng.normal(40, 60, (52, 48, 24)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, affine), asked.folder / "scan_0000.nii.gz")
    torch.set_num_threads(1)
    told, right = [], True
    for name in ("full3d", "transposed", "slice2d", "fold_all"):
        asked.asked("segment", "scan_0000.nii.gz", "--model", f"nn/{name}", out=name)
        (scene, *_) = (*asked.scenes(name), "")
        path = asked.folder / name / scene / "mask.nii.gz"
        if not path.is_file():
            told, right = [*told, f"{name}: {asked.errors(name)}"], False
            continue
        theirs = their_labels(asked.folder / "nn" / name, asked.folder / "scan_0000.nii.gz", mirror=True)
        share = float(np.mean(np.asarray(nib.load(path).dataobj) == theirs))
        told, right = [*told, f"{name} {share:.5f}"], right and share >= 0.999
    return ", ".join(told), right


@case("med/qfac0")
def qfac0(asked: Case) -> None:
    done = asked.run("check", "scan.nii.gz")
    asked.tell(
        "a factor of 0",
        "40 x 44 x 20 at 0.8 x 0.8 x 2.5 mm",
        done.said[-200:],
        done.says("40 x 44 x 20", "0.8 x 0.8 x 2.5"),
    )
    asked.asked("analyse tumour", "mask.nii.gz")
    right = np.asarray(nib.load(asked.folder / "mask.nii.gz").dataobj).sum() * 0.8 * 0.8 * 2.5 / 1000
    found = asked.headline(asked.folder.name, "class_1_ml")
    asked.tell("its lesion", f"{right:.4f} mL", found, near(found, right))


@case("med/tie45")
def tie45(asked: Case) -> None:
    found = evaluated(asked, "mask.nii.gz", "ref.nii.gz")
    dice = [value for key, value in found.items() if "dice" in key.casefold()]
    asked.tell("two headers of one grid", "Dice 1", shown(*dice), bool(dice) and max(dice) == min(dice) == 1)


@case("med/types")
def types(asked: Case) -> None:
    good = ("int64", "uint64", "int8", "float64", "one_time", "nan_slope", "inter_1024", "bigendian")
    bad = ("complex", "rgb", "warp5d")
    asked.asked("segment", *(f"{name}.nii.gz" for name in (*good, *bad)), "--job", threshold_job(asked))
    truth = int(np.load(asked.folder / "truth.npy").sum())
    found = {name: asked.classes(name).get(1) for name in good}
    # Unsigned numbers were raised by 100, so that all of the ball and none of the rest has to be told by another limit.
    found.pop("uint64")
    asked.tell(
        "types of real numbers", f"{truth} voxels in each", found, all(count == truth for count in found.values())
    )
    errors = {name: asked.scenes()[name]["error"] for name in bad if name in asked.scenes()}
    asked.tell("complex, RGB, 5-D", "refused by name", errors, all(errors.values()) and len(errors) == len(bad))


@case("med/vinci")
def vinci(asked: Case) -> None:
    done = asked.asked("analyse tumour", "mask_q0.nii.gz", "mask_q1.nii.gz")
    asked.tell("sform without its spacing", "refused", asked.errors()[:200], done.code and "pixdim" in asked.errors())
    asked.asked("analyse tumour", "mask_q0.nii.gz", "mask_q1.nii.gz", "--voxel-size", "pixdim", out="pixdim")
    found = [asked.headline(name, "class_1_ml", "pixdim") for name in ("mask_q0", "mask_q1")]
    asked.tell(
        "--voxel-size pixdim",
        "4.189 mL, and said",
        shown(*found),
        all(near(value, 4.189) for value in found) and "is believed" in asked.warnings("pixdim"),
    )


@case("med/w2neg")
def w2neg(asked: Case) -> None:
    done = asked.run("check", "scan.nii.gz")
    asked.tell("a quaternion off by 4e-7", "1 x 1 x 3 mm", done.said[-200:], done.says("1 x 1 x 3"))
    asked.asked("analyse tumour", "mask.nii.gz")
    # nibabel does not read it.
    stored = gzip.decompress((asked.folder / "mask.nii.gz").read_bytes())
    right = np.frombuffer(stored[352:], np.uint8).sum() * 3 / 1000
    found = asked.headline(asked.folder.name, "class_1_ml")
    asked.tell("its lesion", f"{right:.4f} mL", found, near(found, right))
