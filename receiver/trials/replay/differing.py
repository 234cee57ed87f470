"""What would have been different, incident by incident, and which of it a pull request may want to fail on.

The alert that opened an incident, and when, tells which incidents of both sets are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from receiver.domain.severity import Severity
from receiver.trials.replay.course import Course
from receiver.trials.replay.ways import Does, Way


class Kind(StrEnum):
    """One way in which an incident would have gone otherwise."""

    AUTO_ADDED = "auto-added"
    PAGE_REMOVED = "page-removed"
    SEVERITY_LOWERED = "severity-lowered"
    PROPOSAL_REMOVED = "proposal-removed"
    AUTO_REMOVED = "auto-removed"
    PAGE_ADDED = "page-added"
    SEVERITY_RAISED = "severity-raised"
    PROPOSAL_ADDED = "proposal-added"
    PROPOSAL_CHANGED = "proposal-changed"
    MODE_CHANGED = "mode-changed"
    APPROVAL_CHANGED = "approval-changed"
    POLICIES_CHANGED = "policies-changed"
    INCIDENT_ADDED = "incident-added"
    INCIDENT_REMOVED = "incident-removed"


@dataclass(frozen=True)
class Outcome:
    """What one set of policies would have made of one incident."""

    severity: Severity | None
    policies: tuple[str, ...]
    ways: tuple[Way, ...]
    resolved_at: datetime | None
    reopened: int
    # How many of its decisions need a value that nobody recorded.
    unknown: int

    @property
    def proposing(self) -> int:
        """Whether anything would be proposed: 0 no, 1 perhaps, 2 yes."""
        return _level(self.ways)

    @property
    def acting(self) -> int:
        """The same for acting by itself."""
        return _level([way for way in self.ways if way.does is Does.ACTS])

    @property
    def paging(self) -> int:
        """The same for paging people."""
        return _level([way for way in self.ways if way.pages])


@dataclass(frozen=True)
class Pair:
    """One incident through both sets; a side is None where that set would not have opened it."""

    number: int
    key: str
    title: str
    opened_at: datetime
    old: Outcome | None
    new: Outcome | None
    kinds: tuple[Kind, ...]


def pairs(old: Sequence[Course], new: Sequence[Course]) -> list[Pair]:
    """Every incident of either set, in the order in which they open."""
    before = {_same(course): course for course in old}
    after = {_same(course): course for course in new}
    found: list[Pair] = []
    # Numbers are the store's own: what is counted here has nothing to do with them.
    for number, same in enumerate(sorted({*before, *after}), start=1):
        was, now = before.get(same), after.get(same)
        course = was or now
        assert course is not None
        one, other = _outcome(was), _outcome(now)
        incident = course.incident
        found.append(
            Pair(number, incident.key, incident.title, same[0], one, other, tuple(_kinds(one, other)))
        )
    return found


def _same(course: Course) -> tuple[datetime, str]:
    assert course.incident.opened_at is not None
    return course.incident.opened_at, course.opener


def _outcome(course: Course | None) -> Outcome | None:
    if course is None:
        return None
    return Outcome(
        severity=course.incident.severity,
        policies=tuple(sorted(course.policies)),
        ways=tuple(course.ways),
        resolved_at=course.incident.resolved_at,
        reopened=course.reopened,
        unknown=course.unmeasured + any(not way.certain for way in course.ways),
    )


_NONE = Outcome(None, (), (), None, 0, 0)


def _kinds(old: Outcome | None, new: Outcome | None) -> list[Kind]:
    was, now = old or _NONE, new or _NONE
    told: list[tuple[Kind, bool]] = [
        (Kind.INCIDENT_ADDED, old is None),
        (Kind.INCIDENT_REMOVED, new is None),
        (Kind.AUTO_ADDED, now.acting > was.acting),
        (Kind.AUTO_REMOVED, now.acting < was.acting),
        (Kind.PAGE_REMOVED, now.paging < was.paging),
        (Kind.PAGE_ADDED, now.paging > was.paging),
        (Kind.PROPOSAL_REMOVED, now.proposing < was.proposing),
        (Kind.PROPOSAL_ADDED, now.proposing > was.proposing),
    ]
    if old is not None and new is not None:
        told += _between(old, new)
    return [kind for kind, so in told if so]


def _between(old: Outcome, new: Outcome) -> list[tuple[Kind, bool]]:
    same_level = old.proposing == new.proposing
    return [
        (Kind.SEVERITY_LOWERED, _worse(old.severity, new.severity)),
        (Kind.SEVERITY_RAISED, _worse(new.severity, old.severity)),
        (Kind.PROPOSAL_CHANGED, same_level and _remedies(old) != _remedies(new)),
        (Kind.MODE_CHANGED, same_level and _modes(old) != _modes(new)),
        (Kind.APPROVAL_CHANGED, _modes(old) == _modes(new) and _approvals(old) != _approvals(new)),
        (Kind.POLICIES_CHANGED, old.policies != new.policies),
    ]


def _worse(one: Severity | None, other: Severity | None) -> bool:
    return one is not None and one.worse_than(other)


def _remedies(outcome: Outcome) -> list[tuple[str, bool]]:
    return [(way.remediation, way.certain) for way in outcome.ways]


def _modes(outcome: Outcome) -> list[Does]:
    return [way.does for way in outcome.ways]


def _approvals(outcome: Outcome) -> list[str]:
    return [way.approval for way in outcome.ways]


def _level(ways: Sequence[Way]) -> int:
    return 0 if not ways else 2 if any(way.certain for way in ways) else 1
