"""Plans, approvals, intents and target locks: what stands between a proposal and one write.

Order of locks everywhere: gate, incident, plan, target, outbox.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, bindparam, func, insert, select, update
from sqlalchemy import delete as delete_from

from receiver.domain.canonical import canonical
from receiver.domain.errors import Conflict, NotFound
from receiver.domain.outcomes import Outcome
from receiver.domain.plans import ObjectRef, Plan, Step
from receiver.store.engine import insert as insert_or
from receiver.store.schema import approvals, incident_events, intents, plans, target_locks
from receiver.store.timeline import moment, seconds

_PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)
_STEP: TypeAdapter[Step] = TypeAdapter(Step)

# Written once: every proposal and every write asks these.
_ADD_PLAN = insert(plans).returning(plans.c.id)
_START_INTENT = insert(intents)
_LOAD_INTENT = select(intents).where(intents.c.id == bindparam("intent"))
_LOAD_PLAN = select(plans).where(plans.c.id == bindparam("number"))
_LOCK_PLAN = _LOAD_PLAN.with_for_update()
_FREE_TARGET = delete_from(target_locks).where(target_locks.c.plan_id == bindparam("plan"))
_HOLDER = select(target_locks.c.plan_id).where(target_locks.c.target == bindparam("object"))
_RUNS = (
    select(func.count(func.distinct(intents.c.plan_id)))
    .select_from(intents)
    .where(
        intents.c.created_at >= bindparam("since"),
        intents.c.kind == "execute",
        intents.c.state != "refused",
        intents.c.plan_id != bindparam("besides"),
    )
)
_RUNS_ON_TARGET = _RUNS.where(intents.c.target == bindparam("object"))
_RUNS_OF_POLICY = _RUNS.where(intents.c.policy == bindparam("by_policy"))
_RUNS_OF_TARGET = (
    select(intents.c.plan_id, intents.c.incident_id)
    .where(
        intents.c.target == bindparam("object"),
        intents.c.created_at >= bindparam("since"),
        intents.c.kind == "execute",
        intents.c.state != "refused",
    )
    .distinct()
)


@dataclass(frozen=True)
class StoredPlan:
    """A plan with its number; ``guards`` is what every guard said when it was proposed."""

    plan_id: str
    plan: Plan
    guards: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True)
class Vote:
    """One person's answer in one round of asking."""

    subject: str
    groups: tuple[str, ...]
    decision: str
    reason: str
    at: datetime
    known_by: str
    uid: str


@dataclass(frozen=True)
class Intent:
    """That we are about to write, written down first; its id is the marker that travels in the write.

    ``resource_version`` and ``generation`` are those of the last send. ``unanswered`` says that a send may
    still land.
    """

    id: str
    plan_id: str
    incident_id: int
    kind: Literal["execute", "undo"]
    step: int
    target: str
    request: Step
    resource_version: str | None
    generation: int | None
    sends: int
    unanswered: bool
    state: str
    created_at: datetime
    sent_at: datetime


def add_plan(tx: Connection, plan: Plan, *, guards: tuple[str, ...], at: datetime) -> str:
    """Number the plan and keep it."""
    row = tx.execute(
        _ADD_PLAN,
        {
            "incident_id": plan.incident_id,
            "epoch": plan.epoch,
            "digest": plan.digest,
            "policy": plan.policy,
            "remediation": plan.remediation,
            "target": plan.target.key,
            "body": _PLAN.dump_json(plan).decode(),
            "guards": canonical(list(guards)),
            "created_at": seconds(at),
            "mode": plan.mode,
        },
    ).one()
    return f"P-{row.id}"


def note_outcome(
    tx: Connection,
    plan_id: str,
    *,
    approved_at: datetime | None = None,
    executed_at: datetime | None = None,
    outcome: Outcome | None = None,
) -> None:
    """What became of a plan so far, for its policy's record; what is not given stays."""
    values: dict[str, Any] = {}
    if approved_at is not None:
        values["approved_at"] = seconds(approved_at)
    if executed_at is not None:
        values["executed_at"] = seconds(executed_at)
    if outcome is not None:
        values["outcome"] = outcome.value
    if values:
        tx.execute(update(plans).where(plans.c.id == plan_number(plan_id)).values(values))


def plan_number(plan_id: str) -> int:
    """The row of ``P-17``. Raises NotFound for anything else."""
    prefix, _, number = plan_id.partition("-")
    if prefix.upper() != "P" or not (number.isascii() and number.isdigit()) or len(number) > 15:
        raise NotFound(f"there is no plan {plan_id!r}; plans are named like P-17")
    return int(number)


