"""A line that counts while tests are played."""

from __future__ import annotations

from rich.progress import MofNCompleteColumn

from receiver.terminal.progress import Bar
from receiver.trials.policy_test.running import Result


class Progress(Bar):
    """``with Progress(80) as progress: progress.played(result)``."""

    def __init__(self, tests: int) -> None:
        super().__init__("playing", tests, MofNCompleteColumn())
        self._failed = 0

    def played(self, result: Result) -> None:
        """One more is over."""
        self._failed += result.played.failed
        self.say(f"playing, {self._failed} failed" if self._failed else "playing")
        self.advance()
