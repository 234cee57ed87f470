"""What Prometheus and Alertmanager answer in a test: they stand behind the service's own doors.

A named query gives the values that the test wrote down, and no PromQL is evaluated. Every other query is
evaluated over the test's ``input_series``, if it has some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import aiohttp

from receiver.clients.alertmanager import Alertmanager, ListedAlert, Listing
from receiver.clients.prometheus import Points, Prometheus
from receiver.domain.clock import Clock
from receiver.domain.errors import PermanentError
from receiver.policy.model import PolicySet
from receiver.trials.policy_test.evaluating import Evaluator
from receiver.trials.policy_test.model import FiringAlert, PolicyTest

NOWHERE = "http://policy-test.invalid"
UP_FOR = timedelta(days=3)


class StoryPrometheus(Prometheus):
    """Tells what the test says. ``landed`` gives the moments at which writes of the service landed."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        test: PolicyTest,
        policies: PolicySet,
        landed: Callable[[], Sequence[datetime]],
        evaluator: Evaluator | None,
    ) -> None:
        super().__init__(session, NOWHERE)
        self._test = test
        self._landed = landed
        told = set(test.queries).union(*test.after_writes)
        # Two policies may give the same query two names.
        self._named = {
            query: name
            for policy in policies.policies
            for name, query in policy.queries.items()
            if name in told
        }
        self._evaluator = evaluator
        self.refused: dict[str, str] = {}

    async def values(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> Points:
        """See `Prometheus.values`."""
        name = self._named.get(query)
        if name is not None:
            moments = [start + step * number for number in range((end - start) // step + 1)]
            landed = self._landed()
            told = [(at, self._value(name, at, landed)) for at in moments]
            return [(at, value) for at, value in told if value is not None]
        if self._evaluator is None:
            return []
        try:
            return await self._evaluator.values(query, start=start, end=end, step=step)
        except PermanentError as error:
            # In production that is no data; in a test it would prove nothing.
            self.refused[query] = str(error)
            raise

    async def value(self, query: str, *, at: datetime) -> float | None:
        """See `Prometheus.value`."""
        points = await self.values(query, start=at, end=at, step=timedelta(seconds=1))
        return points[0][1] if points else None

    def _value(self, name: str, at: datetime, landed: Sequence[datetime]) -> float | None:
        """By the newest write until this moment of which the test says what follows, else from the start."""
        found, since = self._test.queries.get(name), self._test.clock
        for after, moment_of_write in zip(self._test.after_writes, landed, strict=False):
            if moment_of_write <= at and name in after:
                found, since = after[name], moment_of_write
        return None if found is None else found.at(at, since=since)


class StoryAlertmanager(Alertmanager):
    """Lists the alerts of the test that fire now."""

    def __init__(self, session: aiohttp.ClientSession, test: PolicyTest, clock: Clock) -> None:
        super().__init__(session, NOWHERE)
        self._test = test
        self._clock = clock

    async def listing(self, *, alertname: str | None = None) -> Listing:
        """See `Alertmanager.listing`."""
        since = self._clock.now() - self._test.clock
        firing = [
            alert
            for alert in self._test.alerts
            if alert.at <= since and (alert.until is None or since < alert.until)
        ]
        wanted = [alert for alert in firing if alertname in (None, alert.labels.get("alertname"))]
        return Listing(tuple(self._listed(alert) for alert in wanted), self._test.clock - UP_FOR)

    def _listed(self, alert: FiringAlert) -> ListedAlert:
        return ListedAlert(
            labels=alert.labels,
            annotations=alert.annotations,
            starts_at=self._test.clock + alert.at,
            receivers=frozenset({"stanch"}),
            suppressed=False,
            fingerprint="",
            generator_url="",
        )
