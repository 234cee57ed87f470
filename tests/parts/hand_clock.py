"""A clock that moves only when the test moves it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class HandClock:
    """Starts at ``NOON``; who sleeps is woken when ``advance`` reaches that moment."""

    def __init__(self, start: datetime = NOON) -> None:
        self._now = start
        self._moved = asyncio.Condition()

    def now(self) -> datetime:
        """The moment the test has set."""
        return self._now

    async def sleep(self, duration: timedelta) -> None:
        """Return when the test has moved the clock this far."""
        until = self._now + duration
        async with self._moved:
            await self._moved.wait_for(lambda: self._now >= until)

    async def advance(self, duration: timedelta) -> None:
        """Move on, wake the sleepers, and let them do what they do without input or output."""
        async with self._moved:
            self._now += duration
            self._moved.notify_all()
        for _ in range(50):
            await asyncio.sleep(0)


@dataclass
class HandSteady:
    """A clock in seconds that a test moves."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds

    async def pause(self, seconds: float) -> None:
        """So many seconds pass, and nobody waits for them."""
        self.seconds += seconds
