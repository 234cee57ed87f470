"""Gather what the guards ask about: the outside from the world, the inside from the store.

The outside is asked anew before every write; the inside is read in the transaction that would act.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, assert_never

from sqlalchemy import Connection

from receiver.clients.answers import Applied, Rejected, Unanswered
from receiver.clients.cluster import differing
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.incidents import Incident
from receiver.domain.plans import BackendStep, EvictStep, PatchStep, Plan, Step, WarmUpStep
from receiver.domain.pointers import pointed_at
from receiver.domain.redaction import SECRET_NAME
from receiver.pipeline import doors
from receiver.pipeline.measuring import measure, points_of
from receiver.pipeline.steps import trigger_now
from receiver.pipeline.world import World
from receiver.policy.guards import Availability, InsideFacts, OutsideFacts, Ownership, disturbs
from receiver.policy.model import Budget, Policy
from receiver.probes import owners
from receiver.probes.bounds import bounded
from receiver.store import effects, locks, switches

FAILED_WINDOW = timedelta(hours=24)


@dataclass(frozen=True)
class Gathered:
    """The outside facts and the object they were read from (None: it is gone or could not be read)."""

    outside: OutsideFacts
    current: Mapping[str, Any] | None
    would_be: Mapping[str, Any] | None = None
    baseline: Mapping[str, float | None] = field(default_factory=dict)


async def gather(world: World, incident: Incident, plan: Plan, step: Step, policy: Policy | None) -> Gathered:
    """Ask the cluster, Prometheus and Alertmanager, all together; no answer is a fact too."""
    began = world.steady()
    target, prometheus, manager = await asyncio.gather(
        _ask_target(world, plan, step),
        _ask_prometheus(world, plan, policy),
        _ask_alertmanager(world, incident),
    )
    labels = next((alert.labels for alert in incident.alerts.values() if alert.firing), incident.labels)
    sources = {_place(step): target.answered, "Prometheus": prometheus.answered}
    if world.alertmanagers:
        sources["Alertmanager"] = manager.answered
    return Gathered(
        outside=OutsideFacts(
            age=timedelta(seconds=world.steady() - began),
            cluster_wanted=world.place.cluster,
            cluster_found=labels.get(world.place.cluster_label),
            alert_active=manager.active,
            trigger_holds=prometheus.trigger,
            suppressed=manager.suppressed,
            manual=not incident.alerts,
            target_seen=target.answered,
            target_uid=target.uid,
            target_changed=target.changed,
            owners=target.owners,
            availability=target.availability,
            dry_run=target.dry_run,
            dry_run_ok=target.dry_run_ok,
            rights=target.rights,
            sources=sources,
            values={**prometheus.values, "target": bounded(target.current or {}), "labels": dict(labels)},
        ),
        current=target.current,
        would_be=target.would_be,
        baseline=prometheus.values,
    )


def _place(step: Step) -> str:
    """Who is asked about the object of a step."""
    match step:
        case PatchStep() | EvictStep():
            return "Kubernetes"
        case BackendStep():
            return "PostgreSQL"
        case WarmUpStep():
            return "the file of endpoints"
        case _:
            assert_never(step)


def inside_facts(tx: Connection, world: World, plan: Plan, plan_id: str | None) -> InsideFacts:
    """What the store says now; call it after passing the gate."""
    now = world.clock.now()
    loaded = world.loaded.policies
    policy = loaded.named(plan.policy)
    limits = policy.guards if policy is not None else None
    per_target = limits.per_target if limits is not None else Budget(1, timedelta(hours=2))
    per_policy = limits.per_policy if limits is not None else Budget(3, timedelta(hours=1))
    holder = effects.target_holder(tx, plan.target.key)
    return InsideFacts(
        paused=switches.paused(tx, plan.policy),
        security_locks=locks.over(tx, plan),
        runs_on_target=effects.runs_since(
            tx, since=now - per_target.per, target=plan.target.key, besides=plan_id
        ),
        runs_of_policy=effects.runs_since(
            tx, since=now - per_policy.per, policy=plan.policy, besides=plan_id
        ),
        runs_in_cluster=effects.runs_since(tx, since=now - loaded.cluster_budget.per, besides=plan_id),
        failed_runs=effects.failed_runs(tx, plan.remediation, plan.target.key, since=now - FAILED_WINDOW),
        target_held_by=None if holder == plan_id else holder,
        # An absent field's pre-image is that it is absent.
        pre_image_stored=all(change.before != change.after for step in plan.steps for change in step.changes),
    )


@dataclass(frozen=True)
class _TargetSays:
    answered: bool = False
    current: Mapping[str, Any] | None = None
    uid: str | None = None
    changed: tuple[str, ...] = ()
    owners: tuple[Ownership, ...] | None = None
    availability: Availability | None = None
    dry_run: str | None = None
    dry_run_ok: bool | None = None
    would_be: Mapping[str, Any] | None = None
    rights: Mapping[str, bool | None] = field(default_factory=dict)


async def _ask_target(world: World, plan: Plan, step: Step) -> _TargetSays:
    try:
        current = await doors.read(world, step)
        if current is None:
            return _TargetSays(answered=True)
        found_owners, availability, rights, answer = await asyncio.gather(
            _owners(world, step, current),
            _availability(world, plan, step, current),
            doors.rights(world, step),
            doors.try_out(world, step, current),
        )
    except (TemporaryError, PermanentError) as error:
        return _TargetSays(dry_run=str(error))
    would_be: Mapping[str, Any] | None = None
    ok = False
    match answer:
        case Applied(object=would_be):
            wrong = differing(would_be, step.changes, "after")
            said = f"the dry run would leave {', '.join(wrong)} otherwise" if wrong else None
            ok = not wrong
        case Rejected(sentence=sentence):
            said = f"the dry run was refused: {sentence}"
        case Unanswered(sentence=sentence):
            said = f"the dry run has no answer: {sentence}"
    return _TargetSays(
        answered=True,
        current=current,
        uid=current["metadata"]["uid"],
        changed=() if doors.already_so(step, current) else doors.changed(step, current),
        owners=found_owners,
        availability=availability,
        dry_run=said,
        dry_run_ok=ok,
        would_be=would_be,
        rights=rights,
    )


async def _owners(world: World, step: Step, current: Mapping[str, Any]) -> tuple[Ownership, ...]:
    """Who else writes the fields of this object; nobody writes a backend, and a pod's owner replaces it."""
    if not isinstance(step, PatchStep):
        return ()
    return await owners.look(world.cluster, step.target, current)


