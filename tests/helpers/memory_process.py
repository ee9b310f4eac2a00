"""Segments, finishes and analyses one scene in a process of its own and prints its peak memory in bytes."""

import resource
import sys
from pathlib import Path

from tasks.analysis.analyse import analyse
from tasks.files.fingerprint import Fingerprint
from tasks.inputs.listing import list_inputs
from tasks.intake.describe import describe
from tasks.intake.request import make_request
from tasks.jobs.job import load_job
from tasks.products.begin import begin_product
from tasks.products.finish import finish
from tasks.scenes.raster import header as raster_gdal
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import prepare

# Small, so that it is full before the smaller of two scenes ends.
raster_gdal.GDAL_OPTIONS["GDAL_CACHEMAX"] = 16 << 20

if __name__ == "__main__":
    path, job_name, out = sys.argv[1:]
    job = load_job(job_name)
    request = make_request(job, Path(out))
    (item,) = list_inputs([path], job)
    slot = measure_slot(request.card, request.card_folder, job, 1)
    prepared = prepare(request, describe(request, item), Fingerprint("0" * 64, content_hashed=False), slot, 1)
    for _ in PlainEngine().run_blocks(prepared.work, prepared.work.plan.blocks(prepared.scene.frame)):
        pass
    folder = begin_product(prepared)
    finish(request, prepared, folder)
    analyse(request, prepared, folder)
    # Processes that read DICOM are gone by now; the largest of them counts as well.
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    sys.stdout.write(str(max(usages) * 1024))
