"""Products appear whole or not at all, and the ledger tells the truth about them."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import StoreError
from tasks.files.fingerprint import Fingerprint
from tasks.out.folder import OutFolder
from tasks.out.ledger import InputRow, Ledger, ProductRow
from tasks.products.publish import is_published, publish

FILES = ("mask.tif", "summary.json", "run.json")


def finished(out: OutFolder, number: int, run: str = "first") -> Path:
    """A complete folder in the scratch space; every file but run.json holds the product's number."""
    folder = out.scratch / "scene" / f"work-{number}-{run}" / "product"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(run if name == "run.json" else str(number))
    return folder


def read_product(link: Path) -> tuple[str, ...]:
    """Open the folder once, as a program that follows the link once does, and read all of it."""
    folder = os.open(link, os.O_RDONLY)
    try:
        assert sorted(os.listdir(folder)) == sorted(FILES)  # noqa: PTH208 - pathlib knows no descriptors
        files = [os.open(name, os.O_RDONLY, dir_fd=folder) for name in FILES]
        texts = tuple(os.read(file, 100).decode() for file in files)
        for file in files:
            os.close(file)
    finally:
        os.close(folder)
    return texts


def test_a_reader_never_sees_a_missing_or_half_product(tmp_path):
    out = OutFolder(tmp_path)
    publish(out, "scene", "key-0", finished(out, 0))
    seen, errors, ended = [], [], threading.Event()

    def poll():
        while not ended.is_set():
            try:
                seen.append(read_product(out.link("scene")))
            except (OSError, AssertionError) as error:
                errors.append(error)

    reader = threading.Thread(target=poll)
    reader.start()
    for number in range(1, 51):
        publish(out, "scene", f"key-{number}", finished(out, number))
    ended.set()
    reader.join()
    assert errors == []
    assert all(mask == summary for mask, summary, _ in seen)
    numbers = [int(mask) for mask, _, _ in seen]
    assert numbers == sorted(numbers), "a superseded product comes back"
    assert read_product(out.link("scene"))[0] == "50"


def test_products_that_were_superseded_stay_and_the_link_is_relative(tmp_path):
    out = OutFolder(tmp_path / "out")
    for number in range(3):
        publish(out, "scene", f"key-{number}", finished(out, number))
    assert [is_published(out, "scene", f"key-{k}") for k in range(3)] == [False, False, True]
    assert (out.product("scene", "key-0") / "mask.tif").read_text() == "0"
    moved = OutFolder(out.root.rename(tmp_path / "elsewhere"))
    assert read_product(moved.link("scene"))[0] == "2"


def test_the_same_key_twice_keeps_the_first_product(tmp_path):
    out = OutFolder(tmp_path)
    first = publish(out, "scene", "key", finished(out, 1))
    folder = finished(out, 1, run="second")
    assert publish(out, "scene", "key", folder) == first
    assert (first / "run.json").read_text() == "first"
    assert not folder.exists()


def test_an_earlier_product_comes_back_when_it_is_published_again(tmp_path):
    out = OutFolder(tmp_path)
    for number in (0, 1):
        publish(out, "scene", f"key-{number}", finished(out, number))
    publish(out, "scene", "key-0", finished(out, 0, run="again"))
    assert is_published(out, "scene", "key-0")


def test_a_link_left_by_a_killed_run_does_not_stop_the_next(tmp_path):
    out = OutFolder(tmp_path)
    out.scratch.mkdir()
    (out.scratch / "scene.link").symlink_to("nowhere")
    publish(out, "scene", "key", finished(out, 0))
    assert is_published(out, "scene", "key")


def test_what_is_not_published_is_not_said_to_be(tmp_path):
    out = OutFolder(tmp_path)
    assert not is_published(out, "scene", "key")
    out.link("scene").symlink_to(".products/scene/key")
    assert not is_published(out, "scene", "key"), "a link to nothing"


def test_a_second_run_on_the_same_folder_is_refused_until_the_first_ends(tmp_path):
    out = OutFolder(tmp_path)
    with out.locked():
        with pytest.raises(StoreError, match="another run is writing here"), OutFolder(tmp_path).locked():
            pytest.fail("two runs hold one folder")
        with OutFolder(tmp_path / "other").locked():
            pass
    with out.locked():
        pass


