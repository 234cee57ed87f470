"""What the webhook never told is found by asking, and nothing ends by a source's silence.

Each case is a short history between the sources and the service, and what is there at its end: which alerts
fire or ended and how, how many incidents, plans and pages.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web
from builders import alert, labels, notification, rfc3339
from harness import Harness, harness
from sqlalchemy import Connection, func, select
from stories import approve

from receiver.clients.alertmanager import Alertmanager
from receiver.domain.events import AlertFired, AlertHeld, Refused
from receiver.domain.incidents import Incident, replay
from receiver.domain.occurrences import occurrences
from receiver.pipeline.reconciliation import reconcile
from receiver.pipeline.worker import Worker
from receiver.store import intake, timeline
from receiver.store.engine import Store
from receiver.store.schema import outbox, plans

ROUND = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)


class SettableAlertmanager:
    """Lists what a test puts into it, as the real one would; its age, silences and outages can be set."""

    def __init__(self, now: datetime) -> None:
        self.up_since = now - timedelta(days=3)
        self.silent = False
        self.url = ""
        self._alerts: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/api/v2/alerts", self._list)
        application.router.add_get("/api/v2/status", self._status)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def put(
        self,
        with_labels: Mapping[str, str],
        since: datetime,
        *,
        receivers: tuple[str, ...] = ("stanch",),
        state: str = "active",
    ) -> None:
        """It has this alert from now on, in this state."""
        self._alerts[json.dumps(sorted(with_labels.items()))] = {
            "labels": dict(with_labels),
            "annotations": {"summary": "errors"},
            "startsAt": rfc3339(since),
            "fingerprint": "0011223344556677",
            "generatorURL": "",
            "receivers": [{"name": name} for name in receivers],
            "status": {"state": state, "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
        }

    def empty(self) -> None:
        """It has no alert any more."""
        self._alerts.clear()

    def restart(self, now: datetime) -> None:
        """It has forgotten its alerts, and is young."""
        self.empty()
        self.up_since = now

    async def _list(self, request: web.Request) -> web.Response:
        wanted = {str(json.loads(text.partition("=")[2])) for text in request.query.getall("filter", [])}
        found = [
            each for each in self._alerts.values() if not wanted or each["labels"]["alertname"] in wanted
        ]
        return web.Response(status=503) if self.silent else web.json_response(found)

    async def _status(self, _: web.Request) -> web.Response:
        return (
            web.Response(status=503) if self.silent else web.json_response({"uptime": rfc3339(self.up_since)})
        )


@dataclass
class Story:
    """The service, the sources that a test sets, and the rounds that they are asked in."""

    h: Harness
    managers: list[SettableAlertmanager]
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def manager(self) -> SettableAlertmanager:
        """The first of them."""
        return self.managers[0]

    def now(self) -> datetime:
        """What the test's clock says."""
        return self.h.clock.now()

    async def fires(
        self, *, ago: timedelta = timedelta(0), delivered: bool = True, **changes: str
    ) -> datetime:
        """The alert fires at every Alertmanager since then; its webhook arrives, or does not."""
        since = self.now() - ago
        for manager in self.managers:
            manager.put(labels(**changes), since)
        if delivered:
            await self.deliver(since, with_labels=labels(**changes))
        return since

    async def deliver(
        self, since: datetime, *, ended: datetime | None = None, with_labels: Mapping[str, str] | None = None
    ) -> None:
        """One notification arrives."""
        status = "firing" if ended is None else "resolved"
        entry = alert(status=status, starts_at=since, ends_at=ended, with_labels=with_labels)
        await self.h.deliver(notification(entry))
        await self.h.work()

    def end(self) -> None:
        """No Alertmanager has any alert any more, and no webhook says so."""
        for manager in self.managers:
            manager.empty()

    async def rounds(self, count: int, *, every: timedelta = ROUND) -> None:
        """The sources are asked this many times."""
        for _ in range(count):
            await self.h.pass_time(every)
            self.state = await reconcile(self.h.world, self.h.counters, self.state)
            await self.h.work()

    async def alerts(self) -> list[str]:
        """How each alert stands, as one word each."""

        def word(row: intake.AlertRow) -> str:
            found = occurrences(row.facts)
            return "firing" if row.open is not None else str(found[-1].how.value) if found[-1].how else "?"

        rows = await self.h.world.store.read(lambda tx: intake.list_alerts(tx, before=None, limit=500))
        return sorted(word(row) for row in rows)

    async def count(self) -> tuple[int, int, int]:
        """Incidents, plans and pages."""

        def body(tx: Connection) -> tuple[int, int]:
            drawn = tx.execute(select(func.count()).select_from(plans)).scalar_one()
            bodies = [json.loads(row.body) for row in tx.execute(select(outbox.c.body))]
            return drawn, sum(bool(each["pages"]) for each in bodies)

        drawn, paged = await self.h.world.store.read(body)
        return len(await self.h.incidents()), drawn, paged

    async def held(self, number: int = 1) -> list[str]:
        """Every reason for which the timeline says that nobody can tell."""
        return [event.reason for event in await self.h.events(number) if isinstance(event, AlertHeld)]

    async def replayed(self, number: int) -> Incident:
        """The incident as its timeline tells it."""
        recorded = await self.h.world.store.read(lambda tx: timeline.timeline(tx, number))
        return replay(number, recorded)

    async def incident(self) -> Incident:
        """The one incident."""
        return await self.h.incident()


