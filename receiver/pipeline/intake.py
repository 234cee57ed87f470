"""Keep what arrives, before anybody reads it: 200 means that the bytes are on the disk.

The bytes in flight are bounded; beyond that, and when the store is away, the sender gets a 503 and tries
again (Alertmanager retries 5xx only).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from receiver.domain.clock import Clock
from receiver.domain.errors import Unavailable
from receiver.store.engine import Delivery, Store

# Long before Alertmanager's peers give up on one another (15 s), so that they do not send it twice.
COMMIT_WITHIN_SECONDS = 10.0


class Intake:
    """Takes webhook bodies. ``on_kept`` is told after each commit, so that reading can begin at once."""

    def __init__(
        self, store: Store, clock: Clock, *, max_bytes_in_flight: int, on_kept: Callable[[], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_bytes = max_bytes_in_flight
        self._bytes = 0
        self._on_kept = on_kept

    @property
    def bytes_in_flight(self) -> int:
        """What was accepted for reading and is not yet committed."""
        return self._bytes

    def reserve(self, size: int) -> None:
        """Make room for a body of this size before it is read. Raises Unavailable where there is none."""
        if self._bytes + size > self._max_bytes:
            raise Unavailable("too many bytes in flight")
        self._bytes += size

    def release(self, size: int) -> None:
        """Give the room back."""
        self._bytes -= size

    async def keep(self, body: bytes, *, source: str) -> None:
        """Return once the body is durable. Raises Unavailable."""
        delivery = Delivery(
            received_at=self._clock.now().timestamp(),
            source=source,
            sha256=hashlib.sha256(body).hexdigest(),
            body=body,
        )
        try:
            async with asyncio.timeout(COMMIT_WITHIN_SECONDS):
                await self._store.keep(delivery)
        except TimeoutError as error:
            raise Unavailable("the store did not commit in time") from error
        self._on_kept()
