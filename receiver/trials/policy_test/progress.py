"""A line that counts while tests are played: on a terminal only, and never in the output."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from receiver.terminal import screen
from receiver.trials.policy_test.running import Result


class Progress:
    """``with Progress(80) as progress: progress.played(result)``."""

    def __init__(self, tests: int) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=screen.err(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bars.add_task("playing", total=tests)
        self._failed = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def played(self, result: Result) -> None:
        """One more is over."""
        self._failed += result.played.failed
        told = f"playing, {self._failed} failed" if self._failed else "playing"
        self._bars.update(self._task, advance=1, description=told)
