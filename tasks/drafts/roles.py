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
    r"(^|[_.\-])(masks?|labels?(tr|ts|va)?|gt|ground_?truth|gold_?standard|truth|annotations?|references?|perimeters?|"
    r"segmentations?|segs?|rois?|lulc|land_?cover)($|[_.\-\d])",
    re.IGNORECASE,
)
# What providers lay beside the bands: angles, quality of single steps, pictures for eyes. Clouds are not of these.
_AUXILIARY = re.compile(
    r"(^|.*[_.\-])(qa_?aerosol|qa_?radsat|st_?qa|ang|aot|wvp|msk\w*|atran|cdist|drad|emis|emsd|trad|urad|saa|sza|vaa|vza|"
    r"tci|pvi|cld\w*|snw\w*|thumb\w*|browse|previews?|overviews?|quicklook|udm2?)(_\d+m)?",
    re.IGNORECASE,
)
# Of one picture of several, words that say which it is.
_WORDS = re.compile(
    r"(pre|post|before|after|images?|img|d?nbr2?|nd[a-z]i|evi|red|green|blue|coastal|rededge\d*|nir\d*|swir\d*|tir\d*|"
    r"thermal|pan|rgb|ms|vv|vh|hh|hv|sar|dem|dsm|dtm|scl|qa\w*|pixel|sr|st|fmask|b\d{1,2}a?|band\d*|ch(annel)?\d*|"
    r"t1\w*|t2\w*|pd\w*|flair|ct|mri?|pet|pt|adc|dwi|swi|dce)(_?fire)?",
    re.IGNORECASE,
)
# What else stands in such a word: a number, a resolution.
_BESIDE = re.compile(r"\d+m?")
# How nnU-Net numbers the channels of a case.
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_MOST_ROLES = 16
# Files of a folder that are looked at to tell what most of them are.
_LOOKED_AT = 50


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Files of scenes by role.

    Attributes:
        patterns: By role; empty where each file is a scene.
        labels: What looks like labels, which no job reads: patterns, or the first of such files.
        example: A file of each role, of one scene that has them all; or the first file, under ``file``.
        n_scenes: How many scenes there are.
        n_whole: How many of them have a file of every role.
        others: Files that the patterns find as well, and that are of another kind than most.
    """

    patterns: Mapping[str, str]
    labels: tuple[str, ...]
    example: Mapping[str, Path]
    n_scenes: int
    n_whole: int
    others: tuple[Path, ...] = ()


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


def find_roles(
    folder: Path, files: Sequence[Path], alike: Callable[[Path], object], *, are_listed: bool = True
) -> Roles:
    """Tell roles of scenes by where files lie and what they are called.

    Looked for, in this order: a folder per role (``post/A.tif``, ``dnbr/A.tif``), a folder per scene
    (``A/post.tif``, ``A/dnbr.tif``), a word per role in the name (``A_post.tif``, ``A_dnbr.tif``), numbered channels
    (``A_0000.nii.gz``, ``A_0001.nii.gz``). Where none of these holds for at least half of the scenes, each file is a
    scene.

    Args:
        folder: The input folder.
        files: Below it, sorted, of one kind; at least one.
        alike: What files of one kind of scene share, such as the number of their bands.
        are_listed: Whether files with such an ending are scenes of a folder without being named by a pattern.
    """
    bands = [file for file in files if not _AUXILIARY.fullmatch(stem_of(file.name))] or list(files)
    for read in (_by_folder, _by_scene_folder, _by_word, _by_channel):
        guess = read(folder, bands)
        patterns = [pattern for pattern in guess.found if not _is_label(pattern)]
        pictured = {scene for pattern in patterns for scene in guess.found[pattern]}
        labels = tuple(
            pattern for pattern in guess.found if pattern not in patterns and pictured & {*guess.found[pattern]}
        )
        n_whole = guess.usable(patterns)
        several = len(patterns) > 1 or (patterns and (labels or read is _by_channel))
        fits = several and len(patterns) <= _MOST_ROLES and n_whole and n_whole * 2 >= len(guess.scenes)
        if fits and all(_is_unique(folder, pattern) for pattern in patterns):
            return _roles(guess, patterns, labels, n_whole)
    return _single(folder, files, alike, are_listed)


def are_bands_of_one(files: Sequence[Path]) -> bool:
    """Tell whether files are called after what they show and nothing else: ``red.tif``, ``nir.tif``."""
    return len(files) > 1 and all(_says_role(stem_of(file.name)) for file in files)


def role_word(path: Path) -> str:
    """Return the last word of a file's name where it says what the file shows, in small letters; else nothing."""
    word = re.split(r"[_.\- ]", stem_of(path.name))[-1]
    return word.casefold() if _says_role(word) else ""


