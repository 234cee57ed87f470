"""Takes incidents that are due, one task each, and carries every one as far as it goes now.

A claim is held by a lease that one heartbeat keeps for all claims of this worker. Every step is taken
outside any transaction; what it found is written under the claim's token to the incident as it is by then,
and the next step is decided from that. So a signal that arrives meanwhile is neither lost nor overtaken.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from receiver.domain import events as ev
from receiver.domain.durations import in_words
from receiver.domain.errors import Unavailable
from receiver.domain.incidents import Incident
from receiver.domain.plans import Plan
from receiver.pipeline.claim import Claim
from receiver.pipeline.counters import Counters
from receiver.pipeline.execution import execute_step, recover_step, undo_step
from receiver.pipeline.isolating import check_step, consider_step, isolate_step
from receiver.pipeline.log_fields import bind_fields
from receiver.pipeline.preserving import capture_step
from receiver.pipeline.proposal import Proposal, look_for_cure, planned, review
from receiver.pipeline.recording import record
from receiver.pipeline.steps import (
    Result,
    classify_step,
    diagnose_step,
    hold_lock_step,
    judge_step,
    quiet_step,
    settle_step,
)
from receiver.pipeline.world import World
from receiver.policy import next_step as steps
from receiver.policy.model import Mode
from receiver.policy.next_step import Next, Record, Rest, counted_as, next_step
from receiver.store import claims, effects, timeline
from receiver.store.claims import Fenced
from receiver.store.engine import pass_gate

log = structlog.get_logger(__name__)

_NUMBERS = re.compile(r"\d+")

PARALLEL = 32
# After a step raised, the incident waits: it must not spin, and it must not block the others.
BACK_OFF = (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2))
# More steps than this in one claim means that decisions chase one another; let others have a turn.
STEPS_IN_ONE_CLAIM = 40
FAILURES_TOLD = 4
# Reasons that say more about our eyes than about the incident: worth another look soon.
BLIND = ("G11 ", "cannot be reached", "is not taken", "did not answer", "could not be")


class Worker:
    """One of possibly many over the same store."""

    def __init__(self, world: World, counters: Counters) -> None:
        self._world = world
        self._counters = counters
        self._wake = asyncio.Event()
        self._claims: dict[int, Claim] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._plans: dict[str, Plan] = {}
        self._stopping = False

    def wake(self) -> None:
        """Something may be due now; polling would find it too, a little later."""
        self._wake.set()

    @property
    def busy(self) -> int:
        """How many incidents it holds."""
        return len(self._tasks)

    async def run(self) -> None:
        """Work until cancelled or told to drain."""
        heartbeat = asyncio.create_task(self._beat(), name="worker-heartbeat")
        try:
            while not self._stopping:
                self._wake.clear()
                try:
                    await self.claim_due()
                    pause = await self._pause()
                except Unavailable as error:
                    log.warning("the store is away; waiting", event_code="store_away", why=str(error))
                    pause = self._world.timing.poll
                except Exception:
                    log.exception("looking for work failed; trying again", event_code="claim_failed")
                    pause = self._world.timing.poll
                await self._sleep(pause)
            if self._tasks:
                # Draining: the heartbeat keeps what is being finished.
                await asyncio.wait(self._tasks)
        finally:
            heartbeat.cancel()
            await asyncio.gather(heartbeat, return_exceptions=True)

    async def drain(self) -> None:
        """Take nothing more and finish what is held; an open intent is never handed back."""
        self._stopping = True
        self._wake.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._world.timing.step_limit.total_seconds())

    async def claim_due(self) -> int:
        """Take what is due and start on it; how many were taken."""
        room = PARALLEL - len(self._tasks)
        if room <= 0:
            return 0
        world = self._world
        began = world.steady()
        lease = world.timing.lease
        taken = await world.store.write(
            lambda tx: claims.claim(tx, owner=world.owner, now=world.clock.now(), lease=lease, limit=room)
        )
        for held in taken:
            claim = Claim(
                held=held,
                good_until=began + lease.total_seconds(),
                lease_seconds=lease.total_seconds(),
                began=began,
                steady=world.steady,
                counters=self._counters,
            )
            self._claims[claim.incident.id] = claim
            task = asyncio.create_task(
                self._carry(claim, held.fail_count), name=f"incident-{claim.incident.id}"
            )
            self._tasks.add(task)
            task.add_done_callback(self._forget(task, claim))
        return len(taken)

    async def settle(self) -> None:
        """Work off everything that is due now, then return; for tests and trials on a clock of their own."""
        # A plan of many steps takes longer than a lease on a slow machine.
        heartbeat = asyncio.create_task(self._beat(), name="worker-heartbeat")
        try:
            while True:
                taken = await self.claim_due()
                if self._tasks:
                    await asyncio.wait(self._tasks)
                elif not taken:
                    return
        finally:
            heartbeat.cancel()
            await asyncio.gather(heartbeat, return_exceptions=True)

    def _forget(self, task: asyncio.Task[None], claim: Claim) -> Callable[[asyncio.Task[None]], None]:
        def done(_: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if self._claims.get(claim.incident.id) is claim:
                del self._claims[claim.incident.id]
            self._wake.set()

        return done

    async def _pause(self) -> timedelta:
        """How long until the earliest due row, at most one poll."""
        due = await self._world.store.read(claims.next_due)
        poll = self._world.timing.poll
        if due is None:
            return poll
        return max(timedelta(milliseconds=20), min(poll, timeline.moment(due) - self._world.clock.now()))

    async def _sleep(self, pause: timedelta) -> None:
        sleeping = asyncio.ensure_future(self._world.clock.sleep(pause))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait(
                {sleeping, waking},
                timeout=self._world.timing.poll.total_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            sleeping.cancel()
            waking.cancel()
            await asyncio.gather(sleeping, waking, return_exceptions=True)

    async def _beat(self) -> None:
        """Keep the leases of everything that makes progress."""
        timing = self._world.timing
        while True:
            await asyncio.sleep(timing.heartbeat.total_seconds())
            began = self._world.steady()
            alive = {
                number: claim
                for number, claim in self._claims.items()
                if began - claim.began < timing.step_limit.total_seconds()
            }
            if not alive:
                continue
            pairs = [(number, claim.token) for number, claim in alive.items()]
            try:
                kept = await self._world.store.write(_extending(pairs, timing.lease))
            except Unavailable as error:
                log.warning("leases could not be kept", event_code="heartbeat_failed", why=str(error))
                continue
            for number, claim in alive.items():
                if number in kept:
                    claim.good_until = began + claim.lease_seconds
                elif self._claims.get(number) is claim:
                    claim.lost = True

    async def _carry(self, claim: Claim, failures: int) -> None:
        """The worker's edge: whatever goes wrong with one incident stays with it."""
        number = claim.incident.id
        # The task's own context: nothing of it is left for another incident.
        bind_fields(claim.incident, None)
        try:
            if claim.token == 1:
                # Whoever claims it first begins its trace; how it came to be opened is no matter.
                self._world.tracer.opened(claim.incident)
            await self._carry_on(claim)
        except Fenced:
            log.info("the lease passed on", event_code="fenced", incident=number)
        except Unavailable as error:
            log.warning("the store is away", event_code="store_away", incident=number, why=str(error))
        except Exception:
            log.exception("a step failed; the incident waits", event_code="step_failed", incident=number)
            self._counters.steps["failed"] += 1
            if failures + 1 == FAILURES_TOLD:
                await self._tell_failing(claim)
            wait = BACK_OFF[min(failures, len(BACK_OFF) - 1)]
            await self._give_back(claim, wait)

    async def _tell_failing(self, claim: Claim) -> None:
        """A step that keeps raising is a bug of ours: a person must know that this incident waits."""
        world = self._world

        def body(tx: Connection) -> None:
            held = claims.reclaim(tx, claim.unsure())
            event = ev.Escalated(f"a step failed {FAILURES_TOLD} times; the log has the reason")
            record(world, tx, held, (event,), actor=world.owner, due_at=world.clock.now())

        try:
            await world.store.write(body)
        except (Unavailable, Fenced):
            log.warning("a failing incident could not be told of", event_code="store_away")

    async def _give_back(self, claim: Claim, wait: timedelta) -> None:
        world = self._world
        due = world.clock.now() + wait
        try:
            await world.store.write(
                lambda tx: claims.give_back(tx, claim.incident.id, token=claim.token, due_at=due, failed=True)
            )
        except Unavailable:
            log.warning("a failed claim could not be given back; its lease ends", event_code="store_away")

    async def _carry_on(self, claim: Claim) -> None:
        todo: Next | None = await self._advance(claim, ())
        for _ in range(STEPS_IN_ONE_CLAIM):
            if todo is None:
                return
            claim.began = self._world.steady()
            self._counters.steps[counted_as(todo)] += 1
            with self._world.tracer.of_incident(counted_as(todo), lambda: claim.incident):
                todo = await self._take(claim, todo)
        await self._world.store.write(self._leaving(claim))

    def _leaving(self, claim: Claim) -> Callable[[Connection], None]:
        world = self._world
        due = world.clock.now() + timedelta(seconds=1)
        return lambda tx: claims.give_back(tx, claim.incident.id, token=claim.token, due_at=due)

    async def _take(self, claim: Claim, todo: Next) -> Next | None:
        """One step, and what comes after it; None once the claim was given back."""
        world, incident = self._world, claim.incident
        plan = await self._plan_of(incident)
        # Anew for each step: it may have a plan by now, or a lock.
        bind_fields(incident, plan)
        match todo:
            case steps.Classify():
                result = await classify_step(world, incident)
            case steps.Diagnose():
                result, claim.diagnosis = await diagnose_step(world, incident)
            case steps.Propose():
                return await self._propose(claim, todo)
            case steps.Review():
                result = await review(world, incident, _needed(plan))
            case steps.Execute():
                result = await execute_step(world, claim, _needed(plan))
            case steps.Undo():
                result = await undo_step(world, claim, _needed(plan))
            case steps.Recover():
                result = await recover_step(world, claim, _needed(plan))
            case steps.Settle():
                result = await settle_step(world, incident, _needed(plan))
            case steps.Judge():
                result = await judge_step(world, incident, _needed(plan))
            case steps.CheckQuiet():
                result = await quiet_step(world, incident, plan)
            case steps.HoldLock():
                result = await hold_lock_step(world, incident)
            case steps.Capture():
                result = await capture_step(world, claim)
            case steps.ConsiderIsolation():
                result = await consider_step(world, claim)
            case steps.Isolate():
                result = await isolate_step(world, claim)
            case steps.CheckIsolation():
                result = await check_step(world, claim)
            case Rest() | Record():
                raise AssertionError("rests and records are handled where they are decided")
        return await self._after(claim, todo, result, moved=claim.incident.last_seq != incident.last_seq)

    async def _after(self, claim: Claim, todo: Next, result: Result, *, moved: bool) -> Next | None:
        claim.rest_until(result.again_at)
        if result.again_at is not None or not (result.events or moved):
            claim.looked |= {type(todo)}
        else:
            claim.looked = frozenset()
        return await self._advance(claim, result.events)

    async def _propose(self, claim: Claim, todo: steps.Propose) -> Next | None:
        world, incident = self._world, claim.incident
        if claim.diagnosis is None:
            _, claim.diagnosis = await diagnose_step(world, incident)
        found = await look_for_cure(world, incident, claim.diagnosis, todo.tried)
        if isinstance(found, Proposal):
            return await self._advance(claim, (), proposal=found)
        claim.looked |= {steps.Propose}
        blind = any(mark in reason for reason in found for mark in BLIND)
        if found == incident.nothing_reasons:
            claim.rest_until(world.clock.now() + steps.LOOK_AGAIN)
            return await self._advance(claim, self._hand_over(incident, found) if blind else ())
        # Where a source did not answer a person is told if it does not at the next look, which comes soon.
        told = () if blind else self._hand_over(incident, found)
        return await self._advance(claim, (ev.NothingApplies(found, blind), *told))

    def _hand_over(self, incident: Incident, reasons: tuple[str, ...]) -> tuple[ev.Event, ...]:
        reason = ("no remediation applies: " + "; ".join(reasons))[:2000]
        # The same reason with another number in it ("runs since 3 h") is no news.
        told = {_NUMBERS.sub("#", one) for one in incident.escalated}
        return () if _NUMBERS.sub("#", reason) in told else (ev.Escalated(reason),)

    async def _plan_of(self, incident: Incident) -> Plan | None:
        if incident.plan is None:
            return None
        plan_id = incident.plan.plan_id
        if plan_id not in self._plans:
            if len(self._plans) > 10_000:
                self._plans.clear()
            stored = await self._world.store.read(lambda tx: effects.load_plan(tx, plan_id))
            self._plans[plan_id] = stored.plan
        return self._plans[plan_id]

    async def _advance(
        self, claim: Claim, events: tuple[ev.Event, ...], *, proposal: Proposal | None = None
    ) -> Next | None:
        """Write what was found to the incident as it is now, and decide what comes next; None: given back."""
        diagnosis = claim.diagnosis

        def body(tx: Connection) -> Next | None:
            if any(isinstance(event, ev.TurnedSecurity) for event in events):
                # No write may begin between looking who is under way and the lock.
                pass_gate(tx)
            held = claims.reclaim(tx, claim.held)
            before = held.incident.last_seq
            if before != claim.incident.last_seq:
                # A signal came meanwhile: everything may have to be looked at again.
                claim.looked = frozenset()
            found = events if proposal is None else planned(tx, self._world, proposal)
            if any(isinstance(event, ev.Diagnosed) for event in found) and diagnosis is not None:
                found = _with_facts(tx, found, diagnosis.facts, self._world)
            return self._decide(tx, claim, held, found)

        return await self._world.store.write(body)

    def _decide(
        self, tx: Connection, claim: Claim, held: timeline.Locked, events: tuple[ev.Event, ...]
    ) -> Next | None:
        world = self._world
        while True:
            now = world.clock.now()
            if events:
                held = record(world, tx, held, events, actor=world.owner, due_at=now)
            claim.held, incident = held, held.incident
            plan = self._plan_in(tx, incident)
            policy = world.loaded.policies.named(plan.policy) if plan is not None else None
            todo = next_step(
                incident,
                plan,
                policy_hash=policy.hash if policy is not None else None,
                looked=claim.looked,
                now=now,
                storm=self._storm(tx, plan, now),
            )
            if isinstance(todo, Record):
                events, claim.looked = todo.events, frozenset()
                continue
            if not isinstance(todo, Rest):
                return todo
            due = _earliest(todo.until, claim.again_at, now)
            record(world, tx, held, (), actor=world.owner, due_at=due, release=True)
            return None

    def _storm(self, tx: Connection, plan: Plan | None, now: datetime) -> str:
        """Why nothing is automatic now; empty where it may be, or where people are asked anyway."""
        storm = self._world.loaded.policies.storm
        if plan is None or plan.mode != Mode.AUTO:
            return ""
        if not timeline.opened_since(tx, now - storm.per, count=storm.count):
            return ""
        return (
            f"{storm.count} incidents or more within {in_words(storm.per)}: nothing is automatic in a storm"
        )

    def _plan_in(self, tx: Connection, incident: Incident) -> Plan | None:
        if incident.plan is None:
            return None
        plan_id = incident.plan.plan_id
        if plan_id not in self._plans:
            self._plans[plan_id] = effects.load_plan(tx, plan_id).plan
        return self._plans[plan_id]


def _with_facts(
    tx: Connection, events: tuple[ev.Event, ...], facts: object, world: World
) -> tuple[ev.Event, ...]:
    name = timeline.store_facts(tx, facts, at=world.clock.now())
    return tuple(
        replace(event, facts_hash=name) if isinstance(event, ev.Diagnosed) else event for event in events
    )


def _earliest(one: datetime | None, other: datetime | None, now: datetime) -> datetime | None:
    moments = [moment for moment in (one, other) if moment is not None]
    return max(min(moments), now + timedelta(milliseconds=20)) if moments else None


def _extending(pairs: list[tuple[int, int]], lease: timedelta) -> Callable[[Connection], set[int]]:
    return lambda tx: claims.extend(tx, pairs, lease=lease)


def _needed(plan: Plan | None) -> Plan:
    if plan is None:
        raise AssertionError("this step is only decided with a plan")
    return plan
