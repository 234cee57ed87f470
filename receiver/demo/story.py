"""What happens in the demo: the event stream is followed, told and answered, by a person or by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from receiver.app import Service
from receiver.demo.clock import WorldClock
from receiver.demo.keys import Keys
from receiver.demo.screen import Screen
from receiver.demo.world import DemoWorld
from receiver.policy.approval import Identity

# The whole of it must be over by then, in real seconds, when nobody has to be waited for.
GIVE_UP_SECONDS = 120.0
ENDS = ("Resolved", "ClosedByHand")


@dataclass(frozen=True)
class DemoOptions:
    """What the command line was given."""

    yes: bool
    scenario: str
    speed: float
    output: str


@dataclass
class People:
    """The demo's identities: one for whoever watches, one that says yes by itself."""

    person: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    machine: str = field(default_factory=lambda: secrets.token_urlsafe(18))

    async def who(self, token: str) -> Identity | None:
        """See `Authenticator.who`."""
        if secrets.compare_digest(token, self.person):
            return Identity("you", ("oncall", "sre", "security-lead"))
        if secrets.compare_digest(token, self.machine):
            return Identity("demo-yes", ("oncall", "sre", "incident-commander", "security-lead"))
        return None


@dataclass
class PublicChannel:
    """Where everybody reads along: what the demo's service tells people, shown as it is."""

    screen: Screen
    name: str = "public"

    def wants(self, body: Mapping[str, object]) -> bool:
        """See `Destination.wants`."""
        return body.get("kind") != "AuditAnchor"

    async def send(self, body: Mapping[str, object], *, key: str) -> None:
        """See `Destination.send`."""
        self.screen.told(str(body.get("text", "")))