def _is_unique(folder: Path, pattern: str) -> bool:
    """Tell whether a pattern finds one file of each scene."""
    return all(len(paths) == 1 for paths in Pattern(pattern).find_all(folder).values())


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


def _single(folder: Path, files: Sequence[Path], alike: Callable[[Path], object], are_listed: bool) -> Roles:
    """Return each file as a scene: those that are like most of the others, labels aside."""
    answers = [file for file in files if _is_label(file.relative_to(folder).as_posix())]
    pictures = [file for file in files if file not in answers] or list(files)
    pictures = [file for file in pictures if not _AUXILIARY.fullmatch(stem_of(file.name))] or pictures
    kinds = Counter((_shape(file.relative_to(folder)), alike(file)) for file in pictures[:_LOOKED_AT])
    kind = kinds.most_common(1)[0][0]
    kept = [file for file in pictures if (_shape(file.relative_to(folder)), alike(file)) == kind]
    flat = all(file.parent == folder for file in files)
    if flat and are_listed and len(kept) == len(files):
        return Roles(patterns={}, labels=(), example={"file": kept[0]}, n_scenes=len(kept), n_whole=len(kept))
    pattern = _narrowest(folder, kept, files, _shared_folders(folder, kept, kind[0]))
    found = Pattern(pattern).find_all(folder)
    taken = {path for paths in found.values() for path in paths}
    return Roles(
        patterns={"image": pattern},
        labels=_named([file.relative_to(folder) for file in answers if file not in taken]),
        example={"image": kept[0]},
        n_scenes=len(found),
        n_whole=len(found),
        others=tuple(file for file in files if file in taken and file not in kept),
    )


def _named(files: Sequence[Path]) -> tuple[str, ...]:
    """Return the first of some files, and how many there are beside it."""
    more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
    return (f"{files[0].as_posix()}{more}",) if files else ()


def _narrowest(folder: Path, kept: Sequence[Path], files: Sequence[Path], shape: str) -> str:
    """Return a pattern that finds some files and, where words in their names allow it, no others."""
    stems = [stem_of(file.name) for file in kept]
    before, after = _common(stems, "") if len(stems) > 1 else ("", "")
    first, last = re.match(r"[^_.\-]+[_.\-]", stems[0]), re.search(r"[_.\-][^_.\-]+$", stems[0])
    # The shortest first: dates are part of a scene's name.
    ways = [("", ""), (first[0] if first else "", ""), ("", last[0] if last else ""), (before, after)]
    if len(stems) > 1:
        # Letters, where whole words do not do; one is left for the scene.
        least = min(map(len, stems)) - 1
        head, tail = _shared(stems)[:least], _shared([stem[::-1] for stem in stems])[::-1]
        ways += [(head, ""), ("", tail[len(tail) - max(0, min(len(tail), least)) :])]
    wanted = set(kept)
    for head, tail in ways:
        pattern = shape.replace("{scene}", f"{head}{{scene}}{tail}")
        found = {path for paths in Pattern(pattern).find_all(folder).values() for path in paths}
        if wanted <= found and not found & (set(files) - wanted):
            return pattern
    return shape


def _shape(relative: Path) -> str:
    """Return the pattern of a file by its ending alone, and by those of its folders that say what is in them."""
    *folders, name = relative.as_posix().split("/")
    kept = [folder if _says_role(folder) else "*" for folder in folders]
    return "/".join([*kept, "{scene}" + _ending(name)])


def _shared_folders(folder: Path, files: Sequence[Path], shape: str) -> str:
    """Return the shape of files with the names of the folders that all of them lie in."""
    parts = [file.relative_to(folder).parts for file in files]
    named = [
        text if len({one[k] for one in parts}) > 1 else parts[0][k] for k, text in enumerate(shape.split("/")[:-1])
    ]
    return "/".join([*named, shape.split("/")[-1]])


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
    roles = [pattern.split("/")[0] for pattern in best.found]
    of_scenes = len(best.found) > len(best.scenes) + 1 or all(map(_says_role, best.scenes)) or _are_counted(roles)
    return _Guess() if of_scenes or not _tells(best, roles) else best


