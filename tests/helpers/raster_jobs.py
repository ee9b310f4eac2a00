"""A raster job with a fake model, and a batch of it."""

from pathlib import Path

RASTER_JOB = """
job: test-raster
kind: raster
model: {name: identity, arguments: {n_classes: 7}}
output: {confidence: true}
analysis: {kind: area}
"""


def segmented(segment, job: Path, out: Path, *inputs: Path, workers: int = 1, overrides: tuple[str, ...] = ()):
    from flows.batch.orders import Batch

    names = [str(path) for path in inputs]
    batch = Batch(inputs=names, job=str(job), out=out, workers=workers, device="cpu", overrides=list(overrides))
    return {outcome.scene: outcome for outcome in segment(batch)}
