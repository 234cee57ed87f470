"""The stage of one test: the real pipeline over a real store, around a small cluster, on a clock of its own.

The store is a file that is thrown away; the cluster is the demo world's API server, spoken to over HTTP
through the same door as in production. Only Prometheus and Alertmanager are told by the test.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from receiver.clients import cluster
from receiver.clients.cluster import Cluster
from receiver.demo.kubernetes import ApiServer, SteppedClock
from receiver.domain.incidents import Incident
from receiver.pipeline.counters import Counters
from receiver.pipeline.expiring import expire
from receiver.pipeline.joining import join_waiting
from receiver.pipeline.telling import deliver
from receiver.pipeline.worker import Worker
from receiver.pipeline.world import Loaded, World
from receiver.policy.model import PolicySet
from receiver.store import claims, effects, migrate, mitigations, reading, timeline
from receiver.store.engine import Delivery, Store
from receiver.store.sqlite import open_sqlite
from receiver.trials.policy_test.evaluating import Evaluator, PromQL, evaluator
from receiver.trials.policy_test.metrics import StoryAlertmanager, StoryPrometheus
from receiver.trials.policy_test.model import PolicyTest
from receiver.trials.policy_test.outside import StoryEndpoints
from receiver.trials.policy_test.seen import Seen, SeenIncident, obeyed_of, writes_of
from receiver.trials.policy_test.sessions import StoryDatabases
from remediations import registry
from remediations.isolation import registry as isolations

SOURCE = "alertmanager"
AT_MOST = 200
TEMPLATE = "template.sqlite3"


@dataclass
class People:
    """A destination that keeps what people are told."""

    name: str = "people"
    bodies: list[Mapping[str, Any]] = field(default_factory=list)

    def wants(self, body: Mapping[str, object]) -> bool:
        """Everything."""
        return True

    async def send(self, body: Mapping[str, object], *, key: str) -> None:
        """Keep it."""
        self.bodies.append(dict(body))


@dataclass
class Stage:
    """What playing a test needs in its hands."""

    clock: SteppedClock
    api: ApiServer
    world: World
    worker: Worker
    counters: Counters
    people: People
    prometheus: StoryPrometheus
    databases: StoryDatabases
    endpoints: StoryEndpoints

    async def jump_to(self, moment: datetime) -> None:
        """Let it be that time; the cluster's controllers live through what lies between."""
        self.clock.jump(max(moment - self.clock.now(), timedelta(0)))
        self.api.reconcile()

    async def receive(self, bodies: list[bytes]) -> None:
        """Keep these notifications and join them, as the intake and the reader do."""
        now = self.clock.now().timestamp()
        for body in bodies:
            await self.world.store.keep(Delivery(now, SOURCE, hashlib.sha256(body).hexdigest(), body))
        while (await join_waiting(self.world, self.counters)).deliveries:
            pass

    async def work(self) -> None:
        """Do everything that is due now; the cluster's controllers begin on what was written."""
        await expire(self.world)
        await self.worker.settle()
        self.api.reconcile()

    async def next_due(self) -> datetime | None:
        """When the service has something to do next."""
        due = await self.world.store.read(claims.next_due)
        over = await self.world.store.read(mitigations.next_due)
        moments = [] if over is None else [over]
        return min([*moments, timeline.moment(due)] if due is not None else moments, default=None)

    async def newest_incident(self) -> Incident | None:
        """The one that opened last."""
        found = await self.world.store.read(
            lambda tx: reading.list_incidents(tx, before=None, limit=1, only_open=False)
        )
        return found[0] if found else None

    async def look(self) -> Seen:
        """Everything that a test can see now; what is to be told is told first."""
        while await deliver(self.world, self.counters):
            pass
        incidents = await self.world.store.read(_incidents)
        obeyed = (*self.databases.obeyed, *self.endpoints.obeyed)
        writes = writes_of(self.api.calls, incidents) + obeyed_of(obeyed, incidents)
        return Seen(incidents, writes, tuple(self.people.bodies))


def _incidents(tx: Any) -> tuple[SeenIncident, ...]:
    found = reading.list_incidents(tx, before=None, limit=AT_MOST, only_open=False)
    return tuple(
        SeenIncident(
            incident,
            tuple(timeline.timeline(tx, incident.id)),
            None if incident.plan is None else effects.load_plan(tx, incident.plan.plan_id).plan,
        )
        for incident in reversed(found)
    )


class Stages:
    """Makes a stage for each test: an empty store, and the one small cluster, emptied."""

    def __init__(
        self, folder: Path, api: ApiServer, door: Cluster, session: aiohttp.ClientSession, promql: PromQL
    ) -> None:
        self._folder = folder
        self._api = api
        self._door = door
        self._session = session
        self._promql = promql
        self._made = 0

    @asynccontextmanager
    async def stage(self, test: PolicyTest, policies: PolicySet) -> AsyncIterator[Stage]:
        """The world at the test's clock, before anything has happened."""
        self._made += 1
        path = self._folder / f"{self._made}.sqlite3"
        shutil.copyfile(self._folder / TEMPLATE, path)
        async with evaluator(test, self._promql, self._folder, self._session) as evaluating:
            store = open_sqlite(path, durable=False)
            try:
                yield self._stage(test, policies, store, evaluating)
            finally:
                await store.close()
                path.unlink()

    def _stage(
        self, test: PolicyTest, policies: PolicySet, store: Store, evaluating: Evaluator | None
    ) -> Stage:
        clock, api, counters, people = SteppedClock(test.clock), self._api, Counters(), People()
        api.start_over(clock)
        api.restore(test.objects)
        databases = StoryDatabases(test.databases, test.clock, clock.now)
        endpoints = StoryEndpoints(test.endpoints, clock.now)

        def landed() -> list[datetime]:
            written = [datetime.fromisoformat(call.at) for call in api.writes]
            obeyed = (*databases.obeyed, *endpoints.obeyed)
            return sorted([*written, *(one.at for one in obeyed)])

        prometheus = StoryPrometheus(self._session, test, policies, landed, evaluating)
        world = World(
            owner="policy-test",
            store=store,
            clock=clock,
            cluster=self._door,
            isolations=isolations.build(self._door),
            prometheus=prometheus,
            alertmanagers=[StoryAlertmanager(self._session, test, clock)],
            remediations=registry.build(self._door, databases, endpoints),
            catalogue=registry.catalogue(),
            loaded=Loaded(policies),
            destinations=[people],
            databases=databases,
            endpoints=endpoints,
        )
        worker = Worker(world, counters)
        return Stage(clock, api, world, worker, counters, people, prometheus, databases, endpoints)


@asynccontextmanager
async def stages(promql: PromQL = PromQL.BUILTIN) -> AsyncIterator[Stages]:
    """What all tests of one run share; everything is thrown away at the end."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stanch-policy-test-")))
        # An empty store is brought to this release's schema once; each test starts from a copy.
        await asyncio.to_thread(migrate.upgrade, f"sqlite:///{folder / TEMPLATE}")
        api = await stack.enter_async_context(ApiServer(clock=SteppedClock(), automatic=False))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        door = await cluster.connect(url=api.url)
        stack.push_async_callback(door.close)
        yield Stages(folder, api, door, session, promql)
