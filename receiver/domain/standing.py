"""A security lead's yes given in advance: to named ways to isolate, in named places, until a day (X-11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from receiver.domain.isolation import Act, IsolationPlan
from receiver.domain.locks import covering


@dataclass(frozen=True)
class Standing:
    """One such approval, its signature checked. ``scopes`` are named like those of a lock."""

    by: str
    acts: frozenset[Act]
    scopes: frozenset[str]
    signed_at: datetime
    valid_until: datetime

    def objection(self, plan: IsolationPlan, now: datetime) -> str | None:
        """Why it does not cover this isolation now; None where it does."""
        until = self.valid_until.isoformat(timespec="minutes")
        if now >= self.valid_until:
            return f"the standing approval of {self.by} ended at {until}"
        if now < self.signed_at:
            return (
                f"the standing approval of {self.by} is dated {self.signed_at.isoformat(timespec='minutes')}"
            )
        if plan.act not in self.acts:
            return f"the standing approval of {self.by} does not name {plan.act}"
        # A policy denies in the namespace of its pod, so the target tells where everything happens.
        if not covering(plan.target) & self.scopes:
            return f"the standing approval of {self.by} does not cover {plan.target}"
        return None
