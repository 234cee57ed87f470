"""How bad an incident is, in the playbook's own four steps (lines 33-150)."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """P0 is the worst. Compare with `worse_than`: the text order is the wrong way round."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"

    @property
    def rank(self) -> int:
        """0 for P0 to 3 for P3."""
        return int(self.value[1])

    def worse_than(self, other: Severity | None) -> bool:
        """Whether this is more severe than ``other``; anything is worse than nothing known."""
        return other is None or self.rank < other.rank


def worst(severities: list[Severity]) -> Severity | None:
    """The most severe of several, or nothing of none."""
    return min(severities, key=lambda severity: severity.rank, default=None)
