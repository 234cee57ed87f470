"""What a real Alertmanager does on bad days, and what the service has made of it at the end.

Between the two stands a small relay that a test can make slow, broken or deadly. Each case is a history, and
the alerts, incidents and plans that are there afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web
from real_alertmanager import AlertmanagerSettings, PostedAlert, RealAlertmanager, alertmanager_pair
from real_service import SENDER_TOKEN, ClusterProcess, ServiceProcess
from shop import NAMESPACE, ill_shop, manifests, names, write_policies

# Where nothing applies at the first look, which a busy machine may see to, the next one is a minute later.
PATIENCE_SECONDS = 90.0
LONG_AGO = timedelta(minutes=5)
RECONCILE_EVERY = "PT0.5S"


class Relay:
    """Hands on what Alertmanager posts, and what the service asks Alertmanager; sees and disturbs both."""

    def __init__(self) -> None:
        self.service_url = ""
        self.manager_url = ""
        # Waited before a notification is handed on, and the answer to give instead of handing it on.
        self.delay = timedelta(0)
        self.answer: int | None = None
        self.after_kept: Callable[[], None] | None = None
        self.answers: list[int] = []
        self.bodies: list[bytes] = []
        self.listings = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/api/v1/alerts", self._post)
        application.router.add_get("/api/v2/{rest:.*}", self._ask)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        await asyncio.sleep(self.delay.total_seconds())
        status = self.answer or await self._hand_on(body, dict(request.headers))
        self.answers.append(status)
        if status == 200 and self.after_kept is not None:
            self.after_kept()
        return web.Response(status=status)

    async def _hand_on(self, body: bytes, headers: dict[str, str]) -> int:
        try:
            url = f"{self.service_url}/api/v1/alerts"
            async with self._session.post(url, data=body, headers=headers) as response:
                return response.status
        except (aiohttp.ClientError, OSError):
            return 502

    async def _ask(self, request: web.Request) -> web.Response:
        try:
            async with self._session.get(f"{self.manager_url}{request.path_qs}") as response:
                body, status = await response.read(), response.status
        except aiohttp.ClientError:
            return web.Response(status=502)
        self.listings += request.path.endswith("/alerts")
        return web.Response(status=status, body=body, content_type="application/json")


@dataclass
class Scene:
    """The service as a process, one or two Alertmanagers, and the relay between them."""

    service: ServiceProcess
    relay: Relay
    managers: list[RealAlertmanager]
    fired: dict[str, PostedAlert] = field(default_factory=dict)

    @property
    def manager(self) -> RealAlertmanager:
        """The first of them."""
        return self.managers[0]

    async def fire(self, app: str, *, ago: timedelta = timedelta(0), **labels: str) -> PostedAlert:
        """The alert of this app fires at every Alertmanager, as Prometheus would have it."""
        usual = {"alertname": "ShopErrors", "namespace": NAMESPACE, "app": app, "severity": "warning"}
        posted = PostedAlert(labels={**usual, **labels}, starts_at=datetime.now(UTC) - ago)
        await asyncio.gather(*(manager.post_alerts(posted) for manager in self.managers))
        self.fired[app] = posted
        return posted

    async def resolve(self, posted: PostedAlert) -> None:
        """It ends everywhere."""
        await asyncio.gather(*(manager.resolve(posted) for manager in self.managers))

    async def alerts(self) -> list[dict[str, Any]]:
        """What the service knows."""
        _, document = await self.service.api("GET", "alerts?limit=200")
        items: list[dict[str, Any]] = document["items"]
        return items

    async def standing(self) -> dict[str, str]:
        """How the alert of each app stands, by the service; with the pod where there is one."""
        found: dict[str, str] = {}
        for entry in await self.alerts():
            last = entry["occurrences"][-1]
            name = "/".join(entry["labels"][key] for key in ("app", "pod") if key in entry["labels"])
            found[name] = last["end"] or "firing"
        return found

    async def stands(self, app: str, how: str) -> None:
        """Wait until the alert of this app stands so."""
        await until(lambda: self._stands(app, how), f"{app} {how}")

    async def _stands(self, app: str, how: str) -> bool:
        standing = await self.standing()
        return standing.get(app) == how

    async def planned(self, count: int) -> None:
        """Wait until that many plans wait for approval."""

        async def enough() -> bool:
            return len(await self.plans()) >= count

        await until(enough, f"{count} plans")

    async def joined(self, count: int | None) -> bool:
        """Whether this many notifications of one alert each have been read."""
        joined = sum(int(entry["deliveries"]) for entry in await self.alerts())
        return joined == count

    async def plans(self) -> list[dict[str, Any]]:
        """Every plan."""
        _, document = await self.service.api("GET", "plans?limit=200")
        items: list[dict[str, Any]] = document["items"]
        return items

    async def posts(self, count: int, *, status: int = 200) -> None:
        """Wait until Alertmanager has been answered so this many times."""
        await until(lambda: _true(self.relay.answers.count(status) >= count), f"{count} posts")

    async def underway(self) -> None:
        """Wait until a notification is on its way."""
        count = len(self.relay.answers)
        await until(lambda: _true(len(self.relay.bodies) > count), "a post under way")

    async def manager_gave_up(self) -> bool:
        """Whether Alertmanager stopped repeating a notification that nobody took."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.manager.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        name = 'alertmanager_notifications_failed_total{integration="webhook"'
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)) >= 1

    async def asked(self) -> None:
        """Wait until a whole round of asking the sources lies behind us."""
        count = self.relay.listings + 2
        await until(lambda: _true(self.relay.listings > count), "a round of reconciliation")


