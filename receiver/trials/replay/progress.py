"""A bar while a journal is read."""

from __future__ import annotations

from receiver.terminal.progress import Bar


class Reading(Bar):
    """``with Reading(size) as reading: reading.read(bytes); reading.replayed(deliveries)``.

    ``size`` is the journal's in bytes, None where nobody knows it.
    """

    def __init__(self, size: int | None) -> None:
        super().__init__("replaying", size)

    def read(self, count: int) -> None:
        """So many bytes more of the journal."""
        self.advance(count)

    def replayed(self, deliveries: int) -> None:
        """So many deliveries altogether."""
        if deliveries % 500 == 0:
            self.say(f"replaying, {deliveries} deliveries")
