"""Pictures of a fit, for places where every byte is kept in a database: curves, and masks beside their reference."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.reports.legend import LegendEntry
from tasks.reports.pictures.drawing import overlay, resized
from tasks.reports.pictures.preview import stretch
from tasks.reports.pictures.quicklook import as_jpeg

_PANEL_PX = 360
_GAP_PX = 8
# matplotlib keeps its settings in one place for all threads of a process.
_SETTINGS_LOCK = Lock()


@dataclass(frozen=True, kw_only=True)
class Example:
    """A piece of a scene that a network has not seen, or of one that it was fitted on.

    Attributes:
        scene: Its id.
        image: ``(rows, cols)`` or ``(rows, cols, 3)``.
        valid: Which pixels were observed, ``(rows, cols)``.
        labels: Class numbers of the reference; -1 where there is none.
        mask: Of the network; the highest number of the type is not observed.
    """

    scene: str
    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    labels: NDArray[np.int32]
    mask: NDArray[np.unsignedinteger[Any]]


def example_picture(example: Example, legend: Mapping[int, LegendEntry]) -> bytes:
    """Return a JPEG of three panels: the picture, the reference over it, the mask over it."""
    stretched = stretch(example.image, example.valid)
    picture = stretched if stretched.ndim == 3 else np.repeat(stretched[..., None], 3, axis=2)
    scale = _PANEL_PX / max(picture.shape[:2])
    shape = (max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale)))
    reference = np.where(example.labels < 0, np.iinfo(np.uint16).max, example.labels).astype(np.uint16)
    ground = resized(picture, shape, smooth=True)
    marked = [overlay(ground, resized(labels, shape, smooth=False), legend) for labels in (reference, example.mask)]
    canvas = Image.new("RGB", (3 * shape[1] + 2 * _GAP_PX, shape[0]), "white")
    for number, panel in enumerate((ground, *marked)):
        canvas.paste(Image.fromarray(panel), (number * (shape[1] + _GAP_PX), 0))
    return as_jpeg(canvas)


def curves_picture(curves: Mapping[str, Mapping[int, Mapping[str, float]]]) -> bytes:
    """Return a JPEG of everything that was logged over the steps of fits, a panel for each value.

    Args:
        curves: By name of the fit and number of steps, values by name.
    """
    # Here, because it takes long to import, and only this draws.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = sorted({name for rows in curves.values() for row in rows.values() for name in row})
    buffer = io.BytesIO()
    with _SETTINGS_LOCK, mpl.rc_context({"font.size": 9, "text.parse_math": False}):
        figure = Figure(figsize=(7.5, 2.2 * len(names)), layout="constrained")
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(len(names), 1, place)
            for fit, rows in curves.items():
                steps = [step for step, row in rows.items() if name in row]
                axes.plot(steps, [rows[step][name] for step in steps], label=fit, linewidth=1.5)
            axes.set_ylabel(name.replace("_", " "))
            axes.grid(visible=True, linewidth=0.4)
        figure.axes[0].legend(frameon=False, ncols=4)
        figure.axes[-1].set_xlabel("steps")
        figure.savefig(buffer, format="png", dpi=96)
    with Image.open(buffer) as drawn:
        return as_jpeg(drawn.convert("RGB"))
