"""The plans of isolations, by number: what their events are too small for."""

from __future__ import annotations

from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import Connection, insert, select, update

from receiver.domain.errors import NotFound
from receiver.domain.isolation import BY_HAND, IsolationPlan
from receiver.store.schema import isolations
from receiver.store.timeline import seconds

_PLAN: TypeAdapter[IsolationPlan] = TypeAdapter(IsolationPlan)


def add(tx: Connection, plan: IsolationPlan, *, at: datetime) -> str:
    """Number the plan and keep it."""
    row = tx.execute(
        insert(isolations).returning(isolations.c.id),
        {
            "incident_id": plan.incident_id,
            "act": plan.act.value,
            "target": plan.target.key,
            "digest": plan.digest,
            "body": _PLAN.dump_json(plan).decode(),
            "created_at": seconds(at),
        },
    ).one()
    return f"S-{row.id}"


def load(tx: Connection, isolation_id: str) -> IsolationPlan:
    """The plan of that number. Raises NotFound."""
    body = tx.execute(
        select(isolations.c.body).where(isolations.c.id == number_of(isolation_id))
    ).scalar_one_or_none()
    if body is None:
        raise NotFound(f"there is no isolation {isolation_id}")
    return _PLAN.validate_json(body)


def others(tx: Connection, plan: IsolationPlan) -> list[int]:
    """The other incidents that ever planned the same for an object of that name."""
    found = tx.execute(
        select(isolations.c.incident_id)
        .where(isolations.c.target == plan.target.key, isolations.c.act == plan.act.value)
        .where(isolations.c.incident_id != plan.incident_id)
        .distinct()
        .order_by(isolations.c.incident_id)
    )
    return [row.incident_id for row in found]


def by_hand(tx: Connection, *, since: datetime) -> list[tuple[str, IsolationPlan]]:
    """Those that only people ask for, planned since then, by number."""
    found = tx.execute(
        select(isolations.c.id, isolations.c.body)
        .where(isolations.c.act.in_(sorted(BY_HAND)), isolations.c.created_at >= seconds(since))
        .order_by(isolations.c.id)
    )
    return [(f"S-{row.id}", _PLAN.validate_json(row.body)) for row in found]


def keep(tx: Connection, isolation_id: str, plan: IsolationPlan) -> None:
    """The same plan with what is there now, as the write that follows will find it."""
    tx.execute(
        update(isolations)
        .where(isolations.c.id == number_of(isolation_id))
        .values(body=_PLAN.dump_json(plan).decode())
    )


def number_of(isolation_id: str) -> int:
    """The row of ``S-17``. Raises NotFound for anything else."""
    prefix, _, number = isolation_id.partition("-")
    if prefix.upper() != "S" or not (number.isascii() and number.isdigit()) or len(number) > 15:
        raise NotFound(f"there is no isolation {isolation_id!r}; they are named like S-17")
    return int(number)
