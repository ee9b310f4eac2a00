"""The process that writes DICOM objects: it opens files that may crash, hang or exhaust whoever opens them.

It answers one line for each that it is given; ``tasks.products.dicom.results`` is its only caller.
"""

from __future__ import annotations

import json
import traceback
from pathlib import Path

from models.errors import SwatheError
from tasks.dicom.header import DAMAGED
from tasks.files.answering import answer_lines
from tasks.products.dicom.capture import write_capture
from tasks.products.dicom.order import Order
from tasks.products.dicom.report import write_report
from tasks.products.dicom.segmentation import write_segmentation
from tasks.products.dicom.source import read_source

MAX_MEMORY_BYTES = 4 << 30


def main() -> None:
    """Answer requests until the input ends."""
    answer_lines(lambda line: json.dumps(_answer(line)), MAX_MEMORY_BYTES)


def _answer(line: str) -> dict[str, str]:
    try:
        write(Order.from_facts(json.loads(line)))
    except SwatheError as error:
        return {"error": str(error), "class": type(error).__name__}
    except OSError as error:
        return {"error": error.strerror or str(error), "class": "OSError"}
    except DAMAGED as error:
        # Without its text, which may hold what the headers do.
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        text = f"its headers do not allow them ({type(error).__name__} in {place}). Leave output.dicom out for it"
        return {"error": text, "class": "ProductError"}
    except MemoryError:
        return {"error": f"its results ask for more than {MAX_MEMORY_BYTES >> 30} GiB", "class": "MemoryError"}
    return {}


def write(order: Order) -> None:
    """Write the objects of one series.

    Raises:
        UnreadableSceneError: When a header of the source is damaged.
        ProductError: When an object does not read back as meant.
    """
    source = read_source(order)
    segmentations = [write_segmentation(order, layer, source, number) for number, layer in enumerate(order.layers)]
    if order.report:
        write_report(order, source, segmentations)
    lesions = next((layer for layer in order.layers if layer.measured), None)
    if order.capture and lesions is not None:
        # The report has the number behind those of the layers.
        write_capture(order, lesions, source, len(order.layers) + 1)


if __name__ == "__main__":
    main()