@asynccontextmanager
async def story(
    store: Store,
    *,
    managers: int = 1,
    receiver: str | None = "stanch",
    with_scenario: str = "inc-001",
) -> AsyncIterator[Story]:
    """A healthy world in which the service asks this many Alertmanagers."""
    async with AsyncExitStack() as stack:
        h = await stack.enter_async_context(harness(store, with_scenario=with_scenario))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        sources = [
            await stack.enter_async_context(SettableAlertmanager(h.clock.now())) for _ in range(managers)
        ]
        h.world = replace(
            h.world,
            alertmanagers=[Alertmanager(session, source.url) for source in sources],
            place=replace(h.world.place, receiver=receiver),
        )
        h.worker = Worker(h.world, h.counters)
        yield Story(h, sources)


async def never_delivered(s: Story) -> None:
    await s.fires(ago=5 * MINUTE, delivered=False)
    await s.rounds(2)


async def never_delivered_of_a_sick_service(s: Story) -> None:
    await s.h.fall_ill()
    await never_delivered(s)


async def of_another_receiver(s: Story) -> None:
    s.manager.put(labels(), s.now() - 5 * MINUTE, receivers=("payments",))
    await s.rounds(2)


async def of_another_receiver_and_ours(s: Story) -> None:
    s.manager.put(labels(), s.now() - 5 * MINUTE, receivers=("payments", "stanch"))
    await s.rounds(2)


async def silenced_and_never_delivered(s: Story) -> None:
    s.manager.put(labels(), s.now() - 5 * MINUTE, state="suppressed")
    await s.rounds(2)


async def not_yet_processed(s: Story) -> None:
    s.manager.put(labels(), s.now() - 5 * MINUTE, state="unprocessed")
    await s.rounds(2)


async def still_on_its_way(s: Story) -> None:
    await s.fires(delivered=False)
    await s.rounds(2)


async def late_but_delivered(s: Story) -> None:
    since = await s.fires(ago=5 * MINUTE, delivered=False)
    await s.rounds(1)
    await s.deliver(since)
    await s.rounds(1)


async def taken_in_and_resolved_by_webhook(s: Story) -> None:
    since = await s.fires(ago=5 * MINUTE, delivered=False)
    await s.rounds(1)
    s.end()
    await s.deliver(since, ended=s.now())
    await s.rounds(1)


