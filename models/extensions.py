"""What other packages add to swathe: kinds of analysis, predictors, sources of scenes, products.

A package names what it adds as entry points, and nothing else has to know of it: ``docs/extending.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from models.errors import ExtensionError

ANALYSES = "swathe.analyses"
PREDICTORS = "swathe.predictors"
PRODUCTS = "swathe.products"
SOURCES = "swathe.sources"


@dataclass(frozen=True)
class Extension:
    """Something that an installed package adds; it is imported when it is used.

    Attributes:
        entry: How the package names it.
        package: The distribution that brings it.
        version: Its version: what it makes depends on that.
    """

    entry: EntryPoint
    package: str
    version: str

    @property
    def origin(self) -> str:
        """Package and version, for errors and for what is known again."""
        return f"{self.package} {self.version}"

    def load(self) -> object:
        """Import it.

        Raises:
            ExtensionError: When it cannot be imported.
        """
        try:
            return self.entry.load()
        except (ImportError, AttributeError, SyntaxError) as error:
            raise ExtensionError(
                f"'{self.entry.name}' of {self.origin} ({self.entry.value}) cannot be loaded: {error}. Mend or remove "
                "the package"
            ) from error


@cache
def extensions(group: str) -> Mapping[str, Extension]:
    """Return what installed packages add, by name.

    Args:
        group: One of the names at the top of this module.

    Raises:
        ExtensionError: When two packages give one name to different things.
    """
    found: dict[str, Extension] = {}
    for entry in entry_points(group=group):
        if entry.dist is None:
            continue
        extension = Extension(entry, entry.dist.name, entry.dist.version)
        known = found.setdefault(entry.name, extension)
        if known.entry.value != entry.value:
            raise ExtensionError(
                f"{group}: '{entry.name}' means one thing in {known.origin} and another in {extension.origin}. Remove "
                "one of them"
            )
    return found
