"""A request's parameters, from the query string or a form, read as Prometheus reads them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import promql_parser as promql
from aiohttp import web

from receiver.demo.prometheus.errors import BadDataError


@dataclass(frozen=True)
class Parameters:
    """Names and values in the order given; a name may come several times, the first counts."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    async def of(cls, request: web.Request) -> Parameters:
        """The query string's parameters, before them those of a POSTed form."""
        form = await request.post() if request.method == "POST" else {}
        posted = tuple((name, str(value)) for name, value in form.items())
        return cls(posted + tuple(request.query.items()))

    def every(self, name: str) -> list[str]:
        """All values of one name."""
        return [value for given, value in self.pairs if given == name]

    def text(self, name: str) -> str:
        """The value, or an empty text."""
        return next(iter(self.every(name)), "")

    def as_dict(self) -> dict[str, str]:
        """One value for each name."""
        return dict(reversed(self.pairs))

    def moment(self, name: str, default: datetime | None = None) -> datetime:
        """A time: seconds since the epoch, or RFC 3339."""
        text = self.text(name)
        if not text and default is not None:
            return default
        try:
            return datetime.fromtimestamp(float(text), UTC)
        except (ValueError, OverflowError, OSError):
            pass
        try:
            if (parsed := datetime.fromisoformat(text)).tzinfo is not None:
                return parsed
        except ValueError:
            pass
        raise BadDataError(f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp')

    def duration(self, name: str) -> timedelta:
        """A duration: seconds, or Prometheus's notation such as 1m30s."""
        text = self.text(name)
        try:
            if math.isfinite(seconds := float(text)):
                return timedelta(seconds=seconds)
        except (ValueError, OverflowError):
            if re.fullmatch(r"(\d+(ms|[smhdwy]))+", text):
                parsed: timedelta = promql.parse_duration(text)
                return parsed
        raise BadDataError(f'invalid parameter "{name}": cannot parse "{text}" to a valid duration')