def load_plan(tx: Connection, plan_id: str, *, for_update: bool = False) -> StoredPlan:
    """The plan of that number. Raises NotFound."""
    row = tx.execute(_LOCK_PLAN if for_update else _LOAD_PLAN, {"number": plan_number(plan_id)}).first()
    if row is None:
        raise NotFound(f"there is no plan {plan_id}")
    return stored_plan(row)


def stored_plan(row: Row[Any]) -> StoredPlan:
    """A row of the plans table."""
    guards: list[str] = TypeAdapter(list[str]).validate_json(row.guards)
    return StoredPlan(f"P-{row.id}", _PLAN.validate_json(row.body), tuple(guards), moment(row.created_at))


def list_plans(tx: Connection, *, before: int | None, limit: int) -> list[StoredPlan]:
    """The newest plans first."""
    statement = select(plans).order_by(plans.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(plans.c.id < before)
    return [stored_plan(row) for row in tx.execute(statement)]


@dataclass(frozen=True)
class Tried:
    """A plan that was carried out; ``outcome`` is None while nobody has judged it."""

    incident_id: int
    remediation: str
    executed_at: datetime
    outcome: Outcome | None


def tried_on(tx: Connection, target: str, incident_ids: Collection[int]) -> list[Tried]:
    """What these incidents had carried out on this target, oldest first."""
    rows = tx.execute(
        select(plans.c.incident_id, plans.c.remediation, plans.c.executed_at, plans.c.outcome)
        .where(
            plans.c.incident_id.in_(incident_ids), plans.c.target == target, plans.c.executed_at.is_not(None)
        )
        .order_by(plans.c.id)
    )
    return [
        Tried(
            row.incident_id,
            row.remediation,
            moment(row.executed_at),
            None if row.outcome is None else Outcome(row.outcome),
        )
        for row in rows
    ]


def add_vote(
    tx: Connection,
    plan_id: str,
    *,
    round_: int,
    digest: str,
    vote: Vote,
) -> None:
    """One answer of one person. Raises Conflict where they have answered in this round."""
    row = tx.execute(
        insert_or(tx.dialect.name, approvals)
        .values(
            plan_id=plan_id,
            round=round_,
            digest=digest,
            subject=vote.subject,
            groups=canonical(sorted(vote.groups)),
            decision=vote.decision,
            reason=vote.reason,
            at=seconds(vote.at),
            known_by=vote.known_by,
            uid=vote.uid,
        )
        .on_conflict_do_nothing(index_elements=["plan_id", "round", "subject"])
        .returning(approvals.c.id)
    ).first()
    if row is None:
        raise Conflict(f"{vote.subject} has answered {plan_id} already")


def votes(tx: Connection, plan_id: str, *, round_: int) -> list[Vote]:
    """All answers of one round, oldest first."""
    rows = tx.execute(
        select(approvals)
        .where(approvals.c.plan_id == plan_id, approvals.c.round == round_)
        .order_by(approvals.c.id)
    )
    read_groups = TypeAdapter(tuple[str, ...]).validate_json
    return [
        Vote(
            row.subject,
            read_groups(row.groups),
            row.decision,
            row.reason,
            moment(row.at),
            row.known_by,
            row.uid,
        )
        for row in rows
    ]


def take_target(tx: Connection, *, target: str, plan_id: str, incident_id: int, at: datetime) -> str | None:
    """Lock the target for this plan; the plan that has it where it is taken."""
    tx.execute(
        insert_or(tx.dialect.name, target_locks)
        .values(target=target, plan_id=plan_id, incident_id=incident_id, since=seconds(at))
        .on_conflict_do_nothing(index_elements=["target"])
    )
    holder: str = tx.execute(_HOLDER, {"object": target}).scalar_one()
    return None if holder == plan_id else holder


def target_holder(tx: Connection, target: str) -> str | None:
    """The plan that has the target now."""
    return tx.execute(_HOLDER, {"object": target}).scalar()


def free_target(tx: Connection, plan_id: str) -> None:
    """Let go of what this plan had locked."""
    tx.execute(_FREE_TARGET, {"plan": plan_id})


def start_intent(
    tx: Connection,
    *,
    intent_id: str,
    plan_id: str,
    incident_id: int,
    policy: str,
    kind: str,
    step_number: int,
    step: Step,
    target: ObjectRef,
    resource_version: str | None,
    generation: int | None,
    token: int,
    at: datetime,
) -> None:
    """From this commit on we know that we may have written."""
    tx.execute(
        _START_INTENT,
        {
            "id": intent_id,
            "plan_id": plan_id,
            "incident_id": incident_id,
            "policy": policy,
            "kind": kind,
            "step": step_number,
            "target": target.key,
            "request": _STEP.dump_json(step).decode(),
            "resource_version": resource_version,
            "generation": generation,
            "sends": 1,
            "unanswered": True,
            "state": "started",
            "lease_token": token,
            "created_at": seconds(at),
            "sent_at": seconds(at),
        },
    )


def resend_intent(
    tx: Connection, intent_id: str, *, resource_version: str, generation: int | None, token: int, at: datetime
) -> None:
    """Before each repeated send: the versions it will carry."""
    tx.execute(
        update(intents)
        .where(intents.c.id == intent_id)
        .values(
            resource_version=resource_version,
            generation=generation,
            sends=intents.c.sends + 1,
            unanswered=True,
            lease_token=token,
            sent_at=seconds(at),
        )
    )


def end_intent(tx: Connection, intent_id: str, *, state: str, outcome: str, at: datetime) -> None:
    """``state`` is confirmed, refused or unknown."""
    tx.execute(
        update(intents)
        .where(intents.c.id == intent_id)
        .values(state=state, outcome=outcome[:2000], done_at=seconds(at), unanswered=state == "unknown")
    )


def note_late_outcome(tx: Connection, intent_id: str, outcome: str) -> None:
    """What a fenced owner learned; recovery's own look decides, this is for people."""
    tx.execute(update(intents).where(intents.c.id == intent_id).values(late_outcome=outcome[:2000]))


def load_intent(tx: Connection, intent_id: str) -> Intent:
    """Raises NotFound."""
    row = tx.execute(_LOAD_INTENT, {"intent": intent_id}).first()
    if row is None:
        raise NotFound(f"there is no intent {intent_id}")
    return _intent(row)


def _intent(row: Row[Any]) -> Intent:
    return Intent(
        id=row.id,
        plan_id=row.plan_id,
        incident_id=row.incident_id,
        kind="undo" if row.kind == "undo" else "execute",
        step=row.step,
        target=row.target,
        request=_STEP.validate_json(row.request),
        resource_version=row.resource_version,
        generation=row.generation,
        sends=row.sends,
        unanswered=row.unanswered,
        state=row.state,
        created_at=moment(row.created_at),
        sent_at=moment(row.sent_at),
    )


def runs_since(
    tx: Connection,
    *,
    since: datetime,
    target: str | None = None,
    policy: str | None = None,
    besides: str | None = None,
) -> int:
    """How many other plans (``besides`` is this one) wrote cures since then, on this target or by this policy
    where one is given; refused ones left out.
    """
    asked: dict[str, Any] = {"since": seconds(since), "besides": besides or ""}
    if target is not None:
        return int(tx.execute(_RUNS_ON_TARGET, asked | {"object": target}).scalar_one())
    if policy is not None:
        return int(tx.execute(_RUNS_OF_POLICY, asked | {"by_policy": policy}).scalar_one())
    return int(tx.execute(_RUNS, asked).scalar_one())


def intent_counts(tx: Connection) -> Mapping[str, int]:
    """How many intents ended how, for the metrics and the tests."""
    rows = tx.execute(select(intents.c.state, func.count().label("n")).group_by(intents.c.state))
    return {row.state: row.n for row in rows}


def failed_runs(tx: Connection, remediation: str, target: str, *, since: datetime) -> int:
    """How many runs of this cure on this target did not help, were undone or have an unknown effect."""
    runs = tx.execute(_RUNS_OF_TARGET, {"object": target, "since": seconds(since)}).all()
    failed = 0
    for run in runs:
        if load_plan(tx, run.plan_id).plan.remediation != remediation:
            continue
        ended = tx.execute(
            select(func.count())
            .select_from(incident_events)
            .where(
                incident_events.c.incident_id == run.incident_id,
                incident_events.c.kind.in_(["StillSick", "Undone", "EffectUnknown"]),
                incident_events.c.body.contains(f'"plan_id":"{run.plan_id}"', autoescape=True),
            )
        ).scalar_one()
        failed += bool(ended)
    return failed
