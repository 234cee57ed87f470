"""Keeps the samples: series by their labels, each a list of moments and values.

The scraper and the rules write, the evaluator reads. Times are whole milliseconds since the epoch, as in
Prometheus; a value of None is a staleness marker, the statement that the series ended there.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

NAME = "__name__"

Labels = tuple[tuple[str, str], ...]
"""A label set: sorted, without empty values, hashable."""

Point = tuple[int, float]


def labels_of(labels: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels:
    """The one form of a label set; an empty value is the same as no label."""
    return tuple(sorted((name, value) for name, value in dict(labels).items() if value))


def milliseconds(at: datetime) -> int:
    """A moment as Prometheus stores it."""
    return round(at.timestamp() * 1000)


def moment(at_ms: int) -> datetime:
    """The inverse of ``milliseconds``."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at_ms)


@dataclass(frozen=True)
class Matcher:
    """One condition of a selector; a label that is not there counts as empty."""

    name: str
    accepts: Callable[[str], bool]
    equal_to: str | None = None  # set for `=`, which is what `absent` and the index go by

    @classmethod
    def equal(cls, name: str, value: str) -> Matcher:
        """``name="value"``."""
        return cls(name, lambda actual: actual == value, value)

    @classmethod
    def not_equal(cls, name: str, value: str) -> Matcher:
        """``name!="value"``."""
        return cls(name, lambda actual: actual != value)

    @classmethod
    def matching(cls, name: str, pattern: str, *, negated: bool = False) -> Matcher:
        """``name=~"pattern"`` or ``!~``; the pattern must fit the whole value."""
        compiled = re.compile(pattern)
        return cls(name, lambda actual: (compiled.fullmatch(actual) is None) is negated)


@dataclass
class Series:
    """One series in order of time."""

    labels: Labels
    times: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)

    def latest(self, since_ms: int, until_ms: int) -> Point | None:
        """The newest sample in the closed interval, unless it says that the series ended."""
        index = bisect_right(self.times, until_ms) - 1
        if index < 0 or self.times[index] < since_ms or (value := self.values[index]) is None:
            return None
        return self.times[index], value

    def points(self, since_ms: int, until_ms: int) -> list[Point]:
        """All samples in the closed interval."""
        span = slice(bisect_left(self.times, since_ms), bisect_right(self.times, until_ms))
        pairs = zip(self.times[span], self.values[span], strict=True)
        return [(time, value) for time, value in pairs if value is not None]


class SeriesStore:
    """All series; what is older than ``retention`` goes when ``forget_before`` is told to."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[Labels, Series]] = {}

    def append(self, labels: Labels, at_ms: int, value: float | None) -> None:
        """Add one sample. One that is not newer than the last is dropped, as Prometheus drops it."""
        family = self._by_name.setdefault(dict(labels).get(NAME, ""), {})
        series = family.get(labels)
        if series is None:
            if value is None:  # nothing there that could end
                return
            series = family[labels] = Series(labels)
        if not series.times or at_ms > series.times[-1]:
            series.times.append(at_ms)
            series.values.append(value)

    def select(self, matchers: Iterable[Matcher]) -> Iterator[Series]:
        """The series that all matchers accept."""
        wanted = list(matchers)
        names = {m.equal_to for m in wanted if m.name == NAME and m.equal_to is not None}
        families = [self._by_name.get(n, {}) for n in names] if names else list(self._by_name.values())
        for family in families:
            for series in family.values():
                actual = dict(series.labels)
                if all(matcher.accepts(actual.get(matcher.name, "")) for matcher in wanted):
                    yield series

    def forget_before(self, at_ms: int) -> None:
        """Drop older samples, and series that have none left."""
        for name, family in list(self._by_name.items()):
            for labels, series in list(family.items()):
                keep = bisect_left(series.times, at_ms)
                del series.times[:keep], series.values[:keep]
                if not series.times:
                    del family[labels]
            if not family:
                del self._by_name[name]

    def __len__(self) -> int:
        return sum(len(family) for family in self._by_name.values())
