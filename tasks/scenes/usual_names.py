"""Site and date in the names that providers give their products: nobody has to say where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_DAY, _DAY_OF_YEAR = "%Y%m%d", "%Y%j"


@dataclass(frozen=True)
class Observed:
    """What a name says.

    Attributes:
        site: The tile, the path and row; the kind of product where a name tells no place.
        date: ISO date of the observation, not that of its processing.
    """

    site: str
    date: str


@dataclass(frozen=True)
class _Naming:
    """How one provider names its products.

    Attributes:
        pattern: With the groups ``site`` and ``date``.
        layout: Of the date.
        prefix: Before the site.
    """

    pattern: re.Pattern[str]
    layout: str
    prefix: str = ""


def _naming(text: str, layout: str, prefix: str = "") -> _Naming:
    # Somebody may have put words before and behind; letters and digits would make another name of it.
    return _Naming(re.compile(rf"(?<![A-Za-z0-9])(?:{text})(?![A-Za-z0-9])"), layout, prefix)


_NAMINGS = (
    # Sentinel-2: S2A_MSIL2A_20240726T183921_N0511_R070_T11SKA_20240726T233000, its bands, and as archives of COGs have
    # it: S2A_11SKA_20240726_0_L2A. Some leave out the baseline; granules are called L2A_T11SKA_A047482_20240726T184512.
    _naming(
        r"S2[A-D]_MSIL\w\w_(?P<date>\d{8})T\d{6}(?:_N\d{4})?_R\d{3}_T(?P<site>\d{2}[A-Z]{3})_\d{8}T\d{6}", _DAY, "T"
    ),
    _naming(r"L[12][AC]_T(?P<site>\d{2}[A-Z]{3})_A\d{6}_(?P<date>\d{8})T\d{6}", _DAY, "T"),
    _naming(r"T(?P<site>\d{2}[A-Z]{3})_(?P<date>\d{8})T\d{6}(?:_\w+)?", _DAY, "T"),
    _naming(r"S2[A-D]_T?(?P<site>\d{1,2}[A-Z]{3})_(?P<date>\d{8})_\d+_L\w\w", _DAY, "T"),
    # HLS.S30.T11SKA.2024208T183921.v2.0
    _naming(
        r"HLS\.[SL]30\.T(?P<site>\d{2}[A-Z]{3})\.(?P<date>\d{7})(?:T\d{6})?\.v\d(?:\.\d)?(?:\.\w+)?", _DAY_OF_YEAR, "T"
    ),
    # Landsat: LC08_L2SP_042034_20240701_20240710_02_T1 (path 042, row 034; some catalogues leave out the second date),
    # tiles of ARD, and names of before 2017.
    _naming(r"L[COTEM]\d{2}_L\w{3}_(?P<site>\d{6})_(?P<date>\d{8})(?:_\d{8})?_\d{2}_\w\w(?:_\w+)?", _DAY),
    _naming(r"L[COTEM]\d{2}_(?P<site>[A-Z]{2}_\d{6})_(?P<date>\d{8})_\d{8}_[A-Z]?\d{2,3}(?:_\w+)?", _DAY),
    _naming(r"L[COTEM]\d(?P<site>\d{6})(?P<date>\d{7})[A-Z]{3}\d{2}(?:_\w+)?", _DAY_OF_YEAR),
    # MODIS and VIIRS: MOD09GA.A2024183.h08v05.061.2024185031522 on tiles; granules, such as VNP14IMG.A2024183.2106.002,
    # say no place.
    _naming(
        r"(?:M[OYC]D|V(?:NP|J1|J2))\w+\.A(?P<date>\d{7})\.(?P<site>h\d{2}v\d{2})\.\d{3}(?:\.[\w.]+)?", _DAY_OF_YEAR
    ),
    _naming(r"(?P<site>(?:M[OYC]D|V(?:NP|J1|J2))\w+)\.A(?P<date>\d{7})\.\d{4}\.\d{3}(?:\.[\w.]+)?", _DAY_OF_YEAR),
    # PlanetScope: tiles, such as 4749583_1056416_2024-07-26_241d_BGRN_SR, have a cell of a grid; scenes, such as
    # 20240726_183921_75_24b7_3B_AnalyticMS_SR, say no place.
    _naming(r"\d+_(?P<site>\d{7})_(?P<date>\d{4}-\d{2}-\d{2})_[0-9a-f]{4}(?:_\w+)?", "%Y-%m-%d"),
    _naming(
        r"(?<!.)(?P<date>\d{8})_\d{6}_(?:\d{1,2}_)?[0-9a-f]{4}(?P<site>)(?:_(?:1A|1B|3A|3B)_\w+)?", _DAY, "PSScene"
    ),
)


def usual_name(name: str) -> Observed | None:
    """Return site and date of a name that a provider gave; None of any other."""
    for naming in _NAMINGS:
        match = naming.pattern.search(name)
        if match is None:
            continue
        try:
            date = datetime.strptime(match["date"], naming.layout).date().isoformat()
        except ValueError:
            # Digits that only look like one.
            continue
        site = match["site"]
        return Observed(f"{naming.prefix}{site.zfill(5) if naming.prefix == 'T' else site}", date)
    return None
