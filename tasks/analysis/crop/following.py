"""What has to be sprayed, told at the end of a batch of crop maps."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.analysis.crop.spraying import decide_spraying
from tasks.inputs.input import Input
from tasks.intake.request import Request
from tasks.jobs.crop import CropAnalysis
from tasks.out.folder import OutFolder
from tasks.reports.trail import Trail


def follow(request: Request, _settings: CropAnalysis, published: Sequence[Input], now: str) -> Sequence[str]:
    """Decide what is to be told of fields and zones in which weed outweighs crop."""
    decide_spraying(request.out, [item.id for item in published], now)
    return ()


def trails(_out: OutFolder) -> tuple[Trail, ...]:
    """Return nothing: what was told stands in the ledger and in the products."""
    return ()
