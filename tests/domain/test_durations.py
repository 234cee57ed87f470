"""Durations as sentences say them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from receiver.domain.durations import in_words


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
