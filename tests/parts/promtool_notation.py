"""Input series in the notation of `promtool test rules`, loaded into the demo's Prometheus.

So that one list of series can be given to both, and their answers compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import promql_parser as promql

from receiver.demo.prometheus.series import NAME, SeriesStore, labels_of

_RANGE = re.compile(r"(?P<start>-?[\d.]+)(?:(?P<sign>[+-])(?P<step>[\d.]+))?x(?P<times>\d+)")


def values_of(notation: str) -> Iterator[float | str | None]:
    """One item per step: a number, None for no sample, ``stale`` for the end of the series."""
    for item in notation.split():
        if found := _RANGE.fullmatch(item):
            step = float(found["step"] or 0) * (-1 if found["sign"] == "-" else 1)
            for index in range(int(found["times"]) + 1):
                yield float(found["start"]) + index * step
        elif item.startswith("_"):
            yield from [None] * int(item.removeprefix("_x") if item != "_" else 1)
        elif item == "stale":
            yield "stale"
        else:
            yield {"NaN": math.nan, "Inf": math.inf, "-Inf": -math.inf}.get(item) or float(item)


def load(store: SeriesStore, series: Mapping[str, str], interval: timedelta) -> None:
    """Append all series, the first value at the epoch."""
    step_ms = round(interval.total_seconds() * 1000)
    for text, notation in series.items():
        selector: Any = promql.parse(text)
        pairs = [(matcher.name, matcher.value) for matcher in selector.matchers.matchers]
        labels = labels_of([(NAME, selector.name or ""), *pairs])
        for index, value in enumerate(values_of(notation)):
            if isinstance(value, str):
                store.append(labels, index * step_ms, None)
            elif value is not None:
                store.append(labels, index * step_ms, value)
