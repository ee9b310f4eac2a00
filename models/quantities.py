"""What numbers of a picture may be: one table of quantities with their limits, for cards, jobs and checks alike.

Beyond ``lowest`` and ``highest`` a value cannot be the quantity, whatever was measured: it is a fill value, or scale or
offset are wrong. ``usual`` is where measurements of it lie; beyond is possible and worth a word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

QuantityName: TypeAlias = Literal[
    "reflectance",
    "normalised difference",
    "dNBR",
    "brightness temperature",
    "backscatter",
    "elevation",
    "share",
    "percent",
    "8-bit colour",
    "HU",
    "SUV",
    "counts",
    "codes",
]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A physical quantity, or a way of counting.

    Attributes:
        name: As cards and jobs write it.
        unit: For texts; '' where it has none.
        lowest: No value lies below.
        highest: No value lies above.
        usual: Lowest and highest of nearly all measurements.
        source: Where the limits come from.
        some_below: Nearly every picture holds a value below this one; None where nothing is known of that.
        least_spread: Nearly every picture's values lie further apart; None where nothing is known of that.
        whole_number: What one stored whole number stands for in files of whole numbers that state no scale, by the
            quantity's own custom; None where there is none. Whole numbers cannot hold what lies between -1 and 1.
    """

    name: QuantityName
    unit: str = ""
    lowest: float = -math.inf
    highest: float = math.inf
    usual: tuple[float, float] = (-math.inf, math.inf)
    source: str
    some_below: float | None = None
    least_spread: float | None = None
    whole_number: float | None = None

    @property
    def has_limits(self) -> bool:
        """Whether a value can be impossible at all."""
        return math.isfinite(self.lowest) or math.isfinite(self.highest)

    def told(self) -> str:
        """Return the limits in words: ``-2 to 2``."""
        unit = f" {self.unit}" if self.unit else ""
        low, high = (f"{edge:g}" if math.isfinite(edge) else "any number" for edge in (self.lowest, self.highest))
        return f"{low} to {high}{unit}"


_TABLE = (
    Quantity(
        name="reflectance",
        lowest=-0.3,
        highest=5.0,
        usual=(-0.05, 1.2),
        source="0 to 1 but for errors of the atmosphere's correction and for clouds, snow and glint. Sentinel-2 L2A "
        "can hold -0.1 to 6.5 as (DN - 1000) / 10000, the last of it saturated (Sentinel-2 Products Specification "
        "Document, ESA); Landsat Collection 2 -0.2 to 1.6 as DN x 2.75e-5 - 0.2 (LSDS-1619, USGS)",
    ),
    Quantity(
        name="normalised difference",
        lowest=-1.0,
        highest=1.0,
        usual=(-1.0, 1.0),
        source="(a - b) / (a + b) of what is not negative (Tucker 1979 for NDVI; Key and Benson 2006 for NBR)",
        whole_number=1e-4,
    ),
    Quantity(
        name="dNBR",
        lowest=-2.0,
        highest=2.0,
        usual=(-0.5, 1.3),
        source="The difference of two normalised differences; -0.5 to 1.3 as seen over fires, and by custom multiplied "
        "by 1000 in files of whole numbers (Key and Benson 2006, RMRS-GTR-164-CD; MTBS)",
        whole_number=1e-3,
    ),
    Quantity(
        name="brightness temperature",
        unit="K",
        lowest=120.0,
        highest=1000.0,
        usual=(180.0, 400.0),
        source="Cloud tops over Antarctica near 170 K; fire channels saturate at 367 K (VIIRS I4) and 634 K (VIIRS "
        "M13; Schroeder et al. 2014); Landsat Collection 2 surface temperature 149 to 373 K (LSDS-1619, USGS)",
    ),
    Quantity(
        name="backscatter",
        unit="dB",
        lowest=-90.0,
        highest=60.0,
        usual=(-40.0, 15.0),
        source="Noise floor of Sentinel-1 near -22 to -35 dB, point targets some tens of dB (Sentinel-1 Product "
        "Definition, ESA)",
    ),
    Quantity(
        name="elevation",
        unit="m",
        lowest=-12000.0,
        highest=9000.0,
        usual=(-450.0, 8900.0),
        source="Challenger Deep -10,935 m, shore of the Dead Sea -430 m, Everest 8,849 m",
    ),
    Quantity(name="share", lowest=0.0, highest=1.0, usual=(0.0, 1.0), source="By definition"),
    Quantity(name="percent", unit="%", lowest=0.0, highest=100.0, usual=(0.0, 100.0), source="By definition"),
    Quantity(
        name="8-bit colour",
        lowest=0.0,
        highest=255.0,
        usual=(0.0, 255.0),
        source="Eight bits; TCI of Sentinel-2 (Sentinel-2 Products Specification Document, ESA)",
    ),
    Quantity(
        name="HU",
        unit="HU",
        lowest=-9000.0,
        highest=65535.0,
        usual=(-1100.0, 4000.0),
        some_below=0.0,
        least_spread=20.0,
        source="Air -1000, fat -100, water 0; 12 bits hold -1024 to 3071, metal more in extended scales; some "
        "scanners fill the corners with -2000 or -3024 (DICOM PS3.3 C.11.1.1.2, Rescale Type HU)",
    ),
    Quantity(
        name="SUV",
        unit="g/mL",
        lowest=-5.0,
        highest=5000.0,
        usual=(0.0, 100.0),
        source="Activity per mL by dose per g of body weight: not negative but for reconstructions that allow it; "
        "above 100 in the bladder and at the injection alone (Boellaard et al. 2015, EANM procedure guidelines 2.0)",
    ),
    Quantity(name="counts", source="Whatever the instrument counts; MR intensities have no unit"),
    Quantity(name="codes", source="Numbers that name something: classes, quality bits"),
)
QUANTITIES: Mapping[str, Quantity] = {quantity.name: quantity for quantity in _TABLE}

# Names of bands that mean one quantity wherever they stand.
_BY_NAME: Mapping[str, QuantityName] = {
    "ndvi": "normalised difference",
    "ndwi": "normalised difference",
    "mndwi": "normalised difference",
    "ndmi": "normalised difference",
    "ndsi": "normalised difference",
    "ndbi": "normalised difference",
    "nbr": "normalised difference",
    "nbr2": "normalised difference",
    "dnbr": "dNBR",
    "tci_r": "8-bit colour",
    "tci_g": "8-bit colour",
    "tci_b": "8-bit colour",
    "ct": "HU",
    "hu": "HU",
    "suv": "SUV",
    "scl": "codes",
    "qa_pixel": "codes",
    "fmask": "codes",
}


def quantity_of_name(band: str) -> QuantityName | None:
    """Return what a band's name says that it holds; None where it does not say: ``B8`` may be anything."""
    return _BY_NAME.get(band.strip().casefold().removesuffix("_pre"))
