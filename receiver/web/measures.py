"""Every metric there is, in one table: what `/metrics` tells is read from it, and so is the page about them.

A value of a label stands here where there is a closed set of them. Whoever reaches the metrics reads them,
an attacker too: nothing in them tells of a security incident more than that one is open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from receiver.domain.incidents import PlanState, Status
from receiver.domain.outcomes import Outcome
from receiver.domain.severity import Severity
from receiver.pipeline.counters import Counters
from receiver.policy.absence import Doubt
from receiver.policy.next_step import COUNTED

Values = Mapping[tuple[str, ...], float]


class Kind(StrEnum):
    """What Prometheus calls the type."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True)
class Told:
    """What one answer is made from; no figures of the store while it is away."""

    counters: Counters
    figures: Mapping[str, Any]
    bytes_in_flight: int
    refused: bool


@dataclass(frozen=True)
class Label:
    """A label: its values where they are a closed set, and what they are where they are not."""

    name: str
    values: frozenset[str] = frozenset()
    about: str = ""


@dataclass(frozen=True)
class Measure:
    """One metric. ``read`` gives its values by those of its labels; None where it is not there now."""

    stem: str
    kind: Kind
    text: str
    read: Callable[[Told], Values | None] = field(repr=False)
    labels: tuple[Label, ...] = ()

    @property
    def name(self) -> str:
        """As Prometheus has it."""
        return f"{self.stem}_total" if self.kind is Kind.COUNTER else self.stem


def _count(stem: str, text: str, read: Callable[[Counters], int]) -> Measure:
    return Measure(stem, Kind.COUNTER, text, lambda told: {(): read(told.counters)})


def _counts(stem: str, text: str, read: Callable[[Counters], Counter[str]], label: Label) -> Measure:
    return Measure(
        stem,
        Kind.COUNTER,
        text,
        lambda told: {(key,): count for key, count in read(told.counters).items()},
        (label,),
    )


def _figure(stem: str, text: str, name: str) -> Measure:
    def read(told: Told) -> Values | None:
        found = told.figures.get(name)
        return None if found is None else {(): found}

    return Measure(stem, Kind.GAUGE, text, read)


def _figures(stem: str, text: str, name: str, *labels: Label) -> Measure:
    def read(told: Told) -> Values | None:
        found = told.figures.get(name)
        if found is None:
            return None
        return {key if isinstance(key, tuple) else (key,): count for key, count in found.items()}

    return Measure(stem, Kind.GAUGE, text, read, labels)


def _of(values: Iterable[StrEnum], *more: str) -> frozenset[str]:
    return frozenset({*(one.value for one in values), *more})


