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
        if (why := self.not_now(now)) is not None:
            return why
        if plan.act not in self.acts:
            return f"the standing approval of {self.by} does not name {plan.act}"
        # A policy denies in the namespace of its pod, so the target tells where everything happens.
        if not covering(plan.target) & self.scopes:
            return f"the standing approval of {self.by} does not cover {plan.target}"
        return None

    def not_now(self, now: datetime) -> str | None:
        """Why it covers nothing at this moment; None where it covers something."""
        if now >= self.valid_until:
            return f"the standing approval of {self.by} ended at {_minute(self.valid_until)}"
        if now < self.signed_at:
            return f"the standing approval of {self.by} is dated {_minute(self.signed_at)}"
        return None


def _minute(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
