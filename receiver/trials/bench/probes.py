"""What the reading steps towards a plan take by themselves: one incident at a time, nothing else running."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path

import aiohttp

from receiver.app import WallClock, open_store, read_policies
from receiver.clients import cluster
from receiver.clients.database import Databases
from receiver.clients.endpoints import Endpoints
from receiver.clients.prometheus import Prometheus
from receiver.pipeline.counters import Counters
from receiver.pipeline.joining import join_waiting
from receiver.pipeline.proposal import look_for_cure
from receiver.pipeline.steps import classify_step, diagnose_step
from receiver.pipeline.world import Loaded, World
from receiver.store import reading
from receiver.store.engine import Delivery
from receiver.trials.bench import patients
from receiver.trials.bench.service import Outside
from remediations import registry


async def probes_alone(folder: Path, outside: Outside, apps: list[str]) -> list[float]:
    """Milliseconds of queries and probes from an incident to its plan, for each of these patients."""
    policies = read_policies(patients.write_policies(folder / "policies")).policies
    assert policies is not None
    url = f"sqlite:///{folder / 'probes.sqlite3'}"
    store = await asyncio.to_thread(open_store, url, asyncio.get_running_loop())
    door = await cluster.connect(url=outside.cluster)
    try:
        async with aiohttp.ClientSession() as session:
            world = World(
                owner="bench",
                store=store,
                clock=WallClock(),
                cluster=door,
                prometheus=Prometheus(session, outside.prometheus),
                alertmanagers=[],
                remediations=registry.build(door, Databases(), Endpoints()),
                catalogue=registry.catalogue(),
                loaded=Loaded(policies),
                destinations=[],
            )
            body = patients.notification([patients.alert(app) for app in apps])
            await store.keep(Delivery(time.time(), "bench", hashlib.sha256(body).hexdigest(), body))
            await join_waiting(world, Counters())
            incidents = await store.read(
                lambda tx: reading.list_incidents(tx, before=None, limit=200, only_open=True)
            )
            took: list[float] = []
            for incident in incidents:
                began = time.perf_counter()
                await classify_step(world, incident)
                _, diagnosis = await diagnose_step(world, incident)
                await look_for_cure(world, incident, diagnosis, frozenset())
                took.append((time.perf_counter() - began) * 1000)
            return took
    finally:
        await door.close()
        await store.close()
