"""The analysis section of a job where its kind is ``fire``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from tasks.jobs.analysis_section import AnalysisSection
from tasks.jobs.section import Section
from tasks.jobs.severity import TABLES, SeverityTable


class NbrBands(Section):
    """The two bands of a normalized burn ratio, by their names under ``source.bands``.

    Attributes:
        nir: Near infrared: B8 or B8A of Sentinel-2, B5 of Landsat 8.
        swir: Short-wave infrared round 2.2 micrometres: B12 of Sentinel-2, B7 of Landsat 8.
    """

    nir: str
    swir: str


def _as_level(value: object) -> object:
    return value if value is None or isinstance(value, Mapping) else {"at": value}


class Level(Section):
    """When an alert is raised, and when it is over: a number alone is both.

    Attributes:
        at: The value that raises it.
        clear: The value that it has to pass the other way before it can be raised again.
    """

    at: Annotated[float, Field(ge=0)]
    clear: Annotated[float, Field(ge=0)] | None = None


_Level = Annotated[Level | None, BeforeValidator(_as_level)]


class AlertRules(Section):
    """What a fire desk wants to be told of; a rule that is left out never speaks.

    Attributes:
        new_fire_ha: A fire of at least this area.
        growth_ha_per_day: Growth of at least this much a day since the detection before.
        high_severity_ha: At least this area of the table's ``high`` class and above.
        asset_km: A fire within this distance of an asset.
        assets: Vector file of the assets: points, lines or polygons.
        late_days: Nothing of a site was observed for at least this many days.
    """

    new_fire_ha: _Level = None
    growth_ha_per_day: _Level = None
    high_severity_ha: _Level = None
    asset_km: _Level = None
    assets: str | None = None
    late_days: _Level = None

    @model_validator(mode="after")
    def _sides(self) -> AlertRules:
        if (self.asset_km is None) != (self.assets is None):
            raise ValueError("'asset_km' and 'assets' go together")
        for name in ("new_fire_ha", "growth_ha_per_day", "high_severity_ha", "late_days"):
            level: Level | None = getattr(self, name)
            if level is not None and level.clear is not None and level.clear > level.at:
                raise ValueError(f"'{name}': 'clear' lies above 'at'")
        if self.asset_km is not None and self.asset_km.clear is not None and self.asset_km.clear < self.asset_km.at:
            raise ValueError("'asset_km': 'clear' lies below 'at'")
        return self


class FireAnalysis(AnalysisSection):
    """Fires of a raster: extent from the mask, severity from an index.

    Attributes:
        label: The class that is burned.
        connectivity: Neighbours of a pixel that belong to one fire: 4 or 8.
        min_area_ha: The minimum mapping unit: smaller fires stay in the mask and are no objects.
        post: Bands of the picture after the fire.
        pre: Bands of the picture before it.
        dnbr: A band that holds dNBR already; instead of ``pre``, or of both.
        pre_picture: Three bands of the picture before the fire, for the report: red, green, blue.
        offset: What is taken off dNBR: ``ring`` for the median of an unburned ring, ``none``, or a number of dNBR.
        ring_m: From and to which distance of the burned area the ring reaches, in metres.
        severity: Name of a table that ships, or a table.
        same_event_days: For how many days after its last detection a fire is the same event.
        join_m: How far apart detections of one event may lie, in metres.
        alerts: What to be told of.
    """

    kind: Literal["fire"]
    answers: ClassVar[Mapping[str, str]] = {"raster": "tasks.analysis.fire.analyse:analyse_fire"}
    over_dates: ClassVar[bool] = True
    tells_date: ClassVar[bool] = True
    later_keys: ClassVar[frozenset[str]] = frozenset({"same_event_days", "join_m", "alerts"})
    label: Annotated[int, Field(ge=1)] = 1
    connectivity: Literal[4, 8] = 8
    min_area_ha: Annotated[float, Field(ge=0)] = 0.5
    post: NbrBands | None = None
    pre: NbrBands | None = None
    dnbr: str | None = None
    pre_picture: tuple[str, str, str] | None = None
    offset: Literal["ring", "none"] | float = "ring"
    ring_m: tuple[float, float] = (200.0, 1000.0)
    severity: str | SeverityTable = "key-benson-2006"
    same_event_days: Annotated[int, Field(ge=1)] = 60
    join_m: Annotated[float, Field(ge=0)] = 100.0
    alerts: AlertRules | None = None

    @model_validator(mode="after")
    def _consistent(self) -> FireAnalysis:
        if isinstance(self.severity, str) and self.severity not in TABLES:
            raise ValueError(f"'severity': no table '{self.severity}'; known: {', '.join(TABLES)}, or give a table")
        if self.pre is not None and (self.post is None or self.dnbr is not None):
            raise ValueError("'pre' goes with 'post', and not with 'dnbr'")
        if not 0 <= self.ring_m[0] < self.ring_m[1]:
            raise ValueError("'ring_m' is a distance and a longer one")
        return self

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands that the indices are made of, each once."""
        pairs = [pair for pair in (self.pre, self.post) if pair is not None]
        names = [name for pair in pairs for name in (pair.nir, pair.swir)] + ([self.dnbr] if self.dnbr else [])
        return tuple(dict.fromkeys(names))

    @property
    def following(self) -> str:
        """Fires over nights."""
        return "tasks.analysis.fire.following"

    @property
    def main_class(self) -> int:
        """Number of the class that is burned."""
        return self.label

    def unknown_classes(self, names: Mapping[int, str]) -> str | None:
        """Tell of a class that is burned and that the model does not have."""
        return None if self.label in names else f"analysis.label is {self.label}"

    @property
    def extra_bands(self) -> tuple[str, ...]:
        """Names of all bands that are read beside the model's, each once."""
        return tuple(dict.fromkeys((*self.bands, *(self.pre_picture or ()))))
