"""Predictions and their references: found by name, opened as pairs on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from models.printable import printable
from tasks.answers.metrics.pair import MaskPair
from tasks.dicom.files import is_dicom_file
from tasks.dicom.references import write_reference
from tasks.errors import JobError, SceneError, UnsupportedSceneError
from tasks.files.declared import require_utf8
from tasks.inputs.naming import Pattern, scene_id, stem_of
from tasks.jobs.source import VoxelSize
from tasks.pairs.ids import Opened, opened_ids
from tasks.pairs.labels import LabelRules
from tasks.scenes.volume.header import volume_header

_NIFTI = (".nii", ".nii.gz")
_VOLUMES = (*_NIFTI, ".dcm")
_RASTERS = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".png")
_PRODUCTS = ("mask.tif", "mask.nii.gz")
# Where the ids of a product's objects are.
_IDS = {"mask.tif": "instances.tif", "mask.nii.gz": "instances.nii.gz"}
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class PairFiles:
    """The files of one pair; nothing of them has been opened.

    Attributes:
        id: The name that both have in common.
        predicted: None where it is missing.
        reference: None where it is missing.
        predicted_ids: Of the raster or volume with ids of objects; None where there is none.
        reference_ids: The same of the reference.
    """

    id: str
    predicted: Path | None
    reference: Path | None
    predicted_ids: Path | None = None
    reference_ids: Path | None = None

    @property
    def is_volume(self) -> bool:
        """Whether the files are NIfTI or DICOM."""
        return any(path is not None and is_volume(path) for path in (self.predicted, self.reference))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the files of all pairs are read.

    Attributes:
        resample: Whether a prediction on another grid is brought onto the reference's.
        not_observed: Values of either mask that leave a pixel open, beside what a file declares.
        predicted_classes: Class by value of the prediction; other values are classes themselves.
        reference_classes: The same for the reference.
        structures: Regular expression of the names that count in an RTSTRUCT or a SEG, all as class 1; None for all,
            each with its number as class.
        voxel_size: Which to believe where sform and pixdim of a volume differ; None refuses.
    """

    resample: bool = False
    not_observed: tuple[int, ...] = ()
    predicted_classes: Mapping[int, int] = field(default_factory=dict)
    reference_classes: Mapping[int, int] = field(default_factory=dict)
    structures: str | None = None
    voxel_size: VoxelSize | None = None

    def rules(self, paths: tuple[Path, Path]) -> tuple[LabelRules, LabelRules]:
        """Return how the values of prediction and reference are read."""
        return (
            _rules(paths[0], self.not_observed, self.predicted_classes),
            _rules(paths[1], self.not_observed, self.reference_classes),
        )


def list_pairs(
    predicted: Path, reference: Path, predicted_files: str | None = None, reference_files: str | None = None
) -> list[PairFiles]:
    """Match predictions and references by name.

    Args:
        predicted: A mask, a product, or a folder of masks or products.
        reference: A mask, or a folder of masks.
        predicted_files: Pattern of the predictions in their folder, such as ``{scene}/seg.nii.gz``; without it
            products (``SCENE/mask.tif``) where there are any, else files by their names.
        reference_files: The same for the references.

    Returns:
        One pair per name; a name that only one of two folders has comes without the other file.

    Raises:
        SceneError: When a path is not there, holds no mask, or no name is on both sides.
        JobError: When a pattern does not say where the name stands.
    """
    ours, theirs = (
        _masks(predicted, predicted_files, "--predicted-files"),
        _masks(reference, reference_files, "--reference-files"),
    )
    if _is_one(predicted) and _is_one(reference):
        ((name, mask),), (truth,) = ours.items(), theirs.values()
        return [_pair(name, mask, truth)]
    theirs = _called_alike(ours, theirs)
    if not set(ours) & set(theirs):
        raise SceneError(
            f"no prediction has a reference of its name. Predictions: {_few(ours)}; references: {_few(theirs)}. Say "
            "where the name stands in the file names with --predicted-files or --reference-files, such as "
            "'{scene}_mask.tif' or '{scene}/mask.nii.gz'"
        )
    names = set(ours) if _is_one(predicted) else set(theirs) if _is_one(reference) else set(ours) | set(theirs)
    return [_pair(name, ours.get(name), theirs.get(name)) for name in sorted(names)]


