"""Asks one Prometheus: values now, values over time, what fires, and how fresh its rules are.

Every answer is bounded in time and size, and every failure is a TemporaryError: whoever asked has no data
then, and no data decides nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from receiver.clients.bodies import whole
from receiver.domain.alerts import parse_time
from receiver.domain.errors import PermanentError, TemporaryError

TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024

Points = Sequence[tuple[datetime, float]]


@dataclass(frozen=True)
class RuleState:
    """One alerting rule as Prometheus runs it."""

    name: str
    for_: timedelta
    interval: timedelta
    last_evaluation: datetime | None
    healthy: bool


@dataclass(frozen=True)
class RuleLabels:
    """What an alerting rule says of its alerts before they fire; other labels come with what it finds."""

    name: str
    labels: Mapping[str, str]
    healthy: bool


class Prometheus:
    """One Prometheus-compatible query API."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url.rstrip("/")

    async def value(self, query: str, *, at: datetime) -> float | None:
        """The one value of a query; None without a sample. Raises PermanentError where it has several."""
        result = await self._get("query", {"query": query, "time": _seconds(at)})
        return _one_value(result, query)

    async def values(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> Points:
        """The one series of a query over a range, oldest first, not-a-number included; empty without data."""
        result = await self._get(
            "query_range",
            {
                "query": query,
                "start": _seconds(start),
                "end": _seconds(end),
                "step": f"{step.total_seconds():g}",
            },
        )
        series = result.get("result") or []
        if len(series) > 1:
            raise PermanentError(f"the query gives {len(series)} series, not one: {query[:120]}")
        points = series[0]["values"] if series else []
        return [(datetime.fromtimestamp(float(at), UTC), _number(value)) for at, value in points]

    async def firing(self, matchers: Mapping[str, str], *, at: datetime) -> bool:
        """Whether an alert with these labels fires (``ALERTS``); external labels are not in it."""
        inside = ",".join(f"{name}={_quoted(value)}" for name, value in sorted(matchers.items()))
        query = f'ALERTS{{alertstate="firing",{inside}}}'
        result = await self._get("query", {"query": query, "time": _seconds(at)})
        return bool(result.get("result"))

    async def rules(self, alertname: str) -> list[RuleState]:
        """The alerting rules of this name, with their groups' freshness."""
        document = await self._get("rules", {"type": "alert"})
        found: list[RuleState] = []
        for group in document.get("groups") or []:
            for rule in group.get("rules") or []:
                if rule.get("type") == "alerting" and rule.get("name") == alertname:
                    last = rule.get("lastEvaluation")
                    found.append(
                        RuleState(
                            name=alertname,
                            for_=timedelta(seconds=float(rule.get("duration", 0))),
                            interval=timedelta(seconds=float(group.get("interval", 60))),
                            last_evaluation=parse_time(last) if last else None,
                            healthy=rule.get("health") == "ok",
                        )
                    )
        return found

    async def alerting_rules(self) -> tuple[RuleLabels, ...]:
        """Every alerting rule that it runs."""
        document = await self._get("rules", {"type": "alert"})
        return tuple(
            RuleLabels(
                str(rule.get("name", "")),
                {str(name): str(value) for name, value in (rule.get("labels") or {}).items()},
                rule.get("health") != "err",
            )
            for group in document.get("groups") or []
            for rule in group.get("rules") or []
            if rule.get("type") == "alerting"
        )

    async def now(self) -> datetime:
        """Its own clock."""
        found = await self._get("query", {"query": "vector(1)"})
        try:
            return datetime.fromtimestamp(float(found["result"][0]["value"][0]), UTC)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise TemporaryError("Prometheus does not tell its time") from error

    async def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            await self._get("query", {"query": "vector(1)"})
        except (TemporaryError, PermanentError):
            return False
        return True

    async def _get(self, endpoint: str, parameters: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            async with self._session.get(
                f"{self.url}/api/v1/{endpoint}",
                params=parameters,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
                allow_redirects=False,
            ) as response:
                body = await whole(response.content, most=MAX_ANSWER_BYTES)
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TemporaryError(f"Prometheus cannot be reached: {type(error).__name__}") from error
        return _data(status, body)


def _data(status: int, body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
        if status == 200 and document["status"] == "success":
            data: Mapping[str, Any] = document["data"]
            return data
        message = str(document.get("error", ""))[:240]
    except (ValueError, KeyError, AttributeError, TypeError):
        message = "an answer that is not Prometheus's"
    if status in (400, 422):
        raise PermanentError(f"Prometheus refused the query: {message}")
    raise TemporaryError(f"Prometheus answered {status}: {message}")


def _one_value(result: Mapping[str, Any], query: str) -> float | None:
    kind, found = result.get("resultType"), result.get("result")
    if kind == "scalar" and isinstance(found, list):
        return _known(_number(found[1]))
    if not found:
        return None
    if len(found) > 1:
        raise PermanentError(f"the query gives {len(found)} series, not one: {query[:120]}")
    return _known(_number(found[0]["value"][1]))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(text: Any) -> float:
    return float(text)


def _seconds(at: datetime) -> str:
    return f"{at.timestamp():.3f}"


def _quoted(value: str) -> str:
    """A label value as a PromQL string: hostile text stays text."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
