"""What can be wrong with a Prometheus, set while it runs; and the record of who asked what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass
class Faults:
    """Each is off by default and takes effect with the next request or evaluation; `Faults()` heals."""

    down: bool = False
    """Drop every connection without an answer."""
    status: int | None = None
    """Answer everything with this status, such as 503."""
    delay: timedelta = timedelta(0)
    """Let this much of the demo's clock pass before each answer."""
    empty: bool = False
    """Answer queries with no series at all: 200, and wrong."""
    rules_frozen: bool = False
    """Scrape on, but evaluate no rule: `lastEvaluation` stands still."""


@dataclass(frozen=True)
class Call:
    """One request that arrived, whatever became of it."""

    at: datetime
    method: str
    path: str
    parameters: Mapping[str, str]