async def _true(value: bool) -> bool:
    return value


async def until(what: Callable[[], Awaitable[bool]], said: str) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if await what():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_SECONDS} s: {said}")


@asynccontextmanager
async def scene(folder: Path, *, peers: bool = False, elsewhere: bool = False) -> AsyncIterator[Scene]:
    """Everything running, nothing fires."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        prometheus = await enter(ill_shop())
        cluster = await enter(ClusterProcess(folder, manifests(names(4))))
        relay = await enter(Relay())
        service = ServiceProcess(
            folder / "service",
            store=f"sqlite:///{folder / 'stanch.sqlite3'}",
            cluster_url=cluster.url,
            prometheus_url=prometheus.url,
            policies=write_policies(folder / "policies"),
            settings={
                "STANCH_ALERTMANAGER_URLS": relay.url,
                "STANCH_ALERTMANAGER_RECEIVER": "stanch",
                "STANCH_RECONCILE_EVERY": RECONCILE_EVERY,
            },
        )
        relay.service_url = service.url
        settings = AlertmanagerSettings(
            receiver_url=f"{relay.url}/api/v1/alerts",
            bearer_token=SENDER_TOKEN,
            extra_routes=({"receiver": "payments", "matchers": ['team="payments"']},) if elsewhere else (),
            extra_receivers=({"name": "payments"},) if elsewhere else (),
        )
        starting = asyncio.create_task(enter_service(stack, service))
        if peers:
            managers = list(await enter(alertmanager_pair(folder, settings)))
        else:
            managers = [await enter(RealAlertmanager(folder / "alertmanager", settings))]
        relay.manager_url = managers[0].url
        await starting
        yield Scene(service, relay, managers)


async def enter_service(stack: AsyncExitStack, service: ServiceProcess) -> None:
    """Start it, and stop it with everything else."""
    await stack.enter_async_context(service)


async def silenced_when_it_ended(s: Scene) -> None:
    """A-8: the resolve is never sent; the group's next notification is about its neighbour alone."""
    silenced = await s.fire("api-0", pod="a")
    await s.stands("api-0/a", "firing")
    # Only what a source has listed once is judged by its absence.
    await s.asked()
    await s.manager.silence({"pod": "a"}, timedelta(hours=1))
    await s.resolve(silenced)
    await s.fire("api-0", pod="b")
    await s.stands("api-0/b", "firing")
    await s.asked()


async def an_outage(s: Scene) -> None:
    """A-6: what fires and ends in it is never told. A-7: what had been told before is told to have ended."""
    known = await s.fire("api-0")
    await s.planned(1)
    s.service.kill()
    unknown = await s.fire("api-1")
    await s.posts(2, status=502)
    await s.resolve(known)
    await s.resolve(unknown)
    # Until then Alertmanager repeats the old snapshot, in which it still fires.
    await until(s.manager_gave_up, "Alertmanager gave the old snapshot up")
    await s.service.start()
    await s.fire("api-2")
    await s.stands("api-2", "firing")
    await s.stands("api-0", "resolved")
    await s.asked()


async def down_for_a_while(s: Scene) -> None:
    s.relay.answer = 503
    for app in names(2):
        await s.fire(app)
    await s.posts(6, status=503)
    s.relay.answer = None
    for app in names(2):
        await s.stands(app, "firing")


async def refused_for_ever(s: Scene) -> None:
    """A-3: a 404 is not retried before the next flush; asking finds the alert meanwhile."""
    s.relay.answer = 404
    await s.fire("api-0", ago=LONG_AGO)
    await s.stands("api-0", "firing")
    assert {entry["source"] for entry in await s.alerts()} == {"reconcile"}
    s.relay.answer = None
    await s.posts(1)


