"""Two clocks for the small cluster: the machine's own, and one that stands until it is moved."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class RealClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(max(0.0, duration.total_seconds()))


class SteppedClock:
    """Stands still until `advance`; whoever sleeps wakes when it has been moved far enough."""

    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    async def sleep(self, duration: timedelta) -> None:
        if duration <= timedelta(0):
            await asyncio.sleep(0)
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + duration, waiting))
        await waiting

    async def advance(self, duration: timedelta) -> None:
        """Move on by ``duration``, stopping at each sleeper's time so that they wake in order."""
        end = self._now + duration
        while True:
            # Whoever was just started or woken may be about to sleep: give them their turn first.
            for _ in range(5):
                await asyncio.sleep(0)
            self._sleepers = [each for each in self._sleepers if not each[1].done()]
            due = min((when for when, _ in self._sleepers), default=end)
            if due > end or self._now >= end:
                break
            self.jump(due - self._now)
        self.jump(end - self._now)

    def jump(self, duration: timedelta) -> None:
        """Be later by ``duration`` at once; whoever should have woken wakes when the loop next turns."""
        self._now += max(duration, timedelta(0))
        for when, waiting in self._sleepers:
            if when <= self._now and not waiting.done():
                waiting.set_result(None)
