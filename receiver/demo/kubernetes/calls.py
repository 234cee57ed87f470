"""The record of every request, and of what each wrote: what a test asks instead of trusting the client.

A call is noted when it arrives and again when its outcome is known, before the client hears of it. With a
file, each outcome is one line, flushed at once, so it survives whatever happens to the client.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What one call changed in the cluster."""

    verb: str
    resource: str
    namespace: str
    name: str
    uid: str
    resource_version: str


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request and what came of it."""

    number: int
    at: str
    """When it arrived, by the cluster's clock; ISO 8601."""
    method: str
    path: str
    query: dict[str, str]
    content_type: str
    body: Any
    user_agent: str
    user: str = ""
    settled_at: str = ""
    """When its outcome was known, by the same clock."""
    status: int | None = None
    """None while it is being handled, and for ever if it was dropped."""
    answered: bool = True
    """False if the client was not told."""
    fault: str = ""
    applied: Applied | None = None

    @property
    def dry_run(self) -> bool:
        return "dryRun" in self.query


class CallLog:
    """All calls in order of arrival."""

    def __init__(self, path: Path | None = None, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._calls: list[Call] = []
        self._news = asyncio.Event()
        # Opened once and kept: a line must reach the file while the client is being killed.
        self._file = path.open("a", encoding="utf-8") if path else None

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def arrived(self, **facts: Any) -> Call:
        call = Call(number=len(self._calls), **facts)
        self._calls.append(call)
        self._news.set()
        return call

    def settled(self, call: Call, **outcome: Any) -> Call:
        """Note the outcome of ``call``; the number says which one it is."""
        outcome["settled_at"] = self._now().isoformat()
        call = replace(self._calls[call.number], **outcome)
        self._calls[call.number] = call
        self._news.set()
        if self._file:
            self._file.write(json.dumps(asdict(call)) + "\n")
            self._file.flush()
        return call

    async def until(self, wanted: Callable[[Call], bool]) -> Call:
        """Return the first call of that kind, as soon as there is one."""
        while True:
            self._news.clear()
            for call in self._calls:
                if wanted(call):
                    return call
            await self._news.wait()

    def close(self) -> None:
        if self._file:
            self._file.close()
