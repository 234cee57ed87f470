"""The metrics of the demo's patient: counters that follow the health of the pods that serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from receiver.demo.prometheus import Sample
from receiver.demo.scenario import Scenario

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ENDPOINTS = (("/v1/agents", 0.7), ("/v1/runs", 0.3))
LOCATIONS = ("fra", "iad", "sin")


class Traffic:
    """Counts requests, errors and latencies from one scrape to the next.

    ``sick_share`` tells which part of the serving pods is sick now, None where nothing serves.
    """

    def __init__(self, scenario: Scenario, sick_share: Callable[[datetime], float | None]) -> None:
        self.scenario = scenario
        self._sick_share = sick_share
        self._last: datetime | None = None
        self._requests: dict[str, float] = dict.fromkeys((name for name, _ in ENDPOINTS), 0.0)
        self._errors: dict[str, float] = dict.fromkeys((name for name, _ in ENDPOINTS), 0.0)
        self._buckets: dict[float, float] = dict.fromkeys((*BUCKETS, float("inf")), 0.0)

    def collect(self, at: datetime) -> Iterable[Sample]:
        """The counters as a scrape at this moment finds them."""
        share = self._sick_share(at)
        if self._last is not None and at > self._last and share is not None:
            self._count((at - self._last).total_seconds(), share)
        self._last = at
        app = {"app": self.scenario.app, "namespace": self.scenario.namespace}
        for endpoint, count in self._requests.items():
            yield Sample("gl_requests_total", {**app, "endpoint": endpoint}, count)
        for endpoint, count in self._errors.items():
            yield Sample("gl_errors_total", {**app, "endpoint": endpoint}, count)
        for bound, count in self._buckets.items():
            text = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield Sample("gl_api_latency_seconds_bucket", {**app, "le": text}, count)
        for location in LOCATIONS:
            up = 0.0 if share is None else 1.0
            yield Sample("probe_success", {"job": self.scenario.app, "location": location}, up)

    def _count(self, seconds: float, share: float) -> None:
        scenario = self.scenario
        total = scenario.requests_per_second * seconds
        ratio = scenario.bad.error_ratio * share + scenario.good.error_ratio * (1 - share)
        for endpoint, part in ENDPOINTS:
            self._requests[endpoint] += total * part
            self._errors[endpoint] += total * part * ratio
        for latency, part in (
            (scenario.bad.latency_seconds, share),
            (scenario.good.latency_seconds, 1 - share),
        ):
            for bound in self._buckets:
                # Latencies spread evenly between half and one and a half of the typical one.
                below = min(1.0, max(0.0, (bound - latency / 2) / latency))
                self._buckets[bound] += total * part * below
