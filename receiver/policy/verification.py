"""Did it help? Judged over samples, with the baseline from before; no data is never a success.

Three windows, in this order: settle (the change is being made; regression is not judged), verdict
(improved, worse or not, within its time), monitoring (the incident's own state). Playbook lines 307-326.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from receiver.domain.durations import in_words
from receiver.domain.plans import Ends, Verification
from receiver.domain.severity import Severity
from receiver.policy.expressions import Truth, evaluate

Point = tuple[datetime, Mapping[str, float | None]]

# No recurrence for 30 minutes (P0) and 60 minutes (P1) before resolving: playbook line 311.
SEVERITY_WINDOW: Mapping[Severity, timedelta] = {
    Severity.P0: timedelta(minutes=30),
    Severity.P1: timedelta(minutes=60),
}
MAX_SUMMARY_POINTS = 60


class Outcome(StrEnum):
    """What the samples say so far."""

    WAIT = "wait"
    IMPROVED = "improved"
    WORSE = "worse"
    NOT_IMPROVED = "not-improved"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """An outcome with its sentence; ``look_again_at`` where it is still open."""

    outcome: Outcome
    sentence: str
    look_again_at: datetime | None = None


def judge(
    rules: Verification,
    points: Sequence[Point],
    baseline: Mapping[str, float | None],
    *,
    since: datetime,
    now: datetime,
) -> Verdict:
    """Judge samples taken at ``rules.every`` since the change was in place.

    Success needs its whole window with enough samples; regression stops early; when the time is over,
    data without success is "not improved" and too little data is inconclusive.
    """
    bad = {"baseline": dict(baseline)}
    recent = [point for point in points if since <= point[0] <= now]
    if rules.regression is not None:
        worse = _trailing(rules.regression, recent, bad)
        if worse and worse[-1][0] - worse[0][0] >= rules.regression_for:
            return Verdict(Outcome.WORSE, f"{rules.regression} for {in_words(rules.regression_for)}")
    good = _trailing(rules.success, recent, bad, over_gaps=True)
    if good and good[-1][0] - good[0][0] >= rules.success_for and len(good) >= rules.min_samples:
        return Verdict(
            Outcome.IMPROVED, f"{rules.success} for {in_words(rules.success_for)} over {len(good)} samples"
        )
    deadline = since + rules.within
    if now < deadline:
        held = good[-1][0] - good[0][0] if good else timedelta(0)
        sentence = f"{rules.success} held for {in_words(held)} of {in_words(rules.success_for)}"
        return Verdict(Outcome.WAIT, sentence, min(now + rules.every, deadline))
    decided = [
        point for point in recent if evaluate(rules.success, {**point[1], **bad})[0] is not Truth.UNKNOWN
    ]
    failed = [point for point in decided if evaluate(rules.success, {**point[1], **bad})[0] is Truth.FALSE]
    within = in_words(rules.within)
    if len(decided) < rules.min_samples or not failed:
        return Verdict(
            Outcome.INCONCLUSIVE,
            f"{len(decided)} samples with data within {within}; {rules.min_samples} are needed",
        )
    return Verdict(
        Outcome.NOT_IMPROVED,
        f"{rules.success} failed at {len(failed)} of {len(decided)} samples within {within}",
    )


def monitoring_window(severity: Severity | None, scenario: timedelta) -> timedelta:
    """How long nothing may recur: the longer of the severity's window and the scenario's (S-14, X-9)."""
    return max(
        scenario, SEVERITY_WINDOW.get(severity, timedelta(0)) if severity is not None else timedelta(0)
    )


def holds_through(
    rules: Verification, points: Sequence[Point], baseline: Mapping[str, float | None]
) -> Truth:
    """Whether the patient is well at the last of these samples and ill at none; unknown without data."""
    truths = [evaluate(rules.success, {**point, "baseline": dict(baseline)})[0] for _, point in points]
    return Truth.FALSE if Truth.FALSE in truths else truths[-1]


def no_longer_needed(ends: Ends, points: Sequence[Point], now: datetime) -> bool:
    """Whether what a mitigation waits for held at every sample of its window with data, the last included."""
    recent = [point for point in points if now - ends.held_for <= point[0] <= now]
    run = _trailing(ends.expr, recent, {}, over_gaps=True)
    # The first sample may be one that was lost.
    return bool(run) and run[-1][0] - run[0][0] >= ends.held_for - ends.every and len(run) >= ends.min_samples


def thinned(points: Sequence[Point], since: datetime) -> tuple[tuple[float, Mapping[str, float | None]], ...]:
    """At most sixty points for the timeline: seconds since the change, and the values."""
    step = max(1, -(-len(points) // MAX_SUMMARY_POINTS))
    return tuple(((at - since).total_seconds(), dict(values)) for at, values in points[::step])


def _trailing(
    expression: str,
    points: Sequence[Point],
    constants: Mapping[str, Mapping[str, float | None]],
    *,
    over_gaps: bool = False,
) -> list[Point]:
    """The run of points up to the last one at which the expression held.

    A point without data ends it; with ``over_gaps`` only the last one does, and others are left out: the
    number of samples asked for says how many may be.
    """
    run: list[Point] = []
    for point in reversed(points):
        truth, _ = evaluate(expression, {**point[1], **constants})
        if over_gaps and run and truth is Truth.UNKNOWN:
            continue
        if truth is not Truth.TRUE:
            break
        run.append(point)
    return run[::-1]
