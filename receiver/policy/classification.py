"""How bad is it? Thresholds over measured history, with the reason; missing data never lowers.

Playbook lines 50-141 and appendix A, with the boundaries of table X: 20 % exactly is P2, 5 s exactly is P2,
5 % exactly is P2. ``for`` is read from history, never waited for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from receiver.domain.durations import in_words
from receiver.domain.severity import Severity, worst
from receiver.policy.expressions import Truth, evaluate
from receiver.policy.model import Classify, LevelRule

# One missing point in a window is a lost scrape; two are no data.
MISSING_ALLOWED = 1
# What the `severity` label means where a policy does not say, or none matches.
DEFAULT_LABELS = {"critical": Severity.P1, "page": Severity.P1, "warning": Severity.P2, "info": Severity.P3}
DEFAULT_FOR_UNLISTED_LABEL = Severity.P2

Series = Mapping[str, Sequence[tuple[datetime, float]]]
ValuesAt = Callable[[datetime], Mapping[str, float | None]]


@dataclass(frozen=True)
class Judgement:
    """The severity and why; None where neither data nor label tell. ``decided`` is False without data."""

    severity: Severity | None
    rule: str
    value: Mapping[str, float | None]
    reason: str
    decided: bool


def classify(
    rules: Classify, series: Series, labels: Sequence[Mapping[str, str]], *, now: datetime
) -> Judgement:
    """The most severe level that holds, all rules evaluated, or what the alerts' own labels say."""
    value = {name: _latest(points, now) for name, points in series.items()}
    # All rules look at the same moments.
    values = cache(lambda moment: {name: _at(points, moment, rules.every) for name, points in series.items()})
    held: list[tuple[Severity, LevelRule]] = []
    unknown: list[tuple[Severity, str]] = []
    for severity, alternatives in rules.levels.items():
        for rule in alternatives:
            truth, reason = _held(rule, values, every=rules.every, now=now)
            if truth is Truth.TRUE:
                held.append((severity, rule))
            elif truth is Truth.UNKNOWN:
                unknown.append((severity, f"{severity} ({rule.expr}): {reason}"))
    measured = worst([severity for severity, _ in held])
    labelled, label_reason = _from_labels(rules, labels)
    if not rules.levels:
        return Judgement(labelled, "severity label", value, f"nothing is measured; {label_reason}", False)
    open_above = [severity for severity, _ in unknown if severity.worse_than(measured)]
    if measured is not None and not open_above:
        rule = next(rule for severity, rule in held if severity is measured)
        reason = f"{rule.expr}" + (f" for {in_words(rule.for_)}" if rule.for_ else "")
        return Judgement(measured, f"{measured}: {rule.expr}", value, reason, True)
    if open_above:
        # A worse level is undecided: the label may raise, and nothing lowers.
        gaps = "; ".join(reason for _, reason in unknown)
        if measured is not None and (labelled is None or not labelled.worse_than(measured)):
            rule = next(rule for severity, rule in held if severity is measured)
            reason = f"{rule.expr}; not measurable: {gaps}"
            return Judgement(measured, f"{measured}: {rule.expr}", value, reason[:1000], False)
        return Judgement(
            labelled, "severity label", value, f"{label_reason}; not measurable: {gaps}"[:1000], False
        )
    return Judgement(
        None if labelled is None else Severity.P3,
        "no threshold holds",
        value,
        f"no threshold holds; {label_reason}",
        True,
    )


def _held(rule: LevelRule, values: ValuesAt, *, every: timedelta, now: datetime) -> tuple[Truth, str]:
    """Whether the rule held at every point of [now - for, now], at most one of them missing.

    One that holds now, but not yet for that long, is undecided: it may be what the alert is about.
    """
    steps = max(0, math.ceil(rule.for_ / every))
    moments = [now - every * step for step in range(steps, -1, -1)]
    missing = 0
    reason = unmet = ""
    for moment in moments:
        value = values(moment)
        truth, why = evaluate(rule.expr, value)
        if truth is Truth.FALSE and moment != now and _holds_at(rule, values, now):
            return Truth.UNKNOWN, f"holds now, but not yet for {in_words(rule.for_)}"
        if truth is Truth.FALSE:
            # One moment without it decides, whatever is missing at the others.
            return Truth.FALSE, ""
        if truth is Truth.TRUE and rule.requires is not None:
            truth, why = evaluate(rule.requires, value)
            if truth is Truth.FALSE:
                unmet = f"{rule.requires} does not hold"
                continue
        if truth is Truth.UNKNOWN:
            missing += 1
            reason = why
    if unmet:
        return Truth.UNKNOWN, unmet
    last_missing = missing > 0 and len(moments) == 1
    if missing > MISSING_ALLOWED or last_missing:
        return Truth.UNKNOWN, reason
    return Truth.TRUE, ""


def _holds_at(rule: LevelRule, values: ValuesAt, moment: datetime) -> bool:
    value = values(moment)
    met = rule.requires is None or evaluate(rule.requires, value)[0] is Truth.TRUE
    return met and evaluate(rule.expr, value)[0] is Truth.TRUE


def _from_labels(rules: Classify, labels: Sequence[Mapping[str, str]]) -> tuple[Severity | None, str]:
    said = [found["severity"] for found in labels if found.get("severity")]
    if not said:
        return None, "no alert carries a severity label"
    levels = [rules.severity_label.get(text.lower(), DEFAULT_FOR_UNLISTED_LABEL) for text in said]
    level = worst(levels)
    text = said[levels.index(level)] if level is not None else ""
    listed = text.lower() in rules.severity_label
    return level, f'severity label "{text}" says {level}' + ("" if listed else " (a value not listed)")


def _latest(points: Sequence[tuple[datetime, float]], now: datetime) -> float | None:
    return next((value for at, value in reversed(points) if at <= now and not math.isnan(value)), None)


def _at(points: Sequence[tuple[datetime, float]], moment: datetime, every: timedelta) -> float | None:
    """The sample nearest to the moment, no further than half a step away; points are oldest first."""
    index = bisect_left(points, moment, key=lambda point: point[0])
    beside = points[max(0, index - 1) : index + 1]
    near = min(beside, key=lambda point: abs(point[0] - moment), default=None)
    if near is None or abs(near[0] - moment) > every / 2 or math.isnan(near[1]):
        return None
    return near[1]
