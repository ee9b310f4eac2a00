"""Several volumes in one series: told apart by echo, b-value, phase, time and the like, never by file names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.dicom.findings import Finding
from tasks.dicom.instance import TRAITS, Slice

# What may cover other places than its neighbours do: another phase of contrast is often a shorter scan.
_FREE = ("image_type", "acquisition", "stack")
# What differs from slice to slice in many series, and tells volumes apart only where each has all places.
_FICKLE = ("trigger_ms", "acquired", "content", "inversion_ms")


@dataclass(frozen=True)
class Volume:
    """Slices that lie in one place each, unless nothing tells them apart.

    Attributes:
        slices: In any order.
        label: What tells it from its neighbours; empty where it has none.
        refusal: Why it cannot be a volume, where that is known by now.
    """

    slices: tuple[Slice, ...]
    label: str = ""
    refusal: Finding | None = None


def split_volumes(slices: Sequence[Slice], places: Sequence[int]) -> list[Volume]:
    """Split slices of one geometry into volumes, where several lie in one place.

    Args:
        slices: Of one series, orientation, matrix and spacing.
        places: For each slice the number of its place along the normal.
    """
    place_of = {id(plane): place for plane, place in zip(slices, places, strict=True)}
    return list(_split(tuple(slices), place_of, traits=TRAITS, labels=(), wanted=len(set(places))))


def _split(
    slices: tuple[Slice, ...], place_of: dict[int, int], traits: Sequence[str], labels: tuple[str, ...], wanted: int
) -> Iterator[Volume]:
    """Yield the volumes of slices; ``wanted`` is the number of places that each has to have."""
    held = Counter(place_of[id(plane)] for plane in slices)
    label = ",".join(labels)
    if len(held) == len(slices):
        yield Volume(slices, label, _incomplete(len(slices), wanted))
        return
    for index, trait in enumerate(traits):
        parts: dict[str, list[Slice]] = defaultdict(list)
        for plane in slices:
            parts[str(plane.traits.get(trait, ""))].append(plane)
        if len(parts) < 2 or not _tells_apart(trait, list(parts.values()), place_of, held):
            continue
        for value, part in sorted(parts.items(), key=lambda item: _natural(item[0])):
            own = len({place_of[id(plane)] for plane in part}) if trait in _FREE else wanted
            yield from _split(
                tuple(part), place_of, traits=traits[index + 1 :], labels=(*labels, f"{trait}={value}"), wanted=own
            )
        return
    yield from _by_number(slices, place_of, label, len(held))


def _incomplete(n_slices: int, wanted: int) -> Finding | None:
    if n_slices == wanted:
        return None
    return Finding("missing_slices", f"{n_slices} slices where other volumes of the series have {wanted}")


def _tells_apart(trait: str, parts: list[list[Slice]], place_of: dict[int, int], held: Counter[int]) -> bool:
    """Tell whether a trait splits slices into volumes, rather than a volume into slices."""
    covered = [len({place_of[id(plane)] for plane in part}) for part in parts]
    doubled = [max(Counter(place_of[id(plane)] for plane in part).values()) for part in parts]
    if max(doubled) >= max(held.values()):
        return False
    if trait in _FICKLE:
        return min(covered) == len(held)
    # The last volume of a scan that was broken off may lack slices; it is refused on its own.
    return max(covered) == len(held) and (
        min(covered) > len(held) / 2 or sorted(covered)[1:] == [len(held)] * (len(parts) - 1)
    )


def _by_number(slices: tuple[Slice, ...], place_of: dict[int, int], label: str, n_places: int) -> Iterator[Volume]:
    """Split by the order of numbers alone, where these run through all places again and again, or place by place."""
    ordered = sorted(slices, key=lambda plane: plane.number)
    times, left = divmod(len(slices), n_places)
    if len({plane.number for plane in slices}) == len(slices) and left == 0:
        for chunks in (
            [ordered[k * n_places : (k + 1) * n_places] for k in range(times)],
            [ordered[k::times] for k in range(times)],
        ):
            if all(len({place_of[id(plane)] for plane in chunk}) == n_places for chunk in chunks):
                for k, chunk in enumerate(chunks):
                    yield Volume(tuple(chunk), ",".join(filter(None, (label, f"time={k + 1}"))))
                return
    place, count = Counter(place_of[id(plane)] for plane in slices).most_common(1)[0]
    same = tuple(plane.path for plane in slices if place_of[id(plane)] == place)
    text = f"{count} slices lie in one place and nothing tells which volume each belongs to"
    yield Volume(slices, label, Finding("duplicate_slices", text, same[:2]))


def _natural(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value
