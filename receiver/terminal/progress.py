"""A bar while something long goes on: on a terminal only, on standard error, and never in the output."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from receiver.terminal import screen


class Bar:
    """One thing that goes on, shown while the ``with`` block lasts; ``total`` None where nobody knows it."""

    def __init__(self, doing: str, total: int | None, *columns: ProgressColumn) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *columns,
            TimeElapsedColumn(),
            console=screen.err(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bars.add_task(doing, total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def advance(self, by: int = 1) -> None:
        """So much more is done."""
        self._bars.advance(self._task, by)

    def portion(self, done: int, total: int) -> None:
        """So much of so much is done."""
        self._bars.update(self._task, completed=done, total=total)

    def say(self, doing: str) -> None:
        """What goes on now."""
        self._bars.update(self._task, description=doing)
