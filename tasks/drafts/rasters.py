"""What the bands of a raster are, as far as the file tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from models.classical.settings import MOST_FEATURES
from models.quantities import QUANTITIES, QuantityName
from tasks.drafts.draft import Place
from tasks.errors import SceneError
from tasks.scenes.raster.header import Header, opened_raster, read_header

# Rules on bands that say what was seen, by the names that they have in files and catalogues.
CLOUDS: dict[str, dict[str, Any]] = {
    # Sentinel-2 Level-2A: no data, defective, shadow of clouds, clouds, cirrus, snow.
    "SCL": {"values": [0, 1, 3, 8, 9, 10, 11]},
    # Landsat Collection 2: fill, dilated cloud, cirrus, cloud, shadow, snow.
    "QA_PIXEL": {"bits": [0, 1, 2, 3, 4, 5]},
    # HLS: cloud, beside cloud, shadow, snow.
    "FMASK": {"bits": [1, 2, 3, 4]},
}
_COLOURS = {
    ColorInterp.red: "red",
    ColorInterp.green: "green",
    ColorInterp.blue: "blue",
}
# What whole numbers of a quantity are multiplied by to become physical, by custom.
_FACTORS: dict[QuantityName, float] = {"reflectance": 1e-4, "normalised difference": 1e-4, "dNBR": 1e-3}
# Of a reduced picture, on which bands are looked at.
_LOOK = 256
_FEW_VALUES = 32
# What bands a clustering looks at, at most.
MOST_BANDS = MOST_FEATURES


@dataclass(frozen=True)
class Bands:
    """The bands of a scene as a job names them.

    Attributes:
        places: Of each band that is looked at, by name.
        invalid: Rules on bands that say what was seen.
        remarks: What one should know.
    """

    places: Mapping[str, Place]
    invalid: tuple[Mapping[str, Any], ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Band:
    role: str | None
    number: int
    name: str


def find_bands(files: Mapping[str, str], roles: Mapping[str, str]) -> Bands:
    """Look at the files of one scene.

    Args:
        files: Paths by role.
        roles: Patterns by role; empty where a scene is one file.

    Raises:
        SceneError: When a file cannot be read.
    """
    remarks: list[str] = []
    found: list[_Band] = []
    for role, path in files.items():
        header = read_header(path)
        kept = _kept(path, header, remarks)
        names = _names(path, header, kept, role if len(roles) > 1 else None)
        found += [_Band(role if roles else None, number, name) for number, name in zip(kept, names, strict=True)]
        remarks += _said(path, header, kept)
    named = _told_apart(found)
    clouds = {name: rule for name in named if (rule := CLOUDS.get(name.upper())) is not None}
    spectral = len(named) - len(clouds)
    if spectral > MOST_BANDS:
        remarks.append(f"{spectral} bands: {MOST_BANDS} of them, evenly spread, are named; add others in the same way")
        every = [name for name in named if name not in clouds]
        spread = {every[round(k * (spectral - 1) / (MOST_BANDS - 1))] for k in range(MOST_BANDS)}
        named = {name: band for name, band in named.items() if name in clouds or name in spread}
    places = {name: Place(band.number, band.role) for name, band in named.items()}
    return Bands(places, tuple({"band": name, **rule} for name, rule in clouds.items()), tuple(dict.fromkeys(remarks)))


def likeness(path: Path) -> tuple[int, str] | None:
    """Return what rasters of one kind share: how many bands, of which numbers; None where it cannot be read."""
    try:
        header = read_header(str(path))
    except SceneError:
        return None
    return len(header.dtypes), header.dtypes[0]


def scale_of(path: str, place: Place, quantity: QuantityName | None) -> float | None:
    """Return the factor that makes stored numbers the quantity that a model wants, where it is plain; else None.

    Args:
        path: The file.
        place: Of the band in it.
        quantity: What the model's channel holds.
    """
    factor = None if quantity is None else _FACTORS.get(quantity)
    if quantity is None or factor is None:
        return None
    highest = QUANTITIES[quantity].highest
    with opened_raster(path) as dataset:
        if dataset.scales[place.band - 1] != 1.0:
            return None
        values = _reduced(dataset, place.band).astype(np.float64)
    observed = values[np.isfinite(values) & (values != 0)]
    usual = float(np.percentile(observed, 90)) if len(observed) else 0.0
    return factor if usual > highest >= usual * factor else None


def looks_like_classes(path: str) -> bool:
    """Tell whether a raster holds few whole numbers of one byte: a class map, which is an answer and no picture."""
    with opened_raster(path) as dataset:
        if dataset.count != 1 or dataset.dtypes[0] not in ("uint8", "int8"):
            return False
        return len(np.unique(_reduced(dataset, 1))) <= _FEW_VALUES


def _kept(path: str, header: Header, remarks: list[str]) -> list[int]:
    """Return the numbers of the bands that hold what was seen: alpha that is one is left out."""
    numbers = list(range(1, len(header.dtypes) + 1))
    alpha = [number for number in numbers if number not in header.spectral]
    if not alpha or len(numbers) == 1:
        return numbers
    with opened_raster(path) as dataset:
        real = {number for number in alpha if len(np.unique(_reduced(dataset, number))) <= 2}
    remarks += [
        f"Band {number} is left out: it says which pixels are there (alpha)"
        if number in real
        else f"Band {number} is called alpha by the file, and holds more than that: it is read as a band"
        for number in alpha
    ]
    return [number for number in numbers if number not in real]


def _reduced(dataset: Any, number: int) -> np.ndarray[Any, Any]:  # noqa: ANN401 - rasterio has no types
    shape = tuple(min(_LOOK, length) for length in dataset.shape)
    return np.asarray(dataset.read(number, out_shape=shape))


def _names(path: str, header: Header, kept: Sequence[int], role: str | None) -> list[str]:
    """Return a name for each band: what the file calls it, its colour, or a number."""
    described = [header.descriptions[number - 1].strip() for number in kept]
    with opened_raster(path) as dataset:
        colours = [_COLOURS.get(dataset.colorinterp[number - 1], "") for number in kept]
    if len(kept) == 1:
        return [described[0] or role or "band_1"]
    numbered = [f"{role}_{number}" if role else f"band_{number}" for number in kept]
    if sorted(filter(None, colours)) != ["blue", "green", "red"]:
        colours = [""] * len(kept)
    return [text or colour or number for text, colour, number in zip(described, colours, numbered, strict=True)]


def _said(path: str, header: Header, kept: Sequence[int]) -> Iterator[str]:
    name = Path(path).name
    scaled = [n for n in kept if (header.scales[n - 1], header.offsets[n - 1]) != (1.0, 0.0)]
    dtypes = {header.dtypes[number - 1] for number in kept}
    if scaled:
        yield f"{name} says itself how its numbers become physical values; scale and offset are not needed"
    elif dtypes & {"uint16", "int16"}:
        yield "Whole numbers. Where they are reflectance x 10,000, add to each such band: scale: 1.0e-4"
    if header.grid.crs_wkt is None:
        yield f"{name} does not say where on the Earth it lies: masks are made, areas in hectares are not"


def _told_apart(found: Sequence[_Band]) -> dict[str, _Band]:
    """Return bands by name; those that share one get their role, or their number, behind it."""
    counts = Counter(band.name for band in found)
    named: dict[str, _Band] = {}
    for band in found:
        name = band.name
        if counts[name] > 1:
            name = f"{name}_{band.role or band.number}"
        if name in named:
            name = f"{name}_{band.number}"
        named[name] = band
    return named
