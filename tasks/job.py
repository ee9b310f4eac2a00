"""The job file: source, model, tiling, output and analysis, validated before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tasks.errors import JobError

# Beside this package, in a checkout as in an installed wheel.
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# Strict, or YAML's true would pass for 1.
_Length = Annotated[int, Field(ge=1, strict=True)]
_Margin = Annotated[int, Field(ge=0, strict=True)]


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, Mapping) else value


class BandSource(_Section):
    """Where a band comes from.

    Attributes:
        file: A role under ``source.files``; may be left out when a scene is one file.
        band: Its number from 1, or its description in the file.
        scale: Factor from stored to physical values; the file's own where left out.
        offset: Summand from stored to physical values; the file's own where left out.
    """

    file: str | None = None
    band: int | str
    scale: float | None = None
    offset: float | None = None


class Invalid(_Section):
    """Pixels that the job does not want answered: cloud, shadow, snow, water.

    Attributes:
        band: A name under ``source.bands``, such as SCL, QA_PIXEL or Fmask.
        values: Values of that band that are invalid.
        bits: Numbers of bits, from 0, any of which makes a pixel invalid.
    """

    band: str
    values: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()


class Source(_Section):
    """The files and bands that make up a scene."""

    files: dict[str, str] = {}
    bands: dict[str, BandSource] = {}
    invalid: Annotated[tuple[Invalid, ...], BeforeValidator(_as_tuple)] = ()
    dates: dict[str, str] = {}


class ModelChoice(_Section):
    """Which model segments: a name in the zoo, or weights beside their card.

    Attributes:
        name: A name that ``swathe models`` lists.
        weights: Path of a card (.json) or of weights (.safetensors) with their card beside them.
        sha256: Refuse weights that hash to anything else.
        arguments: For models without weights (``identity``, ``threshold``): what they are made with.
    """

    name: str | None = None
    weights: str | None = None
    sha256: str | None = None
    arguments: dict[str, float | int | str] = {}


class Tiling(_Section):
    """How a scene is cut; ``auto`` takes what the model card recommends, and what this machine can hold.

    Attributes:
        tile: Side of a tile in pixels, one for all axes or one per axis.
        halo: Pixels at each side of a tile that are read but not answered for.
        overlap: By how many pixels neighbouring cores overlap and are blended.
        block: Side of the piece of output that one Dask task owns.
        batch: Tiles per forward pass.
        blend: ``gaussian`` and ``core`` stitch probabilities; ``logits`` stitches scores before softmax.
    """

    tile: Literal["auto"] | _Length | tuple[_Length, ...] = "auto"
    halo: Literal["auto"] | _Margin | tuple[_Margin, ...] = "auto"
    overlap: Literal["auto"] | _Margin | tuple[_Margin, ...] = "auto"
    block: Literal["auto"] | _Length | tuple[_Length, ...] = "auto"
    batch: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    blend: Literal["gaussian", "core", "logits"] = "gaussian"


class Run(_Section):
    """Device and precision; ``auto`` takes the fastest that keeps the mask within ``tolerance`` of float32.

    Attributes:
        device: ``cuda`` where there is one, else ``cpu``.
        dtype: Numbers that the network computes in.
        tolerance: Largest share of labels that a faster dtype may change, by the model card's own measurement.
        threads: CPU threads per worker slot.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.005
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"


class Output(_Section):
    """What else a product holds beside the mask."""

    confidence: bool = False


class Analysis(_Section):
    """What the mask means.

    Attributes:
        kind: ``area`` in hectares per class (rasters), ``tumour`` in mL per component (volumes).
        label: The class that ``tumour`` measures.
        connectivity: Neighbours of a voxel that belong to one component: 6, 18 or 26.
    """

    kind: Literal["area", "tumour"]
    label: int = 1
    connectivity: Literal[6, 18, 26] = 26


