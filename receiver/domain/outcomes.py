"""What became of plans, in one word each, and how often that was wrong.

A policy earns its next mode by these numbers: how often what it proposed was wanted, helped, or made things
worse, and how often the patient got well without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from receiver.domain import events as ev
from receiver.domain.incidents import PlanProgress, PlanState

# Two-sided, 95 %.
_Z = 1.959963984540054
_NOT_CARRIED_OUT = frozenset(
    {PlanState.SHADOWED, PlanState.DENIED, PlanState.EXPIRED, PlanState.SUSPENDED, PlanState.AWAITING}
)


class Outcome(StrEnum):
    """The last word on a plan; a later one takes the place of an earlier."""

    DENIED = "denied"
    UNANSWERED = "unanswered"
    VOID = "void"
    REFUSED = "refused"
    ALREADY_SO = "already-so"
    HELPED = "helped"
    NO_EFFECT = "no-effect"
    HARMED = "harmed"
    INCONCLUSIVE = "inconclusive"
    UNKNOWN_EFFECT = "unknown-effect"
    # It was not carried out, and the incident became quiet without it.
    NEEDLESS = "needless"


@dataclass(frozen=True)
class Tally:
    """How many plans of one policy and remediation had which outcome."""

    policy: str
    remediation: str
    proposed: int = 0
    shadowed: int = 0
    approved: int = 0
    executed: int = 0
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)

    def count(self, *outcomes: Outcome) -> int:
        """How many had one of these."""
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)

    @property
    def judged(self) -> int:
        """Plans that were carried out and of which the metrics said something."""
        return self.count(Outcome.HELPED, Outcome.NO_EFFECT, Outcome.HARMED)

    @property
    def wrongful(self) -> tuple[float, float, float] | None:
        """The share of judged plans that made things worse, and its bounds; None where none was judged."""
        if not self.judged:
            return None
        low, high = wilson(self.count(Outcome.HARMED), self.judged)
        return self.count(Outcome.HARMED) / self.judged, low, high


def outcome_of(event: ev.Event, plan: PlanProgress | None) -> Outcome | None:
    """What this event says finally of the incident's plan, as it stands after it; None where nothing."""
    match event:
        case ev.Denied():
            return Outcome.DENIED
        case ev.ApprovalExpired():
            return Outcome.UNANSWERED
        case ev.PlanVoided():
            return Outcome.VOID
        case ev.Refused():
            return Outcome.REFUSED if event.retry_at is None else None
        case ev.AlreadySo():
            return Outcome.ALREADY_SO
        case ev.Verified():
            return Outcome.HELPED
        case ev.StillSick():
            return Outcome.HARMED if event.worse else Outcome.NO_EFFECT
        case ev.Inconclusive():
            return Outcome.INCONCLUSIVE
        case ev.EffectUnknown():
            return Outcome.UNKNOWN_EFFECT if event.kind == "execute" else None
        case ev.MonitoringStarted():
            return Outcome.NEEDLESS if plan is not None and plan.state in _NOT_CARRIED_OUT else None
        case _:
            return None


def merged(parts: Iterable[Tally]) -> list[Tally]:
    """One tally for each policy and remediation, in their order."""
    found: dict[tuple[str, str], Tally] = {}
    for part in parts:
        key = (part.policy, part.remediation)
        before = found.get(key, Tally(*key))
        found[key] = Tally(
            *key,
            proposed=before.proposed + part.proposed,
            shadowed=before.shadowed + part.shadowed,
            approved=before.approved + part.approved,
            executed=before.executed + part.executed,
            outcomes={
                outcome: before.count(outcome) + part.count(outcome)
                for outcome in Outcome
                if before.count(outcome) + part.count(outcome)
            },
        )
    return [found[key] for key in sorted(found)]


def wilson(bad: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % bounds of a share: honest for few plans, where nothing went wrong so far."""
    if of <= 0:
        return 0.0, 1.0
    share = bad / of
    middle = share + _Z**2 / (2 * of)
    spread = _Z * math.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    scale = 1 + _Z**2 / of
    low = 0.0 if bad == 0 else (middle - spread) / scale
    high = 1.0 if bad == of else (middle + spread) / scale
    return low, high
