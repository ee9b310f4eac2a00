"""A raster scene: one or more files read as one stack of bands on one grid."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.classical.expression import parse_expression
from models.quantities import QuantityName
from tasks.errors import EmptySceneError
from tasks.files.declared import is_local
from tasks.files.fingerprint import Fingerprint, combined_sha256, facts_sha256, file_sha256
from tasks.files.remote import content_sha256
from tasks.geometry.box import Box
from tasks.geometry.frame import Frame
from tasks.geometry.raster_grid import RasterGrid
from tasks.jobs.source import Source
from tasks.scenes.raster.align import DirectFile, WarpedFile
from tasks.scenes.raster.bands import Band, BandFinder, Channels, Index, InvalidRule
from tasks.scenes.raster.dataset import DRIVERS, open_with
from tasks.scenes.raster.header import Header, gdal_env, open_raster, opened_raster, read_header
from tasks.scenes.raster.placing import RasterFile, finest, place, reaching
from tasks.scenes.raster.undeclared import files_of, is_vrt
from tasks.scenes.stated import StatedBands, by_item, role_beneath

_CACHED_PIXELS = 1 << 15
# Beside a raster, but nothing that is read at full resolution: overviews, and facts that the header repeats.
_SIDECARS = (".ovr", ".aux.xml")
# Beside the source of a VRT: masks, and pixels of ERDAS Imagine files.
_OF_SOURCES = (".msk", ".aux", ".ige", ".rrd", ".rde")


@dataclass(frozen=True)
class Beneath:
    """Bands of another picture of the same place and date: where those above observe nothing, these count.

    Attributes:
        bands: Each of the name of one of the scene's.
        rules: One per rule of the scene; None where it looks at files of another picture.
    """

    bands: tuple[Band, ...]
    rules: tuple[InvalidRule | None, ...]


@dataclass(frozen=True, kw_only=True)
class RasterScene:
    """A raster as the engine sees it; implements ``tasks.scenes.scene.Scene``.

    Attributes:
        grid: Of the finest file that holds a band, the first in channel order where several are as fine; files of an
            earlier scene do not count. It reaches as far as the pictures beneath.
        files: The files that are read, by role.
        channels: In the model card's order, and the bands that they are made of.
        rules: What the job calls invalid.
        notes: What a user should know: files that are interpolated, a VRT that names other files, no CRS.
        beneath: Pictures that fill what the ones above them do not observe, in order.
    """

    id: str
    grid: RasterGrid
    files: tuple[RasterFile, ...]
    channels: Channels
    rules: tuple[InvalidRule, ...] = ()
    notes: tuple[str, ...] = ()
    beneath: tuple[Beneath, ...] = ()

    @property
    def frame(self) -> Frame:
        """The input's own grid: rasters are not resampled for the network."""
        return Frame(native_shape=self.grid.shape, model_shape=self.grid.shape, scale=(1.0, 1.0))

    @property
    def n_channels(self) -> int:
        """Channels that a window has."""
        return len(self.channels.members)

    @contextmanager
    def open(self) -> Iterator[RasterReader]:
        """Open every file once, for the thread that reads.

        Raises:
            UnreadableSceneError: When a file is gone or damaged.
        """
        every = [*self.channels.bands, *(band for below in self.beneath for band in below.bands)]
        with ExitStack() as stack:
            opened: dict[str, DirectFile | WarpedFile] = {}
            for file in self.files:
                with gdal_env():
                    dataset = stack.enter_context(open_raster(file.path))
                own = {band.index: band.accepted for band in every if band.role == file.role}
                kept = {index: accepted for index, accepted in own.items() if not accepted.is_everything}
                alpha = file.alpha_is_band
                opened[file.role] = (
                    DirectFile(dataset, kept, alpha_is_band=alpha)
                    if file.aligned
                    else WarpedFile(dataset, file.grid, self.grid, kept, alpha_is_band=alpha)
                )
            yield RasterReader(self, opened)


