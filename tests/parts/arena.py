"""Services that are killed and frozen while they care for many patients, and what must hold of these then."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from failing_service import failing_serve
from real_service import API_TOKEN, OTHER_TOKEN, ClusterProcess, ServiceProcess, stanch_serve
from shop import CURES, NAMESPACE, Cure, changed, firing, ill_shop, write_policies
from shop_clients import Clients, shop_clients
from shop_endpoint import Warmed, shop_endpoint

from receiver.demo.prometheus import PrometheusServer

# Everything that happens to an approved plan ends in one of these.
DONE = {"executed", "watched", "verified", "still-sick", "inconclusive", "undo-asked", "already-so"}
NOT_DONE = {"void", "refused"}
UNKNOWN = {"unknown-effect"}
READ_FOR = 0.3
# To read the authorities that the system trusts is half of a start, and nobody here shows a certificate.
NO_TLS = {"SSL_CERT_FILE": "/dev/null"}
TROUBLE = (
    {"kind": "lose-answer"},
    {"kind": "drop"},
    {"kind": "delay", "seconds": 0.4},
    {"kind": "answer-late", "seconds": 0.4},
    {"kind": "land-late", "seconds": 1.5},
    {"kind": "refuse", "status": 503},
    {"kind": "refuse", "status": 429},
)


def three_services(
    folder: Path, url: str, cluster: ClusterProcess, prometheus: PrometheusServer
) -> list[ServiceProcess]:
    """Three of them over one store, which the shop's policies are given; not started."""
    policies = write_policies(folder / "policies")
    return [
        ServiceProcess(
            folder / f"service-{number}",
            store=url,
            cluster_url=cluster.url,
            prometheus_url=prometheus.url,
            policies=policies,
            settings=NO_TLS,
        )
        for number in range(3)
    ]


class Front(Protocol):
    """Where alerts go and the API is: one process, or one of several."""

    async def post_alerts(self, body: bytes, session: aiohttp.ClientSession) -> int:
        """Deliver a notification; the answer's status."""

    async def api(
        self, method: str, path: str, body: Any = None, *, token: str = API_TOKEN
    ) -> tuple[int, Any]:
        """Call the API; status and document."""

    def log_tail(self) -> str:
        """What went wrong lately."""