def test_whoever_asks_whether_a_folder_is_held_keeps_no_run_from_it(tmp_path, monkeypatch):
    out = OutFolder(tmp_path)
    with out.locked():
        pass
    glance = os.open(out.scratch / "lock", os.O_RDONLY)
    fcntl.flock(glance, fcntl.LOCK_SH)
    assert not out.is_locked(), "two may ask at once"
    monkeypatch.setattr("tasks.out.folder.time.sleep", lambda _: fcntl.flock(glance, fcntl.LOCK_UN))
    with out.locked():
        assert out.is_locked()
    os.close(glance)


def test_whoever_may_only_read_a_folder_can_ask_whether_it_is_held():
    program = (
        "import os, pathlib, sys, tasks.out.folder as o\n"
        # Whoever runs the tests may write everywhere.
        "os.geteuid() or os.setuid(65534)\n"
        "print(o.OutFolder(pathlib.Path(sys.argv[1])).is_locked())"
    )
    with tempfile.TemporaryDirectory() as root, OutFolder(Path(root)).locked():
        Path(root).chmod(0o755)
        (Path(root) / ".swathe" / "lock").chmod(0o444)
        asked = subprocess.run([sys.executable, "-c", program, root], capture_output=True, text=True, check=True)
    assert asked.stdout == "True\n"


def test_the_lock_dies_with_its_process(tmp_path):
    program = (
        "import sys, pathlib, tasks.out.folder as o\n"
        "with o.OutFolder(pathlib.Path(sys.argv[1])).locked():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=-1, stdout=-1)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(StoreError), OutFolder(tmp_path).locked():
        pytest.fail("two processes hold one folder")
    holder.kill()
    holder.communicate()
    with OutFolder(tmp_path).locked():
        pass


ROWS = st.builds(
    ProductRow,
    scene=st.sampled_from(["a", "b", "c"]),
    request=st.text("0123456789abcdef", min_size=16, max_size=16),
    product=st.one_of(st.none(), st.text("0123456789abcdef", min_size=16, max_size=16)),
    status=st.sampled_from(["done", "failed"]),
    error=st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"))),
    headline=st.dictionaries(st.text("abc_", min_size=1), st.one_of(st.integers(-(2**53), 2**53), st.floats(0, 1e9))),
)


@settings(max_examples=15)
@given(rows=st.lists(ROWS, max_size=6))
def test_the_ledger_keeps_the_newest_word_on_each_scene_and_survives_reopening(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("ledger") / "out" / "state.sqlite"
    for row in rows:
        Ledger(path).record(row, "run", "2026-01-01T00:00:00+00:00")
    newest = {row.scene: row for row in rows}
    assert {scene: Ledger(path).product(scene) for scene in "abc"} == {scene: newest.get(scene) for scene in "abc"}


def test_a_hash_is_remembered_by_the_name_of_its_input_with_the_state_of_its_files(tmp_path):
    path = tmp_path / "state.sqlite"
    row = InputRow("name", "files as they were", ("/beside.msk",), Fingerprint("0" * 64, content_hashed=False))
    Ledger(path).remember_input(row)
    assert Ledger(path).input("name") == row
    assert Ledger(path).input("other") is None
    newer = InputRow("name", "files as they are", (), Fingerprint("1" * 64, content_hashed=True))
    Ledger(path).remember_input(newer)
    assert Ledger(path).input("name") == newer


def test_runs_that_were_interrupted_are_closed_as_such_by_the_next(tmp_path):
    path = tmp_path / "state.sqlite"
    for run, outcome in (("one", "done"), ("two", None), ("three", "failed scenes"), ("four", None)):
        Ledger(path).begin_run(run, "fire", f"begin {run}")
        if outcome:
            Ledger(path).end_run(run, outcome, f"end {run}")
    with closing(sqlite3.connect(path)) as connection:
        runs = connection.execute("SELECT id, finished, outcome FROM runs").fetchall()
    assert {run: (end, outcome) for run, end, outcome in runs} == {
        "one": ("end one", "done"),
        "two": ("begin three", "interrupted"),
        "three": ("end three", "failed scenes"),
        "four": (None, None),
    }
