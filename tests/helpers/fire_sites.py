"""An OUT folder whose fires are followed: masks become products of one site, as a job would publish them."""

import itertools
import json

import numpy as np
import rasterio
from pyproj import CRS
from rasterio.transform import Affine

from tasks.analysis.fire.analyse import analyse_fire
from tasks.analysis.fire.events import fold_fires
from tasks.analysis.masks.raster import open_raster_mask
from tasks.geometry.raster_grid import RasterGrid
from tasks.jobs.fire import FireAnalysis
from tasks.out.folder import OutFolder
from tasks.out.sightings import Sighting
from tasks.products.cog import RasterProductSpec, write_cog
from tasks.products.publish import publish

UTM = CRS.from_epsg(32633).to_wkt()
GRID = RasterGrid(rows=100, cols=100, affine=(20.0, 0, 500_000, 0, -20.0, 5_000_000), crs_wkt=UTM)


class Site:
    """An OUT folder that gets masks as products, as a job would publish them."""

    def __init__(self, folder, grid=GRID, **analysis):
        self.grid = grid
        self.folder, self.out = folder, OutFolder(folder / "out")
        self.settings = FireAnalysis.model_validate({"kind": "fire", "min_area_ha": 0, **analysis})
        (folder / "out" / ".swathe").mkdir(parents=True)
        self.versions = itertools.count()

    def publish(self, scene, day, *blocks, cloud=None, site="valley", grid=None):
        grid = grid or self.grid
        version = next(self.versions)
        labels = np.zeros((1, *grid.shape), np.uint8)
        for top, left, bottom, right in blocks:
            labels[0, top:bottom, left:right] = 1
        if cloud is not None:
            labels[0, cloud[0] : cloud[2], cloud[1] : cloud[3]] = 255
        path = self.folder / f"{scene}.tif"
        profile = {"driver": "GTiff", "count": 1, "height": grid.rows, "width": grid.cols, "dtype": "uint8"}
        place = {"crs": grid.crs_wkt, "transform": Affine(*grid.affine), "nodata": 255}
        with rasterio.open(path, "w", **profile, **place) as dataset:
            dataset.write(labels)
        product = self.folder / f"product-{version}"
        product.mkdir()
        subject = open_raster_mask(path, None, scene)
        analyse_fire(subject, self.settings, product)
        write_cog(subject.read, product / "mask.tif", RasterProductSpec(subject.grid, "mask", subject.classes))
        publish(self.out, scene, f"{version:016x}", product)
        return Sighting(scene, site, f"2024-07-{day:02d}")

    def fold(self, *sightings, now="2024-07-05T06:00:00+00:00"):
        return fold_fires(self.out, self.settings, sightings, now)

    @property
    def events(self):
        return json.loads((self.out.root / "fires" / "valley" / "events.json").read_text())["events"]
