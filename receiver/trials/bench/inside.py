"""The pipeline with everything outside in memory, as a process of its own: whole lifecycles, or many plans
that wait. Prints one JSON object with what it measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from receiver.app import open_store, read_policies
from receiver.clients import cluster
from receiver.clients.cluster import Cluster
from receiver.clients.database import Databases
from receiver.clients.endpoints import Endpoints
from receiver.domain.incidents import Incident, PlanState
from receiver.pipeline.counters import Counters
from receiver.pipeline.joining import join_waiting
from receiver.pipeline.people import approve_plan
from receiver.pipeline.worker import Worker
from receiver.pipeline.world import Loaded, World
from receiver.policy.approval import Identity
from receiver.store import audit, reading, timeline
from receiver.store.engine import Delivery
from receiver.trials.bench import patients
from receiver.trials.bench.children import memory_mb
from receiver.trials.bench.standins import BenchClock, MemoryCluster, MemoryPrometheus
from remediations import registry

BATCH = 50
CAROL = Identity("carol", ("oncall",))
FILL_LIMIT_SECONDS = 180.0


@dataclass
class Inside:
    """The pipeline and its stand-ins."""

    clock: BenchClock
    prometheus: MemoryPrometheus
    world: World
    worker: Worker
    counters: Counters

    async def deliver(self, apps: Sequence[str], *, resolved: bool = False) -> None:
        """A notification for each of these, kept and joined."""
        now = self.clock.now()
        since = now - timedelta(minutes=1)
        ended = now if resolved else None
        bodies = [patients.notification([patients.alert(app, since=since, ended=ended)]) for app in apps]
        await asyncio.gather(
            *(
                self.world.store.keep(
                    Delivery(now.timestamp(), "bench", hashlib.sha256(body).hexdigest(), body)
                )
                for body in bodies
            )
        )
        while (await join_waiting(self.world, self.counters)).deliveries:
            pass

    async def newest(self, count: int) -> list[Incident]:
        """The incidents opened last."""
        return await self.world.store.read(
            lambda tx: reading.list_incidents(tx, before=None, limit=count, only_open=False)
        )

    async def seal(self) -> None:
        """Bring everything into the audit chain."""
        while await self.world.store.write(audit.seal) >= 2000:
            pass


@asynccontextmanager
async def inside(store_url: str, cluster_url: str) -> AsyncIterator[Inside]:
    """The real store, worker and recording; the cluster of that address, or one in memory."""
    clock = BenchClock()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stanch-bench-inside-")))
        policies = read_policies(patients.write_policies(folder)).policies
        assert policies is not None
        store = await asyncio.to_thread(open_store, store_url, asyncio.get_running_loop())
        stack.push_async_callback(store.close)
        door: Cluster = await cluster.connect(url=cluster_url) if cluster_url else MemoryCluster(clock)
        stack.push_async_callback(door.close)
        prometheus = MemoryPrometheus(clock)
        counters = Counters()
        world = World(
            owner="bench",
            store=store,
            clock=clock,
            cluster=door,
            prometheus=prometheus,
            alertmanagers=[],
            remediations=registry.build(door, Databases(), Endpoints()),
            catalogue=registry.catalogue(),
            loaded=Loaded(policies),
            destinations=[],
        )
        yield Inside(clock, prometheus, world, Worker(world, counters), counters)


async def lifecycles(held: Inside, count: int) -> dict[str, Any]:
    """From alert to resolved, a batch at a time: received, planned, approved, written, verified, ended."""
    took = 0.0
    resolved = 0
    events: list[int] = []
    # The real API server's releases are an hour old once only.
    door = held.world.cluster
    batch = BATCH if isinstance(door, MemoryCluster) else count
    for first in range(0, count, batch):
        apps = patients.names(min(batch, count - first), first=first)
        held.prometheus.fall_ill()
        if isinstance(door, MemoryCluster):
            door.release()
        began = time.perf_counter()
        await held.deliver(apps)
        await held.worker.settle()
        found = await held.newest(len(apps))
        await asyncio.gather(
            *(
                approve_plan(held.world, incident.plan.plan_id, CAROL, digest=None, reason="bench")
                for incident in found
                if incident.plan is not None and incident.plan.state is PlanState.AWAITING
            )
        )
        await held.worker.settle()
        held.prometheus.cure()
        held.clock.advance(timedelta(seconds=10))
        await held.worker.settle()
        held.clock.advance(timedelta(minutes=6))
        await held.worker.settle()
        await held.deliver(apps, resolved=True)
        await held.worker.settle()
        # The window is longer than any severity's.
        held.clock.advance(timedelta(minutes=61))
        await held.worker.settle()
        await held.seal()
        took += time.perf_counter() - began
        ended = await held.newest(len(apps))
        resolved += sum(not incident.open for incident in ended)
        events += [incident.last_seq for incident in ended]
    kinds = [
        recorded.event.event
        for recorded in await held.world.store.read(lambda tx: timeline.timeline(tx, ended[0].id))
    ]
    return {
        "lifecycles": count,
        "resolved": resolved,
        "seconds": took,
        "per_second": resolved / took,
        "events_each": sum(events) / len(events),
        "timeline": kinds,
        "writes": held.counters.writes["sent"],
    }


async def waiting(held: Inside, count: int, seconds: float) -> dict[str, Any]:
    """Fill up with plans that nobody approves, and look what they weigh and cost while time passes."""
    await _fill(held, 0, BATCH)
    gc.collect()
    before = memory_mb()
    began = time.perf_counter()
    filled = BATCH
    while filled < count and time.perf_counter() - began < FILL_LIMIT_SECONDS:
        await _fill(held, filled, min(500, count - filled))
        filled += min(500, count - filled)
    gc.collect()
    after = memory_mb()
    held.clock.run()
    filling = sum(held.counters.steps.values())
    task = asyncio.create_task(held.worker.run(), name="bench-worker")
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    steps = sum(held.counters.steps.values()) - filling
    await held.worker.drain()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    last = (await held.newest(1))[0]
    return {
        "waiting": filled,
        "fill_seconds": wall - began,
        "extra_mb": None if before is None or after is None else after - before,
        "core_share": share,
        "watched_seconds": seconds,
        "steps": steps,
        "last_state": None if last.plan is None else last.plan.state.value,
    }


async def _fill(held: Inside, first: int, count: int) -> None:
    await held.deliver(patients.names(count, first=first))
    await held.worker.settle()


async def main(options: argparse.Namespace) -> None:
    """Measure what the command line asks for and print it."""
    async with inside(options.store, options.cluster) as held:
        if options.measure == "lifecycles":
            told = await lifecycles(held, options.count)
        else:
            told = await waiting(held, options.count, options.seconds)
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measure", choices=("lifecycles", "waiting"))
    parser.add_argument("--store", required=True)
    parser.add_argument("--cluster", default="")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=70.0)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(parser.parse_args()))
