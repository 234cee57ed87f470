"""What named queries said at the time: from Prometheus where one is named, else nothing is known.

Asked in large aligned blocks, each once for both sets of policies.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import aiohttp

from receiver.clients.prometheus import Points, Prometheus
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.policy.classification import Series

# Prometheus answers with 11,000 points at most; at 15 seconds this is four hours.
BLOCK_POINTS = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Ask = Callable[[str, datetime, datetime, timedelta], Points]


class History(Protocol):
    """Where values of the past come from."""

    @property
    def known(self) -> bool:
        """Whether there are any: without, nothing changes by looking again."""

    def series(
        self, queries: Mapping[str, str], *, start: datetime, end: datetime, step: timedelta
    ) -> Series:
        """The points of each query in that window; a query without any is left out."""


class NoHistory:
    """Nothing was recorded."""

    known = False

    def series(
        self, queries: Mapping[str, str], *, start: datetime, end: datetime, step: timedelta
    ) -> Series:
        """Nothing."""
        return {}


class Recorded:
    """What ``ask`` answers for a range, kept by block; ``failed`` counts the blocks that had no answer."""

    known = True

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._blocks: dict[tuple[str, timedelta, int], Points] = {}
        self.failed = 0

    def series(
        self, queries: Mapping[str, str], *, start: datetime, end: datetime, step: timedelta
    ) -> Series:
        """The points of each query from a step before the window until just after it."""
        found = {name: self._window(query, start - step, end + step, step) for name, query in queries.items()}
        return {name: points for name, points in found.items() if points}

    def _window(
        self, query: str, start: datetime, end: datetime, step: timedelta
    ) -> Sequence[tuple[datetime, float]]:
        length = step * BLOCK_POINTS
        kept: list[tuple[datetime, float]] = []
        for number in range((start - _EPOCH) // length, (end - _EPOCH) // length + 1):
            points = self._block(query, number, step)
            first = bisect_left(points, start, key=lambda point: point[0])
            kept += points[first : bisect_right(points, end, key=lambda point: point[0])]
        return kept

    def _block(self, query: str, number: int, step: timedelta) -> Points:
        name = (query, step, number)
        if name not in self._blocks:
            start = _EPOCH + step * BLOCK_POINTS * number
            try:
                found = self._ask(query, start, start + step * (BLOCK_POINTS - 1), step)
            except (TemporaryError, PermanentError):
                self.failed += 1
                found = ()
            self._blocks[name] = found
        return self._blocks[name]


@contextmanager
def prometheus_history(url: str) -> Iterator[Recorded]:
    """The history of this Prometheus. Raises TemporaryError where it does not answer."""
    with asyncio.Runner() as runner:
        session = runner.run(_session())
        door = Prometheus(session, url)
        try:
            if not runner.run(door.ready()):
                raise TemporaryError(f"Prometheus at {url} does not answer")
            yield Recorded(
                lambda query, start, end, step: runner.run(
                    door.values(query, start=start, end=end, step=step)
                )
            )
        finally:
            runner.run(session.close())


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()
