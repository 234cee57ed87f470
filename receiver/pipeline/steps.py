"""The reading steps of an incident: how bad, what is found, what could help, did it help, is it quiet.

Each gathers, hands everything to a pure decision, and returns the events that follow. Writing is not here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from receiver.domain import events as ev
from receiver.domain.canonical import canonical, finite
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.incidents import Incident
from receiver.domain.plans import NotApplicable, ObjectRef, Plan, Receipt
from receiver.domain.remediation import Evidence, Placement
from receiver.domain.rollouts import first_bad_sample
from receiver.pipeline.claim import Diagnosis
from receiver.pipeline.measuring import ONE_STEP, health, latest, measure, measure_now, points_of
from receiver.pipeline.past import Past
from receiver.pipeline.world import World
from receiver.policy.classification import Judgement, classify
from receiver.policy.expressions import Truth, evaluate, names_in
from receiver.policy.grading import graded
from receiver.policy.handing_over import handed_over
from receiver.policy.matching import Applicable, applicable, policy_watching
from receiver.policy.model import Policy, ProbeUse
from receiver.policy.next_step import DEFAULT_MONITOR, LOCK_AGAIN, RECLASSIFY, after_verdict
from receiver.policy.signs import asked_for, turned
from receiver.policy.verification import Outcome, holds_through, judge, monitoring_window, thinned
from receiver.probes import catalogue as probes
from receiver.store import locks

log = structlog.get_logger(__name__)
LOOK_BACK = timedelta(hours=3)
LOOK_BACK_STEP = ONE_STEP
SETTLE_EVERY = timedelta(seconds=5)
QUIET_EVERY = timedelta(seconds=30)
_WORSE = (Placement.IN_PLACE, Placement.NOT_YET, Placement.FAILED)


@dataclass(frozen=True)
class Result:
    """What a step found out; ``again_at`` where it has to be looked at again before anything changes."""

    events: tuple[ev.Event, ...] = ()
    again_at: datetime | None = None


async def classify_step(world: World, incident: Incident) -> Result:
    """Measure the thresholds of every policy that applies; the most severe answer counts.

    An alert that joined since the diagnosis may be the sign of an attack.
    """
    now = world.clock.now()
    labels = [alert.labels for alert in incident.alerts.values() if alert.firing]
    found: list[tuple[Judgement, str]] = []
    found_policies = applicable(world.loaded.policies, incident, now)
    for fits in found_policies:
        rules = fits.policy.classify
        measured = await measure(
            world.prometheus, fits.policy.queries, start=now - rules.longest, end=now, step=rules.every
        )
        found.append((classify(rules, measured.series, labels, now=now), fits.policy.name))
    event = graded(incident, found, labels)
    judged = () if event is None else (event,)
    if incident.classified_at is None and incident.diagnosed_at is not None:
        values = await sign_values(world, found_policies, {}, now)
        attack = _attack(found_policies, values, {}, _not_cleared(incident))
        if any(isinstance(one, ev.TurnedSecurity) for one in attack):
            return Result((*judged, *attack))
    return Result(judged, again_at=None if judged else now + RECLASSIFY)


async def diagnose_step(world: World, incident: Incident) -> tuple[Result, Diagnosis]:
    """Run the probes of every policy that applies, together; what fails leaves its facts missing.

    What a person has to do follows from the answers.
    """
    now = world.clock.now()
    found_policies = applicable(world.loaded.policies, incident, now)
    facts: dict[str, Any] = {}
    missing: dict[str, str] = {}
    doors = probes.Doors(world.cluster, world.databases, world.endpoints, Past(world, incident))

    async def run(use: ProbeUse, target: ObjectRef, deadline: timedelta) -> None:
        name = use.name
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                found = await probes.run(use, doors, target, first_bad_at=incident.first_bad_at, now=now)
        except (TemporaryError, PermanentError) as error:
            missing[name] = str(error)
        except TimeoutError:
            missing[name] = f"no answer within {deadline.total_seconds():.0f} s"
        except Exception:
            # A bug in one probe must not take the facts of the others from whoever decides.
            about = {"incident": incident.id, "probe": use.probe, "target": str(target)}
            log.exception("a probe failed", event_code="probe_failed", **about)
            missing[name] = "a fault in the probe; the log has it"
        else:
            if found is None:
                missing[name] = f"there is no {target}"
            else:
                facts[name] = found

    async with asyncio.TaskGroup() as group:
        for fits in found_policies:
            if isinstance(fits.target, NotApplicable):
                missing[fits.policy.name] = fits.target.reason
                continue
            for use in fits.policy.probes:
                deadline = fits.policy.probe_deadline
                group.create_task(run(use, fits.target, deadline), name=f"probe-{use.name}")
    plain = finite(facts)
    text = canonical(plain)
    shown = plain if len(text) < 8000 else {"too large to show": sorted(facts)}
    diagnosed = ev.Diagnosed(facts=shown, missing=missing, facts_hash="")
    firing = [alert.labels for alert in incident.alerts.values() if alert.firing]
    values = await sign_values(world, found_policies, facts, now)
    return Result((diagnosed, *_attack(found_policies, values, facts, firing))), Diagnosis(facts, missing)


def _not_cleared(incident: Incident) -> list[Mapping[str, str]]:
    """The labels of what fires, but for what people looked at when they released it."""
    alerts = incident.alerts.values()
    return [alert.labels for alert in alerts if alert.firing and alert.identity not in incident.cleared]


def _attack(
    found: list[Applicable],
    values: Mapping[str, Mapping[str, Any]],
    facts: dict[str, Any],
    firing: list[Mapping[str, str]],
) -> tuple[ev.Event, ...]:
    """The sign of an attack, where one is there, and what people do."""
    attacked = turned(found, values, firing)
    # What the others hand over heals, and nothing is healed any more.
    asking = [
        fits.policy for fits in found if attacked is None or attacked.by == f"policy {fits.policy.name}"
    ]
    events = (attacked, handed_over(asking, facts, firing))
    return tuple(event for event in events if event is not None)


async def sign_values(
    world: World, found: list[Applicable], facts: dict[str, Any], now: datetime
) -> dict[str, dict[str, Any]]:
    """The facts and what the policy's signs ask for, by its name."""
    values: dict[str, dict[str, Any]] = {}
    for fits in found:
        if fits.policy.security:
            measured = await measure_now(world.prometheus, fits.policy, asked_for(fits.policy), now)
            values[fits.policy.name] = {**latest(measured, now), **facts}
    return values


