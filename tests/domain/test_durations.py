"""Durations as sentences say them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from receiver.domain.durations import in_words, read_duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (60, "60 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (290, "290 s"),
        (300, "5 min"),
        (599, "599 s"),
        (601, "10 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (3 * 3600 + 59 * 60, "3 h"),
        (3 * 86400, "72 h"),
    ],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("7d", 604800), ("0s", 0), ("1d2h3m4s", 93784)],
)
def test_a_duration_as_a_policy_writes_it(written: str, seconds: float) -> None:
    found = read_duration(written)
    assert found is not None
    assert found.total_seconds() == seconds


@pytest.mark.parametrize("written", ["", "90", "s", "5 m", "1m1h", "-5m", "1.5h", "5m\n", "\u0665m"])
def test_what_is_no_duration(written: str) -> None:
    assert read_duration(written) is None
