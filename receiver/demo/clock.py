"""The demo's time: the machine's, so many times as fast, slowed down while a person is being asked."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

# Sleepers look again this often (real seconds), so that a change of speed reaches them.
LOOK_AGAIN_SECONDS = 0.05


class WorldClock:
    """Runs at ``speed`` times the machine's pace from ``start`` on."""

    def __init__(self, start: datetime | None = None, *, speed: float = 1.0) -> None:
        self._base = start or datetime.now(UTC).replace(microsecond=0)
        self._since = time.monotonic()
        self._speed = speed

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._base + timedelta(seconds=(time.monotonic() - self._since) * self._speed)

    @property
    def speed(self) -> float:
        """How many seconds of this clock pass in a real one."""
        return self._speed

    def run_at(self, speed: float) -> None:
        """Go on from the present moment at another pace."""
        self._base, self._since = self.now(), time.monotonic()
        self._speed = speed

    async def sleep(self, duration: timedelta) -> None:
        """See `Clock.sleep`."""
        until = self.now() + duration
        # There is no event to wait for: the speed may change at any moment.
        while (left := (until - self.now()).total_seconds()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(LOOK_AGAIN_SECONDS, max(left / self._speed, 0.001)))
        await asyncio.sleep(0)