def with_ids(
    pairs: list[PairFiles], predicted: Path, reference: Path, predicted_ids: str | None, reference_ids: str | None
) -> list[PairFiles]:
    """Return pairs with files of ids that are named, instead of those that lie beside products.

    Args:
        pairs: Of masks.
        predicted: As of ``list_pairs``.
        reference: As of ``list_pairs``.
        predicted_ids: Path of the file, or its pattern in the folder of predictions, such as ``{scene}/ids.tif``.
        reference_ids: The same for the references.

    Raises:
        SceneError: When a file is not there.
        JobError: When one file is named for many pairs.
    """
    ours = _ids(pairs, predicted, predicted_ids, "--predicted-ids")
    theirs = _ids(pairs, reference, reference_ids, "--reference-ids")
    return [
        replace(
            files,
            predicted_ids=files.predicted_ids if ours is None else ours.get(files.id),
            reference_ids=files.reference_ids if theirs is None else theirs.get(files.id),
        )
        for files in pairs
    ]


def _called_alike(ours: Mapping[str, Path], theirs: Mapping[str, Path]) -> dict[str, Path]:
    """Return references under the ids that products have: a scene's id is its file's name, spelled for a folder.

    Raises:
        SceneError: When two references have one id.
    """
    found: dict[str, Path] = {}
    for name, path in theirs.items():
        alike = _as_id(name)
        key = alike if name not in ours and alike in ours else name
        if found.setdefault(key, path) != path:
            raise SceneError(f"{path} and {found[key]} are both called {key} as scenes; compare them one by one")
    return found


def _as_id(name: str) -> str:
    try:
        return scene_id(name)
    except SceneError:
        # No scene can be called so: it is compared by its own name.
        return name


@contextmanager
def opened_pair(files: PairFiles, reading: Reading) -> Iterator[MaskPair]:
    """Open a pair on the reference's grid.

    Raises:
        SceneError: When a file is missing, cannot be read, holds no classes, or lies on another grid.
    """
    if files.predicted is None or files.reference is None:
        side, other = ("prediction", files.reference) if files.predicted is None else ("reference", files.predicted)
        raise SceneError(f"{files.id}: no {side} of that name for {other}")
    paths = files.predicted, files.reference
    for path in (*paths, files.predicted_ids, files.reference_ids):
        if path is not None:
            _require_mask(path)
    if len({is_volume(path) for path in paths}) == 2:
        raise UnsupportedSceneError(f"{files.id}: one mask is a volume, the other is not: {paths[0]}, {paths[1]}")
    with _without_dicom(files.id, paths, reading) as (paths, notes), _opened(files, paths, reading) as pair:
        yield replace(pair, notes=(*notes, *pair.notes))


@contextmanager
def _without_dicom(
    pair_id: str, paths: tuple[Path, Path], reading: Reading
) -> Iterator[tuple[tuple[Path, Path], tuple[str, ...]]]:
    """Give a pair of NIfTI files: an RTSTRUCT or a SEG is laid on the grid of the other file."""
    foreign = [path for path in paths if is_volume(path) and not path.name.casefold().endswith(_NIFTI)]
    if not foreign:
        yield paths, ()
        return
    if len(foreign) == 2:
        raise UnsupportedSceneError(f"{pair_id}: both masks are DICOM; give one of them as NIfTI, whose grid counts")
    (source,) = foreign
    with TemporaryDirectory(prefix="swathe-evaluate-") as scratch:
        grid = volume_header(next(path for path in paths if path != source), reading.voxel_size)
        written = Path(scratch) / "labels.nii"
        made = write_reference(
            source, grid.file_shape, affine_mm=grid.affine_mm, destination=written, wanted=reading.structures
        )
        told = ", ".join(f"{each.name} is class {each.class_number}" for each in made.structures)
        ours, theirs = (written if path == source else path for path in paths)
        yield (ours, theirs), (told, *made.notes)


@contextmanager
def _opened(files: PairFiles, paths: tuple[Path, Path], reading: Reading) -> Iterator[MaskPair]:
    rules = reading.rules(paths)
    # Here, because each brings its library of formats.
    if files.is_volume:
        from tasks.pairs.volume import opened_volume_pair

        opened: Opened = partial(opened_volume_pair, voxel_size=reading.voxel_size)
    else:
        from tasks.pairs.raster import opened_raster_pair

        opened = opened_raster_pair
    with opened(files.id, paths, rules, resample=reading.resample) as pair:
        if files.predicted_ids is None or files.reference_ids is None:
            yield pair
            return
        ids = (files.predicted_ids, files.reference_ids)
        with opened_ids(opened, files.id, ids, paths[1], resample=reading.resample) as read_ids:
            yield replace(pair, ids=read_ids)