MEASURES: tuple[Measure, ...] = (
    _count("stanch_deliveries_kept", "Webhook bodies committed.", lambda one: one.deliveries_kept),
    _count("stanch_deliveries_refused", "Webhook bodies answered 503.", lambda one: one.deliveries_refused),
    _count(
        "stanch_unauthenticated", "Webhook calls with wrong credentials.", lambda one: one.unauthenticated
    ),
    _count("stanch_alerts_joined", "Alerts read from bodies.", lambda one: one.alerts_joined),
    _count("stanch_dead_letters", "Bodies or alerts that could not be read.", lambda one: one.dead_letters),
    _count("stanch_alerts_truncated", "Alerts that Alertmanager left out.", lambda one: one.truncated_alerts),
    _count("stanch_claims_fenced", "Outcomes that came after the lease was lost.", lambda one: one.fenced),
    _counts(
        "stanch_api_refused",
        "Calls of the API that were refused, by why.",
        lambda one: one.refused_callers,
        Label(
            "why", about="`no token`, `unknown token`, `not allowed`, or what is wrong with a proxy's headers"
        ),
    ),
    _counts(
        "stanch_steps",
        "Steps taken, by kind.",
        lambda one: one.steps,
        Label("step", COUNTED | {"failed"}),
    ),
    _counts(
        "stanch_objections",
        "Guards' objections before acting, by code.",
        lambda one: one.objections,
        Label("code", about="a guard's word for what it objects to"),
    ),
    _counts(
        "stanch_writes",
        "Writes, by what became of them.",
        lambda one: one.writes,
        Label("outcome", frozenset({"sent", "confirmed", "refused", "unknown", "other"})),
    ),
    _counts(
        "stanch_messages",
        "Messages, by destination and outcome.",
        lambda one: one.messages,
        Label("result", about="the destination, a colon, and `sent`, `retried` or `dead`"),
    ),
    _counts(
        "stanch_reconciled",
        "Rounds of reconciliation; what they found.",
        lambda one: one.reconciled,
        Label(
            "kind",
            frozenset({"rounds", "silent", "rules_silent", "taken_in", "gone", "held"})
            | {f"doubt_{one.value}" for one in Doubt},
        ),
    ),
    _counts(
        "stanch_policy_reloads",
        "Policy reloads, by outcome.",
        lambda one: one.policy_reloads,
        Label("outcome", frozenset({"taken", "refused"})),
    ),
    _counts(
        "stanch_spans",
        "Spans of traces, by what became of them; none without a collector.",
        lambda one: one.spans,
        Label("outcome", frozenset({"sent", "failed", "dropped"})),
    ),
    Measure(
        "stanch_bytes_in_flight",
        Kind.GAUGE,
        "Bytes of bodies being taken.",
        lambda told: {(): told.bytes_in_flight},
    ),
    Measure(
        "stanch_policies_refused",
        Kind.GAUGE,
        "1 while the newest policy files are broken and older ones are in force.",
        lambda told: {(): float(told.refused)},
    ),
    _figures(
        "stanch_incidents_open",
        "Open incidents, by status and severity.",
        "incidents",
        Label("status", _of(Status)),
        Label("severity", _of(Severity, "unknown")),
    ),
    _figures(
        "stanch_plans",
        "Plans by their last outcome: harmed of helped, no-effect and harmed is the wrongful share.",
        "plans",
        Label("policy", about="the policy's name"),
        Label("remediation", about="the remediation's name"),
        Label("outcome", _of(Outcome)),
    ),
    _figures(
        "stanch_intents",
        "Intents, by state.",
        "intents",
        Label("state", frozenset({"started", "confirmed", "refused", "unknown"})),
    ),
    _figures(
        "stanch_plans_current",
        "Plans of open incidents, by where they stand.",
        "plans_current",
        Label("state", _of(PlanState)),
    ),
    _figure(
        "stanch_store_outbox_oldest_timestamp_seconds",
        "When the oldest message that waits was written; not there while none waits.",
        "outbox_oldest",
    ),
    _figure("stanch_store_deliveries_waiting", "Bodies not yet read.", "deliveries_waiting"),
    _figure("stanch_store_dead_letters", "Dead letters kept.", "dead_letters"),
    _figure("stanch_store_alerts_firing", "Alerts that have not ended.", "alerts_firing"),
    _figure("stanch_store_outbox_waiting", "Messages not yet delivered.", "outbox_waiting"),
    _figure("stanch_store_outbox_dead", "Messages given up.", "outbox_dead"),
    _figure("stanch_store_events_unsealed", "Events that are not yet in the audit chain.", "events_unsealed"),
    _figure(
        "stanch_audit_broken",
        "1 while something sealed into the stored audit chain does not fit; the log has the row's number.",
        "audit_broken",
    ),
    _figure(
        "stanch_audit_verified_timestamp_seconds",
        "When the whole stored chain was last walked and all of it fitted; not there before the first time.",
        "audit_verified",
    ),
    _figures(
        "stanch_watchdog_last_received_timestamp_seconds",
        "When the Watchdog (`STANCH_WATCHDOG`) was last delivered, while it fires; not there before.",
        "watchdog",
        Label("source", about="the name that `STANCH_SOURCE` gives"),
    ),
)
