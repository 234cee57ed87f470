"""What a trace is told on an incident's way, from the webhook to the write; nobody, without a collector.

Traces are read by more people than an incident is, and kept elsewhere: what may be said is a closed set of
words and numbers, and of a security incident its number alone. Whatever becomes of the collector, nothing
here raises or waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol, TypedDict, Unpack

from receiver.domain.incidents import Incident, PlanState, Status
from receiver.domain.plans import Signal
from receiver.domain.severity import Severity

# Besides what a database's backend is told.
Verb = Literal["patch", "fence", "evict", "warm-up"] | Signal
Outcome = Literal["applied", "rejected", "unanswered", "sent", "retried", "dead"]


class Fields(TypedDict, total=False):
    """Everything that a span may say besides its name and its time; there is no field for anybody's text.

    ``state`` is the plan's, ``destination`` the name of a kind of place that people are told at.
    """

    incident: int
    status: Status
    severity: Severity
    plan: str
    remediation: str
    state: PlanState
    verb: Verb
    outcome: Outcome
    http_status: int
    destination: str


class Span(Protocol):
    """Something that is being done."""

    def set(self, **fields: Unpack[Fields]) -> None:
        """Say this of it; of a security incident nothing is kept."""


class Tracer(Protocol):
    """Hears what is done, and how long it takes."""

    @property
    def on(self) -> bool:
        """Whether anybody listens: what costs something is only looked up then."""

    def receiving(self, traceparent: str | None) -> AbstractContextManager[Span]:
        """A notification is taken; ``traceparent`` is its sender's, as W3C Trace Context has it."""

    def arrived(self, body: bytes) -> None:
        """The notification that is being taken has this body: whoever joins it is linked to it."""

    def opened(self, incident: Incident) -> None:
        """An incident is worked on for the first time: everything of it hangs below this."""

    def of_incident(
        self,
        name: str,
        incident: Callable[[], Incident],
        *,
        bodies: Iterable[bytes] = (),
        began_ns: int | None = None,
    ) -> AbstractContextManager[Span]:
        """Something that is done for an incident, which is asked for again when it is done.

        ``bodies`` are the notifications that led to it, ``began_ns`` when it began (nanoseconds since 1970)
        where that is not now.
        """

    def span(self, name: str) -> AbstractContextManager[Span]:
        """A part of what this task is doing."""


class _Unheard:
    """Nobody hears what is said of it."""

    def set(self, **fields: Unpack[Fields]) -> None:
        """See `Span.set`."""


_UNHEARD: AbstractContextManager[Span] = nullcontext(_Unheard())


class NoTraces:
    """Where there is no collector."""

    on = False

    def receiving(self, traceparent: str | None) -> AbstractContextManager[Span]:
        """See `Tracer.receiving`."""
        return _UNHEARD

    def arrived(self, body: bytes) -> None:
        """See `Tracer.arrived`."""

    def opened(self, incident: Incident) -> None:
        """See `Tracer.opened`."""

    def of_incident(
        self,
        name: str,
        incident: Callable[[], Incident],
        *,
        bodies: Iterable[bytes] = (),
        began_ns: int | None = None,
    ) -> AbstractContextManager[Span]:
        """See `Tracer.of_incident`."""
        return _UNHEARD

    def span(self, name: str) -> AbstractContextManager[Span]:
        """See `Tracer.span`."""
        return _UNHEARD


def told_of(incident: Incident) -> Fields:
    """What may be said of an incident as it is now."""
    if incident.lockdown is not None:
        return {"incident": incident.id}
    told: Fields = {"incident": incident.id, "status": incident.status}
    if incident.severity is not None:
        told["severity"] = incident.severity
    if incident.plan is not None:
        told["plan"] = incident.plan.plan_id
        told["remediation"] = incident.plan.remediation
        told["state"] = incident.plan.state
    return told
