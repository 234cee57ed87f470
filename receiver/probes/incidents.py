"""`recent-incidents`: what else was wrong with the target and in its namespace lately, and what helped.

It asks our own store and no cluster. Whatever is restricted is not told of and not counted. A cause is what a
person or this service wrote: it is cut, and shown without what looks like a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from receiver.domain.backends import words
from receiver.domain.outcomes import Outcome
from receiver.domain.plans import ObjectRef
from receiver.domain.redaction import without_secrets

# What conditions may use, with a sample value of the right kind: policies are checked against this.
FACTS: Mapping[str, Any] = {
    "target": {"day": 1, "week": 3},
    "namespace": {"day": 2, "week": 5},
    "last": {
        "secondsAgo": 3600.0,
        "cause": "deployment.rollback (P-7) helped",
        "helped": "deployment.rollback",
    },
    "cures": [
        {"remediation": "deployment.rollback", "times": 1, "secondsAgo": 3700.0, "outcome": "helped"},
    ],
}
_SPANS = {"day": timedelta(days=1), "week": timedelta(days=7)}
CAUSE = 200


@dataclass(frozen=True)
class PastCure:
    """A cure that was carried out on the target; ``outcome`` is None while nobody has judged it."""

    remediation: str
    at: datetime
    outcome: Outcome | None


@dataclass(frozen=True)
class PastIncident:
    """Another incident of the target, or of its namespace only; ``ended_at`` is None while it is open."""

    opened_at: datetime
    ended_at: datetime | None
    cause: str
    on_target: bool
    cures: tuple[PastCure, ...] = ()


@dataclass(frozen=True)
class History:
    """The other incidents, and since when none that was opened is left out."""

    incidents: tuple[PastIncident, ...]
    known_since: datetime


class IncidentReader(Protocol):
    """The door to our own past."""

    async def around(self, target: ObjectRef, *, since: datetime) -> History:
        """The other incidents of this target and its namespace that were opened since then.

        Raises TemporaryError where the store cannot be read.
        """


async def recent(incidents: IncidentReader, target: ObjectRef, *, now: datetime) -> dict[str, Any]:
    """The facts of the last seven days."""
    return facts_of(await incidents.around(target, since=now - max(_SPANS.values())), now=now)


def facts_of(history: History, *, now: datetime) -> dict[str, Any]:
    """The same from what was read; pure.

    A count is missing where some of its time is not known; ``last`` is the one on the target that ended last,
    and is missing where none did; a cure's ``outcome`` is that of the newest time it was tried.
    """
    own = [each for each in history.incidents if each.on_target]
    facts: dict[str, Any] = {
        "target": _counts(own, history.known_since, now),
        "namespace": _counts(history.incidents, history.known_since, now),
        "cures": _cures(own, now),
    }
    ended = [(each.ended_at, each) for each in own if each.ended_at is not None]
    if ended:
        at, newest = max(ended, key=lambda pair: pair[0])
        facts["last"] = {
            "secondsAgo": (now - at).total_seconds(),
            "cause": words(without_secrets(newest.cause), CAUSE),
        }
        helped = [cure for cure in newest.cures if cure.outcome is Outcome.HELPED]
        if helped:
            facts["last"]["helped"] = max(helped, key=lambda cure: cure.at).remediation
    return facts


def _counts(found: Iterable[PastIncident], known_since: datetime, now: datetime) -> dict[str, int]:
    opened = [each.opened_at for each in found]
    return {
        name: sum(at > now - span for at in opened)
        for name, span in _SPANS.items()
        if known_since <= now - span
    }


def _cures(found: Iterable[PastIncident], now: datetime) -> list[dict[str, Any]]:
    """Each cure once, the one that was tried last first."""
    tried: dict[str, list[PastCure]] = {}
    for cure in sorted(
        (cure for each in found for cure in each.cures), key=lambda cure: cure.at, reverse=True
    ):
        tried.setdefault(cure.remediation, []).append(cure)
    return [
        {
            "remediation": name,
            "times": len(cures),
            "secondsAgo": (now - cures[0].at).total_seconds(),
            **({} if cures[0].outcome is None else {"outcome": cures[0].outcome.value}),
        }
        for name, cures in tried.items()
    ]