class Job(_Section):
    """One YAML file in ``configs/``.

    Attributes:
        job: Its name, in reports and run names.
        kind: What scenes are.
        title: One line for reports.
    """

    job: str
    kind: Literal["raster", "volume"]
    source: Source = Source()
    model: ModelChoice
    tiling: Tiling = Tiling()
    run: Run = Run()
    output: Output = Output()
    analysis: Analysis | None = None
    title: str = ""


class TrainingSource(_Section):
    """Scenes with full labels.

    Attributes:
        folder: Folder that holds them; ``{data}`` is the folder of the sample data.
        labels: Pattern of the label file, relative to the folder.
        exclude: Scene ids that are left out of training and validation alike.
    """

    folder: str
    labels: str
    exclude: tuple[str, ...] = ()


class TrainingJob(_Section):
    """A file such as ``configs/train-fire.yaml``: what to fit, on what, and for how long.

    Attributes:
        card: Card fields that do not come out of training: name, network, channels, classes, tiling, origin.
        folds: Cross-validation folds over scenes before the final fit; 0 leaves it out.
        settings: Fields of ``models.training.settings.TrainSettings``.
    """

    job: str
    kind: Literal["raster", "volume"]
    source: Source = Source()
    training: TrainingSource
    card: dict[str, Any]
    baseline: dict[str, Any] = {}
    folds: Annotated[int, Field(ge=0)] = 4
    settings: dict[str, Any] = {}


def list_jobs() -> list[str]:
    """Return the names of the jobs that ship."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def load_job(name_or_path: str, overrides: tuple[str, ...] = ()) -> Job:
    """Read a job.

    Args:
        name_or_path: A name in ``configs/`` or the path of a YAML file.
        overrides: ``key.path=value`` settings that replace the file's; values are YAML.

    Raises:
        JobError: When there is no such job or a key or value of it is wrong.
    """
    return _load(name_or_path, Job, overrides)


def load_training_job(name_or_path: str, overrides: tuple[str, ...] = ()) -> TrainingJob:
    """Read a training job; arguments and errors are those of ``load_job``."""
    return _load(name_or_path, TrainingJob, overrides)


_S = TypeVar("_S", bound=_Section)


def _load(name_or_path: str, section: type[_S], overrides: tuple[str, ...]) -> _S:
    text, origin = _read_text(name_or_path)
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise JobError(f"{origin}: not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise JobError(f"{origin}: a job is a mapping of keys; found {type(raw).__name__}. See configs/ for examples")
    for override in overrides:
        _override(raw, override)
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise JobError(_explain(error, origin, section)) from error


def _read_text(name_or_path: str) -> tuple[str, str]:
    shipped = CONFIGS / f"{name_or_path}.yaml"
    if "/" not in name_or_path and shipped.is_file():
        return shipped.read_text(), f"configs/{name_or_path}.yaml"
    path = Path(name_or_path)
    try:
        return path.read_text(), name_or_path
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(
            f"no job '{name_or_path}': neither a name in configs/ ({', '.join(list_jobs())}) nor a readable file"
        ) from error


def _override(raw: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise JobError(f"--set {override}: expected key.path=value, such as tiling.halo=64")
    *parents, last = key.split(".")
    node = raw
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise JobError(f"--set {override}: '{parent}' is a value in this job, not a section")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise JobError(f"--set {override}: the value is not YAML") from error


def _explain(error: ValidationError, origin: str, section: type[BaseModel]) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "the job"
        if item["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(section, item["loc"][:-1]))
            lines.append(f"{origin}: unknown key '{where}'; known here: {known}")
        else:
            lines.append(f"{origin}: '{where}': {item['msg']}; got {item.get('input')!r}")
    return "\n".join(lines)


def _known_keys(section: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    current: type[BaseModel] = section
    for part in location:
        if isinstance(part, str) and part in current.model_fields:
            current = _section_in(current.model_fields[part].annotation) or current
    return list(current.model_fields)


def _section_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, tuple, dict, Annotated):
        found = (_section_in(argument) for argument in get_args(annotation))
        return next((section for section in found if section), None)
    return None
