"""What commands print is not wider than the terminal, and what one has to copy stays in one piece."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flows.commands import app, tables
from flows.commands.foreign_errors import named_error
from flows.display import logs
from flows.display.told import Told, tell, tell_path
from tasks.nights.night import Night, NightScene
from tasks.out.outcome import SceneOutcome
from tasks.verdict.verdict import Verdict

WORDS = st.lists(st.from_regex(r"[a-z/._-]{1,30}", fullmatch=True), min_size=1, max_size=30).map(" ".join)
WIDTHS = st.integers(40, 160)


def printed(lines, width: int, is_terminal: bool = True) -> list[str]:
    file = io.StringIO()
    tell(Console(file=file, width=width, force_terminal=is_terminal, color_system=None), lines)
    return file.getvalue().splitlines()


@given(text=WORDS, width=WIDTHS, mark=st.sampled_from(["", "go", "refused"]), is_flush=st.booleans())
def test_no_line_is_wider_than_the_terminal_and_no_word_is_cut(text, width, mark, is_flush):
    lines = printed([Told(text, mark, is_flush=is_flush)], width)
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == (text if is_flush or not mark else f"{mark} {text}")
    assert {word for line in lines for word in line.split()} >= set(text.split())


@given(text=WORDS, width=WIDTHS)
def test_lines_in_a_file_are_not_broken(text, width):
    assert printed([Told(text, "go")], width, is_terminal=False) == [f"go       {text}"]


@given(folder=st.from_regex(r"[a-z]{1,200}", fullmatch=True), width=WIDTHS)
def test_a_path_is_one_line_of_its_own(folder, width):
    file = io.StringIO()
    tell_path(Console(file=file, width=width, force_terminal=True, color_system=None), Path("/out") / folder)
    assert file.getvalue().splitlines() == [f"/out/{folder}"]


SCENE = "S2A_MSIL2A_20240726T183921_N0511_R070_T11SKA_20240726T233000"
ERROR = f"UnreadableSceneError: {SCENE}: the file ends within a tile. Copy it again from its source, or leave it out"
OUTCOMES = [
    SceneOutcome(scene=SCENE, status="done", product="p", headline={"burned_area_ha": 1234.5}, warnings=("w " * 60,)),
    SceneOutcome(scene="torn", status="failed", error=ERROR),
]
VERDICT = Verdict(path=SCENE, kind="raster", go=False, error="BandError", message=ERROR, warnings=("x " * 70,))
NIGHT = Night(date="2026-11-30", job="fire", scenes=(NightScene(id=SCENE, status="failed", error=ERROR),))
SAID = {
    "outcomes": tables.outcomes(OUTCOMES, Path("products")),
    "verdicts": tables.verdicts([VERDICT]),
    "night": tables.night(NIGHT, Path("products"), None),
}


@pytest.mark.parametrize("name", SAID)
def test_ids_and_paths_can_be_copied_at_80_columns(name):
    lines = printed(SAID[name], 80)
    assert max(map(len, lines)) <= 80
    assert any(SCENE in line for line in lines)


def test_a_night_without_anything_new_says_since_when():
    said = "\n".join(printed(tables.night(NIGHT, Path("out"), (NIGHT, "2026-11-30T19:00:12+00:00")), 80))
    assert "Nothing new since 19:00 UTC" in said
    said = "\n".join(printed(tables.night(NIGHT, Path("out"), None), 80))
    assert "Nothing new" not in said
    after = Night(date="2026-12-01", job="fire")
    said = "\n".join(printed(tables.night(after, Path("out"), (NIGHT, "2026-11-30T19:00:12+00:00")), 80))
    assert "Nothing new since 2026-11-30 19:00 UTC" in said


def test_what_nobody_foresaw_ends_with_a_line_and_the_traceback_in_a_file(tmp_path, monkeypatch, capsys):
    def broken() -> None:
        raise KeyError("PLANTED")

    monkeypatch.setattr(app, "app", broken)
    monkeypatch.setattr(app, "HOME", tmp_path)
    monkeypatch.setattr("sys.argv", ["swathe"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 70
    told = capsys.readouterr().err
    (file,) = (tmp_path / "errors").iterdir()
    assert str(file) in told.splitlines()
    assert "Traceback" not in told
    assert "in broken" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    (tmp_path / "errors" / file.name).unlink()
    monkeypatch.setattr(app, "HOME", file)
    file.touch()
    with pytest.raises(KeyError):
        app.main()


def test_a_server_that_does_not_know_the_password_is_named():
    answer = httpx.Response(401, request=httpx.Request("GET", "http://127.0.0.1:4200/api"))
    named = named_error(httpx.HTTPStatusError("unauthorized", request=answer.request, response=answer))
    assert "PREFECT_API_AUTH_STRING" in str(named)
    other = httpx.Response(404, request=answer.request)
    assert named_error(httpx.HTTPStatusError("gone", request=answer.request, response=other)) is None


def test_log_lines_keep_to_the_terminal_and_hold_the_whole_message():
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    logger = logging.getLogger("flows.of_a_test")
    handler = logs.LineHandler(console)
    logger.addHandler(handler)
    try:
        logger.warning("%s: %s", SCENE, "word " * 40)
    finally:
        logger.removeHandler(handler)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert f"WARNING: {SCENE}:" in " ".join(" ".join(lines).split())
    assert lines[0][:8].count(":") == 2
