"""A door to one endpoint that may be warmed up: it answers at once, and keeps what it was sent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from receiver.clients.answers import Answer, Unanswered
from receiver.clients.endpoints import Endpoint
from receiver.domain.endpoints import EndpointKind
from receiver.domain.plans import WarmUpStep
from receiver.trials.policy_test.model import Outside
from receiver.trials.policy_test.outside import StoryEndpoints

NAME = "api-warm-up"


class WarmDoor(StoryEndpoints):
    """The steps that were ``sent`` to the endpoint; their answers can be lost, or never come."""

    def __init__(self) -> None:
        super().__init__({NAME: Outside(EndpointKind.WARM_UP, 200)}, lambda: datetime.now(UTC))
        self.sent: list[WarmUpStep] = []
        self.loses_answers = False
        self.hangs = False
        self.reached = asyncio.Event()

    def answers(self, status: int) -> None:
        """With this from now on."""
        self._statuses = dict.fromkeys(self._statuses, status)

    def move(self) -> None:
        """Somebody wrote another address into the file."""
        moved = Endpoint(kind=EndpointKind.WARM_UP, url="https://elsewhere.example/")
        self._configured[NAME] = moved
        self._statuses[moved.url] = 200

    async def warm(self, step: WarmUpStep) -> Answer:
        """Keep it, send it, and perhaps never tell."""
        self.sent.append(step)
        self.reached.set()
        if self.hangs:
            await asyncio.Event().wait()
        answer = await super().warm(step)
        return Unanswered("the connection broke") if self.loses_answers else answer