async def settle_step(world: World, incident: Incident, plan: Plan) -> Result:
    """See whether every change is in place; when its time is over the patient is judged as it is."""
    progress = incident.plan
    assert progress is not None and progress.receipts
    now = world.clock.now()
    since = progress.executed_at or now
    placement, sentence = await _placed(world, plan, progress.receipts)
    if placement is Placement.IN_PLACE:
        return Result((ev.InPlace(progress.plan_id, sentence),))
    if placement is Placement.FAILED or now - since >= plan.verification.settle:
        return Result((ev.InPlace(progress.plan_id, f"not in place, judged all the same: {sentence}"),))
    return Result((), again_at=min(now + SETTLE_EVERY, since + plan.verification.settle))


async def _placed(world: World, plan: Plan, receipts: tuple[Receipt, ...]) -> tuple[Placement, str]:
    """The worst of what is told about each write; the last sentence where all are in place."""
    remediation = world.remediations[plan.remediation]
    told: list[tuple[Placement, str]] = []
    for receipt in receipts:
        try:
            told.append(await remediation.verify(receipt))
        except (TemporaryError, PermanentError) as error:
            told.append((Placement.NOT_YET, str(error)))
    worst = max((placement for placement, _ in told), key=_WORSE.index)
    # What was written last is what the sentence is about, where it is as bad as any.
    return next((placement, said) for placement, said in reversed(told) if placement is worst)


