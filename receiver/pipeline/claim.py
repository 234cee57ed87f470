"""One incident that this worker holds for a while, and whether it may still act on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from receiver.domain.incidents import Incident
from receiver.pipeline.counters import Counters
from receiver.store.timeline import Locked


@dataclass(frozen=True)
class Diagnosis:
    """What the probes found by their names, and for each that found nothing, why."""

    facts: Mapping[str, Any]
    missing: Mapping[str, str]


@dataclass
class Claim:
    """The incident as last seen under this token.

    ``good_until`` is on the forward-only clock: the last successful heartbeat plus the lease. Nothing is
    sent unless more than half of the lease is left.
    """

    held: Locked
    good_until: float
    lease_seconds: float
    began: float
    steady: Callable[[], float]
    counters: Counters
    looked: frozenset[type] = frozenset()
    again_at: datetime | None = None
    diagnosis: Diagnosis | None = None
    lost: bool = field(default=False)

    @property
    def incident(self) -> Incident:
        """The incident as last seen."""
        return self.held.incident

    @property
    def token(self) -> int:
        """What every write of this claim carries."""
        return self.held.lease_token

    def unsure(self) -> Locked:
        """The same, to be read anew: what a failed transaction noted of it was never written."""
        return replace(self.held, version=-1)

    def may_send(self) -> bool:
        """Whether enough of the lease is left to send a write."""
        return not self.lost and self.good_until - self.steady() > self.lease_seconds / 2

    def rest_until(self, moment: datetime | None) -> None:
        """Come back by then at the latest."""
        if moment is not None:
            self.again_at = moment if self.again_at is None else min(self.again_at, moment)
