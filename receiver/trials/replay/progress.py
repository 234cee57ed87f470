"""A bar while a journal is read: on a terminal only, on standard error, and never in the output."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from receiver.terminal import screen


class Reading:
    """``with Reading(size) as reading: reading.read(bytes); reading.replayed(deliveries)``.

    ``size`` is the journal's in bytes, None where nobody knows it.
    """

    def __init__(self, size: int | None) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=screen.err(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bars.add_task("replaying", total=size)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def read(self, count: int) -> None:
        """So many bytes more of the journal."""
        self._bars.advance(self._task, count)

    def replayed(self, deliveries: int) -> None:
        """So many deliveries altogether."""
        if deliveries % 500 == 0:
            self._bars.update(self._task, description=f"replaying, {deliveries} deliveries")
