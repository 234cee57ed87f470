"""The JSON bodies of Prometheus's HTTP API, made from the engine's values. No I/O and no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from receiver.demo.prometheus.alerting import Alert, AlertState, RuleState
from receiver.demo.prometheus.scraping import Health, Target
from receiver.demo.prometheus.series import Labels
from receiver.demo.prometheus.values import Element, Value, Window

ZERO_TIME = "0001-01-01T00:00:00Z"  # Go's time.Time before anything happened


def query_data(kind: str, value: Value, at_ms: int) -> dict[str, Any]:
    """The ``data`` of an instant query."""
    if isinstance(value, float):
        return {"resultType": "scalar", "result": point(at_ms, value)}
    if isinstance(value, str):
        return {"resultType": "string", "result": [seconds(at_ms), value]}
    result: list[dict[str, Any]] = []
    for member in value:
        match member:
            case Element():
                result.append({"metric": dict(member.labels), "value": point(at_ms, member.value)})
            case Window():
                values = [point(at, number) for at, number in member.points]
                result.append({"metric": dict(member.labels), "values": values})
    return {"resultType": kind, "result": result}


def range_data(lines: Mapping[Labels, Iterable[tuple[int, float]]]) -> dict[str, Any]:
    """The ``data`` of a range query."""
    return {
        "resultType": "matrix",
        "result": [
            {"metric": dict(labels), "values": [point(at, value) for at, value in points]}
            for labels, points in sorted(lines.items())
        ],
    }


def rules_data(rules: Iterable[RuleState], interval: timedelta) -> dict[str, Any]:
    """The ``data`` of /api/v1/rules."""
    groups: dict[str, list[RuleState]] = {}
    for state in rules:
        groups.setdefault(state.rule.group, []).append(state)
    return {
        "groups": [
            {
                "name": name,
                "file": "/demo/rules.yml",
                "rules": [_rule(state) for state in members],
                "interval": interval.total_seconds(),
                "limit": 0,
                "evaluationTime": sum(state.evaluation_s for state in members),
                "lastEvaluation": rfc3339(members[-1].last_evaluation),
            }
            for name, members in groups.items()
        ]
    }


def _rule(state: RuleState) -> dict[str, Any]:
    rule, live = state.rule, state.live()
    states = {alert.state for alert in live}
    rule_state = "firing" if AlertState.FIRING in states else "pending" if states else "inactive"
    body: dict[str, Any] = {
        "state": rule_state,
        "name": rule.name,
        "query": rule.expr,
        "duration": rule.for_.total_seconds(),
        "keepFiringFor": 0,
        "labels": dict(rule.labels),
        "annotations": dict(rule.annotations),
        "alerts": [alert_body(alert) for alert in live],
        "health": "err" if state.error else "ok" if state.last_evaluation else "unknown",
        "evaluationTime": state.evaluation_s,
        "lastEvaluation": rfc3339(state.last_evaluation),
        "type": "alerting",
    }
    if state.error:
        body["lastError"] = state.error
    return body


def alert_body(alert: Alert) -> dict[str, Any]:
    """One alert of /api/v1/alerts."""
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": alert.state.value,
        "activeAt": rfc3339(alert.active_at),
        "value": scientific(alert.value),
    }


def target_body(target: Target, health: Health | None, interval: timedelta) -> dict[str, Any]:
    """One active target of /api/v1/targets."""
    url = f"http://{target.instance}/metrics"
    known = health or Health()
    return {
        "discoveredLabels": {"__address__": target.instance, "job": target.job},
        "labels": target.own_labels,
        "scrapePool": target.job,
        "scrapeUrl": url,
        "globalUrl": url,
        "lastError": known.error,
        "lastScrape": rfc3339(known.at),
        "lastScrapeDuration": known.duration_s,
        "health": "unknown" if health is None else "down" if known.error else "up",
        "scrapeInterval": f"{interval.total_seconds():g}s",
        "scrapeTimeout": f"{interval.total_seconds():g}s",
    }


def point(at_ms: int, value: float) -> list[float | str]:
    """A sample: the time in seconds, the value as text."""
    return [seconds(at_ms), number(value)]


def seconds(at_ms: int) -> float:
    """A time as the API shows it; without a fraction where there is none."""
    return at_ms // 1000 if at_ms % 1000 == 0 else at_ms / 1000


def number(value: float) -> str:
    """A value in the shortest form that reads back the same, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def scientific(value: float) -> str:
    """A value as the alerts API shows it: ``1e+00``."""
    if not math.isfinite(value):
        return number(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    fraction = "".join(map(str, digits[1:]))
    power = exponent + len(digits) - 1 if any(digits) else 0
    shown = f"{digits[0]}.{fraction}" if fraction else f"{digits[0]}"
    return f"{'-' if sign else ''}{shown}e{'-' if power < 0 else '+'}{abs(power):02d}"


def rfc3339(at: datetime | None) -> str:
    """A moment in UTC."""
    return ZERO_TIME if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