@dataclass
class Arena:
    """The service under torture, its cluster, and what was acknowledged so far."""

    front: Front
    cluster: ClusterProcess
    session: aiohttp.ClientSession
    cure: Cure
    clients: Clients | None = None
    warmed: Warmed | None = None
    acknowledged: set[str] = field(default_factory=set)
    plans: list[dict[str, Any]] = field(default_factory=list)
    waiting: dict[str, float] = field(default_factory=dict)
    said: set[tuple[str, str]] = field(default_factory=set)

    async def deliver(self, app: str) -> None:
        """Send until it is acknowledged, as Alertmanager does."""
        if self.warmed is not None:
            self.warmed.caring_for = app
        body = firing(app, pod=await self.a_pod_of(app) if self.cure.with_pod else None)
        while app not in self.acknowledged:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                if await self.front.post_alerts(body, self.session) == 200:
                    self.acknowledged.add(app)
                    return
            await asyncio.sleep(0.1)

    async def a_pod_of(self, app: str) -> str:
        """The name of one of this patient's pods."""
        listed = await self.cluster.get(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3D{app}")
        return str(listed["items"][0]["metadata"]["name"])

    async def look_and_approve(self) -> None:
        """See every plan; two people read each that waits, and say yes until that is acknowledged."""
        while True:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                _, document = await self.front.api("GET", "plans?limit=200")
                self.plans = document.get("items", [])
                for plan in self.plans:
                    if plan["state"] == "awaiting-approval" and self.has_been_read(plan["id"]):
                        await self.approve(plan, API_TOKEN)
                        await self.approve(plan, OTHER_TOKEN)
            await asyncio.sleep(0.05)

    def has_been_read(self, plan_id: str) -> bool:
        """Whether people had it before them for a while; the service reviews it once meanwhile."""
        return time.monotonic() - self.waiting.setdefault(plan_id, time.monotonic()) > READ_FOR

    async def approve(self, plan: dict[str, Any], token: str) -> None:
        """One person's yes, unless it was acknowledged before."""
        if (plan["id"], token) not in self.said:
            body = {"reason": "torture", "digest": plan["digest"]}
            status, _ = await self.front.api("POST", f"plans/{plan['id']}/approve", body, token=token)
            if status == 200:
                self.said.add((plan["id"], token))

    def newest(self) -> dict[str, dict[str, Any]]:
        """The newest plan of each patient that has one."""
        return {str(plan["target"]).rsplit("/", 1)[1]: plan for plan in reversed(self.plans)}

    def over(self, apps: set[str]) -> bool:
        """Whether each of these has a plan that ended."""
        newest = self.newest()
        return all(app in newest and newest[app]["state"] in DONE | NOT_DONE | UNKNOWN for app in apps)

    async def until_over(self, apps: set[str], *, within: float) -> None:
        """Wait until each of these has a plan that ended."""
        end = time.monotonic() + within
        while not self.over(apps):
            if time.monotonic() > end:
                states = {app: self.newest().get(app, {}).get("state") for app in sorted(apps)}
                raise AssertionError(f"not over within {within} s: {states}\n{self.front.log_tail()}")
            await asyncio.sleep(0.02)

    def landed(self) -> Counter[str]:
        """How often each patient was written to, and what each client was told, by their own word."""
        written = Counter(app for call in self.cluster.writes() if (app := changed(call)) is not None)
        for others in (self.clients, self.warmed):
            written += Counter() if others is None else others.told
        return written

    async def happened_to(self, app: str, wanted: frozenset[str]) -> set[str]:
        """What landed on one patient; a client hears a moment later what it was told."""
        end = time.monotonic() + 2
        while True:
            happened = {one for one in self.landed() if one.split()[0] == app}
            if not happened < wanted or time.monotonic() >= end:
                return happened
            await asyncio.sleep(0.02)

    async def check(self, apps: set[str]) -> None:
        """What must hold of patients whose plans ended, whatever happened."""
        newest = self.newest()
        for app in apps:
            state = newest[app]["state"]
            if state in UNKNOWN and self.cure.requests:
                # It was sent or not, once at most, which is asked for all of them below.
                continue
            assert state not in UNKNOWN, f"{app}: nobody else wrote, so nothing may be unknown"
            wanted = self.cure.meant(app) if state in DONE else frozenset()
            happened = await self.happened_to(app, wanted)
            assert happened == wanted, f"{app} is {state}, and what happened is {sorted(happened)}"
        landed = self.landed()
        assert {one: count for one, count in landed.items() if count > 1} == {}
        assert {one.split()[0] for one in landed} <= self.acknowledged, "somebody was treated who is not ill"
        _, document = await self.front.api("GET", "alerts?limit=200")
        assert self.acknowledged <= {item["labels"]["app"] for item in document["items"]}


@dataclass
class Alone(Arena):
    """One process, killed and started again over the same store."""

    service: ServiceProcess = field(kw_only=True)
    killed: int = 0

    async def restart(self) -> None:
        """Kill it, and start it again over the same store."""
        if self.service.running:
            self.service.kill()
        self.killed += 1
        await self.service.start()
        # What was seen before it died proves nothing.
        self.plans = []


@asynccontextmanager
async def arena(
    folder: Path, url: str, apps: list[str], *, failing: bool = False, cure: str = "deployment.rollback"
) -> AsyncIterator[Alone]:
    """Everything in place, and nothing wrong yet but the shop itself."""
    policies = write_policies(folder / "policies", cure=cure)
    chosen = CURES[cure]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        prometheus = await enter(ill_shop())
        cluster = await enter(ClusterProcess(folder, chosen.manifests(apps)))
        clients = None if chosen.tells is None else await enter(shop_clients(folder, apps, chosen.tells))
        warmed = await enter(shop_endpoint(chosen.requests)) if chosen.requests else None
        settings = NO_TLS | ({} if clients is None else clients.settings(folder / "databases.yaml"))
        settings |= {} if warmed is None else warmed.settings(folder / "endpoints.yaml")
        service = ServiceProcess(
            folder / "service",
            store=url,
            cluster_url=cluster.url,
            prometheus_url=prometheus.url,
            policies=policies,
            settings=settings,
            program=failing_serve if failing else stanch_serve,
        )
        stack.push_async_callback(service.stop)
        timeout = aiohttp.ClientTimeout(total=5)
        session = await enter(aiohttp.ClientSession(timeout=timeout))
        found = Alone(service, cluster, session, chosen, clients, warmed, service=service)
        looking = asyncio.create_task(found.look_and_approve())
        stack.callback(looking.cancel)
        yield found
