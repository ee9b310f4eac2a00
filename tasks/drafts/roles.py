"""Which files of a folder belong to one scene, found by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tasks.inputs.naming import Pattern, stem_of

# Files and folders called so hold answers: for training and comparing, not for segmenting.
_LABELS = re.compile(
    r"(^|[_.\-])(masks?|labels?|gt|ground_?truth|truth|annotations?|references?|perimeters?|segmentations?|segs?)"
    r"($|[_.\-\d])",
    re.IGNORECASE,
)
# Of one picture of two, words that say which it is.
_WORDS = re.compile(
    r"(pre|post|before|after|image|img|d?nbr|ndvi|ndwi|red|green|blue|nir|swir\d*|rgb|vv|vh|hh|hv|dem|scl|qa\w*|"
    r"fmask|b\d{1,2}a?|t1\w*|t2\w*|flair|ct|adc|dwi)(_?fire)?",
    re.IGNORECASE,
)
_MOST_ROLES = 16


@dataclass(frozen=True)
class Roles:
    """Files of scenes by role.

    Attributes:
        patterns: By role; empty where each file is a scene.
        labels: Patterns of what looks like labels, which no job reads.
        example: A file of each role, of one scene that has them all; or the first file, under ``file``.
        n_scenes: How many scenes there are.
        n_whole: How many of them have a file of every role.
    """

    patterns: Mapping[str, str]
    labels: tuple[str, ...]
    example: Mapping[str, Path]
    n_scenes: int
    n_whole: int


@dataclass
class _Guess:
    """One way to read the names: by pattern, the scenes that it finds and their files."""

    found: dict[str, dict[str, Path]] = field(default_factory=dict)

    @property
    def scenes(self) -> Counter[str]:
        return Counter(scene for files in self.found.values() for scene in files)

    def usable(self, roles: Sequence[str]) -> int:
        """Return how many scenes have a file of every one of some patterns."""
        return len(set.intersection(*(set(self.found[role]) for role in roles))) if roles else 0


def find_roles(folder: Path, files: Sequence[Path]) -> Roles:
    """Tell roles of scenes by where files lie and what they are called.

    Looked for, in this order: a folder per role (``post/A.tif``, ``dnbr/A.tif``), a folder per scene
    (``A/post.tif``, ``A/dnbr.tif``), a word per role in the name (``A_post.tif``, ``A_dnbr.tif``). Where none of these
    holds for at least half of the scenes, each file is a scene.

    Args:
        folder: The input folder.
        files: Below it, sorted, of one kind; at least one.
    """
    for read in (_by_folder, _by_scene_folder, _by_word):
        guess = read(folder, files)
        labels = tuple(pattern for pattern in guess.found if _is_label(pattern))
        patterns = [pattern for pattern in guess.found if pattern not in labels]
        n_whole = guess.usable(patterns)
        several = len(patterns) > 1 or (labels and patterns)
        if several and len(patterns) <= _MOST_ROLES and n_whole and n_whole * 2 >= len(guess.scenes):
            return _roles(guess, patterns, labels, n_whole)
    return _single(folder, files)


def _roles(guess: _Guess, patterns: Sequence[str], labels: tuple[str, ...], n_whole: int) -> Roles:
    names = _role_names(patterns)
    whole = next(s for s in sorted(guess.scenes) if all(s in guess.found[pattern] for pattern in patterns))
    return Roles(
        {names[pattern]: pattern for pattern in patterns},
        labels,
        {names[pattern]: guess.found[pattern][whole] for pattern in patterns},
        len({scene for pattern in patterns for scene in guess.found[pattern]}),
        n_whole,
    )


def _single(folder: Path, files: Sequence[Path]) -> Roles:
    """Return each file as a scene; those in folders further down need a pattern."""
    pictures = [file for file in files if not _is_label(file.relative_to(folder).as_posix())] or list(files)
    shapes = Counter(_shape(file.relative_to(folder)) for file in pictures)
    shape = shapes.most_common(1)[0][0]
    alike = [file for file in pictures if _shape(file.relative_to(folder)) == shape]
    patterns = {"image": shape} if "/" in shape or len(alike) < len(files) else {}
    if not patterns:
        return Roles({}, (), {"file": alike[0]}, len(alike), len(alike))
    found = Pattern(shape).find_all(folder)
    n_scenes = len(found) or len(alike)
    return Roles(patterns, (), {"image": alike[0]}, n_scenes, n_scenes)


def _shape(relative: Path) -> str:
    parts = relative.as_posix().split("/")
    return "/".join([*(parts[:1] if len(parts) == 2 else ["*"] * (len(parts) - 1)), "{scene}" + _ending(relative.name)])


def _by_folder(folder: Path, files: Sequence[Path]) -> _Guess:
    """Read ``ROLE/SCENE.tif``, with what the names in one folder have in common left out."""
    below: dict[str, list[str]] = {}
    for file in files:
        parts = file.relative_to(folder).parts
        if len(parts) == 2:
            below.setdefault(parts[0], []).append(parts[1])
    plain, trimmed = _Guess(), _Guess()
    for role, names in below.items():
        ending = Counter(map(_ending, names)).most_common(1)[0][0]
        names = [name for name in names if _ending(name) == ending]
        before, after = _common([stem_of(name) for name in names], role)
        for guess, (head, tail) in ((plain, ("", "")), (trimmed, (before, after))):
            pattern = f"{role}/{head}{{scene}}{tail}{ending}"
            scenes = {name[len(head) : len(name) - len(tail + ending)]: folder / role / name for name in names}
            guess.found[pattern] = {scene: path for scene, path in scenes.items() if scene}
    best = max((plain, trimmed), key=lambda guess: guess.usable(list(guess.found)))
    # A folder per scene with one file each, all called alike, is not a folder per role.
    return _Guess() if len(best.found) > len(best.scenes) + 1 else best


def _by_scene_folder(folder: Path, files: Sequence[Path]) -> _Guess:
    """Read ``SCENE/ROLE.tif``, and ``SCENE/SCENE_ROLE.tif``."""
    guess = _Guess()
    for file in files:
        parts = file.relative_to(folder).parts
        if len(parts) == 2:
            pattern = "{scene}/" + parts[1].replace(parts[0], "{scene}")
            guess.found.setdefault(pattern, {})[parts[0]] = file
    least = len(guess.scenes) / 2
    return _Guess({pattern: found for pattern, found in guess.found.items() if len(found) >= max(1, least)})


def _by_word(folder: Path, files: Sequence[Path]) -> _Guess:
    """Read ``SCENE_ROLE.tif`` or ``ROLE_SCENE.tif``."""
    flat = [file for file in files if file.parent == folder]
    guesses = [_split(flat, side) for side in (_last, _first)]
    return max(guesses, key=lambda guess: guess.usable(list(guess.found)))


def _last(stem: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"(.+[_.\-])([^_.\-]+)", stem)
    return (match[1], match[2]) if match else None


def _first(stem: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"([^_.\-]+)([_.\-].+)", stem)
    return (match[2], match[1]) if match else None


def _split(files: Sequence[Path], side: Callable[[str], tuple[str, str] | None]) -> _Guess:
    guess = _Guess()
    for file in files:
        parts = side(stem_of(file.name))
        # Numbers tell scenes or dates, not roles.
        if parts is None or parts[1].isdigit():
            continue
        rest, word = parts
        joint = rest[-1] if side is _last else rest[0]
        scene = rest[:-1] if side is _last else rest[1:]
        ending = _ending(file.name)
        pattern = f"{{scene}}{joint}{word}{ending}" if side is _last else f"{word}{joint}{{scene}}{ending}"
        guess.found.setdefault(pattern, {})[scene] = file
    n_scenes = len(guess.scenes)
    kept = {pattern: found for pattern, found in guess.found.items() if len(found) * 2 >= n_scenes}
    # Two files that differ in their last word may be two scenes: of a single scene the words have to say more.
    told = n_scenes > 1 or all(_WORDS.fullmatch(_word(pattern)) or _is_label(pattern) for pattern in kept)
    return _Guess(kept if told else {})


def _word(pattern: str) -> str:
    return stem_of(pattern).replace("{scene}", "").strip("_.-")


def _is_label(pattern: str) -> bool:
    parts = PurePosixPath(pattern).parts
    return any(_LABELS.search(stem_of(part.replace("{scene}", ""))) for part in parts)


def _role_names(patterns: Sequence[str]) -> dict[str, str]:
    """Return a short name for each pattern, no two alike: of its folder, of its file, or of both."""
    ways: tuple[Callable[[str], str], ...] = (
        lambda pattern: pattern.split("/")[0] if "/" in pattern else _word(pattern),
        lambda pattern: _word(pattern.rsplit("/", 1)[-1]),
        lambda pattern: stem_of(pattern.replace("{scene}", "").replace("/", "_")),
    )
    for way in ways:
        names = {pattern: re.sub(r"\W+", "_", way(pattern)).strip("_") for pattern in patterns}
        if all(names.values()) and len(set(names.values())) == len(names):
            return names
    return {pattern: f"file{number}" for number, pattern in enumerate(patterns, start=1)}


def _common(stems: Sequence[str], role: str) -> tuple[str, str]:
    """Return what stands before and behind the scene in all names of a folder: whole words alone."""
    if len(stems) == 1:
        # Of one name only what repeats the role can be told from the scene.
        match = re.fullmatch(rf"(?:({re.escape(role)}[_.\-])?)(.+?)((?:[_.\-]{re.escape(role)})?)", stems[0])
        return (match[1] or "", match[3]) if match else ("", "")
    before = re.match(r"(?:.*[_.\-])?", _shared(stems))
    after = re.match(r"(?:.*[_.\-])?", _shared([stem[::-1] for stem in stems]))
    return (before[0] if before else "", after[0][::-1] if after else "")


def _shared(texts: Sequence[str]) -> str:
    shortest, longest = min(texts), max(texts)
    length = next((k for k, (a, b) in enumerate(zip(shortest, longest, strict=False)) if a != b), len(shortest))
    return shortest[:length]


def _ending(name: str) -> str:
    return name[len(stem_of(name)) :]


def below(folder: Path, endings: tuple[str, ...], depth: int = 3) -> Iterator[Path]:
    """Yield the files of a folder with one of some endings, hidden ones aside, sorted, up to a depth."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and depth > 1:
            yield from below(path, endings, depth - 1)
        elif path.is_file() and path.name.casefold().endswith(endings):
            yield path
