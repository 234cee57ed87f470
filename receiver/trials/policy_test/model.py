"""One policy test as it stands in its file, read and checked: what happens when, and what is expected then.

Times are counted from the test's clock. Every entry knows its place in the file, so that a failure can name
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from receiver.domain.endpoints import EndpointKind
from receiver.domain.incidents import PlanState, Status
from receiver.domain.plans import ObjectRef, Risk
from receiver.domain.severity import Severity
from receiver.trials.policy_test.notation import Sample

JsonObject = dict[str, Any]

NOTHING = "nothing"


@dataclass(frozen=True)
class Spot:
    """A place in a file, as editors count."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Series:
    """The values of one named query: one an interval from some moment on, nothing after the last."""

    samples: tuple[Sample, ...]
    interval: timedelta

    def at(self, moment: datetime, *, since: datetime) -> float | None:
        """The value that holds at this moment; None where there is no data."""
        number = (moment - since) // self.interval
        found = self.samples[number] if 0 <= number < len(self.samples) else None
        return found if isinstance(found, float) else None


@dataclass(frozen=True)
class InputSeries:
    """One stored series with its labels, which PromQL is evaluated over."""

    name: str
    labels: Mapping[str, str]
    series: Series


@dataclass(frozen=True)
class FiringAlert:
    """An alert that fires from ``at`` until it resolves, or for good."""

    at: timedelta
    spot: Spot
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    until: timedelta | None = None


@dataclass(frozen=True)
class Sessions:
    """So many sessions that do the same, for so long already when the story begins."""

    user: str
    application: str
    state: str
    since: timedelta
    count: int = 1


@dataclass(frozen=True)
class Obeyed:
    """One thing that was told somebody beside the cluster: a session its signal, an endpoint its requests."""

    at: datetime
    target: ObjectRef


@dataclass(frozen=True)
class Slot:
    """A replication slot that nobody reads, and the bytes of WAL that are kept for it."""

    name: str
    kept: int


@dataclass(frozen=True)
class Database:
    """One connection: the application's users, how many connections there can be, and the sessions.

    ``slots`` are None where nobody can tell. From ``away`` on the server does not answer.
    """

    users: tuple[str, ...]
    usable: int
    sessions: tuple[Sessions, ...] = ()
    slots: tuple[Slot, ...] | None = None
    away: timedelta | None = None


@dataclass(frozen=True)
class Outside:
    """One endpoint of the endpoints file, and the status that it answers."""

    kind: EndpointKind
    status: int


@dataclass(frozen=True)
class Delivery:
    """How often each notification arrives: so many times from each of so many Alertmanager peers."""

    copies: int = 1
    peers: int = 1


@dataclass(frozen=True)
class Change:
    """Somebody else's merge patch of one object."""

    at: timedelta
    spot: Spot
    kind: str
    namespace: str
    name: str
    merge: JsonObject
    by: str


class Saying(StrEnum):
    """What a person can say in a test."""

    APPROVE = "approve"
    DENY = "deny"
    UNDO = "undo"
    KEEP = "keep"
    CLOSE = "close"


@dataclass(frozen=True)
class Answer:
    """A person's word about the newest incident or its plan; ``refused`` is how it should be turned down."""

    at: timedelta
    spot: Spot
    saying: Saying
    by: str
    groups: tuple[str, ...]
    reason: str
    refused: str | None = None


class Verdict(StrEnum):
    """What verification said of the newest plan; ``none`` while it has said nothing."""

    NONE = "none"
    IMPROVED = "improved"
    NOT_IMPROVED = "not-improved"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Expectation:
    """What must be so at one moment; what is None or empty is not asked.

    ``spots`` names the place of each key. ``incident`` None is the newest.
    """

    at: timedelta
    spot: Spot
    spots: Mapping[str, Spot] = field(default_factory=dict)
    incident: int | None = None
    incidents: int | None = None
    severity: Severity | None = None
    because: tuple[str, ...] = ()
    status: Status | None = None
    proposed: str | None = None
    parameters: JsonObject | None = None
    change: tuple[str, ...] = ()
    risk: Risk | None = None
    state: PlanState | None = None
    rejected: tuple[str, ...] = ()
    handover: tuple[str, ...] = ()
    no_handover: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    verdict: Verdict | None = None
    executed: tuple[str, ...] | None = None
    executed_count: int | None = None
    undone: tuple[str, ...] | None = None
    security: tuple[str, ...] = ()
    isolates: tuple[str, ...] = ()
    paged: bool | None = None
    told: tuple[str, ...] = ()

    def spot_of(self, key: str) -> Spot:
        """Where this key stands."""
        return self.spots.get(key, self.spot)


@dataclass(frozen=True)
class PolicyTest:
    """One story."""

    name: str
    spot: Spot
    clock: datetime
    objects: tuple[JsonObject, ...] = ()
    databases: Mapping[str, Database] = field(default_factory=dict)
    endpoints: Mapping[str, Outside] = field(default_factory=dict)
    queries: Mapping[str, Series] = field(default_factory=dict)
    input_series: tuple[InputSeries, ...] = ()
    after_writes: tuple[Mapping[str, Series], ...] = ()
    alerts: tuple[FiringAlert, ...] = ()
    delivery: Delivery = Delivery()
    changes: tuple[Change, ...] = ()
    answers: tuple[Answer, ...] = ()
    expectations: tuple[Expectation, ...] = ()


@dataclass(frozen=True)
class PolicyTestFile:
    """One file of tests."""

    file: str
    tests: tuple[PolicyTest, ...]