async def ended_just_before_it_was_listed(s: Story) -> None:
    """Alertmanager listed it a moment before it learnt of the end."""
    since = await s.fires(ago=5 * MINUTE, delivered=False)
    await s.rounds(1)
    s.end()
    await s.deliver(since, ended=s.now() - timedelta(seconds=1))


async def resolved_then_a_stale_firing(s: Story) -> datetime:
    since = await s.fires(ago=5 * MINUTE)
    await s.h.pass_time(MINUTE)
    await s.deliver(since, ended=s.now())
    s.end()
    await s.h.pass_time(timedelta(seconds=5))
    await s.deliver(since)
    return since


async def doubted_and_listed(s: Story) -> None:
    since = await resolved_then_a_stale_firing(s)
    s.manager.put(labels(), since)
    await s.rounds(1)


async def doubted_and_fired_by_prometheus(s: Story) -> None:
    await s.h.fall_ill()
    await resolved_then_a_stale_firing(s)
    await s.rounds(1)


async def doubted_and_known_to_nobody(s: Story) -> None:
    await resolved_then_a_stale_firing(s)
    await s.rounds(2)


async def doubted_and_nobody_to_ask(s: Story) -> None:
    await resolved_then_a_stale_firing(s)
    s.manager.silent = s.h.demo.prometheus.faults.down = True
    await s.rounds(2)


async def resolved_and_fires_again_unseen(s: Story) -> None:
    """A-9: Alertmanager merges the start to the earliest, and its webhook is lost."""
    since = await s.fires(ago=5 * MINUTE)
    await s.deliver(since, ended=s.now())
    await s.rounds(1)


async def resolved_and_silenced(s: Story) -> None:
    since = await s.fires(ago=5 * MINUTE)
    await s.deliver(since, ended=s.now())
    s.manager.put(labels(), since, state="suppressed")
    await s.rounds(3)


async def resolve_never_sent(s: Story, *, rounds: int = 3) -> None:
    await s.fires(ago=5 * MINUTE)
    await s.rounds(1)
    s.end()
    await s.rounds(rounds)


async def silenced_when_it_ended(s: Story) -> None:
    """A-8."""
    since = await s.fires(ago=5 * MINUTE)
    await s.rounds(1)
    s.manager.put(labels(), since, state="suppressed")
    await s.rounds(4)
    s.end()
    await s.rounds(3)


async def silenced_and_still_there(s: Story) -> None:
    since = await s.fires(ago=5 * MINUTE)
    s.manager.put(labels(), since, state="suppressed")
    await s.rounds(8)


async def alertmanager_was_down_when_it_ended(s: Story) -> None:
    """A-14."""
    await s.fires(ago=5 * MINUTE)
    await s.rounds(1)
    s.manager.silent = True
    await s.rounds(4)
    s.manager.silent = False
    s.manager.restart(s.now())
    await s.rounds(19)
    assert await s.alerts() == ["firing"]
    await s.rounds(4)


async def gone_after_two_rounds(s: Story) -> None:
    await resolve_never_sent(s, rounds=2)


async def an_interrupted_absence(s: Story) -> None:
    await resolve_never_sent(s, rounds=2)
    s.manager.silent = True
    await s.rounds(1)
    s.manager.silent = False
    await s.rounds(2)


async def one_peer_is_silent(s: Story) -> None:
    await s.fires(ago=5 * MINUTE)
    await s.rounds(1)
    s.end()
    s.managers[1].silent = True
    await s.rounds(6)


async def one_peer_still_has_it(s: Story) -> None:
    await s.fires(ago=5 * MINUTE)
    await s.rounds(1)
    s.manager.empty()
    await s.rounds(6)


async def silenced_on_one_peer_only(s: Story) -> None:
    since = s.now() - 5 * MINUTE
    s.managers[0].put(labels(), since, state="suppressed")
    s.managers[1].put(labels(), since)
    await s.rounds(1)


