"""The published scenes of a site: the fires that they show, and what they observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from tasks.analysis.masks.raster import MaskLayer
from tasks.answers.fire.events import History, Observation, Seen
from tasks.answers.fire.geodesy import reprojected
from tasks.geometry.box import Box
from tasks.geometry.raster_grid import RasterGrid
from tasks.out.folder import OutFolder
from tasks.out.sightings import Sighting
from tasks.scenes.raster.header import read_header
from tasks.scenes.vectors import VectorTable, read_vectors


@dataclass(frozen=True)
class SiteEvents:
    """The events of one site.

    Attributes:
        site: Its name.
        history: Folded from all published scenes of the site; None where no scene has a CRS.
        crs_wkt: Of the history.
        folder: Where they are published below ``OUT/fires``; None where there is nothing to publish.
    """

    site: str
    history: History | None
    crs_wkt: str | None
    folder: Path | None


@dataclass(frozen=True)
class Product:
    """A published scene of a site."""

    sighting: Sighting
    folder: Path
    fires: VectorTable
    crs_wkt: str


@dataclass(frozen=True)
class Folded:
    """A site with its events, not yet published."""

    events: SiteEvents
    products: tuple[Product, ...]
    facts: Mapping[str, Any]


def has_product(out: OutFolder, sighting: Sighting) -> bool:
    """Tell whether a scene is published as far as events need it."""
    link = out.link(sighting.scene)
    return (link / "objects.parquet").is_file() and (link / "mask.tif").is_file()


def products_of(out: OutFolder, sightings: Sequence[Sighting]) -> list[Product]:
    """Return the published scenes that lie on the Earth, in the order of the sightings."""
    found = []
    for sighting in sightings:
        if not has_product(out, sighting):
            continue
        folder = out.link(sighting.scene).resolve()
        fires = read_vectors(folder / "objects.parquet")
        if fires.crs_wkt is not None and _on_the_earth(fires.crs_wkt):
            found.append(Product(sighting, folder, fires, fires.crs_wkt))
    return found


def _on_the_earth(crs_wkt: str) -> bool:
    crs = CRS.from_wkt(crs_wkt)
    return bool((crs.is_geographic or crs.is_projected) and crs.get_geod() is not None)


def observation_of(product: Product, crs_wkt: str, beside: float) -> Observation:
    """Return what a scene shows, in another CRS, beside what lies at ``x`` there."""
    columns = product.fires.columns
    geometries = reprojected(product.fires.geometries, product.crs_wkt, crs_wkt, beside)
    severity = [name for name in columns if name.startswith("severity_") and name.endswith("_ha")]
    fires = tuple(
        Seen(
            id=columns["id"][number],
            geometry=geometry,
            severity_ha={name: columns[name][number] for name in severity if columns[name][number] is not None},
            observed_percent=columns["observed_percent"][number],
            mean_dnbr=columns["mean_dnbr"][number],
            max_dnbr=columns["max_dnbr"][number],
        )
        for number, geometry in enumerate(geometries)
    )
    return Observation(product.sighting.scene, product.sighting.date, fires)


def observed_pixels(product: Product) -> tuple[Callable[[Box], NDArray[np.bool_]], RasterGrid]:
    """Return what reads which pixels of a window a scene observed, and its grid."""
    header = read_header(str(product.folder / "mask.tif"))
    mask = MaskLayer(header.path, header.nodata[0], header.dtypes[0])

    def read(box: Box) -> NDArray[np.bool_]:
        labels = mask(box)
        seen: NDArray[np.bool_] = labels < np.iinfo(labels.dtype).max
        return seen

    return read, header.grid
