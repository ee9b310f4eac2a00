"""Pictures that hold one value everywhere: a network answers them like any other, and there is nothing to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.errors import ConstantSceneError
from tasks.verdict.verdict import Verdict

if TYPE_CHECKING:
    # Whoever only says that a picture is constant does not need GDAL for it.
    from tasks.scenes.raster.scene import RasterScene


def require_variation(name: str, verdicts: Sequence[Verdict]) -> None:
    """Refuse files none of which holds two values.

    Args:
        name: Of the scene, or the file.
        verdicts: On its files.

    Raises:
        ConstantSceneError: When all that was to be looked at is one value, channel by channel.
    """
    values = [value for verdict in verdicts for value in _constants(verdict)]
    if values and None not in values:
        raise ConstantSceneError(one_value(name, [value for value in values if value is not None]))


def constant_channels(scene: RasterScene, verdicts: dict[str, Verdict]) -> tuple[str, ...]:
    """Return warnings of bands that hold one value everywhere.

    A scene of one band may do so and be right: no heat was seen that night.

    Args:
        scene: With the bands that a model reads.
        verdicts: On its files, by role.

    Raises:
        ConstantSceneError: When there are several bands and none of them holds two values.
    """
    constant = {role: verdict.facts.get("constant_bands", {}) for role, verdict in verdicts.items()}
    found: dict[str, set[float | None]] = {}
    for band in (*scene.channels.bands, *(band for below in scene.beneath for band in below.bands)):
        found.setdefault(band.name, set()).add(constant.get(band.role, {}).get(str(band.index)))
    # The pictures beneath may hold another value than the one above them.
    values = {name: value for name, (value, *others) in found.items() if value is not None and not others}
    if 1 < len(scene.channels.bands) == len(values):
        raise ConstantSceneError(one_value(scene.id, list(values.values())))
    return tuple(f"band {band}: every pixel is {value:g}" for band, value in values.items())


def _constants(verdict: Verdict) -> list[float | None]:
    """Return a value per channel, None where it holds more than one."""
    if verdict.kind == "volume":
        return [verdict.facts["constant"]]
    bands = verdict.facts["constant_bands"]
    return [bands.get(str(band)) for band in verdict.facts["spectral"]]


def one_value(name: str, values: Sequence[float]) -> str:
    """Return the refusal of a scene whose channels are these values everywhere."""
    shown = ", ".join(f"{value:g}" for value in dict.fromkeys(values))
    what = f"every value is {shown}" if len(set(values)) == 1 else f"each channel is one value everywhere ({shown})"
    return f"{name}: {what}: there is nothing to segment. Check what was exported"