async def prometheus_is_down(s: Story) -> None:
    await s.fires(ago=5 * MINUTE)
    await s.rounds(1)
    s.end()
    s.h.demo.prometheus.faults.down = True
    await s.rounds(6)


async def the_rule_stands_still(s: Story) -> None:
    await s.fires(ago=5 * MINUTE)
    await s.rounds(1)
    s.end()
    s.h.demo.prometheus.faults.rules_frozen = True
    await s.rounds(6, every=MINUTE)


async def no_rule_of_that_name(s: Story) -> None:
    await s.fires(ago=5 * MINUTE, alertname="FromElsewhere")
    await s.rounds(1)
    s.end()
    await s.rounds(6)


async def prometheus_still_fires_it(s: Story) -> None:
    await s.h.fall_ill()
    await resolve_never_sent(s, rounds=6)


async def posted_by_hand(s: Story) -> None:
    await s.deliver(s.now() - 5 * MINUTE)
    await s.rounds(6)


async def fired_and_resolved_in_an_outage(s: Story) -> None:
    """A-6: neither message ever arrives."""
    await s.fires(ago=5 * MINUTE, delivered=False)
    await s.h.pass_time(MINUTE)
    s.end()
    await s.rounds(4)


async def only_the_resolve_arrives(s: Story) -> None:
    await s.deliver(s.now() - 5 * MINUTE, ended=s.now())
    await s.rounds(4)


async def left_out_of_a_truncated_body(s: Story) -> None:
    """A-15: the resolve of an alert that was left out is a body that lists others as firing."""
    since = s.now() - 5 * MINUTE
    for number in range(3):
        s.manager.put(labels(pod=f"api-{number}"), since)
    entries = [alert(starts_at=since, with_labels=labels(pod=f"api-{number}")) for number in range(2)]
    await s.h.deliver(notification(*entries, truncatedAlerts=1))
    await s.rounds(1)


async def left_out_and_ended(s: Story) -> None:
    await left_out_of_a_truncated_body(s)
    since = s.now() - 5 * MINUTE
    s.manager.empty()
    s.manager.put(labels(pod="api-0"), since)
    s.manager.put(labels(pod="api-1"), since)
    entries = [alert(starts_at=since, with_labels=labels(pod=f"api-{number}")) for number in range(2)]
    await s.h.deliver(notification(*entries, truncatedAlerts=1))
    await s.rounds(3)


@dataclass(frozen=True)
class Case:
    """A history, and what is there at its end."""

    happens: Callable[[Story], Awaitable[object]]
    alerts: tuple[str, ...]
    incidents: int
    plans: int = 0
    # In a healthy world nothing can be proposed, so an incident pages once: a person is needed.
    pages: int = 0
    managers: int = 1


