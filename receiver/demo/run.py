"""`stanch demo`: the real service in the demo world, an incident from alert to resolved, told live.

Loopback only: a cluster, Prometheus and Alertmanager of our own, a fresh store in a temporary folder, free
ports, and everything removed at the end. The policies are the shipped ones, byte for byte; time runs faster
by one factor, and at its real pace while a person is being asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from rich.console import Console

from receiver.app import Service, serving
from receiver.clients import cluster
from receiver.demo.clock import WorldClock
from receiver.demo.keys import Keys
from receiver.demo.scenario import scenario as find_scenario
from receiver.demo.screen import Screen
from receiver.demo.status_page import StatusPages
from receiver.demo.world import CLUSTER, DemoWorld, demo_world
from receiver.domain.errors import NotFound
from receiver.pipeline.world import Timing
from receiver.policy.approval import Identity
from receiver.settings import Settings

DEFAULT_SPEED = 240.0
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
            return Identity("you", ("oncall", "sre"))
        if secrets.compare_digest(token, self.machine):
            return Identity("demo-yes", ("oncall", "sre", "incident-commander"))
        return None


def main(options: DemoOptions) -> int:
    """Run the demo; 0 when the incident was cured and resolved, 1 when not."""
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(run(options))
    return 130


async def run(options: DemoOptions, console: Console | None = None) -> int:
    """The demo in this event loop. Raises NotFound for an unknown scenario."""
    scenario = find_scenario(options.scenario)
    _quiet_logs()
    clock = WorldClock(speed=options.speed)
    screen = Screen(output=options.output, clock=clock, console=console)
    people = People()
    with tempfile.TemporaryDirectory(prefix="stanch-demo-") as folder:
        async with (
            demo_world(scenario, clock) as world,
            StatusPages() as pages,
            _service(world, pages, clock, people, Path(folder)) as service,
        ):
            screen.opening(scenario, options, service.url)
            story = _Story(options, world, service, people, screen, clock)
            return await story.tell()


@contextlib.asynccontextmanager
async def _service(
    world: DemoWorld, pages: StatusPages, clock: WorldClock, people: People, folder: Path
) -> AsyncIterator[Service]:
    """The service, told nothing that does not lie on loopback."""
    token = secrets.token_urlsafe(18)
    tokens = folder / "webhook-tokens"
    tokens.write_text(token + "\n", encoding="utf-8")
    endpoints = folder / "endpoints.yaml"
    pages.write_endpoints(endpoints)
    settings = Settings(
        listen="127.0.0.1:0",
        store=f"sqlite:///{folder / 'stanch.sqlite3'}",
        prometheus_url=world.prometheus.url,
        alertmanager_urls=(world.alertmanager.url,),
        alertmanager_receiver="stanch",
        cluster=CLUSTER,
        webhook_token_file=tokens,
        endpoints_file=endpoints,
    )
    door = await cluster.connect(url=world.api.url)
    try:
        # Polling is in real time: at this speed a second is minutes.
        timing = Timing(poll=timedelta(milliseconds=100), reconcile=timedelta(seconds=30))
        async with serving(settings, clock=clock, door=door, timing=timing, people=people) as service:
            world.alertmanager.send_to(service.url, token)
            yield service
    finally:
        await door.close()


class _Story:
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
        self._verified = False
        self._plan: dict[str, Any] | None = None

    async def tell(self) -> int:
        """Until the incident is over, or cannot be, or somebody presses q."""
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
        well = outcomes[0] is True
        self._screen.closing(self._world, well=well)
        return 0 if well else 1

    async def _follow(self) -> bool:
        """Tell every event; True once the incident is resolved after a cure that helped."""
        headers = {"Authorization": f"Bearer {self._people.machine}", "Last-Event-ID": "0"}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        url = f"{self._service.url}/api/v1/events"
        session = aiohttp.ClientSession(headers=headers, timeout=timeout)
        async with session, session.get(url) as stream:
            async for told in _events(stream):
                verdict = await self._on(session, told)
                if verdict is not None:
                    return verdict
        return False

    async def _on(self, session: aiohttp.ClientSession, told: dict[str, Any]) -> bool | None:
        event, incident = told["event"], told["incident"]
        name = event["event"]
        self._screen.event(told)
        if name == "Verified":
            self._verified = True
        elif name == "ApprovalRequested":
            await self._asked(session, event["plan_id"])
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

    async def _asked(self, session: aiohttp.ClientSession, plan_id: str) -> None:
        async with session.get(f"{self._service.url}/api/v1/plans/{plan_id}") as response:
            self._plan = await response.json()
        assert self._plan is not None
        self._screen.plan(self._plan)
        if self._options.yes:
            body = {"reason": "stanch demo --yes", "digest": self._plan["digest"]}
            await self._post(session, f"plans/{plan_id}/approve", body)
            return
        self._slow_down()
        self._screen.waiting(plan_id, self._hint())

    async def _ready(self, session: aiohttp.ClientSession, incident: int) -> None:
        # A P0 or P1 is closed by a person with its cause; the demo's person is this, or whoever watches.
        if self._options.yes:
            cause = f"release {self._world.scenario.bad.image} failed requests; it was rolled back"
            await self._post(session, f"incidents/{incident}/close", {"reason": cause})
            return
        self._slow_down()
        self._screen.close_asked(incident, self._hint())

    async def _listen(self, keys: Keys) -> None:
        """Keys of whoever watches: a approves, d denies, c closes, q leaves."""
        headers = {"Authorization": f"Bearer {self._people.person}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async for key in keys:
                if key == "q":
                    return
                if key == "a" and self._plan is not None:
                    body = {"reason": "approved in the demo", "digest": self._plan["digest"]}
                    await self._post(session, f"plans/{self._plan['id']}/approve", body)
                elif key == "d" and self._plan is not None:
                    await self._post(
                        session, f"plans/{self._plan['id']}/deny", {"reason": "denied in the demo"}
                    )
                elif key == "c":
                    await self._post(
                        session, "incidents/1/close", {"reason": "the bad release was rolled back"}
                    )

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


def _quiet_logs() -> None:
    """The timeline is what a newcomer wants to see; the log of the service stays for errors."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


__all__ = ["DemoOptions", "NotFound", "main", "run"]
