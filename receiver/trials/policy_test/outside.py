"""The endpoints of a test: each answers with its status at once, through the service's own door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from receiver.clients.answers import Answer, Applied
from receiver.clients.endpoints import Endpoint, Endpoints
from receiver.domain.endpoints import Answered
from receiver.domain.plans import WarmUpStep
from receiver.trials.policy_test.model import Obeyed, Outside


class StoryEndpoints(Endpoints):
    """Answers as the test says, and takes no time."""

    def __init__(self, endpoints: Mapping[str, Outside], now: Callable[[], datetime]) -> None:
        configured = {
            name: Endpoint(kind=one.kind, url=f"https://{number}.example/")
            for number, (name, one) in enumerate(endpoints.items())
        }
        super().__init__(configured, steady=lambda: 0.0, pause=_at_once)
        self._statuses = {configured[name].url: one.status for name, one in endpoints.items()}
        self._now = now
        self.obeyed: list[Obeyed] = []

    async def warm(self, step: WarmUpStep) -> Answer:
        """See `Endpoints.warm`. What was done is kept, as the small cluster keeps its writes."""
        answer = await super().warm(step)
        if isinstance(answer, Applied):
            self.obeyed.append(Obeyed(self._now(), step.target))
        return answer

    async def _ask(self, endpoint: Endpoint, saying: Mapping[str, str]) -> Answered | str:
        return Answered(self._statuses[endpoint.url], 0.0)


async def _at_once(seconds: float) -> None:
    """A story has no time to wait in."""
