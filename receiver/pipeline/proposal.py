"""What could help? The first candidate whose condition holds, that applies, and that no guard objects to.

The rest is listed with its reasons, and where nothing applies that is said. Writes nothing but a dry run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from receiver.domain import events as ev
from receiver.domain.cutting import first_of
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.incidents import Incident
from receiver.domain.plans import Draft, NotApplicable, ObjectRef, Plan, cure_of
from receiver.domain.pointers import pointed_at
from receiver.pipeline.claim import Diagnosis
from receiver.pipeline.facts import Gathered, diff_of, gather, inside_facts
from receiver.pipeline.measuring import latest, measure_now
from receiver.pipeline.steps import Result, evidence_of
from receiver.pipeline.world import World
from receiver.policy.expressions import Truth, names_in
from receiver.policy.freezes import in_force
from receiver.policy.guards import Case, ask_all
from receiver.policy.matching import applicable
from receiver.policy.model import Candidate, Guards, Policy
from receiver.policy.planning import assemble, considered, filled
from receiver.store import effects, mitigations
from receiver.store.effects import StoredPlan

REJECTED_SHOWN = 20
TEMPLATE = "/spec/template"
# Of a policy that is no longer loaded: the strict defaults.
_NO_LIMITS = Guards()


@dataclass(frozen=True)
class Proposal:
    """A plan that fits, with what every guard said and why the candidates before it did not."""

    plan: Plan
    gathered: Gathered
    guards: tuple[str, ...]
    rejected: tuple[str, ...]


async def look_for_cure(
    world: World, incident: Incident, diagnosis: Diagnosis, tried: frozenset[str]
) -> Proposal | tuple[str, ...]:
    """The best proposal now, or the reason for each candidate why it is none."""
    now = world.clock.now()
    rejected: list[str] = []
    found = applicable(world.loaded.policies, incident, now)
    if not found:
        return ("no policy matches the alerts that fire",)
    for fits in found:
        if isinstance(fits.target, NotApplicable):
            rejected.append(f"policy {fits.policy.name}: {fits.target.reason}")
            continue
        conditions = [candidate.when for candidate in fits.policy.candidates if candidate.when]
        measured = await measure_now(world.prometheus, fits.policy, conditions, now)
        known = {**latest(measured, now), **diagnosis.facts}
        missing = {**diagnosis.missing, **measured.missing}
        for candidate in fits.policy.candidates:
            answer = await _consider(world, incident, fits.policy, candidate, fits.target, known, tried)
            if isinstance(answer, str):
                answer += _unanswered(candidate, missing)
            if isinstance(answer, str):
                rejected.append(f"{candidate.remediation}: {answer}")
                continue
            plan, gathered = answer
            objections, passed = await world.store.read(_asking(world, plan, gathered))
            if objections:
                rejected += [f"{candidate.remediation}: {objection}" for objection in objections]
                continue
            guards = tuple(f"{verdict.guard}: {verdict.observed}" for verdict in passed)
            return Proposal(plan, gathered, guards, tuple(rejected))
    return tuple(rejected) or ("no policy has a candidate",)


def _unanswered(candidate: Candidate, missing: Mapping[str, str]) -> str:
    """Why a value that its condition needs is missing: Prometheus or a probe's source did not answer."""
    names = names_in(candidate.when) if candidate.when else frozenset()
    reasons = dict.fromkeys(missing[name] for name in sorted(names & missing.keys()))
    return f" ({'; '.join(reasons)})" if reasons else ""


async def rebuild(world: World, incident: Incident, plan: Plan) -> Plan | NotApplicable:
    """The same plan made anew from what is there now; its digest tells whether it still is the same.

    Raises TemporaryError and PermanentError where that cannot be seen.
    """
    policy = world.loaded.policies.named(plan.policy)
    if policy is None:
        return NotApplicable(f"policy {plan.policy} is no longer loaded")
    target = replace(plan.target, uid="")
    candidate = Candidate(plan.remediation, "", None, plan.parameters, expires=plan.expires, ends=plan.ends)
    return await _make(world, incident, policy, candidate, target)


def _asking(world: World, plan: Plan, gathered: Gathered) -> Any:
    def body(tx: Connection) -> Any:
        return ask(tx, world, plan, gathered, plan_id=None)

    return body


