"""The journal of deliveries as lines of JSON: written by whoever keeps them, read by whoever replays them.

A body stands in its line as the text it was. One that is no UTF-8 was no notification either; it stands there
as base64, so that a journal holds every delivery.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from pydantic_core import from_json

from receiver.domain.alerts import parse_time

# Whoever replays adds hours to these times; at the ends of the calendar there is no room for that.
_FIRST_YEAR, _LAST_YEAR = 1970, 9000


@dataclass(frozen=True)
class Kept:
    """One delivery as it came in."""

    received_at: datetime
    source: str
    body: bytes


def line_of(kept: Kept) -> bytes:
    """The delivery as one line, in ASCII: texts of strangers are in it, and it may be shown on a terminal."""
    told: dict[str, Any] = {"received_at": kept.received_at.isoformat(), "source": kept.source}
    try:
        told["body"] = kept.body.decode()
    except UnicodeDecodeError:
        told["body"] = base64.b64encode(kept.body).decode()
        told["base64"] = True
    return json.dumps(told).encode() + b"\n"


def read_line(line: bytes) -> Kept:
    """The delivery of one line. Raises ValueError with what is wrong."""
    try:
        told = from_json(line)
    except ValueError:
        raise ValueError("it is not JSON") from None
    if not isinstance(told, dict):
        raise ValueError("it is no object with received_at, source and body")
    source, body = told.get("source"), told.get("body")
    if not isinstance(source, str) or not isinstance(body, str):
        raise ValueError("source and body must be texts")
    try:
        received_at = parse_time(told.get("received_at"))
    except (ValueError, OverflowError):
        raise ValueError("received_at is no RFC 3339 time") from None
    if not _FIRST_YEAR <= received_at.year < _LAST_YEAR:
        raise ValueError("received_at is no time at which anything was received")
    try:
        content = base64.b64decode(body, validate=True) if told.get("base64") is True else body.encode()
    except ValueError:
        raise ValueError("body is no base64") from None
    return Kept(received_at, source, content)


def moment_of(text: str) -> datetime:
    """A moment as people write it: an RFC 3339 time, or a date, which begins at midnight in UTC.

    Raises ValueError where it is neither.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return parse_time(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
