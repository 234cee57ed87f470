"""Alerting rules: which alerts an expression gives, since when, and whether they fire yet.

The states are Prometheus's: an alert is pending until its expression has held for the rule's `for`, then it
fires, then it is resolved. While it is one of the first two there is an `ALERTS` series for it, which never
carries external labels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from receiver.demo.prometheus.errors import QueryError
from receiver.demo.prometheus.series import NAME, Labels, labels_of
from receiver.demo.prometheus.values import Vector, without_name

# A resolved alert is told to Alertmanager again for this long, in case a message was lost.
RESOLVED_RETENTION = timedelta(minutes=15)

_PLACEHOLDER = re.compile(
    r"\{\{-?\s*\$(?:labels\.(?P<label>\w+)|(?P<value>value)(?:\s*\|\s*(?P<as>humanizePercentage|humanize))?)\s*-?\}\}"
)


class AlertState(StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert of one rule, as of the last evaluation."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: AlertState
    value: float
    active_at: datetime
    fired_at: datetime | None = None
    resolved_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class AlertingRule:
    """A rule as it stands in a rule file; ``for_`` is its `for`."""

    name: str
    expr: str
    for_: timedelta = timedelta(0)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    group: str = "demo"

    def __post_init__(self) -> None:
        for template in (*self.labels.values(), *self.annotations.values()):
            if "{{" in _PLACEHOLDER.sub("", template):
                raise ValueError(f"rule {self.name}: unsupported by the demo Prometheus: {template}")


@dataclass
class RuleState:
    """What one rule remembers from evaluation to evaluation."""

    rule: AlertingRule
    active: dict[Labels, Alert] = field(default_factory=dict)
    last_evaluation: datetime | None = None
    evaluation_s: float = 0.0
    error: str = ""

    def update(self, vector: Vector, at: datetime) -> None:
        """Take in what the expression gives at this moment."""
        found = self._found(vector, at)
        for key, fresh in found.items():
            known = self.active.get(key)
            if known is not None and known.state is not AlertState.RESOLVED:
                fresh = replace(known, value=fresh.value, annotations=fresh.annotations)
            self.active[key] = fresh
        for key, alert in list(self.active.items()):
            if key not in found:
                self._missing(key, alert, at)
            elif alert.state is AlertState.PENDING and at - alert.active_at >= self.rule.for_:
                self.active[key] = replace(alert, state=AlertState.FIRING, fired_at=at)

    def series(self) -> dict[Labels, float]:
        """The `ALERTS` and `ALERTS_FOR_STATE` series of this moment."""
        result: dict[Labels, float] = {}
        for alert in self.live():
            state = {NAME: "ALERTS", "alertstate": alert.state.value}
            result[labels_of({**alert.labels, **state})] = 1.0
            since = {NAME: "ALERTS_FOR_STATE"}
            result[labels_of({**alert.labels, **since})] = math.floor(alert.active_at.timestamp())
        return result

    def live(self) -> list[Alert]:
        """The alerts that are pending or firing."""
        return [alert for alert in self.active.values() if alert.state is not AlertState.RESOLVED]

    def _found(self, vector: Vector, at: datetime) -> dict[Labels, Alert]:
        found: dict[Labels, Alert] = {}
        for element in vector:
            own = dict(without_name(element.labels))
            given = {name: expand(text, own, element.value) for name, text in self.rule.labels.items()}
            labels = labels_of({**own, **given, "alertname": self.rule.name})
            if labels in found:
                raise QueryError("vector contains metrics with the same labelset after applying alert labels")
            found[labels] = Alert(
                labels=dict(labels),
                annotations={k: expand(v, own, element.value) for k, v in self.rule.annotations.items()},
                state=AlertState.PENDING,
                value=element.value,
                active_at=at,
            )
        return found

    def _missing(self, key: Labels, alert: Alert, at: datetime) -> None:
        if alert.state is AlertState.PENDING:
            del self.active[key]
        elif alert.state is AlertState.FIRING:
            self.active[key] = replace(alert, state=AlertState.RESOLVED, resolved_at=at)
        elif alert.resolved_at is not None and at - alert.resolved_at > RESOLVED_RETENTION:
            del self.active[key]


def expand(template: str, labels: Mapping[str, str], value: float) -> str:
    """Fill in ``{{ $labels.x }}`` and ``{{ $value }}``."""
    formats: dict[str | None, Callable[[float], str]] = {
        "humanizePercentage": lambda v: f"{v * 100:.4g}%",
        "humanize": lambda v: f"{v:.4g}",
        None: lambda v: f"{v:.16g}",
    }

    def filled(found: re.Match[str]) -> str:
        if found["value"]:
            return formats[found["as"]](value)
        return labels.get(found["label"], "")

    return _PLACEHOLDER.sub(filled, template)