def ask(
    tx: Connection,
    world: World,
    plan: Plan,
    gathered: Gathered,
    *,
    plan_id: str | None,
    undoing: bool = False,
) -> Any:
    """Every guard's answer over the gathered facts and what the store says in this transaction."""
    policy = world.loaded.policies.named(plan.policy)
    now = world.clock.now()
    case = Case(
        plan=plan,
        limits=policy.guards if policy is not None else _NO_LIMITS,
        cluster_budget=world.loaded.policies.cluster_budget,
        outside=gathered.outside,
        inside=inside_facts(tx, world, plan, plan_id),
        undoing=undoing,
        now=now,
        freezes=in_force(world.loaded.policies.freezes, now),
    )
    return ask_all(case)


async def _consider(
    world: World,
    incident: Incident,
    policy: Policy,
    candidate: Candidate,
    target: ObjectRef,
    known: Mapping[str, Any],
    tried: frozenset[str],
) -> tuple[Plan, Gathered] | str:
    truth, why_not = considered(candidate, incident, known, tried)
    if truth is not Truth.TRUE:
        return why_not
    told = filled(candidate, incident)
    if isinstance(told, str):
        return told
    try:
        plan = await _make(world, incident, policy, told, target)
        if isinstance(plan, NotApplicable):
            return plan.reason
        gathered = await gather(world, incident, plan, plan.steps[0], policy)
    except (TemporaryError, PermanentError) as error:
        return str(error)
    return replace(plan, diff=diff_of(plan.steps, gathered.would_be)), gathered


async def _make(
    world: World, incident: Incident, policy: Policy, candidate: Candidate, target: ObjectRef
) -> Plan | NotApplicable:
    remediation = world.remediations[candidate.remediation]
    state = await remediation.observe(target, candidate.parameters)
    now = world.clock.now()
    evidence = await evidence_of(world, policy, incident, now)
    draft = remediation.plan(state, candidate.parameters, evidence, now=now)
    if isinstance(draft, NotApplicable):
        return draft
    if (template := _template_of(draft)) is not None:
        key = draft.target.key
        kept = await world.store.read(lambda tx: mitigations.in_force(tx, key))
        draft = replace(draft, notes=(*draft.notes, *endings(template, kept)))
    return assemble(incident, policy, candidate, draft, world.catalogue[candidate.remediation])


def _template_of(draft: Draft) -> Any:
    """The whole template that a draft, such as a rollback's, puts in the place of the present one."""
    changes = (change for step in draft.steps for change in step.changes)
    return next((change.after for change in changes if change.pointer == TEMPLATE), None)


def endings(template: Any, in_force: Sequence[StoredPlan]) -> tuple[str, ...]:
    """A sentence for each mitigation of the target that this template would silently take away."""
    would_be = {"spec": {"template": template}}
    return tuple(
        f"{stored.plan_id} ends with this: {stored.plan.summary}"
        for stored in in_force
        if any(
            change.pointer.startswith(f"{TEMPLATE}/") and pointed_at(would_be, change.pointer) != change.after
            for step in stored.plan.steps
            for change in step.changes
        )
    )


def planned(tx: Connection, world: World, proposal: Proposal) -> tuple[ev.Event, ...]:
    """Keep the plan and say so; call it in the transaction that records the events."""
    plan = proposal.plan
    plan_id = effects.add_plan(tx, plan, guards=proposal.guards, at=world.clock.now())
    event = ev.Planned(
        plan_id=plan_id,
        remediation=plan.remediation,
        target=plan.target,
        digest=plan.digest,
        risk=plan.risk.value,
        summary=plan.summary,
        why=plan.why,
        diff=plan.diff[:4000],
        policy=plan.policy,
        rejected=first_of(proposal.rejected, items=REJECTED_SHOWN, characters=300),
        guards=proposal.guards,
        mode=plan.mode,
        cure=cure_of(plan.remediation, plan.parameters),
    )
    return (event,)


async def review(world: World, incident: Incident, plan: Plan) -> Result:
    """While people are being asked: void the request once the plan would be another one."""
    progress = incident.plan
    assert progress is not None
    try:
        again = await rebuild(world, incident, plan)
    except (TemporaryError, PermanentError):
        return Result()
    if isinstance(again, NotApplicable):
        return Result((ev.PlanVoided(progress.plan_id, again.reason),))
    if again.digest != plan.digest:
        return Result((ev.PlanVoided(progress.plan_id, "the target changed since the plan was made"),))
    return Result()
