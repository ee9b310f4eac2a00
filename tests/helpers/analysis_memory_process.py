"""Analyses one class map in a process of its own and prints its peak memory in bytes."""

import resource
import sys
from pathlib import Path

from flows.analysis import crop, fire
from tasks.scenes.raster import header as raster_gdal

# Small, so that it is full before the smaller of two masks ends.
raster_gdal.GDAL_OPTIONS["GDAL_CACHEMAX"] = 16 << 20

if __name__ == "__main__":
    kind, mask, out, *beside = sys.argv[1:]
    if kind == "fire":
        job, pictures = beside
        outcomes = fire.analyse([mask], fire.ask(job, [pictures], None, ()), Path(out))
    else:
        fields, samples = beside
        options = {"fields": fields, "fields_id": "id", "samples": samples, "samples_crs": "mask"}
        outcomes = crop.analyse([mask], crop.ask(None, options, ()), Path(out))
    if outcomes[0].status != "done":
        sys.exit(outcomes[0].error)
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
