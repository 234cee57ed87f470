"""The real pipeline in the demo world, in one process, on a clock that the test moves.

Nothing here expects or mocks: the cluster, Prometheus and Alertmanager answer over HTTP, the store is the
real one, and a test drives time with `pass_time`, which works off whatever comes due on the way.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import aiohttp
from builders import labels as usual_labels
from builders import policies as usual_policies

from receiver.clients import cluster
from receiver.clients.alertmanager import Alertmanager
from receiver.clients.database import Databases
from receiver.clients.endpoints import Endpoints
from receiver.clients.isolator import Isolator
from receiver.clients.prometheus import Prometheus
from receiver.demo.kubernetes import SteppedClock
from receiver.demo.scenario import Scenario, scenario
from receiver.demo.world import CLUSTER, DemoWorld, demo_world
from receiver.domain.events import Event
from receiver.domain.incidents import Incident
from receiver.evidence.capture import Evidence
from receiver.pipeline.counters import Counters
from receiver.pipeline.duties import Duties, Retention
from receiver.pipeline.joining import join_waiting
from receiver.pipeline.worker import Worker
from receiver.pipeline.world import Loaded, Place, World
from receiver.policy.model import PolicySet
from receiver.store import reading, timeline
from receiver.store.engine import Delivery, Store
from remediations import registry
from remediations.isolation import registry as isolations


@dataclass
class Told:
    """A destination that keeps what it is told."""

    name: str = "told"
    pages_only: bool = False
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    failing: Exception | None = None

    def wants(self, body: Any) -> bool:
        """Everything, or pages."""
        return bool(body["pages"]) if self.pages_only else True

    async def send(self, body: Any, *, key: str) -> None:
        """Keep it, or fail as told."""
        if self.failing is not None:
            raise self.failing
        self.bodies.append(dict(body))
        self.keys.append(key)


@dataclass
class Harness:
    """What a test of the pipeline holds in its hands."""

    clock: SteppedClock
    demo: DemoWorld
    world: World
    worker: Worker
    counters: Counters
    told: Told

    async def deliver(self, body: bytes, *, source: str = "alertmanager") -> None:
        """Keep a body and join it, as the intake and the reader do."""
        now = self.clock.now().timestamp()
        await self.world.store.keep(Delivery(now, source, hashlib.sha256(body).hexdigest(), body))
        while (await join_waiting(self.world, self.counters)).deliveries:
            pass

    async def work(self) -> None:
        """Do everything that is due now."""
        await self.worker.settle()

    async def tell(self) -> None:
        """Send everything that people are to be told."""
        duties = Duties(self.world, self.counters, on_joined=lambda: None, retention=Retention())
        while await duties.tell():
            pass

    async def pass_time(self, duration: timedelta, *, step: timedelta = timedelta(seconds=15)) -> None:
        """Let the world live on, a step at a time, and the service with it."""
        end = self.clock.now() + duration
        while self.clock.now() < end:
            await self.clock.advance(min(step, end - self.clock.now()))
            self.demo.api.reconcile()
            await self.work()

    async def incident(self, number: int = 1) -> Incident:
        """The incident as stored."""
        return await self.world.store.read(lambda tx: timeline.load(tx, number))

    async def incidents(self) -> list[Incident]:
        """All of them, newest first."""
        return await self.world.store.read(
            lambda tx: reading.list_incidents(tx, before=None, limit=200, only_open=False)
        )

    async def events(self, number: int = 1) -> list[Event]:
        """The timeline's events."""
        recorded = await self.world.store.read(lambda tx: timeline.timeline(tx, number))
        return [one.event for one in recorded]

    async def kinds(self, number: int = 1) -> list[str]:
        """The timeline's kinds of events, in order."""
        return [event.event for event in await self.events(number)]

    def reload(self, policies: PolicySet) -> None:
        """Other policies from now on."""
        self.world.loaded.policies = policies

    async def fall_ill(self, *, after: timedelta = timedelta(minutes=7)) -> None:
        """Release the bad version and live with it for a while."""
        self.demo.release_bad()
        await self.pass_time(after)

    def rival(self) -> Harness:
        """A second worker over the same store and world, as another replica would be."""
        world = replace(self.world, owner=f"rival-{uuid.uuid4().hex[:6]}")
        return Harness(self.clock, self.demo, world, Worker(world, self.counters), self.counters, self.told)


@asynccontextmanager
async def harness(
    store: Store,
    *,
    policies: PolicySet | None = None,
    with_scenario: Scenario | str = "inc-001",
    alertmanager: bool = False,
    place: Place | None = None,
    databases: Databases | None = None,
    endpoints: Endpoints | None = None,
    evidence: Evidence | None = None,
) -> AsyncIterator[Harness]:
    """The pipeline over this store, in the demo world, at noon on a healthy day."""
    clock = SteppedClock()
    found = scenario(with_scenario) if isinstance(with_scenario, str) else with_scenario
    async with AsyncExitStack() as stack:
        demo = await stack.enter_async_context(demo_world(found, clock))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        door = await cluster.connect(url=demo.api.url)
        stack.push_async_callback(door.close)
        databases, endpoints = databases or Databases(), endpoints or Endpoints()
        counters = Counters()
        told = Told()
        world = World(
            owner="test",
            store=store,
            clock=clock,
            cluster=door,
            prometheus=Prometheus(session, demo.prometheus.url),
            alertmanagers=[Alertmanager(session, demo.alertmanager.url)] if alertmanager else [],
            remediations=registry.build(door, databases, endpoints),
            catalogue=registry.catalogue(),
            loaded=Loaded(policies or usual_policies()),
            destinations=[told],
            place=place or Place(cluster=CLUSTER, receiver="stanch"),
            databases=databases,
            endpoints=endpoints,
            evidence=evidence or Evidence(),
            isolations=isolations.build(door),
            isolator=Isolator(door.wire),
        )
        yield Harness(clock, demo, world, Worker(world, counters), counters, told)
        await asyncio.sleep(0)


__all__ = ["Harness", "Told", "harness", "usual_labels"]
