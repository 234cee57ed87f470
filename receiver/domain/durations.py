"""Durations as people write them, ``90s`` or ``1h30m``, and as sentences say them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

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


_WRITTEN = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,7})m)?(?:(\d{1,8})s)?", re.ASCII)


def read_duration(written: str) -> timedelta | None:
    """``90s``, ``5m``, ``1h30m``, ``7d``; None where this is none."""
    found = _WRITTEN.fullmatch(written)
    if found is None or not written:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _parameter(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    found = read_duration(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{str(value)[:40]!r} is no duration; write 90s, 5m, 1h30m or 7d")
    return found


# A parameter's: a policy writes it with its unit.
Duration = Annotated[timedelta, BeforeValidator(_parameter)]