async def judge_step(world: World, incident: Incident, plan: Plan) -> Result:
    """Look at the metrics since the change was in place, and say whether it helped."""
    progress = incident.plan
    assert progress is not None
    now = world.clock.now()
    rules = plan.verification
    # Rates look back five minutes: samples from before the change was in place would judge the old state.
    since = progress.watched_since or now
    measured = await measure(world.prometheus, rules.queries, start=since, end=now, step=rules.every)
    points = points_of(measured, start=since, end=now, step=rules.every)
    verdict = judge(rules, points, progress.baseline, since=since, now=now)
    samples = thinned(points, since)
    match verdict.outcome:
        case Outcome.WAIT:
            return Result((), again_at=verdict.look_again_at)
        case Outcome.IMPROVED:
            return Result((ev.Verified(progress.plan_id, verdict.sentence, samples),))
        case Outcome.WORSE | Outcome.NOT_IMPROVED:
            worse = verdict.outcome is Outcome.WORSE
            sick: ev.Event = ev.StillSick(progress.plan_id, verdict.sentence, worse, samples)
        case Outcome.INCONCLUSIVE:
            sick = ev.Inconclusive(progress.plan_id, verdict.sentence, samples)
    return Result((sick, *after_verdict(incident, plan, verdict.outcome)))


async def quiet_step(world: World, incident: Incident, plan: Plan | None) -> Result:
    """Nothing fires: the metrics must have samples and hold, or it is not quiet but blind."""
    now = world.clock.now()
    policy = policy_watching(world.loaded.policies, incident) if plan is None else None
    if policy is not None and not policy.verification.queries:
        # One that only finds attacks cannot tell whether all is well.
        policy = None
    verification = (
        plan.verification if plan is not None else (policy.verification if policy is not None else None)
    )
    monitor = (
        plan.monitor if plan is not None else (policy.monitor if policy is not None else DEFAULT_MONITOR)
    )
    window = monitoring_window(incident.severity, monitor)
    until = incident.monitoring_until
    if verification is None:
        since = incident.quiet_since or now
        if until is not None:
            return Result((ev.MonitoringInterrupted("the policy that could tell is no longer loaded"),))
        if now - since < window:
            return Result((), again_at=since + window)
        return Result((ev.ReadyToResolve("nothing fires, and no policy can tell whether it is well"),))
    every = verification.every
    # At the window's end all of it counts: nobody may have looked meanwhile.
    start = now - every * (window // every) if until is not None and now >= until else now
    measured = await measure(world.prometheus, verification.queries, start=start, end=now, step=every)
    points = points_of(measured, start=start, end=now, step=every)
    baseline = incident.plan.baseline if incident.plan is not None else {}
    truth = holds_through(verification, points, baseline)
    reason = "; ".join(measured.missing.values()) or f"{verification.success} has no data"
    again = now + QUIET_EVERY
    if truth is Truth.TRUE:
        if until is None:
            words = f"nothing fires and {verification.success} holds"
            return Result((ev.MonitoringStarted(now + window, words),))
        return Result((), again_at=min(again, max(until, now)))
    if truth is Truth.FALSE:
        reason = f"{verification.success} does not hold"
    if until is not None or incident.stale != reason:
        return Result((ev.MonitoringInterrupted(reason),), again_at=again)
    return Result((), again_at=again)


async def hold_lock_step(world: World, incident: Incident) -> Result:
    """See whether anything of ours is still under way where this incident locks."""
    lockdown = incident.lockdown
    assert lockdown is not None
    left = await world.store.read(lambda tx: locks.in_flight(tx, lockdown.scopes))
    if left:
        return Result((), again_at=world.clock.now() + LOCK_AGAIN)
    return Result((ev.LockInForce(),))


async def evidence_of(world: World, policy: Policy, incident: Incident, now: datetime) -> Evidence:
    """Whether the patient was well, minute by minute, over the look-back; and since when it is not."""
    start = now - LOOK_BACK
    asked = names_in(policy.verification.success)
    queries = {name: query for name, query in policy.verification.queries.items() if name in asked}
    measured = await measure(world.prometheus, queries, start=start, end=now, step=LOOK_BACK_STEP)
    points = points_of(measured, start=start, end=now, step=LOOK_BACK_STEP)
    healthy = health(points, policy.verification.success)
    return Evidence(first_bad_at=first_bad_sample(healthy) or incident.first_bad_at, healthy=healthy)


def trigger_now(policy: Policy, values: dict[str, float | None]) -> bool | None:
    """Whether any level of the policy holds at this moment; None where that is undecided."""
    truths = [evaluate(rule.expr, values)[0] for level in policy.classify.levels.values() for rule in level]
    if Truth.TRUE in truths:
        return True
    return None if Truth.UNKNOWN in truths or not truths else False