async def not_for_us(s: Scene) -> None:
    """Silenced, and routed to somebody else; both are in Alertmanager's list."""
    await s.manager.silence({"app": "api-0"}, timedelta(hours=1))
    await s.fire("api-0", ago=LONG_AGO)
    await s.fire("api-1", ago=LONG_AGO, team="payments")
    listed = await s.manager.alerts()
    assert len(listed) == 2
    await s.asked()


async def two_peers_and_a_slow_receiver(s: Scene) -> None:
    """A-13: whoever waits longer than its turn delivers too."""
    s.relay.delay = timedelta(seconds=3)
    await s.fire("api-0")
    await s.posts(2)
    assert len(set(s.relay.bodies)) == 2


async def reloaded_in_mid_post(s: Scene) -> None:
    """A-11: the same body is sent again, and both arrive."""
    s.relay.delay = timedelta(seconds=1)
    await s.fire("api-0")
    await s.underway()
    await s.manager.reload(replace(s.manager.settings, repeat_interval=timedelta(hours=2)))
    await s.posts(2)


async def alertmanager_killed_after_delivery(s: Scene) -> None:
    """A-12: what it told is not on its disk yet, so it tells it again."""
    posted = await s.fire("api-0")
    await s.posts(1)
    # Without an Alertmanager to ask, nothing is proposed.
    await s.planned(1)
    s.manager.kill()
    await s.manager.start()
    await s.manager.post_alerts(posted)
    await s.posts(2)


async def killed_right_after_200(s: Scene) -> None:
    """Alertmanager was answered, so it will not send again."""
    s.relay.after_kept = s.service.kill
    for number, app in enumerate(names(3), start=1):
        await s.fire(app)
        await s.posts(number)
        assert not s.service.running
        await s.service.start()
    s.relay.after_kept = None


@dataclass(frozen=True)
class Case:
    """A history, and what is there at its end."""

    happens: Callable[[Scene], Awaitable[None]]
    alerts: dict[str, str]
    incidents: int
    plans: int
    peers: bool = False
    # Notifications that reached the service; None where it does not matter.
    deliveries: int | None = None


CASES = {
    "silenced when it ended: it stays, and is said to be stale": Case(
        silenced_when_it_ended, {"api-0/a": "firing", "api-0/b": "firing"}, 1, 1
    ),
    "an outage: what fired and ended in it is no plan, what ended in it is told": Case(
        an_outage, {"api-0": "resolved", "api-2": "firing"}, 2, 2
    ),
    "down for a while: delivered afterwards": Case(
        down_for_a_while, {"api-0": "firing", "api-1": "firing"}, 2, 2, deliveries=2
    ),
    "refused for ever: found by asking": Case(refused_for_ever, {"api-0": "firing"}, 1, 1, deliveries=1),
    "silenced, and for somebody else: not ours": Case(not_for_us, {}, 0, 0),
    "two peers and a slow receiver: delivered twice, done once": Case(
        two_peers_and_a_slow_receiver, {"api-0": "firing"}, 1, 1, peers=True, deliveries=2
    ),
    "reloaded in mid-POST: sent twice, done once": Case(
        reloaded_in_mid_post, {"api-0": "firing"}, 1, 1, deliveries=2
    ),
    "Alertmanager killed after delivery: sent twice, done once": Case(
        alertmanager_killed_after_delivery, {"api-0": "firing"}, 1, 1, deliveries=2
    ),
    "killed right after 200, three times: nothing lost": Case(
        killed_right_after_200, dict.fromkeys(names(3), "firing"), 3, 3, deliveries=3
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_bad_day_ends_with_these_alerts_incidents_and_plans(tmp_path: Path, case: Case) -> None:
    async with scene(tmp_path, peers=case.peers, elsewhere=case.happens is not_for_us) as s:
        await case.happens(s)
        await s.planned(case.plans)
        if case.deliveries is not None:
            await until(lambda: s.joined(case.deliveries), "everything was read")
        assert await s.standing() == case.alerts
        incidents, plans = await s.service.incidents(), await s.plans()
        assert (len(incidents), len(plans)) == (case.incidents, case.plans)
        assert set(Counter(plan["target"] for plan in plans).values()) <= {1}
        if case.deliveries is not None:
            assert s.relay.answers.count(200) == case.deliveries
        if case.happens is silenced_when_it_ended:
            assert "less than 10 min" in incidents[0]["stale"]
