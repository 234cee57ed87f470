"""Functions of an instant vector: arithmetic on each member, quantiles of histograms, labels rewritten."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from receiver.demo.prometheus.errors import QueryError
from receiver.demo.prometheus.series import Labels, labels_of
from receiver.demo.prometheus.values import Element, Vector, divide, dropping, without_name

BUCKET = "le"


def nearest(value: float, step: float) -> float:
    """``value`` as a multiple of ``step``; halves go up."""
    inverse = divide(1.0, step)
    scaled = value * inverse + 0.5
    return divide(float(math.floor(scaled)), inverse) if math.isfinite(scaled) else scaled


def _logarithm(function: Callable[[float], float]) -> Callable[[float], float]:
    def safe(value: float) -> float:
        if value > 0 or math.isnan(value):
            return function(value)
        return -math.inf if value == 0 else math.nan

    return safe


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: float(function(value)) if math.isfinite(value) else value


MEMBER_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "ceil": _whole(math.ceil),
    "floor": _whole(math.floor),
    "sqrt": lambda value: math.sqrt(value) if value >= 0 else math.nan,
    "ln": _logarithm(math.log),
    "log2": _logarithm(math.log2),
    "log10": _logarithm(math.log10),
    "sgn": lambda value: value if value == 0 or math.isnan(value) else math.copysign(1, value),
}
"""By name; each is applied to every member's value."""


def clamp(value: float, low: float, high: float) -> float:
    """``value`` not below ``low`` and not above ``high``; NaN wins as it does in Go."""
    if any(map(math.isnan, (value, low, high))):
        return math.nan
    return max(low, min(high, value))


def histogram_quantile(q: float, vector: Vector) -> Vector:
    """One quantile per set of labels apart from ``le``; members without a bound are ignored."""
    histograms: dict[Labels, dict[float, float]] = {}
    for element in vector:
        try:
            bound = float(dict(element.labels).get(BUCKET, ""))
        except ValueError:
            continue
        buckets = histograms.setdefault(dropping(without_name(element.labels), (BUCKET,)), {})
        buckets[bound] = buckets.get(bound, 0.0) + element.value
    return [Element(labels, _bucket_quantile(q, buckets)) for labels, buckets in histograms.items()]


def _bucket_quantile(q: float, counts: Mapping[float, float]) -> float:
    if math.isnan(q):
        return math.nan
    if not 0 <= q <= 1:
        return math.copysign(math.inf, q)
    bounds = sorted(counts)
    if bounds[-1] != math.inf or len(bounds) < 2:
        return math.nan
    cumulative: list[float] = []
    for bound in bounds:  # rates of buckets scraped a moment apart may fall slightly; they may not
        cumulative.append(max(counts[bound], cumulative[-1]) if cumulative else counts[bound])
    total = cumulative[-1]
    if total == 0 or math.isnan(total):
        return math.nan
    rank = q * total
    index = next((i for i, count in enumerate(cumulative[:-1]) if count >= rank), len(bounds) - 1)
    if index == len(bounds) - 1:
        return bounds[-2]
    if index == 0 and bounds[0] <= 0:
        return bounds[0]
    start, count = 0.0, cumulative[index]
    if index > 0:
        start = bounds[index - 1]
        count -= cumulative[index - 1]
        rank -= cumulative[index - 1]
    return start + (bounds[index] - start) * divide(rank, count)


def label_replace(vector: Vector, target: str, replacement: str, source: str, pattern: str) -> Vector:
    """Set the label ``target`` where the whole of ``source`` fits ``pattern``; ``$1`` is its first group."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise QueryError(f"invalid regular expression in label_replace(): {pattern}") from error
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", target):
        raise QueryError(f"invalid destination label name in label_replace(): {target}")
    template = re.sub(r"\$(\w+)|\$\{(\w+)\}", r"\\g<\1\2>", replacement.replace("\\", "\\\\"))
    result = []
    for element in vector:
        labels = dict(element.labels)
        if found := compiled.fullmatch(labels.get(source, "")):
            labels[target] = found.expand(template)
        result.append(Element(labels_of(labels), element.value))
    return result
