"""`stanch serve` that kills itself at a chosen place: before or after any commit or request through a door.

``FAILPOINT_AT`` is the number of the place to die at, counted from ``FAILPOINT_AFTER`` on: nothing is counted
until a place of that name was passed. ``FAILPOINT_LOG`` is a file that every place is appended to.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from receiver.cli.main import main
from receiver.clients.alertmanager import Alertmanager
from receiver.clients.cluster import Cluster
from receiver.clients.prometheus import Prometheus
from receiver.store.postgres import PostgresStore
from receiver.store.sqlite import SqliteStore

PLACES: tuple[tuple[type, str], ...] = (
    (SqliteStore, "write"),
    (SqliteStore, "keep"),
    (PostgresStore, "write"),
    (PostgresStore, "keep"),
    (Cluster, "get"),
    (Cluster, "list_objects"),
    (Cluster, "may"),
    (Cluster, "patch"),
    (Cluster, "evict"),
    (Prometheus, "values"),
    (Alertmanager, "listing"),
)


class Counter:
    """Counts the places passed, and ends the process at the chosen one."""

    def __init__(self) -> None:
        self._at = int(os.environ.get("FAILPOINT_AT", "0"))
        self._log = Path(os.environ["FAILPOINT_LOG"]) if "FAILPOINT_LOG" in os.environ else None
        self._after = os.environ.get("FAILPOINT_AFTER", "")
        self._counting = not self._after
        self._passed = 0

    def pass_by(self, place: str) -> None:
        """One place."""
        if not self._counting:
            self._counting = place == self._after
            return
        self._passed += 1
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as stream:
                stream.write(f"{place}\n")
        if self._passed == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def watched(
    counter: Counter, place: str, real: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    """The same call with a place before and one after it."""

    @functools.wraps(real)
    async def call(*args: Any, **known: Any) -> Any:
        counter.pass_by(f"before {place}")
        answer = await real(*args, **known)
        counter.pass_by(f"after {place}")
        return answer

    return call


def run() -> None:
    """Watch every place, and serve."""
    counter = Counter()
    for kind, method in PLACES:
        setattr(kind, method, watched(counter, f"{kind.__name__}.{method}", getattr(kind, method)))
    main()


if __name__ == "__main__":
    run()
