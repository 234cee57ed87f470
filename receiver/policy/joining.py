"""Which incident an alert joins, and what its end changes there. Pure; the store keeps the rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from receiver.domain import events as ev
from receiver.domain.incidents import Incident, Status
from receiver.domain.occurrences import Facts
from receiver.policy.matching import CorrelationKey


@dataclass(frozen=True)
class Joins:
    """It is one of the newest incident of its key, to which this happens."""

    events: tuple[ev.Event, ...]


@dataclass(frozen=True)
class Opens:
    """It begins an incident, to which this happens."""

    events: tuple[ev.Event, ...]


def attached(
    newest: Incident | None, key: CorrelationKey, fired: ev.AlertFired, *, now: datetime
) -> Joins | Opens:
    """Join the open incident of the key, reopen one that ended lately, or open a new one."""
    if newest is not None:
        if newest.open:
            return Joins((fired,))
        if newest.held.get(fired.identity) == fired.starts_at:
            return Joins(())
        if now - (newest.resolved_at or now) <= key.reopen:
            return Joins((ev.Reopened(newest.epoch + 1), fired))
    return Opens((ev.Opened(key.key, key.title, dict(fired.labels)), fired))


def ended(identity: str, facts: Facts) -> ev.AlertResolved:
    """The end of an alert whose facts say that it does not fire any more."""
    last = max(facts.endings, key=lambda fact: fact.ends_at)
    return ev.AlertResolved(identity, last.ends_at, last.how)


def takes_end(incident: Incident, identity: str) -> bool:
    """Whether the end of this alert is news to the incident."""
    return incident.alerts.get(identity) is not None and incident.status is not Status.RESOLVED
