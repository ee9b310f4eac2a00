"""The audit log: a line changed, left out or added, a cut tail and a file written anew are found."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import AuditError, StoreError
from tasks.files.keys import InstitutionKey
from tasks.inputs.naming import AUDIT
from tasks.out.audit import AuditHeads, AuditLog, Head, KnownHead
from tasks.out.folder import OutFolder

KEY, OTHER = InstitutionKey(b"k" * 32), InstitutionKey(b"o" * 32)
N = 8


def write(root: Path, n: int = N, key: InstitutionKey = KEY) -> AuditLog:
    log = AuditLog(OutFolder(root), key)
    for number in range(1, n + 1):
        log.append("scene", "2026-11-29T12:00:00+00:00", {"scene": f"P-{number}", "seconds": number / 3})
    return log


def lines(log: AuditLog) -> list[bytes]:
    return log.path.read_bytes().splitlines(keepends=True)


def found(log: AuditLog) -> set[str]:
    return {finding.what for finding in log.findings()}


@pytest.fixture
def log(tmp_path) -> AuditLog:
    return write(tmp_path / "out")


def test_a_log_that_nobody_touched_is_well(log):
    assert list(log.findings()) == []
    assert log.n_lines() == N
    rows = [json.loads(line) for line in lines(log)]
    assert [row["number"] for row in rows] == list(range(1, N + 1))
    assert all(later["before"] == earlier["hash"] for earlier, later in itertools.pairwise(rows))


@given(place=st.integers(0, N - 1), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_byte_that_is_changed_is_found(tmp_path_factory, place, data):
    log = write(tmp_path_factory.mktemp("audit") / "out")
    all_lines = lines(log)
    line = bytearray(all_lines[place])
    at = data.draw(st.integers(0, len(line) - 2))
    line[at] ^= data.draw(st.integers(1, 255))
    all_lines[place] = bytes(line)
    log.path.write_bytes(b"".join(all_lines))
    # A byte of its number makes it another line.
    assert found(log) <= {"changed", "added", "left out", "replaced", "cut"}
    assert found(log)


@pytest.mark.parametrize("place", range(N))
def test_a_line_left_out_is_found(log, place):
    kept = lines(log)
    del kept[place]
    log.path.write_bytes(b"".join(kept))
    assert found(log) >= ({"left out"} if place < N - 1 else {"cut"})


@pytest.mark.parametrize("place", range(N + 1))
def test_a_line_added_is_found(log, place):
    forged = json.loads(lines(log)[2])
    forged["scene"], forged["number"] = "forged", 99
    for line in (lines(log)[3], json.dumps(forged).encode() + b"\n", b"not a line\n"):
        kept = lines(log)
        kept.insert(place, line)
        log.path.write_bytes(b"".join(kept))
        assert found(log)
        kept.remove(line)
        log.path.write_bytes(b"".join(kept))


@pytest.mark.parametrize("left", range(N))
def test_a_cut_tail_is_found(log, left):
    log.path.write_bytes(b"".join(lines(log)[:left]))
    assert "cut" in found(log)


def test_lines_in_another_order_are_found(log):
    kept = lines(log)
    kept[3], kept[4] = kept[4], kept[3]
    log.path.write_bytes(b"".join(kept))
    assert found(log)


def test_a_file_written_anew_with_another_key_is_found(log, tmp_path):
    other = write(tmp_path / "other", key=OTHER)
    log.path.write_bytes(other.path.read_bytes())
    assert found(log) >= {"changed"}


def test_a_file_written_anew_with_the_same_key_is_found(log, tmp_path):
    """As somebody could do who ran swathe again elsewhere, or kept an earlier log."""
    other = AuditLog(OutFolder(tmp_path / "other"), KEY)
    for _ in range(N):
        other.append("scene", "2026-01-01T00:00:00+00:00", {"scene": "forged"})
    log.path.write_bytes(other.path.read_bytes())
    assert found(log) == {"replaced"}


def test_a_log_and_a_ledger_written_anew_are_found_by_run_records(log, tmp_path):
    record = log.out.root / ".products" / "P-1" / "key" / "run.json"
    record.parent.mkdir(parents=True)
    head = json.loads(lines(log)[4])
    record.write_text(json.dumps({"run": "r", "audit": {"number": head["number"], "hash": head["hash"]}}))
    assert list(log.findings()) == []
    other = AuditLog(OutFolder(tmp_path / "other"), KEY)
    for _ in range(N):
        other.append("scene", "2026-01-01T00:00:00+00:00", {"scene": "forged"})
    for name in (AUDIT, "state.sqlite"):
        (log.out.root / name).write_bytes((other.out.root / name).read_bytes())
    assert found(log) == {"replaced"}


def test_a_log_that_is_gone_is_found(log):
    log.path.unlink()
    assert found(log) == {"missing"}


def test_a_line_that_a_crash_left_unfinished_is_no_finding_and_is_written_over(log):
    with log.path.open("ab") as file:
        file.write(lines(log)[-1][:40])
    assert list(log.findings()) == []
    assert log.append("scene", "2026-11-29T12:00:00+00:00", {"scene": "P-9"}).number == N + 1
    assert list(log.findings()) == []


def test_a_line_that_the_ledger_had_no_time_to_hear_of_counts(log):
    """Killed between the line and the ledger: the line holds by itself."""
    head = json.loads(lines(log)[-2])
    ends = sum(map(len, lines(log)[:-1]))
    AuditHeads(log.out.ledger).enter(KnownHead(Head(head["number"], head["hash"]), KEY.id, ends))
    assert list(log.findings()) == []
    assert log.append("scene", "2026-11-29T12:00:00+00:00", {}).number == N + 1
    assert list(log.findings()) == []


def test_nothing_is_added_to_a_log_that_was_touched(log):
    kept = lines(log)
    log.path.write_bytes(b"".join(kept[:-2]))
    with pytest.raises(AuditError, match="is not the log that the ledger remembers"):
        log.append("scene", "2026-11-29T12:00:00+00:00", {})
    changed = kept[2].replace(b"P-3", b"P-4")
    log.path.write_bytes(b"".join([*kept[:2], changed, *kept[3:]]))
    with pytest.raises(AuditError, match="line 3 is not as it was written"):
        log.require_whole()


def test_another_key_cannot_go_on(log):
    with pytest.raises(AuditError, match=f"was begun with the institution's key {KEY.id}"):
        AuditLog(log.out, OTHER).append("scene", "2026-11-29T12:00:00+00:00", {})


def test_a_link_in_its_place_is_not_followed(tmp_path):
    root = tmp_path / "out"
    root.mkdir()
    (root / AUDIT).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        write(root, 1)
    assert not (tmp_path / "elsewhere").exists()


def test_lines_of_several_processes_follow_one_another(tmp_path):
    root = tmp_path / "out"
    write(root, 1)
    program = (
        "import sys\nfrom pathlib import Path\nfrom tasks.files.keys import InstitutionKey\n"
        "from tasks.out.audit import AuditLog\nfrom tasks.out.folder import OutFolder\n"
        "log = AuditLog(OutFolder(Path(sys.argv[1])), InstitutionKey(b'k' * 32))\n"
        "for n in range(10):\n    log.append('scene', '2026-11-29T12:00:00+00:00', {'n': n})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, root]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    log = AuditLog(OutFolder(root), KEY)
    assert log.n_lines() == 31
    assert list(log.findings()) == []


@pytest.fixture
def swathe(tmp_path, monkeypatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    monkeypatch.setenv("SWATHE_KEY_FILE", str(tmp_path / "institution.key"))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_the_command_says_what_it_found(swathe, tmp_path):
    assert swathe("key", "create").returncode == 0
    from tasks.files.keys import load_key

    log = write(tmp_path / "out", key=load_key(tmp_path / "institution.key"))
    well = swathe("audit", log.out.root)
    assert (well.returncode, f"{N} lines" in well.stdout) == (0, True)
    log.path.write_bytes(b"".join(lines(log)[:-1]))
    cut = swathe("audit", log.out.root)
    assert (cut.returncode, "cut" in cut.stdout) == (1, True)
    none = swathe("audit", tmp_path)
    assert none.returncode == 2
    assert "AuditError" in none.stderr
