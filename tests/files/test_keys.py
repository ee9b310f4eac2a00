"""The institution's key, and what is made with it: pseudonyms, UIDs, days."""

from __future__ import annotations

import re
import stat
from datetime import date, datetime

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.deidentify.dates import shifted_date, shifted_datetime
from tasks.errors import KeyFileError
from tasks.files.keys import InstitutionKey, create_key, load_key, require_outside, rotate_key
from tasks.files.pseudonyms import Pseudonyms

PSEUDONYMS = Pseudonyms(InstitutionKey(bytes(range(32))))


@given(st.text(min_size=1, max_size=64), st.text(min_size=1, max_size=64))
def test_a_pseudonym_is_of_one_patient_and_one_key(one, other):
    again = Pseudonyms(InstitutionKey(bytes(range(32))))
    elsewhere = Pseudonyms(InstitutionKey(b"e" * 32))
    assert PSEUDONYMS.patient(one) == again.patient(one) != elsewhere.patient(one)
    same = one.strip(" \0") == other.strip(" \0")
    assert (PSEUDONYMS.patient(one) == PSEUDONYMS.patient(other)) is same
    assert re.fullmatch(r"P-[A-Z2-7]{12}", PSEUDONYMS.patient(one))
    assert -3753 < PSEUDONYMS.days(one) <= -100


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=10).map(lambda parts: ".".join(map(str, [1, 3, *parts]))))
def test_a_uid_stays_a_uid(uid):
    new = PSEUDONYMS.uid(uid)
    assert pydicom.uid.UID(new).is_valid
    assert len(new) <= 64
    assert new != uid
    assert PSEUDONYMS.uid(f"{uid}\0") == new


def test_uids_of_the_standard_stand_for_themselves():
    assert PSEUDONYMS.uid("1.2.840.10008.5.1.4.1.1.2") == "1.2.840.10008.5.1.4.1.1.2"


@given(st.dates(min_value=date(1900, 1, 1)), st.integers(-4000, -1))
def test_days_between_dates_stay(day, days):
    moved = shifted_date(day.strftime("%Y%m%d"), days)
    assert (datetime.strptime(moved, "%Y%m%d").date() - day).days == days
    assert shifted_datetime(f"{day:%Y%m%d}101112.123456+0100", days) == f"{moved}101112.123456+0100"
    assert shifted_datetime(f"{day:%Y%m}", days)[:4] in (moved[:4], str(int(moved[:4]) - 1), str(int(moved[:4]) + 1))


@pytest.mark.parametrize("text", ["2013-13-01", "yesterday", "20130230", "2013", "20130101 Smith", ""])
def test_what_is_no_date_is_none(text):
    assert shifted_date(text, -7) is None


def test_a_key_is_its_owners_alone(tmp_path):
    path = tmp_path / "keys" / "institution.key"
    key = create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path) == key
    assert key.secret.hex() not in repr(key)
    with pytest.raises(KeyFileError, match="is there already"):
        create_key(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_key(path)
    path.chmod(0o600)
    fresh, old = rotate_key(path)
    assert (load_key(path), load_key(old)) == (fresh, key)
    with pytest.raises(KeyFileError, match="lies in"):
        require_outside(path, tmp_path)
    path.write_text("secret\n")
    with pytest.raises(KeyFileError, match="no key that swathe wrote"):
        load_key(path)