class Story(ABC):
    """Follows the event stream, plays the pipeline and, with --yes, the people."""

    def __init__(
        self,
        options: DemoOptions,
        world: DemoWorld,
        service: Service,
        people: People,
        screen: Screen,
        clock: WorldClock,
    ) -> None:
        self._options = options
        self._world = world
        self._service = service
        self._people = people
        self._screen = screen
        self._clock = clock
        # What waits for an answer, in its order: where it is approved or denied, and its digest.
        self._asked_for: dict[str, str] = {}
        # Over, and whoever watches may look around.
        self._done = False

    async def tell(self) -> int:
        """Until it is over, or cannot be, or somebody presses q."""
        self._screen.healthy(self._world)
        await self._clock.sleep(timedelta(minutes=2))
        self._world.release_bad()
        self._screen.released(self._world)
        ended = asyncio.create_task(self._follow(), name="demo-story")
        keys = Keys(interactive=self._options.output == "text" and not self._options.yes)
        pressed = asyncio.create_task(self._listen(keys), name="demo-keys")
        stopped = _stop_signal()
        try:
            limit = GIVE_UP_SECONDS if self._options.yes else None
            await asyncio.wait({ended, pressed, stopped}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            keys.close()
            for task in (ended, pressed, stopped):
                task.cancel()
            outcomes = await asyncio.gather(ended, pressed, stopped, return_exceptions=True)
        for outcome in outcomes[:2]:
            if isinstance(outcome, Exception):
                raise outcome
        well = outcomes[0] is True or self._done
        self._close(well=well)
        return 0 if well else 1

    async def _follow(self) -> bool:
        """Tell every event; True once it ended well."""
        headers = {"Authorization": f"Bearer {self._people.machine}", "Last-Event-ID": "0"}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        url = f"{self._service.url}/api/v1/events"
        session = aiohttp.ClientSession(headers=headers, timeout=timeout)
        async with session, session.get(url) as stream:
            async for told in _events(stream):
                self._screen.event(told)
                verdict = await self._on(session, told["event"], told["incident"])
                if verdict is not None:
                    return verdict
        return False

    @abstractmethod
    async def _on(self, session: aiohttp.ClientSession, event: dict[str, Any], incident: int) -> bool | None:
        """What follows from an event in this story; whether it ended well, once it has ended."""

    @abstractmethod
    def _close(self, *, well: bool) -> None:
        """The last word."""

    async def _answer(
        self, session: aiohttp.ClientSession, where: str, found: dict[str, Any], reason: str
    ) -> None:
        """Say yes to what is shown with --yes, else say how whoever watches can."""
        self._asked_for[where] = str(found["digest"])
        if self._options.yes:
            body = {"reason": "stanch demo --yes", "digest": found["digest"]}
            await self._post(session, f"{where}/approve", body)
            return
        self._slow_down()
        self._screen.waiting(str(found["id"]), self._hint(), reason)

    async def _listen(self, keys: Keys) -> None:
        """Keys of whoever watches: a approves, d denies, c closes, q leaves."""
        headers = {"Authorization": f"Bearer {self._people.person}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async for key in keys:
                if key == "q":
                    return
                if key in ("a", "d") and self._asked_for:
                    where = next(iter(self._asked_for))
                    digest = self._asked_for.pop(where)
                    if key == "a":
                        body = {"reason": "approved in the demo", "digest": digest}
                        await self._post(session, f"{where}/approve", body)
                    else:
                        await self._post(session, f"{where}/deny", {"reason": "denied in the demo"})
                elif key == "c":
                    await self._post(
                        session, "incidents/1/close", {"reason": "the bad release was rolled back"}
                    )

    async def _get(self, session: aiohttp.ClientSession, path: str) -> dict[str, Any]:
        async with session.get(f"{self._service.url}/api/v1/{path}") as response:
            found: dict[str, Any] = await response.json()
            return found

    async def _post(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> None:
        async with session.post(f"{self._service.url}/api/v1/{path}", json=body) as response:
            if response.status != 200:
                self._screen.refused((await response.json()).get("error", "refused"))

    def _hint(self) -> str:
        stanch = Path(sys.executable).with_name("stanch")
        shown = os.path.relpath(stanch) if stanch.is_relative_to(Path.cwd()) else str(stanch)
        return f"STANCH_URL={self._service.url} STANCH_TOKEN={self._people.person} {shown}"

    def _slow_down(self) -> None:
        self._clock.run_at(1.0)
        self._screen.pace(1.0)

    def _go_on(self) -> None:
        if self._clock.speed != self._options.speed:
            self._clock.run_at(self._options.speed)
            self._screen.pace(self._options.speed)


class Healing(Story):
    """A bad release: a plan, a yes, one write, a look at the metrics, closed with its cause."""

    _verified = False

    async def _on(self, session: aiohttp.ClientSession, event: dict[str, Any], incident: int) -> bool | None:
        name = event["event"]
        if name == "Verified":
            self._verified = True
        elif name == "ApprovalRequested":
            plan = await self._get(session, f"plans/{event['plan_id']}")
            self._screen.plan(plan)
            await self._answer(session, f"plans/{event['plan_id']}", plan, "the release is bad")
        elif name in ("Approved", "Denied", "ApprovalSuspended", "ApprovalExpired", "PlanVoided"):
            self._go_on()
        elif name == "ReadyToResolve":
            await self._ready(session, incident)
        elif name == "UndoAsked":
            self._slow_down()
            self._screen.undo_asked(event["plan_id"], self._hint())
            if self._options.yes:
                return False
        elif name == "Escalated" and self._options.yes and not self._verified:
            return False
        elif name in ENDS:
            return self._verified
        return None

    async def _ready(self, session: aiohttp.ClientSession, incident: int) -> None:
        # A P0 or P1 is closed by a person with its cause; the demo's person is this, or whoever watches.
        if self._options.yes:
            cause = f"release {self._world.scenario.bad.image} failed requests; it was rolled back"
            await self._post(session, f"incidents/{incident}/close", {"reason": cause})
            return
        self._slow_down()
        self._screen.close_asked(incident, self._hint())

    def _close(self, *, well: bool) -> None:
        self._screen.closing(self._world, well=well)


class Containing(Story):
    """While a rollback waits for its yes, a miner is found in a pod: nothing is healed any more."""

    _holding = 0
    _attacked: int | None = None

    async def _on(self, session: aiohttp.ClientSession, event: dict[str, Any], incident: int) -> bool | None:
        name = event["event"]
        if name == "ApprovalRequested" and not self._world.mined:
            self._screen.plan(await self._get(session, f"plans/{event['plan_id']}"))
            self._screen.mined(self._world.start_miner())
        elif name == "TurnedSecurity":
            self._attacked = incident
        elif name == "IsolationAsked":
            found = await self._get(session, f"isolations/{event['isolation_id']}")
            self._screen.isolation(found)
            await self._answer(session, f"isolations/{event['isolation_id']}", found, "cut it off")
        elif name in ("IsolationApproved", "IsolationDenied"):
            self._go_on()
        elif name in ("IsolationFailed", "IsolationLeaks") and self._options.yes:
            return False
        elif name == "IsolationHolds":
            self._holding += 1
            if self._holding == 2:
                return await self._contained(session)
        return None

    async def _contained(self, session: aiohttp.ClientSession) -> bool | None:
        found = await self._get(session, f"incidents/{self._attacked}")
        self._screen.incident(found)
        waiting = (await self._get(session, "incidents/1"))["plan"]
        contained = bool(found["evidence"]) and waiting["state"] == "void"
        if self._options.yes or not contained:
            return contained
        self._done = True
        self._slow_down()
        self._screen.look_around(self._attacked, self._hint())
        return None

    def _close(self, *, well: bool) -> None:
        self._screen.contained(self._world, well=well)


async def _events(stream: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in stream.content:
        if line.startswith(b"data: "):
            told: dict[str, Any] = json.loads(line[len(b"data: ") :])
            yield told


def _stop_signal() -> asyncio.Task[bool]:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
    return asyncio.create_task(stopped.wait(), name="demo-stop")