def _by_scene_folder(folder: Path, files: Sequence[Path]) -> _Guess:
    """Read ``SCENE/ROLE.tif``, ``SCENE/SCENE_ROLE.tif``, and ``SCENE/NAME_ROLE.tif`` where a provider gave the name."""
    inside: dict[str, list[Path]] = {}
    for file in files:
        parts = file.relative_to(folder).parts
        if len(parts) == 2:
            inside.setdefault(parts[0], []).append(file)
    plain, given = _Guess(), _Guess()
    for scene, members in inside.items():
        before = _common([stem_of(file.name) for file in members], "")[0] if len(members) > 1 else ""
        for file in members:
            name = file.name.replace(scene, "{scene}")
            plain.found.setdefault(f"{{scene}}/{name}", {})[scene] = file
            after = file.name.removeprefix(before)
            given.found.setdefault(f"{{scene}}/*{'_' if before[-1:] == '_' else ''}{after}", {})[scene] = file
    guesses = []
    for guess in (plain, given):
        kept = {text: found for text, found in guess.found.items() if len(found) * 2 >= len(inside)}
        words = [_word(text) for text in kept]
        told = bool(words) and not any(map(_is_number, words)) and not _are_counted(words)
        guesses.append(_Guess(kept if told else {}))
    return max(guesses, key=lambda guess: guess.usable(list(guess.found)))


def _by_word(folder: Path, files: Sequence[Path]) -> _Guess:
    """Read ``SCENE_ROLE.tif`` or ``ROLE_SCENE.tif``."""
    flat = [file for file in files if file.parent == folder]
    guesses = [_split(flat, side) for side in (_last, _last_two, _first)]

    def likely(guess: _Guess) -> tuple[bool, bool, int]:
        told = all(_says_role(_word(pattern)) for pattern in guess.found)
        return len(guess.found) > 1, told, guess.usable(list(guess.found))

    return max(guesses, key=likely)


def _by_channel(folder: Path, files: Sequence[Path]) -> _Guess:
    """Read ``CASE_0000.nii.gz``, ``CASE_0001.nii.gz``, in one folder."""
    pictures = [file for file in files if not _is_label(file.relative_to(folder).as_posix())]
    found: dict[str, dict[str, Path]] = {}
    for file in pictures:
        match = _CHANNEL.fullmatch(stem_of(file.name))
        if match is None or file.parent != pictures[0].parent:
            return _Guess()
        inside = (file.parent.relative_to(folder) / f"{{scene}}_{match[2]}{_ending(file.name)}").as_posix()
        found.setdefault(inside, {})[match[1]] = file
    guess = _Guess(found)
    first = next(iter(found), "")
    # Of a single name the numbers may be those of scenes.
    several = len(guess.scenes) > 1 and "_0000" in first and len(found[first]) == len(guess.scenes)
    return guess if several else _Guess()


def _last(stem: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"(.+[_.\-])([^_.\-]+)", stem)
    return (match[1], match[2]) if match else None


def _last_two(stem: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"(.+[_.\-])([^_.\-]+[_.\-][^_.\-]+)", stem)
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
        joint = rest[0] if side is _first else rest[-1]
        scene = rest[1:] if side is _first else rest[:-1]
        ending = _ending(file.name)
        pattern = f"{word}{joint}{{scene}}{ending}" if side is _first else f"{{scene}}{joint}{word}{ending}"
        guess.found.setdefault(pattern, {})[scene] = file
    n_scenes = len(guess.scenes)
    kept = _Guess({pattern: found for pattern, found in guess.found.items() if len(found) * 2 >= n_scenes})
    words = [_word(pattern) for pattern in kept.found]
    # Two files that differ in their last word may be two scenes: of a single scene the words have to say more.
    told = _tells(kept, words) and not _are_counted(words) and (n_scenes > 1 or all(map(_says_role, words)))
    return kept if told else _Guess()


def _tells(guess: _Guess, words: Sequence[str]) -> bool:
    """Tell whether words may be roles: of sites and dates, the dates would be scenes of every site."""
    return not all(map(_is_number, guess.scenes)) or all(map(_says_role, words))


def _says_role(word: str) -> bool:
    tokens = [token for token in re.split(r"[_.\- ]", word) if not _BESIDE.fullmatch(token)]
    return bool(_LABELS.search(word) or (tokens and all(map(_WORDS.fullmatch, tokens))))


def _are_counted(words: Sequence[str]) -> bool:
    """Tell whether some words differ in their digits alone, as scenes, patients and dates do, and no bands."""
    told = [word for word in words if not _says_role(word)]
    return len({re.sub(r"\d+", "0", word.casefold()) for word in told}) < len(told)


def _is_number(text: str) -> bool:
    return not any(letter.isalpha() for letter in text)


def _word(pattern: str) -> str:
    """Return what a file's name says beside its scene."""
    return stem_of(pattern.rsplit("/", 1)[-1]).replace("{scene}", "").strip("*_.-")


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
        names = {pattern: f"channel_{name}" if name.isdigit() else name for pattern, name in names.items()}
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