def is_volume(path: Path) -> bool:
    """Tell whether a mask is a volume: NIfTI by its name, DICOM by its name or its first bytes."""
    return path.name.casefold().endswith(_VOLUMES) or (path.is_file() and is_dicom_file(path))


def _pair(name: str, predicted: Path | None, reference: Path | None) -> PairFiles:
    return PairFiles(
        id=printable(name),
        predicted=predicted,
        reference=reference,
        predicted_ids=_beside(predicted),
        reference_ids=_beside(reference),
    )


def _beside(mask: Path | None) -> Path | None:
    ids = None if mask is None or mask.name not in _IDS else mask.with_name(_IDS[mask.name])
    return ids if ids is not None and ids.is_file() else None


def _ids(pairs: list[PairFiles], folder: Path, named: str | None, option: str) -> dict[str, Path] | None:
    """Return files of ids by pair; None where nothing is named."""
    if named is None:
        return None
    if "{scene}" in named:
        return _by_pattern(folder, named, option)
    if len(pairs) != 1:
        raise JobError(
            f"{option}: '{named}' is one file, and there are {len(pairs)} pairs; give a pattern with {{scene}}"
        )
    if not Path(named).is_file():
        raise SceneError(f"{option}: there is no file {named}. Check the path")
    return {pairs[0].id: Path(named)}


def _rules(path: Path, not_observed: tuple[int, ...], classes: Mapping[int, int]) -> LabelRules:
    return LabelRules(str(path), tuple(value for value in not_observed if value not in classes), dict(classes))


def _masks(path: Path, pattern: str | None, option: str) -> dict[str, Path]:
    """Return masks by name."""
    if not path.exists():
        raise SceneError(f"{path}: no such file or folder. Check the path")
    if not path.is_dir():
        _require_mask(path)
        return {_name(path): path}
    if _is_one(path):
        own = next(path / name for name in _PRODUCTS if (path / name).is_file())
        return {_name(own): own}
    if pattern is not None:
        return _by_pattern(path, pattern, option)
    products = {
        folder.name: folder / name
        for folder in sorted(path.iterdir())
        for name in _PRODUCTS
        if not folder.name.startswith(".") and (folder / name).is_file()
    }
    return products or _by_stem(path)


def _require_mask(path: Path) -> None:
    """Refuse what no mask can be read from: formats are read from their ends as well, and names are told to libraries.

    Raises:
        SceneError: When it is neither a file nor a link to one, or has a name that is not UTF-8.
    """
    if not path.is_file():
        raise SceneError(f"{path}: no file, but a pipe, a device or a folder. Write the mask to a file, and name that")
    require_utf8(str(path))


def _is_one(path: Path) -> bool:
    return path.is_file() or any((path / name).is_file() for name in _PRODUCTS)


def _by_pattern(folder: Path, pattern: str, option: str) -> dict[str, Path]:
    if "{scene}" not in pattern:
        raise JobError(f"{option}: '{pattern}' has no {{scene}} in it, the part of a file's name that both sides share")
    found = Pattern(pattern).find_all(folder)
    if not found:
        raise SceneError(f"{folder}: no file matches {option} '{pattern}'")
    for name, paths in found.items():
        if len(paths) > 1:
            raise SceneError(f"{name}: {option} '{pattern}' matches both {paths[0]} and {paths[1]}; make it narrower")
    return {name: paths[0] for name, paths in found.items()}


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file() and path.name.casefold().endswith((*_VOLUMES, *_RASTERS)):
            other = found.setdefault(stem_of(path.name), path)
            if other != path:
                raise SceneError(f"{path} and {other} have one name; keep one of them, or move the others elsewhere")
    if not found:
        raise SceneError(
            f"{folder}: no mask found; looked for products (SCENE/mask.tif), {', '.join((*_RASTERS, *_VOLUMES))}"
        )
    return found


def _name(path: Path) -> str:
    return path.absolute().parent.name if path.name in _PRODUCTS else stem_of(path.name)


def _few(names: Mapping[str, Path]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    return f"{shown}, ... ({len(names)})" if len(names) > _SHOWN else shown
