"""Trouble on order: which requests go wrong, how, and how often.

A fault waits until a request matches it; with a count it then wears off. What each kind does to a request
is the web edge's business; here is only what was ordered and whether it is this request's turn.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, Literal, get_args

FaultKind = Literal["delay", "answer-late", "lose-answer", "drop", "land-late", "refuse"]
"""
- `delay`: handle the request only after ``seconds``
- `answer-late`: apply at once, answer after ``seconds``
- `lose-answer`: apply, then close the connection without a word
- `drop`: close the connection, apply nothing
- `land-late`: close the connection, apply after ``seconds`` under the preconditions that hold then
- `refuse`: answer ``status`` (5xx, 429), with `Retry-After` if ``retry_after`` is set
"""

_STATUS_REASONS = {
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    500: ("InternalError", "Internal error occurred: ordered"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "the server was unable to return a response in the time allotted"),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One order for trouble."""

    kind: FaultKind
    seconds: float = 0.0
    method: str = ""
    """Empty: any method."""
    path: str = ""
    """A regular expression, searched in the path without the query; empty: any path."""
    dry_run: bool | None = None
    """Only dry runs (True), only real ones (False), both (None)."""
    count: int | None = 1
    """How many requests it hits; None: until cleared."""
    status: int = 503
    retry_after: int | None = None
    """Seconds, sent as `Retry-After` with `refuse`."""
    respect_timeout: bool = True
    """A late landing whose `?timeout=` has passed by then is given up, as the real server does."""

    def matches(self, method: str, path: str, *, dry_run: bool) -> bool:
        return (
            self.method.upper() in ("", method)
            and re.search(self.path, path) is not None
            and self.dry_run in (None, dry_run)
        )

    @property
    def delay(self) -> timedelta:
        return timedelta(seconds=self.seconds)

    def refusal(self) -> dict[str, Any]:
        """The Status body of a `refuse`."""
        reason, message = _STATUS_REASONS.get(self.status, ("InternalError", "ordered"))
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": self.status,
        }
        if self.retry_after is not None:
            body["details"] = {"retryAfterSeconds": self.retry_after}
        return body

    @classmethod
    def from_json(cls, order: dict[str, Any]) -> Fault:
        """Read an order; `ValueError` names what is wrong with it."""
        unknown = set(order) - {each.name for each in fields(cls)}
        if unknown:
            raise ValueError(f"unknown in a fault: {', '.join(sorted(unknown))}")
        if order.get("kind") not in get_args(FaultKind):
            raise ValueError(f"kind is one of {', '.join(get_args(FaultKind))}")
        try:
            re.compile(order.get("path", ""))
        except re.error as error:
            raise ValueError(f"path is no regular expression: {error}") from error
        return cls(**order)


@dataclass
class Faults:
    """The orders outstanding, oldest first."""

    pending: list[Fault] = field(default_factory=list)

    def add(self, *faults: Fault) -> None:
        self.pending.extend(faults)

    def clear(self) -> None:
        self.pending.clear()

    def take(self, method: str, path: str, *, dry_run: bool) -> Fault | None:
        """The first fault that matches, counted down; None if the request is to go well."""
        for index, fault in enumerate(self.pending):
            if fault.matches(method, path, dry_run=dry_run):
                if fault.count is not None:
                    left = replace(fault, count=fault.count - 1)
                    self.pending[index : index + 1] = [left] if left.count else []
                return fault
        return None

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.pending]
