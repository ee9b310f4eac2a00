"""Reads one labelled raster from disk, fits a few steps on it in a process of its own, and prints its peak memory."""

import resource
import sys
from pathlib import Path

from flows.training.fit import as_samples
from models.card import Card
from models.training.settings import TrainSettings
from models.training.slices import fit_card
from tasks.jobs.source import Source
from tasks.jobs.training import TrainingSource
from tasks.scenes.raster import header as raster_gdal
from tasks.scenes.raster.scene import describe_raster
from tasks.training.labelled import read_labelled

# Small, so that it is full before the smaller of two rasters ends.
raster_gdal.GDAL_OPTIONS["GDAL_CACHEMAX"] = 16 << 20

if __name__ == "__main__":
    image, labels, card_file = map(Path, sys.argv[1:])
    card = Card.model_validate_json(card_file.read_text())
    scene = describe_raster("large", {"file": str(image)}, Source(), card.by_channel)
    read = read_labelled(scene, labels, card.n_classes, TrainingSource(folder="f", labels="l"), hold=False)
    settings = TrainSettings(steps=4, batch=2, crop=(64, 64), precision="float32", threads=1, device="cpu")
    fit_card(as_samples([read]), card, settings)
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
