"""The hash chain over all timelines: sealed a moment after the commit, one row after another, without a gap.

Each hash covers the one before it, the place in the chain and the row with the *hash* of its body; so a
body may be dropped by retention without breaking the chain, and nothing else can be changed, removed or
moved without being found. A removed tail is found against an anchor kept elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text, update

from receiver.domain.canonical import canonical
from receiver.store.schema import incident_events

GENESIS = "0" * 64
FORMAT = "stanch-audit/1"

_UNSEALED = (
    select(incident_events)
    .where(incident_events.c.seal.is_(None))
    .order_by(incident_events.c.id)
    .limit(bindparam("most"))
)
_SEAL = (
    update(incident_events)
    .where(incident_events.c.id == bindparam("row"))
    .values(seal=bindparam("seal"), prev=bindparam("prev"), hash=bindparam("hash"))
)


@dataclass(frozen=True)
class Head:
    """The newest sealed row: its place, counted from 1, and its hash."""

    seal: int
    hash: str


START = Head(0, GENESIS)


@dataclass(frozen=True)
class Broken:
    """The first thing that is wrong with a chain."""

    seal: int
    reason: str


def chained(prev: str, seal: int, row: Mapping[str, Any]) -> str:
    """The hash of one row in the chain."""
    covered = [
        prev,
        seal,
        row["incident_id"],
        row["seq"],
        # Text, since a float reads back differently from one program to the next.
        f"{row['at']:.6f}",
        row["actor"],
        row["kind"],
        row["body_hash"],
    ]
    return hashlib.sha256(canonical(covered).encode()).hexdigest()


def head(tx: Connection) -> Head:
    """The newest sealed row, or the start."""
    row = tx.execute(
        select(incident_events.c.seal, incident_events.c.hash)
        .where(incident_events.c.seal.is_not(None))
        .order_by(incident_events.c.seal.desc())
        .limit(1)
    ).first()
    return START if row is None else Head(row.seal, row.hash)


def hash_at(tx: Connection, seal: int) -> str | None:
    """The hash of the row at this place of the chain; None where there is no such row."""
    found = tx.execute(select(incident_events.c.hash).where(incident_events.c.seal == seal)).scalar()
    return None if found is None else str(found)


def unsealed(tx: Connection) -> int:
    """How many rows are committed and not yet in the chain."""
    waiting = select(func.count()).select_from(incident_events).where(incident_events.c.seal.is_(None))
    return int(tx.execute(waiting).scalar_one())


def seal(tx: Connection, *, limit: int = 2000) -> int:
    """Seal rows that are committed and not yet in the chain; how many. One sealer at a time.

    The lock comes first and the head is read by a later statement: with both in one, an old snapshot of the
    head would be used.
    """
    if tx.dialect.name == "postgresql":
        taken = tx.execute(text("SELECT pg_try_advisory_xact_lock(7241001)")).scalar_one()
        if not taken:
            return 0
    last = head(tx)
    rows = tx.execute(_UNSEALED, {"most": limit}).all()
    sealed: list[dict[str, Any]] = []
    prev = last.hash
    for number, row in enumerate(rows, start=last.seal + 1):
        name = chained(prev, number, dict(row._mapping))
        sealed.append({"row": row.id, "seal": number, "prev": prev, "hash": name})
        prev = name
    if sealed:
        tx.execute(_SEAL, sealed)
    return len(rows)


def export(tx: Connection, *, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """Sealed rows in the chain's order, as an export holds them."""
    rows = tx.execute(
        select(incident_events)
        .where(incident_events.c.seal > after)
        .order_by(incident_events.c.seal)
        .limit(limit)
    )
    names = ("seal", "prev", "hash", "incident_id", "seq", "at", "actor", "kind", "body_hash", "body")
    return [{name: row._mapping[name] for name in names} for row in rows]


def misfit(prev: str, number: int, row: Mapping[str, Any]) -> str | None:
    """Why a row does not belong at this place of the chain, after the row of the hash ``prev``; or None."""
    if row["seal"] != number:
        return f"expected row {number} of the chain, found {row['seal']}"
    if row["prev"] != prev:
        return "it does not follow the row before it"
    body = row["body"]
    try:
        if row["hash"] != chained(prev, number, row):
            return "its content was changed after it was sealed"
        if body is not None and hashlib.sha256(body.encode()).hexdigest() != row["body_hash"]:
            return "its event was changed after it was sealed"
    except (AttributeError, OverflowError, TypeError, ValueError):
        # No text where one was written, or no number: nothing that could have been hashed.
        return "it is no row of a chain"
    return None


def verify(
    rows: Iterable[Mapping[str, Any]], *, since: Head = START, anchor: Head | None = None
) -> Head | Broken:
    """Walk an export from the chain's start, or on from a row; the head where everything fits.

    With an anchor the chain must hold that very row, so that a removed tail or a chain written anew shows.
    """
    prev, number = since.hash, since.seal
    anchored = anchor is None or anchor.seal == 0
    for row in rows:
        number += 1
        if (reason := misfit(prev, number, row)) is not None:
            return Broken(number, reason)
        prev = row["hash"]
        if anchor is not None and anchor.seal == number:
            if anchor.hash != prev:
                return Broken(number, "it is not the row that the anchor names: the chain was written anew")
            anchored = True
    if not anchored:
        assert anchor is not None
        return Broken(
            number, f"the chain ends at row {number}, before the anchor's row {anchor.seal}: rows are missing"
        )
    return Head(number, prev)
