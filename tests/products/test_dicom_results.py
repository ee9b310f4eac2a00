"""Results as DICOM objects: legal, in their place, read back by others, the same again, and nobody's name in them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from dicoms import FRAME, SERIES, STUDY, ramp, rotated, write_series, write_slice
from pydicom import dcmread
from pydicom.uid import EnhancedMRImageStorage
from wheels import program

from tasks.dicom.reader import Reader
from tasks.dicom.scan import scan
from tasks.products.dicom.child import write
from tasks.products.dicom.codes import terms_of
from tasks.products.dicom.order import CodedTerm, Layer, Line, Measured, Order, Segment, Total

# Real files name patients in one word.
pytestmark = pytest.mark.filterwarnings("ignore:The string .* person name:UserWarning")
DATA = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[2] / ".." / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the sample data is not here: set SWATHE_SAMPLES")
KEY = bytes(range(32)).hex()
# Tests plant these in every source that they make.
PLANTED = (b"Planted", b"PLANTED", b"19500101", b"20240102")
COLOURS = ("#d7301f", "#3182bd", "#31a354")
LONG = Line(length_mm=33.21, ends_lps_mm=((-10.25, 3.5, 40.0), (20.0, 17.125, 40.0)))
SHORT = Line(length_mm=7.5, ends_lps_mm=((-1.0, 3.5, 40.0), (2.0, 10.0, 40.0)))
OBLIQUE = {"orientation": rotated((25, -10, 40), (True, False)), "spacing": (0.7, 1.9), "gap": 3.25}


def the_series(folder):
    with Reader() as reader:
        return next(found.series for found in scan(Path(folder), reader).found if found.series is not None)


def mask_for(series, n_classes=2):
    slices, rows, cols = series.shape
    mask = np.zeros((slices, rows, cols), np.uint8)
    for number in range(1, n_classes + 1):
        mask[number % slices :: 2, number : number + 2, cols // 3 : cols // 3 + number + 1] = number
    mask[-1, -1, -1] = 1
    return mask


def ordered(series, mask, out, *, kind="labelmap", whose="original", lesions=True, names=("tumour", "liver")) -> Order:
    out.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(series.array_of(mask), series.affine_mm), out / "mask.nii.gz")
    described = [
        Segment(number=number, label=name, class_name=name, colour=colour)
        for number, (name, colour) in enumerate(zip(names, COLOURS, strict=False), 1)
    ]
    layers = [Layer(name="segmentation", kind=kind, description="Segmentation by swathe",
                    labels=str(out / "mask.nii.gz"), segments=tuple(described))]  # fmt: skip
    found = mask == 1
    if lesions and found.any():
        np.save(out / "lesions.npy", series.array_of(found.astype(np.uint8)))
        lesion = Segment(number=1, label="tumour 1", class_name="tumour", colour="#d7301f")
        layers.append(
            Layer(name="lesions", kind="binary", description="Lesions by swathe", labels=str(out / "lesions.npy"),
                  segments=(lesion,), measured=(Measured(segment=1, volume_ml=12.3457, long=LONG, short=SHORT),),
                  is_whole=False)
        )  # fmt: skip
    return Order(
        scene="ct-1", series=series, layers=tuple(layers), report=True, capture=True, whose=whose,
        key=KEY, made="0123456789abcdef",
        totals=tuple(Total(class_name=name, volume_ml=2.5 * number)
                     for number, name in enumerate(names, 1) if (mask == number).any()),
        absent=() if found.any() else (names[0],), model="threshold", version="1.0", swathe="0.1.0", terms={},
        folder=str(out),
    )  # fmt: skip


def written(order: Order) -> Path:
    # As it travels to the process that writes.
    write(Order.from_facts(json.loads(json.dumps(asdict(order)))))
    return Path(order.folder)


def errors(*paths: Path) -> list[str]:
    lines: list[str] = []
    for path in paths:
        done = subprocess.run([program("dicom3tools", "dciodvfy"), path], capture_output=True, text=True)
        lines += (done.stdout + done.stderr).splitlines()
    assert any("Segmentation" in line or "SR" in line for line in lines), "the validator said nothing"
    return [line for line in lines if line.startswith("Error")]


def read_by_dcmqi(folder: Path) -> tuple[nib.Nifti1Image, dict]:
    run = {"capture_output": True, "check": True}
    subprocess.run([program("dcmqi", "segimage2itkimage"), "--inputDICOM", folder / "segmentation.dcm",
                    "--outputDirectory", folder, "-t", "nii", "--mergeSegments", "-p", "dcmqi"], **run)  # fmt: skip
    subprocess.run([program("dcmqi", "tid1500reader"), "--inputDICOM", folder / "report.dcm",
                    "--outputMetadata", folder / "dcmqi.json"], **run)  # fmt: skip
    (image,) = folder.glob("dcmqi-*.nii.gz")
    return nib.load(image), json.loads((folder / "dcmqi.json").read_text())


def as_canonical(image) -> tuple[np.ndarray, np.ndarray]:
    turned = nib.as_closest_canonical(image)
    return np.asarray(turned.dataobj), turned.affine


def made(name: str, folder: Path) -> Path:
    """A series of each kind that results differ for."""
    if name == "oblique":
        write_series(folder, ramp(6, 16, 20), **OBLIQUE)
    elif name == "coronal":
        write_series(folder, ramp(4, 12, 18), orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0), spacing=(2.0, 0.5))
    elif name == "tilted":
        for k, plane in enumerate(ramp(5, 12, 18)):
            write_slice(folder / f"{k}", plane, (0.0, 0.9 * k, 3.0 * k))
    return folder


SOURCES = {
    "oblique": None,
    "coronal": None,
    "tilted": None,
    "enhanced": "dicom-series/dcm_qa_enh-XA10/In",
    "mosaic": "dicom-series/dcm_qa_nih-Si3/In",
    "one-of-ten": "dicom-series/dcm_qa_nih-GE4/In",
    "flipped": "dicom-series/torchio-ct",
}


@pytest.mark.parametrize("name", SOURCES)
def test_objects_are_legal_and_others_read_mask_and_numbers_back(name, tmp_path):
    sample = SOURCES[name]
    if sample is not None and not DATA.is_dir():
        pytest.skip("the sample data is not here: set SWATHE_SAMPLES")
    series = the_series(made(name, tmp_path / "in") if sample is None else DATA / sample)
    mask = mask_for(series)
    out = written(ordered(series, mask, tmp_path / "out"))
    assert errors(*sorted(out.glob("*.dcm"))) == []
    image, told = read_by_dcmqi(out)
    if name != "tilted":
        # What dcmqi reads into has right angles only.
        ours, affine = as_canonical(nib.load(out / "mask.nii.gz"))
        theirs, their_affine = as_canonical(image)
        np.testing.assert_array_equal(theirs, ours)
        np.testing.assert_allclose(their_affine, affine, atol=1e-3)
    (lesion,) = [group for group in told["Measurements"] if "ReferencedSegment" in group]
    assert [item["value"] for item in lesion["measurementItems"]] == ["12.3457", "33.21", "7.5"]
    assert lesion["segmentationSOPInstanceUID"] == dcmread(out / "lesions.dcm").SOPInstanceUID


@pytest.mark.parametrize("whose", ["original", "pseudonym"])
def test_objects_stand_in_the_study_of_their_source_or_of_its_pseudonym(whose, tmp_path):
    more = {"Manufacturer": "Maker", "AcquisitionDateTime": "20240102101112", "InstitutionName": "Planted House"}
    source = write_series(tmp_path / "in", ramp(6, 16, 20), **OBLIQUE, **more)
    series = the_series(tmp_path / "in")
    out = written(ordered(series, mask_for(series), tmp_path / "out", whose=whose))
    files = [dcmread(path) for path in sorted(out.glob("*.dcm"))]
    first = dcmread(source[0])
    assert [file.ContributingEquipmentSequence[0].Manufacturer for file in files] == ["Maker"] * 4
    same = ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "PatientBirthDate", "StudyDate")
    assert {tuple(str(file.get(name)) for name in same) for file in files} == {
        tuple(str(files[0].get(name)) for name in same)
    }
    content = b"".join(path.read_bytes() for path in out.glob("*.dcm"))
    if whose == "original":
        assert [str(files[0].get(name)) for name in same] == [str(first.get(name)) for name in same]
        checked = subprocess.run(
            [program("dicom3tools", "dcentvfy"), *source, *out.glob("*.dcm")], capture_output=True, text=True
        )
        assert [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")] == []
        # The picture names its source image alone.
        assert all(path.read_bytes().count(SERIES.encode()) for path in out.glob("*[!e].dcm"))
        return
    uids = [str(dcmread(path).SOPInstanceUID).encode() for path in source]
    for planted in (*PLANTED, STUDY.encode() + b"\0", SERIES.encode() + b"\0", FRAME.encode() + b"\0", *uids):
        assert planted not in content
    # Other files of the patient, and of the same study, meet again under the same pseudonyms.
    assert files[0].PatientID == "P-" + files[0].PatientID[2:]
    assert files[0].StudyDate < first.StudyDate
    assert files[0].PatientIdentityRemoved == "YES"


@pytest.mark.parametrize("kind", ["labelmap", "binary"])
def test_the_same_input_gives_the_same_bytes_and_another_other_uids(kind, tmp_path):
    series = the_series(made("oblique", tmp_path / "in"))
    mask = mask_for(series)
    one, again = (written(ordered(series, mask, tmp_path / name, kind=kind)) for name in ("one", "again"))
    names = sorted(path.name for path in one.glob("*.dcm"))
    assert names == ["capture.dcm", "lesions.dcm", "report.dcm", "segmentation.dcm"]
    for name in names:
        assert (one / name).read_bytes() == (again / name).read_bytes()
    mask[0, 0, 0] = 2
    other = written(ordered(series, mask, tmp_path / "other", kind=kind))
    first, second = (dcmread(folder / "segmentation.dcm") for folder in (one, other))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    # A label map has a segment for the background as well.
    assert first.SegmentSequence[-1].TrackingUID == second.SegmentSequence[-1].TrackingUID
    assert first.ContentDate == "20240102"


@pytest.mark.parametrize("kind", ["labelmap", "binary"])
def test_nothing_found_is_a_legal_object_that_says_so(kind, tmp_path):
    series = the_series(made("coronal", tmp_path / "in"))
    out = written(ordered(series, np.zeros(series.shape, np.uint8), tmp_path / "out", kind=kind))
    assert sorted(path.name for path in out.glob("*.dcm")) == ["report.dcm", "segmentation.dcm"]
    assert errors(*out.glob("*.dcm")) == []
    assert not as_canonical(read_by_dcmqi(out)[0])[0].any()
    (group,) = hd.sr.srread(out / "report.dcm").content.get_image_measurement_groups()
    told = {item.name.meaning: item.value.meaning for item in group.get_qualitative_evaluations()}
    assert (group.tracking_identifier, told["Presence"]) == ("tumour", "Absent")


def test_the_largest_lesion_is_drawn_with_its_diameters_on_its_slice(tmp_path):
    series = the_series(write_series(tmp_path / "in", ramp(8, 48, 64))[0].parent)
    mask = np.zeros(series.shape, np.uint8)
    mask[4, 22:40, 0:31] = 1
    out = written(ordered(series, mask, tmp_path / "out"))
    drawn = dcmread(out / "capture.dcm")
    factor = 11
    assert drawn.pixel_array.shape == (48 * factor, 64 * factor, 3)
    np.testing.assert_allclose(drawn.PixelSpacing, [1 / factor] * 2, atol=1e-6)
    (source,) = drawn.SourceImageSequence
    assert dcmread(series.paths[4]).SOPInstanceUID == source.ReferencedSOPInstanceUID
    assert drawn.ImageComments == "lesion 1: 12.3457 ml, long axis 33.21 mm, short axis 7.5 mm"
    gold = np.argwhere((drawn.pixel_array == (255, 215, 0)).all(axis=2))
    # The end that lies in the picture, in millimetres from the first pixel's centre: (20, 17.125) from (-10, -20).
    end = (gold[gold[:, 1].argmax()] + 0.5) / factor - 0.5
    np.testing.assert_allclose(end, (37.125, 30.0), atol=1 / factor)


def test_ends_of_diameters_lie_in_the_patient(tmp_path):
    series = the_series(made("oblique", tmp_path / "in"))
    out = written(ordered(series, mask_for(series), tmp_path / "out"))
    (group,) = hd.sr.srread(out / "report.dcm").content.get_volumetric_roi_measurement_groups()
    ends = {item.name.meaning: item.referenced_coordinates for item in group.get_measurements()}
    assert not ends["Volume"]
    np.testing.assert_allclose(ends["Long axis"][0].value, LONG.ends_lps_mm)
    assert ends["Short axis"][0].frame_of_reference_uid == FRAME


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "M\u00fcller^J\u00f6rg"), ("ISO 2022 IR 87", "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce")],
)
def test_names_keep_their_letters(charset, name, tmp_path):
    def each(_, data):
        data.SpecificCharacterSet = charset if charset == "ISO_IR 100" else ["", charset]
        data.PatientName = name

    write_series(tmp_path / "in", ramp(3, 8, 9), each=each, PatientBirthDate="?", PatientSex="male", StudyTime="noon")
    series = the_series(tmp_path / "in")
    for names in (("tumour", "liver"), ("\u816b\u7624", "liver")):
        out = written(ordered(series, mask_for(series), tmp_path / names[0], names=names, lesions=False))
        for path in out.glob("*.dcm"):
            data = dcmread(path)
            assert str(data.PatientName) == name
            assert (data.PatientBirthDate, data.PatientSex, data.StudyTime) == ("", "", "")
        labels = [str(item.SegmentLabel) for item in dcmread(out / "segmentation.dcm").SegmentSequence]
        assert labels[-2:] == list(names)


def test_a_source_without_a_frame_of_reference_and_without_dates_gets_legal_results(tmp_path):
    write_series(tmp_path / "in", ramp(3, 8, 9), FrameOfReferenceUID="", StudyDate="", StudyTime="")
    series = the_series(tmp_path / "in")
    out = written(ordered(series, mask_for(series), tmp_path / "out"))
    assert errors(*out.glob("*.dcm")) == []
    assert dcmread(out / "report.dcm").ContentDate == "19000101"


def test_a_multiframe_source_is_referred_to_frame_by_frame(tmp_path):
    if not DATA.is_dir():
        pytest.skip("the sample data is not here: set SWATHE_SAMPLES")
    series = the_series(DATA / SOURCES["enhanced"])
    out = written(ordered(series, mask_for(series), tmp_path / "out"))
    found = dcmread(out / "segmentation.dcm")
    assert found.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPClassUID == (
        EnhancedMRImageStorage
    )
    images = [
        group.DerivationImageSequence[0].SourceImageSequence[0] for group in found.PerFrameFunctionalGroupsSequence
    ]
    assert {image.ReferencedSOPInstanceUID for image in images} <= {plane.sop_instance_uid for plane in series.slices}


def test_classes_have_the_terms_of_the_standard_or_of_the_job():
    mine = (CodedTerm("85756007", "SCT", "Tissue"), CodedTerm("1", "99MINE", "Odd"))
    assert terms_of("liver", {})[1] == CodedTerm("10200004", "SCT", "Liver")
    assert terms_of("Spinal_cord", {})[0].meaning == "Anatomical Structure"
    assert terms_of("sarcoma", {}) == (
        CodedTerm("49755003", "SCT", "Morphologically Abnormal Structure"), CodedTerm("108369006", "SCT", "Neoplasm"),
    )  # fmt: skip
    assert terms_of("liver", {"liver": mine}) == mine
    assert terms_of("above", {})[1] == CodedTerm("ABOVE", "99SWATHE", "above")
    assert terms_of("\u816b\u7624", {})[1].value
