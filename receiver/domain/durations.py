"""How a duration is put into a sentence for people."""

from __future__ import annotations

from datetime import timedelta

EXACT_BELOW = timedelta(minutes=10)
HOURS_FROM = timedelta(hours=2)


def in_words(duration: timedelta) -> str:
    """Exact below ten minutes, then in whole minutes, from two hours on in whole hours.

    An age that is told again and again keeps its words for a while: each change of them is news.
    """
    seconds = max(0, int(duration.total_seconds()))
    if duration >= HOURS_FROM:
        return f"{seconds // 3600} h"
    whole = seconds >= 120 and seconds % 60 == 0
    return f"{seconds // 60} min" if whole or duration >= EXACT_BELOW else f"{seconds} s"
