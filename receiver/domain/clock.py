"""The incident clock, as those who need one see it.

Two clocks run in Stanch. This one decides windows, expiries and due times; it is passed in, so that a test
can set it and the demo world can run it fast. The other one, the store's own, decides leases only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time of the incidents: aware, in UTC."""

    def now(self) -> datetime:
        """The present moment."""

    async def sleep(self, duration: timedelta) -> None:
        """Return once ``duration`` of this clock's time has passed."""
