"""Which band of which file is which channel, and what turns its numbers into physical values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from models.classical.expression import parse_expression
from models.quantities import QUANTITIES, QuantityName, quantity_of_name
from tasks.errors import BandError
from tasks.jobs.source import BandSource, Source
from tasks.scenes.raster.align import Accepted
from tasks.scenes.raster.boa_offset import add_offset, band_key, is_offset_by_name
from tasks.scenes.raster.header import Header
from tasks.scenes.stated import Stated, StatedBands

# Numbers are rounded: limits are widened by this share of what lies between them.
_ROUNDING = 1e-3


@dataclass(frozen=True, kw_only=True)
class Band:
    """One band of a scene: ``physical = stored * scale + offset``.

    Attributes:
        name: As the model card or the job calls it.
        role: Which of the scene's files holds it.
        index: Its number in that file, from 1.
        nodata: Stored value that is no observation, where the file itself does not say; None for none.
        quantity: What it holds; None where nothing says. What it cannot be is no observation.
        is_assumed: Whether the scale is that of the quantity's custom, and nobody's word.
        may_lack_offset: Whether its file is called like a newer product of Sentinel-2, and nobody says its offset.
    """

    name: str
    role: str
    index: int
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    quantity: QuantityName | None = None
    is_assumed: bool = False
    may_lack_offset: bool = False

    @property
    def accepted(self) -> Accepted:
        """Which stored values are observations."""
        if self.quantity is None:
            return Accepted(self.nodata)
        limits = QUANTITIES[self.quantity]
        slack = _ROUNDING * (limits.highest - limits.lowest) if limits.has_limits else 0.0
        ends = sorted((edge - self.offset) / self.scale for edge in (limits.lowest - slack, limits.highest + slack))
        return Accepted(self.nodata, ends[0], ends[1])


@dataclass(frozen=True)
class Index:
    """A channel that is computed from bands.

    Attributes:
        name: As the model card or the job calls it.
        text: The expression of physical values.
        quantity: What it is; None where nothing says.
    """

    name: str
    text: str
    quantity: QuantityName | None = None


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


@dataclass(frozen=True, kw_only=True)
class BandFinder:
    """Finds bands in the files of one scene.

    Attributes:
        scene_id: Named in errors.
        headers: The files of the scene by role.
        source: The job's source section.
        channels: Names of the model's channels in order.
        stated: What a catalogue says of the bands.
        quantities: What the model's channels hold, by name, where its card says.
    """

    scene_id: str
    headers: Mapping[str, Header]
    source: Source
    channels: tuple[str, ...]
    stated: StatedBands = field(default_factory=dict)
    quantities: Mapping[str, QuantityName | None] = field(default_factory=dict)

    def find_channels(self) -> Channels:
        """Return the bands of the model's channels, in order.

        A channel is looked up under ``source.bands``, then among the bands' descriptions; so are the bands that an
        index is made of. Where neither knows any of them, a single file with as many bands (alpha aside, or with it) as
        the model has channels is taken as is.

        Raises:
            BandError: When a channel, or a band that an index is made of, is not there.
        """
        found = [self._index(name) or self._find(name) for name in self.channels]
        complete = [member for member in found if member is not None]
        if len(complete) == len(found):
            return self._with_inputs(complete)
        if not complete and not self.source.bands and len(self.headers) == 1:
            role, header = next(iter(self.headers.items()))
            # Near-infrared is called alpha by programs that know pictures of four bands alone.
            every = tuple(range(1, len(header.dtypes) + 1))
            indexes = next((found for found in (header.spectral, every) if len(found) == len(self.channels)), None)
            if indexes is not None:
                pairs = zip(self.channels, indexes, strict=True)
                return self._with_inputs([Band(name=name, role=role, index=index) for name, index in pairs])
        missing = self.channels[[member is None for member in found].index(True)]
        raise self._missing(missing)

    def _index(self, name: str) -> Index | None:
        text = self.source.bands[name].index if name in self.source.bands else None
        return None if text is None else Index(name, text, self._quantity(name))

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
                return Band(name=name, role=role, index=index)
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
            return Band(name=name, role=role, index=place.band)
        index = _described(header, place.band or name)
        if index is None:
            raise self._missing(name, place.band)
        return Band(name=name, role=role, index=index)

    def _calibrated(self, band: Band) -> Band:
        header = self.headers[band.role]
        place = self.source.bands.get(band.name)
        scale, offset = header.scales[band.index - 1], header.offsets[band.index - 1]
        if not math.isfinite(scale) or scale == 0.0:
            scale = 1.0
        if not math.isfinite(offset):
            offset = 0.0
        undeclared = scale == 1.0 and offset == 0.0
        quantity, is_assumed = self._quantity(band.name), False
        told = self._stated(band) if undeclared else Stated()
        if place is not None and place.scale is not None:
            scale = place.scale
        elif told.scale is not None:
            scale = told.scale
        elif undeclared and (custom := _custom(header.dtypes[band.index - 1], quantity)) is not None:
            scale, is_assumed = custom, True
        may_lack = False
        if place is not None and place.offset is not None:
            offset = place.offset
        elif undeclared:
            own = add_offset(header, band.index, band.name)
            offset = (told.offset or 0.0) if own is None else own * scale
            may_lack = own is None and told.offset is None and is_offset_by_name(header.path)
        return replace(
            band,
            scale=scale,
            offset=offset,
            nodata=self._nodata(band),
            quantity=quantity,
            is_assumed=is_assumed,
            may_lack_offset=may_lack,
        )

    def _quantity(self, name: str) -> QuantityName | None:
        place = self.source.bands.get(name)
        stated = None if place is None else place.quantity
        return stated or self.quantities.get(name) or quantity_of_name(name)

    def _stated(self, band: Band) -> Stated:
        told = self.stated.get(band.role, ())
        return told[band.index - 1] if band.index <= len(told) else Stated()

    def _nodata(self, band: Band) -> float | None:
        own = self.headers[band.role].nodata[band.index - 1]
        return self._stated(band).nodata if own is None else None

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


def _custom(dtype: str, quantity: QuantityName | None) -> float | None:
    """Return what a whole number stands for where values are fractions and nobody states a scale."""
    # Eight bits hold too few steps for any custom.
    is_whole = np.issubdtype(np.dtype(dtype), np.integer) and np.dtype(dtype).itemsize > 1
    return QUANTITIES[quantity].whole_number if quantity is not None and is_whole else None


def _described(header: Header, name: str) -> int | None:
    """Return the number of the band that a file calls so; None where there is none.

    Raises:
        BandError: When several are called so.
    """
    keys = [band_key(text) for text in header.descriptions]
    for texts, wanted in ((list(header.descriptions), name), (keys, band_key(name))):
        found = [number for number, text in enumerate(texts, start=1) if text == wanted]
        if len(found) > 1:
            raise BandError(
                f"{header.path}: bands {', '.join(map(str, found))} are all called '{name}'. Write the number of the "
                f"one that is meant: source.bands.{name}.band"
            )
        if found:
            return found[0]
    return None
