"""`stanch explain BODY`: what would be done about this notification, and why, with writes impossible.

The same path as the service takes, over a store of its own that is thrown away, with every policy shadowed
and a door that refuses anything but reads and dry runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.text import Text

from receiver.app import WallClock, connect_cluster, connections, endpoints, open_store, read_policies
from receiver.clients.alertmanager import Alertmanager
from receiver.clients.answers import Answer, Rejected
from receiver.clients.cluster import Cluster
from receiver.clients.database import Databases
from receiver.clients.endpoints import Endpoints, open_session
from receiver.clients.prometheus import Prometheus
from receiver.domain import events as ev
from receiver.domain.alerts import Unreadable, read_notification
from receiver.domain.clock import Clock
from receiver.domain.errors import PermanentError
from receiver.domain.events import event_text
from receiver.domain.plans import BackendStep, EvictStep, PatchStep, WarmUpStep
from receiver.pipeline.counters import Counters
from receiver.pipeline.joining import join_waiting
from receiver.pipeline.worker import Worker
from receiver.pipeline.world import Loaded, Place, World
from receiver.policy.model import Mode, Policy, PolicySet
from receiver.settings import Settings, read_settings
from receiver.store import reading, timeline
from receiver.store.engine import Delivery
from receiver.terminal.screen import clean
from receiver.terminal.sentences import handover_lines, sentence
from remediations import registry


class ReadOnlyCluster(Cluster):
    """A door through which nothing can be written."""

    def __init__(self, door: Cluster) -> None:
        super().__init__(door.wire, writing=door.writing)

    async def patch(
        self, step: PatchStep, *, current: Mapping[str, Any], marker: Mapping[str, str], dry_run: bool
    ) -> Answer:
        """Dry runs only."""
        if not dry_run:
            return Rejected(403, "Forbidden", (), "explaining writes nothing")
        return await super().patch(step, current=current, marker=marker, dry_run=True)

    async def evict(self, step: EvictStep, *, dry_run: bool) -> Answer:
        """Dry runs only."""
        if not dry_run:
            return Rejected(403, "Forbidden", (), "explaining writes nothing")
        return await super().evict(step, dry_run=True)


class ReadOnlyDatabases(Databases):
    """A door through which nobody is told anything."""

    async def signal(self, step: BackendStep) -> Answer:
        """Never."""
        return Rejected(403, "Forbidden", (), "explaining tells no backend anything")


class ReadOnlyEndpoints(Endpoints):
    """A door through which nothing is warmed up."""

    async def warm(self, step: WarmUpStep) -> Answer:
        """Never."""
        return Rejected(403, "Forbidden", (), "explaining warms nothing up")


def main(path: Path, output: str) -> int:
    """Explain the body in this file; 0 where it could be read. Raises PermanentError."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror}") from error
    return asyncio.run(run(body, output))


async def run(body: bytes, output: str) -> int:
    """Explain this body, in this event loop."""
    settings = read_settings()
    if settings.prometheus_url is None:
        raise PermanentError("STANCH_PROMETHEUS_URL: name the Prometheus to ask")
    door = await connect_cluster(settings)
    try:
        told = await explain(settings, body, door=door, clock=WallClock())
    finally:
        await door.close()
    _show(told, output)
    return 0


async def explain(
    settings: Settings, body: bytes, *, door: Cluster, clock: Clock, policies: PolicySet | None = None
) -> list[tuple[int, ev.Event]]:
    """The events that this body would lead to, by incident. Raises PermanentError where it is none."""
    read = read_notification(body, received_at=clock.now())
    if isinstance(read, Unreadable):
        raise PermanentError(f"this is no Alertmanager notification: {read.reason}")
    if policies is None:
        loaded = read_policies(settings.policies)
        if loaded.policies is None:
            raise PermanentError("\n".join(str(complaint) for complaint in loaded.complaints))
        policies = loaded.policies
    shadowed = tuple(_shadowed(policy) for policy in policies.policies)
    assert settings.prometheus_url is not None
    with tempfile.TemporaryDirectory(prefix="stanch-explain-") as folder:
        url = f"sqlite:///{Path(folder) / 'explain.sqlite3'}"
        store = await asyncio.to_thread(open_store, url, asyncio.get_running_loop())
        databases = ReadOnlyDatabases(connections(settings))
        async with aiohttp.ClientSession() as session, open_session() as asking:
            reader = ReadOnlyCluster(door)
            outside = ReadOnlyEndpoints(endpoints(settings), asking)
            world = World(
                owner="explain",
                store=store,
                clock=clock,
                cluster=reader,
                prometheus=Prometheus(session, settings.prometheus_url),
                alertmanagers=[Alertmanager(session, address) for address in settings.alertmanager_urls],
                remediations=registry.build(reader, databases, outside),
                catalogue=registry.catalogue(),
                loaded=Loaded(_with(policies, shadowed)),
                destinations=[],
                place=Place(
                    cluster=settings.cluster,
                    cluster_label=settings.cluster_label,
                    source=settings.source,
                    watchdog=settings.watchdog,
                ),
                databases=databases,
                endpoints=outside,
            )
            counters = Counters()
            now = clock.now().timestamp()
            await store.keep(Delivery(now, settings.source, hashlib.sha256(body).hexdigest(), body))
            await join_waiting(world, counters)
            await Worker(world, counters).settle()
            incidents = await store.read(
                lambda tx: [
                    (incident.id, recorded.event)
                    for incident in reading.list_incidents(tx, before=None, limit=200, only_open=False)
                    for recorded in timeline.timeline(tx, incident.id)
                ]
            )
        await databases.close()
        await store.close()
    return incidents


def _shadowed(policy: Policy) -> Policy:
    return policy if policy.mode is Mode.DISABLED else replace(policy, mode=Mode.SHADOW)


def _with(policies: PolicySet, changed: tuple[Policy, ...]) -> PolicySet:
    return replace(policies, policies=changed)


def _show(told: list[tuple[int, ev.Event]], output: str) -> None:
    if output == "json":
        for incident, event in told:
            print(json.dumps({"incident": incident, "event": json.loads(event_text(event))}, sort_keys=True))  # noqa: T201
        return
    console = Console(highlight=False)
    if not told:
        console.print(Text("nothing in it fires: no incident would be opened"))
    for incident, event in told:
        document = json.loads(event_text(event))
        console.print(Text(f"incident {incident}  {document['event']:<18} {sentence(document)}"))
        for number, item in enumerate(document.get("items", ()), start=1):
            for line in (f"{number}. {item['item']}", *(f"   {one}" for one in handover_lines(item))):
                console.print(Text(f"             {clean(line)}"))
        if isinstance(event, ev.Planned):
            for line in (*event.diff.splitlines(), *event.guards, *event.rejected):
                console.print(Text(f"             {line}"))
