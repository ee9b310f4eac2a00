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
    r"(pre|post|before|after|images?|img|d?nbr|ndvi|ndwi|red|green|blue|nir|swir\d*|rgb|vv|vh|hh|hv|dem|scl|qa\w*|"
    r"fmask|b\d{1,2}a?|t1\w*|t2\w*|flair|ct|adc|dwi)(_?fire)?",
    re.IGNORECASE,
)
_MOST_ROLES = 16
# Files of a folder that are looked at to tell what most of them are.
_LOOKED_AT = 50


@dataclass(frozen=True, kw_only=True)
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


def find_roles(folder: Path, files: Sequence[Path], alike: Callable[[Path], object]) -> Roles:
    """Tell roles of scenes by where files lie and what they are called.

    Looked for, in this order: a folder per role (``post/A.tif``, ``dnbr/A.tif``), a folder per scene
    (``A/post.tif``, ``A/dnbr.tif``), a word per role in the name (``A_post.tif``, ``A_dnbr.tif``). Where none of these
    holds for at least half of the scenes, each file is a scene.

    Args:
        folder: The input folder.
        files: Below it, sorted, of one kind; at least one.
        alike: What files of one kind of scene share, such as the number of their bands.
    """
    for read in (_by_folder, _by_scene_folder, _by_word):
        guess = read(folder, files)
        patterns = [pattern for pattern in guess.found if not _is_label(pattern)]
        pictured = {scene for pattern in patterns for scene in guess.found[pattern]}
        labels = tuple(
            pattern for pattern in guess.found if pattern not in patterns and pictured & {*guess.found[pattern]}
        )
        n_whole = guess.usable(patterns)
        several = len(patterns) > 1 or (labels and patterns)
        if several and len(patterns) <= _MOST_ROLES and n_whole and n_whole * 2 >= len(guess.scenes):
            return _roles(guess, patterns, labels, n_whole)
    return _single(folder, files, alike)


def _roles(guess: _Guess, patterns: Sequence[str], labels: tuple[str, ...], n_whole: int) -> Roles:
    names = _role_names(patterns)
    whole = next(s for s in sorted(guess.scenes) if all(s in guess.found[pattern] for pattern in patterns))
    return Roles(
        patterns={names[pattern]: pattern for pattern in patterns},
        labels=labels,
        example={names[pattern]: guess.found[pattern][whole] for pattern in patterns},
        n_scenes=len({scene for pattern in patterns for scene in guess.found[pattern]}),
        n_whole=n_whole,
    )


def _single(folder: Path, files: Sequence[Path], alike: Callable[[Path], object]) -> Roles:
    """Return each file as a scene: those that are like most of the others, labels aside."""
    pictures = [file for file in files if not _is_label(file.relative_to(folder).as_posix())] or list(files)
    kinds = Counter((_shape(file.relative_to(folder)), alike(file)) for file in pictures[:_LOOKED_AT])
    kind = kinds.most_common(1)[0][0]
    kept = [file for file in pictures if (_shape(file.relative_to(folder)), alike(file)) == kind]
    flat = all(file.parent == folder for file in files)
    if flat and len(kept) == len(files):
        return Roles(patterns={}, labels=(), example={"file": kept[0]}, n_scenes=len(kept), n_whole=len(kept))
    pattern = _narrowest(folder, kept, files, kind[0])
    found = Pattern(pattern).find_all(folder)
    return Roles(
        patterns={"image": pattern}, labels=(), example={"image": kept[0]}, n_scenes=len(found), n_whole=len(found)
    )


def _narrowest(folder: Path, kept: Sequence[Path], files: Sequence[Path], shape: str) -> str:
    """Return a pattern that finds some files and, where words in their names allow it, no others."""
    stems = [stem_of(file.name) for file in kept]
    before, after = _common(stems, "") if len(stems) > 1 else ("", "")
    first, last = re.match(r"[^_.\-]+[_.\-]", stems[0]), re.search(r"[_.\-][^_.\-]+$", stems[0])
    # The shortest first: dates are part of a scene's name.
    ways = [("", ""), (first[0] if first else "", ""), ("", last[0] if last else ""), (before, after)]
    wanted = set(kept)
    for head, tail in ways:
        pattern = shape.replace("{scene}", f"{head}{{scene}}{tail}")
        found = {path for paths in Pattern(pattern).find_all(folder).values() for path in paths}
        if wanted <= found and not found & (set(files) - wanted):
            return pattern
    return shape


def _shape(relative: Path) -> str:
    """Return the pattern of a file by its folders and its ending alone."""
    *folders, name = relative.as_posix().split("/")
    return "/".join([*(folders if len(folders) == 1 else ["*"] * len(folders)), "{scene}" + _ending(name)])


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
    # Folders of scenes, or of sites with a file per date, are no roles.
    of_scenes = len(best.found) > len(best.scenes) + 1 or all(map(_says_role, best.scenes))
    return _Guess() if of_scenes or not _tells(best, [pattern.split("/")[0] for pattern in best.found]) else best


def _by_scene_folder(folder: Path, files: Sequence[Path]) -> _Guess:
    """Read ``SCENE/ROLE.tif``, and ``SCENE/SCENE_ROLE.tif``."""
    guess = _Guess()
    for file in files:
        parts = file.relative_to(folder).parts
        if len(parts) == 2:
            pattern = "{scene}/" + parts[1].replace(parts[0], "{scene}")
            guess.found.setdefault(pattern, {})[parts[0]] = file
    least = len(guess.scenes) / 2
    kept = {text: found for text, found in guess.found.items() if len(found) >= least and not _is_number(_word(text))}
    return _Guess(kept)


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
        if parts is None or _is_number(parts[1]):
            continue
        rest, word = parts
        joint = rest[-1] if side is _last else rest[0]
        scene = rest[:-1] if side is _last else rest[1:]
        ending = _ending(file.name)
        pattern = f"{{scene}}{joint}{word}{ending}" if side is _last else f"{word}{joint}{{scene}}{ending}"
        guess.found.setdefault(pattern, {})[scene] = file
    n_scenes = len(guess.scenes)
    kept = _Guess({pattern: found for pattern, found in guess.found.items() if len(found) * 2 >= n_scenes})
    words = [_word(pattern) for pattern in kept.found]
    # Two files that differ in their last word may be two scenes: of a single scene the words have to say more.
    told = _tells(kept, words) and (n_scenes > 1 or all(map(_says_role, words)))
    return kept if told else _Guess()


def _tells(guess: _Guess, words: Sequence[str]) -> bool:
    """Tell whether words may be roles: of sites and dates, the dates would be scenes of every site."""
    return not all(map(_is_number, guess.scenes)) or all(map(_says_role, words))


def _says_role(word: str) -> bool:
    return bool(_WORDS.fullmatch(word) or _LABELS.search(word))


def _is_number(text: str) -> bool:
    return not any(letter.isalpha() for letter in text)


def _word(pattern: str) -> str:
    """Return what a file's name says beside its scene."""
    return stem_of(pattern.rsplit("/", 1)[-1]).replace("{scene}", "").strip("_.-")


def _is_label(pattern: str) -> bool:
    parts = PurePosixPath(pattern).parts
    return any(_LABELS.search(stem_of(part.replace("{scene}", ""))) for part in parts)


def _role_names(patterns: Sequence[str]) -> dict[str, str]:
    """Return a short name for each pattern, no two alike: of its folder, of its file, or of both."""
    ways: tuple[Callable[[str], str], ...] = (
        lambda pattern: pattern.split("/")[0] if "/" in pattern and pattern[0] != "{" else _word(pattern),
        _word,
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
