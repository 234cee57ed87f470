"""The kill switch: what forbids every write from the moment it commits."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from receiver.store.engine import insert, pass_gate
from receiver.store.schema import switches
from receiver.store.timeline import seconds

EVERYTHING = "pause"

# Written once: every look of the guards runs these.
_ON = select(switches).where(switches.c.on).order_by(switches.c.name)


def switch_name(policy: str | None) -> str:
    """The switch of one policy, or the one of everything."""
    return EVERYTHING if policy is None else f"{EVERYTHING}:{policy}"


def pause(tx: Connection, *, policy: str | None, by: str, reason: str, at: datetime) -> None:
    """From this commit on nothing new is sent."""
    _set(tx, switch_name(policy), on=True, by=by, reason=reason, at=at)


def resume(tx: Connection, *, policy: str | None, by: str, reason: str, at: datetime) -> None:
    """Let it act again."""
    _set(tx, switch_name(policy), on=False, by=by, reason=reason, at=at)


def paused(tx: Connection, policy: str | None = None) -> tuple[str, ...]:
    """The switches that are on and concern this policy (None: all that are on), each as a sentence."""
    rows = tx.execute(_ON).all()
    wanted = {switch_name(None), switch_name(policy)}
    return tuple(
        f"{row.name} by {row.by}: {row.reason}"
        for row in rows
        if row.name != "gate" and (policy is None or row.name in wanted)
    )


def _set(tx: Connection, name: str, *, on: bool, by: str, reason: str, at: datetime) -> None:
    pass_gate(tx)
    values = {"on": on, "by": by, "reason": reason, "at": seconds(at)}
    tx.execute(
        insert(tx.dialect.name, switches)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )
