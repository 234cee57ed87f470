"""From the journal's deliveries to what changed: repeats, copies and stale retries are no news."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from receiver.domain import events as ev
from receiver.domain.alerts import Alert, Unreadable, identity_of, read_notification
from receiver.domain.journal import Kept
from receiver.domain.occurrences import Facts, Occurrence, open_occurrence, with_alert
from receiver.policy.joining import ended


@dataclass(frozen=True)
class News:
    """An alert began or ended, as it was heard of at that moment."""

    at: datetime
    event: ev.AlertFired | ev.AlertResolved
    labels: Mapping[str, str]


@dataclass(frozen=True)
class _Known:
    facts: Facts
    open: Occurrence | None


_UNKNOWN = _Known(Facts(), None)


class Reader:
    """Reads deliveries in the order of their receipt, and counts."""

    def __init__(self) -> None:
        self.deliveries = 0
        self.skipped = 0
        self.alerts = 0
        self.now = datetime.min.replace(tzinfo=UTC)
        self._known: dict[str, _Known] = {}

    def read(self, kept: Kept) -> list[News]:
        """What this delivery says that is new; what is no notification, and what is no alert, is skipped."""
        self.deliveries += 1
        # Replicas may have written a moment out of order; no clock runs backwards.
        self.now = max(self.now, kept.received_at)
        read = read_notification(kept.body, received_at=kept.received_at)
        if isinstance(read, Unreadable):
            self.skipped += 1
            return []
        self.skipped += len(read.bad)
        self.alerts += len(read.alerts)
        told = (self._told(alert, kept) for alert in read.alerts)
        return [news for news in told if news is not None]

    def _told(self, alert: Alert, kept: Kept) -> News | None:
        identity = identity_of(kept.source, alert.labels)
        known = self._known.get(identity, _UNKNOWN)
        facts = with_alert(known.facts, alert, at=kept.received_at)
        if facts is known.facts:
            return None
        after = open_occurrence(facts)
        self._known[identity] = _Known(facts, after)
        if after == known.open:
            return None
        if after is None:
            return News(self.now, ended(identity, facts), alert.labels)
        fired = ev.AlertFired(
            identity=identity,
            labels=alert.labels,
            annotations=alert.annotations,
            starts_at=after.starts_at,
            source="webhook",
            fingerprint=alert.fingerprint,
        )
        return News(self.now, fired, alert.labels)