async def _availability(
    world: World, plan: Plan, step: Step, current: Mapping[str, Any]
) -> Availability | None:
    """How many pods the step may take away at once; None where it takes none, or nobody knows."""
    if isinstance(step, EvictStep):
        workload = await world.cluster.get(plan.target)
        return None if workload is None else owners.availability_after_eviction(workload, current)
    if isinstance(step, PatchStep) and disturbs(step):
        return owners.availability_of(current)
    return None


@dataclass(frozen=True)
class _PrometheusSays:
    answered: bool
    trigger: bool | None
    values: Mapping[str, float | None]


async def _ask_prometheus(world: World, plan: Plan, policy: Policy | None) -> _PrometheusSays:
    now = world.clock.now()
    queries = {**plan.verification.queries, **(policy.queries if policy is not None else {})}
    every = plan.verification.every
    measured = await measure(world.prometheus, queries, start=now, end=now, step=every)
    values = dict(points_of(measured, start=now, end=now, step=every)[0][1])
    trigger = trigger_now(policy, values) if policy is not None else None
    return _PrometheusSays(measured.answered, trigger, values)


@dataclass(frozen=True)
class _AlertmanagerSays:
    answered: bool = True
    active: bool | None = None
    suppressed: bool | None = None


async def _ask_alertmanager(world: World, incident: Incident) -> _AlertmanagerSays:
    """Whether one of the incident's alerts is active in any configured Alertmanager."""
    if not world.alertmanagers:
        return _AlertmanagerSays()
    firing = [dict(alert.labels) for alert in incident.alerts.values() if alert.firing]
    names = sorted({labels.get("alertname", "") for labels in firing})
    try:
        listings = await asyncio.gather(
            *(manager.listing(alertname=name) for manager in world.alertmanagers for name in names)
        )
    except TemporaryError:
        return _AlertmanagerSays(answered=False)
    listed = [alert for listing in listings for alert in listing.alerts if dict(alert.labels) in firing]
    if not listed:
        return _AlertmanagerSays(active=False, suppressed=None)
    active = any(not alert.suppressed for alert in listed)
    return _AlertmanagerSays(active=active, suppressed=not active)


def diff_of(steps: tuple[Step, ...], would_be: Mapping[str, Any] | None) -> str:
    """The change as people read it: field by field, before and after, a line each.

    ``would_be`` is what a dry run of the first step answered.
    """
    lines: list[str] = []
    for index, step in enumerate(steps):
        match step:
            case PatchStep():
                for change in step.changes:
                    tried = would_be is not None and index == 0
                    after = pointed_at(would_be or {}, change.pointer) if tried else change.after
                    lines += _lines(change.pointer, change.before, after)
            case EvictStep():
                lines.append(f"- {step.target}")
            case BackendStep():
                lines.append(f"- {step.signal} {step.target.name}: {step.seen}")
            case WarmUpStep():
                lines.append(f"+ GET {step.target.name} {step.requests} times")
            case _:
                assert_never(step)
    return "\n".join(_counted(lines))


def _counted(lines: list[str]) -> Iterator[str]:
    """The same with alike lines after one another told once."""
    for line, alike in itertools.groupby(lines):
        count = sum(1 for _ in alike)
        yield line if count == 1 else f"{line}; {count} such steps"


def _lines(pointer: str, before: Any, after: Any) -> list[str]:
    if before == after:
        return []
    if SECRET_NAME.search(pointer):
        return [f"~ {pointer}: changed (hidden: its name says that it is secret)"]
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = sorted(set(before) | set(after))
        return [
            line for name in names for line in _lines(f"{pointer}/{name}", before.get(name), after.get(name))
        ]
    if (one_map := _by_name(before)) is not None and (other_map := _by_name(after)) is not None:
        return _lines(pointer, one_map, other_map)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for index, (one, other) in pairs for line in _lines(f"{pointer}/{index}", one, other)]
    lines = [] if before is None else [f"- {pointer}: {_text(before)}"]
    return lines if after is None else [*lines, f"+ {pointer}: {_text(after)}"]


def _by_name(items: Any) -> Mapping[str, Any] | None:
    """Containers, variables, volumes: lists whose entries are told apart by name."""
    if not isinstance(items, list) or not all(
        isinstance(item, Mapping) and item.get("name") for item in items
    ):
        return None
    return {item["name"]: {key: value for key, value in item.items() if key != "name"} for item in items}


def _text(value: Any) -> str:
    return str(value)[:300]
