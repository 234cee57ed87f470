"""Ask Prometheus for a policy's named queries, over a range or now; what does not answer is missing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from receiver.clients.prometheus import Points, Prometheus
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.policy.expressions import Truth, evaluate, names_in
from receiver.policy.model import Policy
from receiver.policy.verification import Point

# Asking for one moment: the step does not matter, and must not be zero.
ONE_STEP = timedelta(minutes=1)
# Over this long a trend is told; shorter ones are noise.
TREND = timedelta(minutes=1)


@dataclass(frozen=True)
class Measured:
    """One series for each query that answered, and why the others did not.

    ``answered`` is whether Prometheus itself did, data or not.
    """

    series: Mapping[str, Points]
    missing: Mapping[str, str]

    @property
    def answered(self) -> bool:
        """Whether no query failed for want of Prometheus."""
        return not self.missing


async def measure(
    prometheus: Prometheus, queries: Mapping[str, str], *, start: datetime, end: datetime, step: timedelta
) -> Measured:
    """Every query over [start, end], asked together."""

    async def ask(name: str, query: str) -> tuple[str, Points | str]:
        try:
            return name, await prometheus.values(query, start=start, end=end, step=step)
        except (TemporaryError, PermanentError) as error:
            return name, str(error)

    answers = await asyncio.gather(*(ask(name, query) for name, query in sorted(queries.items())))
    return Measured(
        series={name: answer for name, answer in answers if not isinstance(answer, str)},
        missing={name: answer for name, answer in answers if isinstance(answer, str)},
    )


async def measure_now(
    prometheus: Prometheus, policy: Policy, conditions: Iterable[str], now: datetime
) -> Measured:
    """The policy's queries that these conditions name, as they are now."""
    asked = {name for condition in conditions for name in names_in(condition)}
    queries = {name: query for name, query in policy.queries.items() if name in asked}
    return await measure(prometheus, queries, start=now, end=now, step=ONE_STEP)


def latest(measured: Measured, now: datetime) -> Mapping[str, float | None]:
    """What was measured now, None where there is no data."""
    return points_of(measured, start=now, end=now, step=ONE_STEP)[0][1]


def points_of(measured: Measured, *, start: datetime, end: datetime, step: timedelta) -> list[Point]:
    """The series side by side: one point a step with the value of each query, None where there is none."""
    by_time: dict[str, dict[int, float | None]] = {
        name: {round(at.timestamp() * 1000): _known(value) for at, value in points}
        for name, points in measured.series.items()
    }
    points: list[Point] = []
    first = start.timestamp()
    for number in range(math.floor((end - start) / step) + 1):
        moment = round((first + number * step.total_seconds()) * 1000)
        values = {name: found.get(moment) for name, found in by_time.items()}
        points.append((start + step * number, values))
    return points


def health(points: list[Point], success: str) -> tuple[tuple[datetime, bool | None], ...]:
    """Whether the success condition held at each point; None is no data."""
    known: dict[tuple[float | None, ...], bool | None] = {}
    told = []
    for at, values in points:
        # Hours of a quiet service are hours of the same few values.
        key = tuple(values.values())
        if key not in known:
            truth, _ = evaluate(success, {**values, "baseline": {}})
            known[key] = None if truth is Truth.UNKNOWN else truth is Truth.TRUE
        told.append((at, known[key]))
    return tuple(told)


def before_acting(points: Sequence[Point], *, settle: timedelta) -> dict[str, float | None]:
    """The baseline that a regression must exceed: the highest value of each query, and where it was heading.

    The highest, not the mean: part of the window may lie before the trouble. A value that was still rising
    would have gone on (a rate over five minutes rises for five minutes), and that is not our doing. An undo
    on a false regression brings a bad release back.
    """
    names = {name for _, values in points for name in values}
    highest: dict[str, float | None] = {}
    for name in sorted(names):
        known = [(at, value) for at, values in points if (value := values.get(name)) is not None]
        if not known:
            highest[name] = None
            continue
        last_at, last = known[-1]
        earlier = [(at, value) for at, value in known if at <= last_at - TREND]
        rise = 0.0
        if earlier:
            then_at, then = earlier[-1]
            rise = max(0.0, (last - then) / (last_at - then_at).total_seconds())
        highest[name] = max(max(value for _, value in known), last + rise * settle.total_seconds())
    return highest


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
