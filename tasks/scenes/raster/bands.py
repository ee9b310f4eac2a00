"""Which band of which file is which channel, and what turns its numbers into physical values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from models.classical.expression import parse_expression
from tasks.errors import BandError
from tasks.jobs.source import BandSource, Source
from tasks.scenes.raster.boa_offset import band_key, boa_offset
from tasks.scenes.raster.header import Header


@dataclass(frozen=True)
class Band:
    """One band of a scene: ``physical = stored * scale + offset``.

    Attributes:
        name: As the model card or the job calls it.
        role: Which of the scene's files holds it.
        index: Its number in that file, from 1.
    """

    name: str
    role: str
    index: int
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Index:
    """A channel that is computed from bands.

    Attributes:
        name: As the model card or the job calls it.
        text: The expression of physical values.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Channels:
    """What a scene is read as.

    Attributes:
        members: In order; a band that is read as it is, or an index of some.
        bands: All that are read, each once.
    """

    members: tuple[Band | Index, ...]
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class InvalidRule:
    """Pixels of ``band`` that the job does not want answered, by value or by bit number."""

    band: Band
    values: tuple[int, ...]
    bits: tuple[int, ...]


@dataclass(frozen=True)
class BandFinder:
    """Finds bands in the files of one scene.

    Attributes:
        scene_id: Named in errors.
        headers: The files of the scene by role.
        source: The job's source section.
        channels: Names of the model's channels in order.
    """

    scene_id: str
    headers: Mapping[str, Header]
    source: Source
    channels: tuple[str, ...]

    def find_channels(self) -> Channels:
        """Return the bands of the model's channels, in order.

        A channel is looked up under ``source.bands``, then among the bands' descriptions; so are the bands that an
        index is made of. Where neither knows any of them, a single file with as many bands (alpha aside) as the
        model has channels is taken as is.

        Raises:
            BandError: When a channel, or a band that an index is made of, is not there.
        """
        found = [self._index(name) or self._find(name) for name in self.channels]
        complete = [member for member in found if member is not None]
        if len(complete) == len(found):
            return self._with_inputs(complete)
        if not complete and not self.source.bands and len(self.headers) == 1:
            role, header = next(iter(self.headers.items()))
            if len(header.spectral) == len(self.channels):
                pairs = zip(self.channels, header.spectral, strict=True)
                return self._with_inputs([Band(name, role, index) for name, index in pairs])
        missing = self.channels[[member is None for member in found].index(True)]
        raise self._missing(missing)

    def _index(self, name: str) -> Index | None:
        text = self.source.bands[name].index if name in self.source.bands else None
        return None if text is None else Index(name, text)

    def _with_inputs(self, found: list[Band | Index]) -> Channels:
        members = tuple(one if isinstance(one, Index) else self._calibrated(one) for one in found)
        bands = {one.name: one for one in members if isinstance(one, Band)}
        for index in (one for one in members if isinstance(one, Index)):
            for name in parse_expression(index.text).bands:
                if name not in bands:
                    band = self._find(name)
                    if band is None:
                        raise self._missing(name, of=f"source.bands.{index.name}.index")
                    bands[name] = self._calibrated(band)
        return Channels(members, tuple(bands.values()))

    def find_rules(self) -> tuple[InvalidRule, ...]:
        """Return the job's invalid rules with their bands, whose stored values are compared.

        Raises:
            BandError: When a rule names a band that is not there.
        """
        rules = []
        for rule in self.source.invalid:
            band = self._find(rule.band)
            if band is None:
                raise self._missing(rule.band)
            rules.append(InvalidRule(band, rule.values, rule.bits))
        return tuple(rules)

    def _find(self, name: str) -> Band | None:
        if name in self.source.bands:
            return self._named(name, self.source.bands[name])
        for role, header in self.headers.items():
            index = _described(header, name)
            if index is not None:
                return Band(name, role, index)
        return None

    def _named(self, name: str, place: BandSource) -> Band:
        role = place.file or next(iter(self.headers))
        if place.file is None and len(self.headers) > 1:
            raise BandError(
                f"{self.scene_id}: band '{name}' names no file; the scene has {', '.join(self.headers)}. "
                f"Set source.bands.{name}.file"
            )
        if role not in self.headers:
            raise BandError(
                f"{self.scene_id}: band '{name}' is in file '{role}', which the scene does not have; "
                f"found {', '.join(self.headers)}. Name it under source.files"
            )
        header = self.headers[role]
        if isinstance(place.band, int):
            if not 1 <= place.band <= len(header.dtypes):
                raise BandError(
                    f"{self.scene_id}: band '{name}' is number {place.band} of {header.path}, which has "
                    f"{len(header.dtypes)} band(s). Correct source.bands.{name}.band"
                )
            return Band(name, role, place.band)
        index = _described(header, place.band or name)
        if index is None:
            raise self._missing(name, place.band)
        return Band(name, role, index)

    def _calibrated(self, band: Band) -> Band:
        header = self.headers[band.role]
        place = self.source.bands.get(band.name)
        scale, offset = header.scales[band.index - 1], header.offsets[band.index - 1]
        if not math.isfinite(scale) or scale == 0.0:
            scale = 1.0
        if not math.isfinite(offset):
            offset = 0.0
        undeclared = scale == 1.0 and offset == 0.0
        if place is not None and place.scale is not None:
            scale = place.scale
        if place is not None and place.offset is not None:
            offset = place.offset
        elif undeclared:
            offset = boa_offset(header, band.index, band.name) * scale
        return Band(band.name, band.role, band.index, scale, offset)

    def _missing(self, name: str, described: str | None = None, of: str | None = None) -> BandError:
        found = ", ".join(self._found_names()) or "no band with a description"
        called = f" (described '{described}')" if described else ""
        needed = f"{of} is made of it" if of else f"the model needs {', '.join(self.channels)}"
        return BandError(
            f"{self.scene_id}: band '{name}'{called} missing; {needed}; found {found}. Name it under source.bands"
        )

    def _found_names(self) -> list[str]:
        many = len(self.headers) > 1
        names = []
        for role, header in self.headers.items():
            for number, text in enumerate(header.descriptions, start=1):
                label = text or f"band {number} without description"
                names.append(f"{role}: {label}" if many else label)
        return names


def _described(header: Header, name: str) -> int | None:
    if name in header.descriptions:
        return header.descriptions.index(name) + 1
    keys = [band_key(text) for text in header.descriptions]
    return keys.index(band_key(name)) + 1 if band_key(name) in keys else None
