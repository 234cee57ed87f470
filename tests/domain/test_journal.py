"""The journal's lines: what was delivered comes back as it was, and what is no line is named."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.journal import Kept, line_of, moment_of, read_line

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@given(body=st.binary(max_size=80) | st.text(max_size=80).map(str.encode), source=st.text(max_size=20))
def test_a_delivery_comes_back_as_it_was(body: bytes, source: str) -> None:
    kept = Kept(NOON, source, body)
    line = line_of(kept)
    assert line.isascii() and line.count(b"\n") == 1
    assert read_line(line) == kept


@pytest.mark.parametrize(
    "line,complaint",
    [
        (b"{", "not JSON"),
        (b"[]", "no object"),
        (b'{"received_at": "2026-03-01T12:00:00Z", "source": "a"}', "must be texts"),
        (b'{"received_at": "at noon", "source": "a", "body": "{}"}', "received_at"),
        (b'{"received_at": "9999-12-31T23:59:59Z", "source": "a", "body": "{}"}', "received_at"),
        (b'{"received_at": "2026-03-01T12:00:00", "source": "a", "body": "{}"}', "received_at"),
        (b'{"received_at": "2026-03-01T12:00:00Z", "source": "a", "body": "?", "base64": true}', "base64"),
    ],
)
def test_a_broken_line_says_what_is_wrong(line: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_line(line)


def test_a_date_begins_at_midnight_in_utc() -> None:
    assert moment_of("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert moment_of("2026-03-01T13:00:00+01:00") == NOON
    with pytest.raises(ValueError):
        moment_of("yesterday")