class RasterReader:
    """Windowed reads of an opened scene; one thread at a time."""

    def __init__(self, scene: RasterScene, files: Mapping[str, DirectFile | WarpedFile]) -> None:
        self._scene = scene
        self._files = files

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read physical values.

        Returns:
            Float32 ``(channels, rows, cols)``, 0 where not observed, and which pixels every band observes and every
            index has a value for.

        Raises:
            UnreadableSceneError: When the file's tiles do not decode.
        """
        channels = self._scene.channels
        image, valid, _ = self._read_bands(box)
        if channels.members != channels.bands:
            image = _assembled(channels, image)
            valid &= np.isfinite(image).all(axis=0)
        if not valid.all():
            image[:, ~valid] = 0.0
        return image, valid

    def _read_bands(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[NDArray[np.bool_], ...]]:
        """Read every band; return too which pixels come from each picture beneath."""
        bands = self._scene.channels.bands
        image, observed = self._stored(bands, box)
        places = {band.name: k for k, band in enumerate(bands)}
        taken = []
        for below in self._scene.beneath:
            own = [places[band.name] for band in below.bands]
            missing = ~_everywhere(observed[own])
            if missing.any():
                values, there = self._stored(below.bands, box)
                missing &= _everywhere(there)
                for k, place in enumerate(own):
                    image[place][missing] = values[k][missing]
                    observed[place] |= missing
            taken.append(missing)
        return image, _everywhere(observed), tuple(taken)

    def _stored(self, bands: tuple[Band, ...], box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return physical values ``(bands, *box.shape)`` and which of them are observed."""
        image = np.empty((len(bands), *box.shape), dtype=np.float32)
        observed = np.empty(image.shape, dtype=np.bool_)
        for role, members in _by_role(bands).items():
            stored, observed[members] = self._files[role].read([bands[k].index for k in members], box, nearest=False)
            for values, k in zip(stored, members, strict=True):
                _fill_physical(values, bands[k], image[k])
                if np.issubdtype(values.dtype, np.floating):
                    observed[k] &= np.isfinite(image[k])
        return image, observed

    def invalid(self, box: Box) -> NDArray[np.bool_] | None:
        """Tell which pixels the job calls invalid; what a rule's band does not observe is invalid too."""
        if not self._scene.rules:
            return None
        # A pixel is as valid as the picture that it comes from says.
        taken = self._read_bands(box)[2] if self._scene.beneath else ()
        invalid = np.zeros(box.shape, dtype=np.bool_)
        for number, rule in enumerate(self._scene.rules):
            broken = self._broken(rule, box)
            for below, here in zip(self._scene.beneath, taken, strict=True):
                own = below.rules[number]
                if own is not None and here.any():
                    broken = np.where(here, self._broken(own, box), broken)
            invalid |= broken
        return invalid

    def _broken(self, rule: InvalidRule, box: Box) -> NDArray[np.bool_]:
        stored, observed = self._files[rule.band.role].read([rule.band.index], box, nearest=True)
        broken: NDArray[np.bool_] = ~observed[0] | _is_invalid(stored[0], rule)
        return broken

    def bands(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read each band by itself, those beneath left out.

        Returns:
            Physical values and which of them are observed, ``(bands, rows, cols)``.
        """
        return self._stored(self._scene.channels.bands, box)

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Tell which pixels are observed in every band and not invalid by the job."""
        _, observed = self.read(box)
        invalid = self.invalid(box)
        return observed if invalid is None else observed & ~invalid


def describe_raster(
    scene_id: str,
    files: Mapping[str, str],
    source: Source,
    channels: Mapping[str, QuantityName | None] | tuple[str, ...],
    stated: StatedBands = MappingProxyType({}),
) -> RasterScene:
    """Open headers, find the bands and fix the grid.

    Scale and offset of a band are the job's where it gives them, else the file's own, else what a catalogue states;
    for the offset of Sentinel-2 see ``boa_offset.add_offset``: it comes from metadata and never from a date.

    Args:
        scene_id: The scene's name.
        files: Path, URL or /vsi path by role; the role of a single file may be anything. Files of further items are
            named by ``stated.role_beneath``.
        source: The job's source section.
        channels: Names of the model's channels in order, each with its quantity where the card is known.
        stated: What a catalogue says of bands, by role.

    Raises:
        UnreadableSceneError: When a file is damaged or of no known format.
        UnsupportedSceneError: When pixels are complex, or a file cannot be placed on the scene's grid.
        BandError: When a channel has no band.
        EmptySceneError: When the raster has no pixel.
    """
    headers = {role: read_header(path) for role, path in files.items()}
    items = by_item(headers)
    quantities = channels if isinstance(channels, Mapping) else {}
    top = {role: headers[role] for role in items.pop(0)}
    finder = BandFinder(
        scene_id=scene_id, headers=top, source=source, channels=tuple(channels), stated=stated, quantities=quantities
    )
    found, rules = finder.find_channels(), finder.find_rules()
    earlier = () if source.pair is None else source.pair.files
    own = [band for band in found.bands if band.role not in earlier]
    grid = finest([headers[band.role] for band in own or found.bands]).grid
    if grid.rows < 1 or grid.cols < 1:
        raise EmptySceneError(f"{scene_id}: the raster is {grid.rows} x {grid.cols}. Nothing can be segmented")
    beneath = []
    for number, roles in items.items():
        names = {role: role_beneath(role, number) for role in roles}
        mine = {role: name for role, name in names.items() if role not in earlier}
        before = {role: name for role, name in names.items() if role in earlier}
        beneath += [_beneath(finder, headers, group) for group in (mine, before) if group]
        grid = reaching(grid, [headers[name].grid for name in mine.values()])
    bands = [*found.bands, *(band for below in beneath for band in below.bands)]
    judging = [*rules, *(rule for below in beneath for rule in below.rules if rule is not None)]
    used = dict.fromkeys([band.role for band in bands] + [rule.band.role for rule in judging])
    alpha = {band.role for band in bands if band.index not in headers[band.role].spectral}
    members = tuple(replace(place(scene_id, role, headers[role], grid), alpha_is_band=role in alpha) for role in used)
    return RasterScene(
        id=scene_id,
        grid=grid,
        files=members,
        channels=found,
        rules=rules,
        notes=tuple(_notes(members, headers, bands, grid)),
        beneath=tuple(beneath),
    )


def _beneath(finder: BandFinder, headers: Mapping[str, Header], names: Mapping[str, str]) -> Beneath:
    """Find the bands of a further item, whose files have the given names by role."""
    stated = {role: finder.stated[name] for role, name in names.items() if name in finder.stated}
    of_item = {role: headers[name] for role, name in names.items()}
    there = replace(finder, headers={**finder.headers, **of_item}, stated={**finder.stated, **stated})
    bands = [band for band in there.find_channels().bands if band.role in names]
    return Beneath(
        tuple(replace(band, role=names[band.role]) for band in bands),
        tuple(
            replace(rule, band=replace(rule.band, role=names[rule.band.role])) if rule.band.role in names else None
            for rule in there.find_rules()
        ),
    )


def fingerprint(scene: RasterScene) -> Fingerprint:
    """Hash the bytes of every file that makes up a scene, VRT sources at any depth included, and what headers say.

    Files behind URLs or /vsi paths are represented by what their store says of them (ETag, size, time of change), and
    ``content_hashed`` is False; by their bytes where it says nothing, and by headers alone where it cannot be asked.

    Raises:
        UnreadableSceneError: When a file cannot be read.
    """
    parts: list[tuple[str, str]] = []
    content_hashed = True
    for file in scene.files:
        facts = asdict(read_header(file.path))
        del facts["path"]
        parts.append((file.role, facts_sha256(facts)))
        members = _members(file.path)
        for number, path in enumerate(members):
            if is_local(path):
                parts.append((f"{file.role}/{number}", file_sha256(path)))
                continue
            told = content_sha256(path)
            content_hashed &= told is not None and told[1]
            if told is not None:
                parts.append((f"{file.role}/{number}", told[0]))
        if is_local(file.path):
            parts.extend((f"{file.role}/{name}", sha256) for name, sha256 in _beside_sources(file.path, members))
    return Fingerprint(combined_sha256(parts), content_hashed)


def _members(path: str) -> list[str]:
    """Return the files that GDAL tells of, those of nested VRTs behind them; each VRT is opened once."""
    with opened_raster(path) as dataset:
        files = [str(name) for name in dataset.files] or [path]
    return _with_nested(files, {os.path.realpath(path)})


def _with_nested(files: list[str], opened: set[str]) -> list[str]:
    members = [name for name in files if not name.casefold().endswith(_SIDECARS)]
    for name in members.copy():
        if not is_local(name) or not is_vrt(Path(name)) or os.path.realpath(name) in opened:
            continue
        opened.add(os.path.realpath(name))
        # Looked through with the outermost, whose folder bounds what may be named.
        with gdal_env(), open_with(name, ("VRT",)) as dataset:
            members.extend(_with_nested([str(member) for member in dataset.files], opened))
    return members


def _beside_sources(path: str, told: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names and hashes of what decides beside the sources of a VRT which pixels count; GDAL does not tell of it.

    Args:
        path: Of a raster.
        told: The files that GDAL tells of.
    """
    known = {os.path.realpath(name) for name in told}
    for file in files_of(path) if is_vrt(Path(path)) else ():
        name = file.name.casefold()
        if os.path.realpath(file) in known:
            continue
        if name.endswith(_OF_SOURCES):
            yield file.name, file_sha256(file)
        elif name.endswith(".aux.xml"):
            # Its statistics come and go with whoever looks at the source.
            with gdal_env(), open_with(str(file)[: -len(".aux.xml")], DRIVERS) as dataset:
                yield file.name, facts_sha256([dataset.nodatavals, dataset.mask_flag_enums])


def _everywhere(observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels that all of ``(bands, rows, cols)`` observe."""
    found: NDArray[np.bool_] = np.logical_and.reduce(observed, axis=0)
    return found


def _assembled(channels: Channels, stored: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the channels in order; an index is NaN or infinite where it has no value."""
    values = {band.name: stored[k] for k, band in enumerate(channels.bands)}
    image = np.empty((len(channels.members), *stored.shape[1:]), dtype=np.float32)
    for k, member in enumerate(channels.members):
        image[k] = parse_expression(member.text)(values) if isinstance(member, Index) else values[member.name]
    return image


def _by_role(bands: tuple[Band, ...]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for position, band in enumerate(bands):
        groups.setdefault(band.role, []).append(position)
    return groups


def _fill_physical(values: NDArray[np.generic], band: Band, target: NDArray[np.float32]) -> None:
    # A float64 beyond float32 becomes infinite, and infinite is not observed.
    with np.errstate(over="ignore", invalid="ignore"):
        if band.scale == 1.0 and band.offset == 0.0:
            target[...] = values
            return
        # A few rows at a time stay in the processor's cache.
        step = max(1, _CACHED_PIXELS // values.shape[1])
        for row in range(0, len(values), step):
            scaled = values[row : row + step].astype(np.float64)
            scaled *= band.scale
            scaled += band.offset
            target[row : row + step] = scaled


def _is_invalid(stored: NDArray[np.generic], rule: InvalidRule) -> NDArray[np.bool_]:
    finite = np.isfinite(stored)
    codes = np.rint(np.where(finite, stored, 0).astype(np.float64)).astype(np.int64)
    mask = sum(1 << bit for bit in rule.bits)
    invalid: NDArray[np.bool_] = np.isin(codes, rule.values)
    invalid |= (codes & mask) != 0
    invalid |= ~finite
    return invalid


def _notes(
    files: tuple[RasterFile, ...], headers: Mapping[str, Header], bands: Sequence[Band], grid: RasterGrid
) -> Iterator[str]:
    for file in files:
        # Without its folder: a product does not depend on where its input lies.
        name = file.path.rsplit("/", 1)[-1]
        if not file.aligned:
            yield f"{name}: interpolated onto the scene's grid"
        if headers[file.role].driver == "VRT":
            yield f"{name}: a VRT; pixels come from the files it names"
        if file.alpha_is_band:
            yield f"{name}: calls a band alpha that the job reads as a band like the others: it masks none"
    for band in bands:
        if band.may_lack_offset:
            yield (
                f"{band.name}: by its name a Sentinel-2 product whose numbers carry an offset of -1000, and nothing "
                f"says whether it was taken off. Write source.bands.{band.name}.offset: {-1000 * band.scale:g}, or 0"
            )
        if band.is_assumed:
            yield (
                f"{band.name}: whole numbers without a scale, read as {band.quantity} times {1 / band.scale:,.0f}, as "
                f"is the custom. Write source.bands.{band.name}.scale where that is not so"
            )
    if grid.counts_beyond:
        yield "longitudes are counted beyond 180: products keep that, and whatever is laid over them is turned"
    if grid.unplaced is not None:
        yield f"{grid.unplaced}: areas cannot be computed"