FIRING, RESOLVED, GONE = "firing", "resolved", "gone"
CASES = {
    "never delivered: taken in": Case(never_delivered, (FIRING,), 1, pages=1),
    "never delivered, and sick: proposed for": Case(
        never_delivered_of_a_sick_service, (FIRING,), 1, plans=1, pages=1
    ),
    "of another receiver": Case(of_another_receiver, (), 0),
    "of another receiver and of ours": Case(of_another_receiver_and_ours, (FIRING,), 1, pages=1),
    "silenced and never delivered": Case(silenced_and_never_delivered, (), 0),
    "Alertmanager has not looked at it yet": Case(not_yet_processed, (), 0),
    "younger than its group may wait": Case(still_on_its_way, (), 0),
    "taken in, then delivered after all": Case(late_but_delivered, (FIRING,), 1, pages=1),
    "taken in, then resolved by webhook": Case(taken_in_and_resolved_by_webhook, (RESOLVED,), 1, pages=1),
    "ended a moment before it was listed": Case(ended_just_before_it_was_listed, (RESOLVED,), 1, pages=1),
    "doubted, Alertmanager lists it": Case(doubted_and_listed, (FIRING,), 1, pages=1),
    "doubted, Prometheus fires it": Case(doubted_and_fired_by_prometheus, (FIRING,), 1, plans=1, pages=2),
    "doubted, nobody has it": Case(doubted_and_known_to_nobody, (RESOLVED,), 1, pages=1),
    "doubted, nobody to ask": Case(doubted_and_nobody_to_ask, (FIRING,), 1, pages=1),
    "resolved, and fires again unseen": Case(resolved_and_fires_again_unseen, (FIRING,), 1, pages=1),
    "resolved, and a silenced one is listed": Case(resolved_and_silenced, (RESOLVED,), 1, pages=1),
    "its resolve was never sent": Case(resolve_never_sent, (GONE,), 1, pages=1),
    "silenced when it ended (A-8)": Case(silenced_when_it_ended, (GONE,), 1, pages=1),
    "silenced and still there": Case(silenced_and_still_there, (FIRING,), 1, pages=1),
    "Alertmanager down when it ended (A-14)": Case(alertmanager_was_down_when_it_ended, (GONE,), 1, pages=1),
    "missing for two rounds": Case(gone_after_two_rounds, (FIRING,), 1, pages=1),
    "missing, held, missing for two rounds": Case(an_interrupted_absence, (FIRING,), 1, pages=1),
    "one peer silent": Case(one_peer_is_silent, (FIRING,), 1, pages=1, managers=2),
    "one peer still has it": Case(one_peer_still_has_it, (FIRING,), 1, pages=1, managers=2),
    "silenced on one peer only": Case(silenced_on_one_peer_only, (FIRING,), 1, pages=1, managers=2),
    "Prometheus down": Case(prometheus_is_down, (FIRING,), 1, pages=1),
    "the rule stands still": Case(the_rule_stands_still, (FIRING,), 1, pages=1),
    "no rule of that name": Case(no_rule_of_that_name, (FIRING,), 1, pages=1),
    "Prometheus still fires it": Case(prometheus_still_fires_it, (FIRING,), 1, plans=1, pages=1),
    "posted by hand, no source ever listed it": Case(posted_by_hand, (FIRING,), 1, pages=1),
    "fired and resolved in an outage (A-6)": Case(fired_and_resolved_in_an_outage, (), 0),
    "only the resolve arrives": Case(only_the_resolve_arrives, (RESOLVED,), 0),
    "left out of a truncated body (A-15)": Case(
        left_out_of_a_truncated_body, (FIRING, FIRING, FIRING), 1, pages=1
    ),
    "left out, and ended (A-15)": Case(left_out_and_ended, (FIRING, FIRING, GONE), 1, pages=1),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_each_history_ends_with_these_alerts_incidents_plans_and_pages(
    store: Store, case: Case
) -> None:
    async with story(store, managers=case.managers) as s:
        await case.happens(s)
        assert tuple(await s.alerts()) == case.alerts
        assert await s.count() == (case.incidents, case.plans, case.pages)
        for incident in await s.h.incidents():
            assert await s.replayed(incident.id) == incident


async def test_what_was_taken_in_says_that_it_was_found_by_asking(store: Store) -> None:
    async with story(store) as s:
        await never_delivered_of_a_sick_service(s)
        (fired,) = [event for event in await s.h.events() if isinstance(event, AlertFired)]
        assert fired.source == "reconcile"
        incident = await s.incident()
        assert incident.plan is not None
        assert incident.plan.state.value == "awaiting-approval"
        assert s.h.demo.real_writes == 0


@pytest.mark.parametrize(
    ("happens", "managers", "says"),
    [
        pytest.param(one_peer_is_silent, 2, "1 of 2 Alertmanagers did not answer", id="a silent peer"),
        pytest.param(prometheus_is_down, 1, "Prometheus did not answer", id="Prometheus down"),
        pytest.param(the_rule_stands_still, 1, "was not evaluated", id="a rule that stands still"),
        pytest.param(no_rule_of_that_name, 1, "has no rule of that name", id="no rule"),
        pytest.param(doubted_and_nobody_to_ask, 1, "no source could be asked", id="a doubt nobody settles"),
    ],
)
async def test_an_incident_that_cannot_be_told_says_stale_and_why_once(
    store: Store, happens: Callable[[Story], Awaitable[object]], managers: int, says: str
) -> None:
    async with story(store, managers=managers) as s:
        await happens(s)
        (reason,) = [reason for reason in await s.held() if says in reason]
        assert reason.startswith("stale: ")
        assert len(await s.held()) <= 2


async def silent_for_a_while(s: Story) -> None:
    await one_peer_is_silent(s)
    for manager in s.managers:
        manager.silent = False
        manager.put(labels(), s.now() - 5 * MINUTE)


async def prometheus_comes_back(s: Story) -> None:
    await prometheus_is_down(s)
    s.h.demo.prometheus.faults.down = False


async def restarted_and_heard_of_it_again(s: Story) -> None:
    since = await s.fires(ago=5 * MINUTE)
    await s.rounds(1)
    s.manager.restart(s.now())
    await s.rounds(2)
    s.manager.put(labels(), since)


async def doubted_and_somebody_can_be_asked_again(s: Story) -> None:
    await doubted_and_nobody_to_ask(s)
    s.manager.silent = s.h.demo.prometheus.faults.down = False


async def posted_by_hand_and_doubted(s: Story) -> None:
    """No source ever listed it, so its absence says nothing; the doubt alone held it."""
    since = s.now() - 5 * MINUTE
    await s.deliver(since)
    await s.deliver(since, ended=s.now())
    await s.h.pass_time(timedelta(seconds=5))
    await s.deliver(since)
    s.manager.silent = s.h.demo.prometheus.faults.down = True
    await s.rounds(3)
    s.manager.silent = s.h.demo.prometheus.faults.down = False


@pytest.mark.parametrize(
    ("happens", "managers"),
    [
        pytest.param(silent_for_a_while, 2, id="the silent peer lists it again"),
        pytest.param(prometheus_comes_back, 1, id="Prometheus answers, and it is missing"),
        pytest.param(restarted_and_heard_of_it_again, 1, id="a restarted Alertmanager lists it again"),
        pytest.param(doubted_and_somebody_can_be_asked_again, 1, id="a doubt, and the sources are back"),
        pytest.param(posted_by_hand_and_doubted, 1, id="of no source, and the sources are back"),
    ],
)
async def test_stale_ends_once_the_sources_can_tell_again_and_is_said_once(
    store: Store, happens: Callable[[Story], Awaitable[object]], managers: int
) -> None:
    async with story(store, managers=managers) as s:
        await happens(s)
        assert (await s.incident()).stale is not None
        assert "HoldEnded" not in await s.h.kinds()
        await s.rounds(1)
        incident = await s.incident()
        assert (incident.stale, incident.firing) == (None, True)
        await s.rounds(1)
        assert (await s.h.kinds()).count("HoldEnded") == 1
        assert await s.replayed(1) == await s.incident()


async def test_stale_stays_while_one_alert_of_the_incident_cannot_be_told(store: Store) -> None:
    async with story(store) as s:
        since = s.now() - 5 * MINUTE
        for name in ("api-0", "api-1"):
            await s.fires(ago=5 * MINUTE, pod=name)
        await s.rounds(1)
        s.manager.restart(s.now())
        await s.rounds(2)
        s.manager.put(labels(pod="api-0"), since)
        await s.rounds(2)
        assert "HoldEnded" not in await s.h.kinds()
        s.manager.put(labels(pod="api-1"), since)
        await s.rounds(1)
        assert (await s.incident()).stale is None


async def test_metrics_that_are_missing_are_not_ended_by_the_sources_of_alerts(store: Store) -> None:
    async with story(store) as s:
        await s.h.fall_ill()
        since = await s.fires(ago=2 * MINUTE)
        await s.rounds(1)
        s.manager.silent = True
        s.manager.empty()
        await s.rounds(1)
        s.manager.silent = False
        s.h.demo.prometheus.faults.down = True
        await s.deliver(since, ended=s.now())
        assert "MonitoringInterrupted" in await s.h.kinds()
        stale = (await s.incident()).stale
        await s.rounds(2)
        assert stale is not None
        assert (await s.incident()).stale == stale


async def test_a_gone_alert_ended_when_it_was_first_missed(store: Store) -> None:
    async with story(store) as s:
        since = await s.fires(ago=5 * MINUTE)
        await s.rounds(1)
        s.end()
        await s.rounds(1)
        s.manager.put(labels(), since)
        await s.rounds(60)
        s.end()
        missed = s.now() + ROUND
        await s.rounds(3)
        (ended,) = [one.ends_at for one in (await s.incident()).alerts.values()]
        assert ended == missed


async def test_nothing_ends_while_a_restarted_alertmanager_has_not_heard_of_fifty_alerts(
    store: Store,
) -> None:
    async with story(store) as s:
        since = s.now() - 5 * MINUTE
        for number in range(50):
            s.manager.put(labels(pod=f"api-{number}"), since)
        entries = [alert(starts_at=since, with_labels=labels(pod=f"api-{number}")) for number in range(50)]
        await s.h.deliver(notification(*entries))
        await s.rounds(1)
        s.manager.restart(s.now())
        await s.rounds(6)
        assert await s.alerts() == ["firing"] * 50
        assert len(await s.held()) == 1
        assert "less than 10 min" in (await s.held())[0]
        for number in range(50):
            s.manager.put(labels(pod=f"api-{number}"), since)
        await s.rounds(20)
        assert await s.alerts() == ["firing"] * 50
        assert len(await s.h.incidents()) == 1


async def test_an_answer_of_many_megabytes_is_read_to_its_end(store: Store) -> None:
    async with story(store) as s:
        since = s.now() - 5 * MINUTE
        for number in range(3000):
            s.manager.put(labels(alertname="Heartbeat", pod=f"api-{number}", filler="x" * 1000), since)
        listing = await s.h.world.alertmanagers[0].listing()
        assert len(listing.alerts) == 3000


async def test_without_the_name_of_our_receiver_nobody_elses_alert_is_taken_in(store: Store) -> None:
    async with story(store, receiver=None) as s:
        s.manager.put(labels(), s.now() - 5 * MINUTE, receivers=("payments",))
        await s.rounds(2)
        assert await s.alerts() == []


async def test_without_the_name_of_our_receiver_what_was_delivered_still_ends(store: Store) -> None:
    async with story(store, receiver=None) as s:
        await resolve_never_sent(s)
        assert await s.alerts() == ["gone"]


async def test_a_refire_that_its_group_still_holds_is_left_to_the_webhook(store: Store) -> None:
    async with story(store) as s:
        since = await s.fires(ago=5 * MINUTE)
        await s.deliver(since, ended=s.now())
        s.manager.put(labels(), s.now())
        await s.rounds(1)
        assert await s.alerts() == ["resolved"]
        await s.rounds(3)
        assert await s.alerts() == ["firing"]


async def test_an_alert_silenced_while_its_plan_waits_is_not_acted_on(store: Store) -> None:
    async with story(store) as s:
        await s.h.fall_ill()
        since = await s.fires(ago=2 * MINUTE)
        s.manager.put(labels(), since, state="suppressed")
        await approve(s.h)
        await s.h.work()
        refused = [event for event in await s.h.events() if isinstance(event, Refused)]
        assert any("silenced or inhibited" in str(event) for event in refused)
        assert s.h.demo.real_writes == 0


async def test_a_round_in_which_nothing_changed_writes_no_alert(store: Store) -> None:
    async with story(store) as s:
        await s.fires(ago=5 * MINUTE)
        await s.rounds(1)
        before = await s.h.world.store.read(lambda tx: intake.list_alerts(tx, before=None, limit=9))
        events = await s.h.kinds()
        await s.rounds(1)
        assert await s.h.world.store.read(lambda tx: intake.list_alerts(tx, before=None, limit=9)) == before
        assert await s.h.kinds() == events


async def gone_while_watched(s: Story) -> None:
    """A rollback is under verification when its alert is in no source any more."""
    await s.h.fall_ill()
    # Of a pod that Prometheus has no series of: its rule is fresh and does not fire it.
    await s.fires(ago=2 * MINUTE, pod="api-0")
    await approve(s.h)
    await s.h.work()
    await s.rounds(1)
    s.end()
    await s.rounds(4)
    assert await s.alerts() == ["gone"]
    plan = (await s.incident()).plan
    assert plan is not None
    assert plan.state.value in ("executed", "watched")


async def test_a_gone_alert_is_no_cure_of_a_patient_who_is_still_sick(store: Store) -> None:
    async with story(store, with_scenario="inc-001-not-helping") as s:
        await gone_while_watched(s)
        await s.h.pass_time(timedelta(hours=2), step=MINUTE)
        kinds = await s.h.kinds()
        assert "StillSick" in kinds
        assert not {"Verified", "MonitoringStarted", "ReadyToResolve", "Resolved"} & set(kinds)


async def test_a_gone_alert_is_no_cure_while_nobody_can_look(store: Store) -> None:
    async with story(store) as s:
        await gone_while_watched(s)
        s.h.demo.prometheus.faults.down = True
        await s.h.pass_time(timedelta(hours=2), step=MINUTE)
        kinds = await s.h.kinds()
        assert "Inconclusive" in kinds
        assert not {"Verified", "MonitoringStarted", "ReadyToResolve", "Resolved"} & set(kinds)


async def test_after_a_gone_alert_the_metrics_say_that_it_helped(store: Store) -> None:
    async with story(store) as s:
        await gone_while_watched(s)
        await s.h.pass_time(timedelta(minutes=80), step=MINUTE)
        kinds = [kind for kind in await s.h.kinds() if kind != "Classified"]
        assert kinds[kinds.index("AlertResolved") :] == [
            "AlertResolved",
            "Verified",
            "MonitoringStarted",
            "ReadyToResolve",
        ]


async def test_a_source_that_says_nothing_is_counted_and_one_that_answers_is_not(store: Store) -> None:
    async with story(store, managers=2) as s:
        await s.fires(ago=5 * MINUTE)
        await s.rounds(1)
        assert (s.h.counters.reconciled["rounds"], s.h.counters.reconciled["silent"]) == (1, 0)
        assert s.h.counters.reconciled["rules_silent"] == 0
        s.managers[1].silent = True
        s.managers[0].empty()
        s.h.demo.prometheus.faults.down = True
        await s.rounds(2)
        assert (s.h.counters.reconciled["rounds"], s.h.counters.reconciled["silent"]) == (3, 2)
        assert s.h.counters.reconciled["rules_silent"] == 2


async def test_a_watchdog_that_was_only_found_by_asking_did_not_arrive(store: Store) -> None:
    async with story(store) as s:

        async def last_received() -> datetime | None:
            return await store.read(lambda tx: intake.last_received(tx, "Watchdog", source="alertmanager"))

        since = await s.fires(ago=timedelta(minutes=5), delivered=False, alertname="Watchdog")
        await s.rounds(2)
        assert await s.alerts() == ["firing"]
        assert await last_received() is None
        assert await s.count() == (0, 0, 0)
        await s.deliver(since, with_labels=labels(alertname="Watchdog"))
        arrived = s.now()
        await s.rounds(4)
        assert await last_received() == arrived
