"""From what was said of one alert, in whatever order it arrived, to when it fired and when it ended.

Deliveries repeat, overtake one another and arrive stale. So a row keeps the *set* of facts that were ever
told of one identity, and the occurrences are a pure function of that set: any order, repetition and delay
of the same deliveries gives the same answer. Whoever joins alerts to incidents compares the occurrences
before and after adding a fact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from receiver.domain.alerts import Alert

# A flapping alert makes a few facts an hour; beyond this the oldest ended ones are forgotten.
FACTS_KEPT = 200


class Ending(StrEnum):
    """How an occurrence ended: told so, or missing from every source for long enough."""

    RESOLVED = "resolved"
    GONE = "gone"


@dataclass(frozen=True, order=True)
class Firing:
    """Somebody said that the alert fires since ``starts_at``.

    ``witnessed_at`` is set when a source was asked and said so at that moment; a delivery alone has none,
    since Alertmanager repeats old snapshots after the alert has ended.
    """

    starts_at: datetime
    witnessed_at: datetime | None = None


@dataclass(frozen=True, order=True)
class Ended:
    """Somebody said that the alert fired from ``starts_at`` to ``ends_at``."""

    starts_at: datetime
    ends_at: datetime
    how: Ending = Ending.RESOLVED


@dataclass(frozen=True)
class Facts:
    """Everything ever told of one identity; only grows, until `pruned`."""

    firings: frozenset[Firing] = frozenset()
    endings: frozenset[Ended] = frozenset()

    def with_firing(self, firing: Firing) -> Facts:
        """These facts and one more."""
        return replace(self, firings=self.firings | {firing})

    def with_ending(self, ended: Ended) -> Facts:
        """These facts and one more."""
        return replace(self, endings=self.endings | {ended})


@dataclass(frozen=True, order=True)
class Occurrence:
    """One time that the alert fired; ``ends_at`` is None while it still does."""

    starts_at: datetime
    ends_at: datetime | None
    how: Ending | None = None


def occurrences(facts: Facts) -> tuple[Occurrence, ...]:
    """The occurrences that the facts describe, earliest first; at most the last one is open.

    Overlapping endings are one occurrence, with the earliest start (Alertmanager merges starts to the
    earliest too). A firing that starts before a known end belongs to the first occurrence that had not
    ended by then; one that starts later, or was witnessed later, is open now.
    """
    closed = _merged(facts.endings)
    last_end = max((ended.ends_at for ended in facts.endings), default=None)
    open_since: datetime | None = None
    for firing in sorted(facts.firings, key=lambda firing: firing.starts_at):
        witnessed_later = last_end and firing.witnessed_at and firing.witnessed_at > last_end
        if last_end is None or firing.starts_at > last_end or witnessed_later:
            open_since = min(firing.starts_at, open_since or firing.starts_at)
        else:
            closed = _extended(closed, firing.starts_at)
    if open_since is None:
        return tuple(closed)
    return (*_reopened(closed, open_since),)


def open_occurrence(facts: Facts) -> Occurrence | None:
    """The occurrence that has not ended, if there is one."""
    found = occurrences(facts)
    return found[-1] if found and found[-1].ends_at is None else None


def is_doubtful(facts: Facts, starts_at: datetime) -> bool:
    """Whether a delivered firing may be a stale repeat: it started before the last known end.

    It opens nothing by itself; the sources are asked at once.
    """
    last_end = max((ended.ends_at for ended in facts.endings), default=None)
    return last_end is not None and starts_at <= last_end and open_occurrence(facts) is None


def with_alert(facts: Facts, alert: Alert, *, at: datetime) -> Facts:
    """These facts and what a delivery of then says of the alert; the very same where that was told before."""
    if alert.status == "firing":
        firing = Firing(alert.starts_at)
        return facts if firing in facts.firings else pruned(facts.with_firing(firing))
    ended = Ended(alert.starts_at, alert.ends_at or at)
    return facts if ended in facts.endings else pruned(facts.with_ending(ended))


def pruned(facts: Facts) -> Facts:
    """The same facts without the oldest ended ones, once there are too many."""
    if len(facts.firings) + len(facts.endings) <= FACTS_KEPT:
        return facts
    endings = frozenset(sorted(facts.endings, key=lambda ended: ended.ends_at)[-FACTS_KEPT // 2 :])
    oldest = min((ended.starts_at for ended in endings), default=None)
    firings = frozenset(
        firing for firing in facts.firings if oldest is None or firing.starts_at >= oldest
    ) or frozenset(sorted(facts.firings, key=lambda firing: firing.starts_at)[-1:])
    return Facts(firings=firings, endings=endings)


def _merged(endings: Iterable[Ended]) -> list[Occurrence]:
    merged: list[Occurrence] = []
    for ended in sorted(endings, key=lambda ended: (ended.starts_at, ended.ends_at, ended.how)):
        last = merged[-1] if merged else None
        if last is not None and last.ends_at is not None and ended.starts_at <= last.ends_at:
            later = ended.ends_at > last.ends_at or (
                ended.ends_at == last.ends_at and ended.how < (last.how or "")
            )
            merged[-1] = Occurrence(
                last.starts_at,
                max(last.ends_at, ended.ends_at),
                # Told beats inferred where both name the same end.
                Ending.RESOLVED
                if ended.ends_at == last.ends_at and Ending.RESOLVED in (ended.how, last.how)
                else (ended.how if later else last.how),
            )
        else:
            merged.append(Occurrence(ended.starts_at, ended.ends_at, ended.how))
    return merged


def _extended(closed: list[Occurrence], starts_at: datetime) -> list[Occurrence]:
    for index, occurrence in enumerate(closed):
        if occurrence.ends_at is not None and occurrence.ends_at >= starts_at:
            earlier = replace(occurrence, starts_at=min(occurrence.starts_at, starts_at))
            return [*closed[:index], earlier, *closed[index + 1 :]]
    return closed


def _reopened(closed: list[Occurrence], since: datetime) -> list[Occurrence]:
    kept = [
        occurrence for occurrence in closed if occurrence.ends_at is not None and occurrence.ends_at < since
    ]
    overlapped = [occurrence for occurrence in closed if occurrence not in kept]
    starts_at = min([since, *(occurrence.starts_at for occurrence in overlapped)])
    return [*kept, Occurrence(starts_at, None)]
