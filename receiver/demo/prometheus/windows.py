"""Functions over a range of samples: rates with Prometheus's extrapolation, and the `_over_time` family.

Each takes one series' window and gives its value, or None where Prometheus gives no result. The arithmetic
follows promql/functions.go of Prometheus 2.42 step by step, because a policy's threshold sits on the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from receiver.demo.prometheus.series import Point
from receiver.demo.prometheus.values import Window, divide, mean

# Further from the window's edge than this many average gaps, the series is taken to begin or end inside it.
EXTRAPOLATION_GAPS = 1.1


def extrapolated(window: Window, *, counter: bool, per_second: bool) -> float | None:
    """The difference between both ends of the window, stretched to its full length."""
    points = window.points
    if len(points) < 2:
        return None
    (first_ms, first), (last_ms, last) = points[0], points[-1]
    difference = last - first
    if counter:
        previous = first
        for _, value in points[1:]:
            if value < previous:  # the counter started again from zero
                difference += previous
            previous = value
    to_start = (first_ms - window.start_ms) / 1000
    to_end = (window.end_ms - last_ms) / 1000
    sampled = (last_ms - first_ms) / 1000
    gap = sampled / (len(points) - 1)
    if counter and difference > 0 and first >= 0:
        # A counter is never below zero, so it cannot have begun earlier than its slope says.
        to_start = min(to_start, sampled * (first / difference))
    stretched = sampled
    stretched += to_start if to_start < gap * EXTRAPOLATION_GAPS else gap / 2
    stretched += to_end if to_end < gap * EXTRAPOLATION_GAPS else gap / 2
    factor = stretched / sampled
    if per_second:
        factor /= (window.end_ms - window.start_ms) / 1000
    return difference * factor


def instant(window: Window, *, per_second: bool) -> float | None:
    """The step between the last two samples."""
    if len(window.points) < 2:
        return None
    (before_ms, before), (last_ms, last) = window.points[-2:]
    if not per_second:
        return last - before
    step = last if last < before else last - before
    return step / ((last_ms - before_ms) / 1000)


def regression(points: list[Point], intercept_ms: int) -> tuple[float, float]:
    """Slope per second and value at ``intercept_ms`` of the line through the samples."""
    if all(value == points[0][1] for _, value in points):
        constant = points[0][1]
        return (math.nan, math.nan) if math.isinf(constant) else (0.0, constant)
    xs = [(at - intercept_ms) / 1000 for at, _ in points]
    ys = [value for _, value in points]
    n = float(len(points))
    sum_x, sum_y = math.fsum(xs), math.fsum(ys)
    covariance = math.fsum(x * y for x, y in zip(xs, ys, strict=True)) - sum_x * sum_y / n
    variance = math.fsum(x * x for x in xs) - sum_x * sum_x / n
    slope = divide(covariance, variance)
    return slope, sum_y / n - slope * sum_x / n


def deriv(window: Window) -> float | None:
    """The slope per second of a gauge."""
    if len(window.points) < 2:
        return None
    return regression(window.points, window.points[0][0])[0]


def predict(window: Window, now_ms: int, ahead_s: float) -> float | None:
    """Where a gauge will be ``ahead_s`` from now if it goes on like this."""
    if len(window.points) < 2:
        return None
    slope, now = regression(window.points, now_ms)
    return slope * ahead_s + now


def extreme(window: Window, better: Callable[[float, float], bool]) -> float:
    """The largest or smallest sample that is a number."""
    best = window.points[0][1]
    for _, value in window.points:
        if better(value, best) or math.isnan(best):
            best = value
    return best


def transitions(window: Window, counts: Callable[[float, float], bool]) -> float:
    """How often a sample and its predecessor satisfy ``counts``."""
    values = [value for _, value in window.points]
    return float(sum(counts(before, after) for before, after in pairwise(values)))


def differs(before: float, after: float) -> bool:
    """Whether a gauge changed; NaN stays NaN."""
    return before != after and not (math.isnan(before) and math.isnan(after))


WINDOW_FUNCTIONS: dict[str, Callable[[Window], float | None]] = {
    "rate": lambda w: extrapolated(w, counter=True, per_second=True),
    "increase": lambda w: extrapolated(w, counter=True, per_second=False),
    "delta": lambda w: extrapolated(w, counter=False, per_second=False),
    "irate": lambda w: instant(w, per_second=True),
    "idelta": lambda w: instant(w, per_second=False),
    "deriv": deriv,
    "changes": lambda w: transitions(w, differs),
    "resets": lambda w: transitions(w, lambda before, after: after < before),
    "avg_over_time": lambda w: mean(value for _, value in w.points),
    "min_over_time": lambda w: extreme(w, lambda value, best: value < best),
    "max_over_time": lambda w: extreme(w, lambda value, best: value > best),
    "sum_over_time": lambda w: math.fsum(value for _, value in w.points),
    "count_over_time": lambda w: float(len(w.points)),
    "last_over_time": lambda w: w.points[-1][1],
    "present_over_time": lambda w: 1.0,
}
"""By name; each gets windows with at least one sample."""
