"""A process that does nothing but claim: `python claimer.py URL OWNER LEASE_SECONDS`; dies with its parent.

What it begins and ends stands in a table beside the incidents, each line written in the transaction that it
tells of.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, text

from receiver.store import claims
from receiver.store.postgres import open_postgres

AT_ONCE = 5
NOTE = text("INSERT INTO claimed (incident, token, owner, what) VALUES (:incident, :token, :owner, :what)")


def take(tx: Connection, owner: str, lease: timedelta) -> list[Any]:
    """Claim what is due, and note it."""
    taken = claims.claim(tx, owner=owner, now=datetime.now(UTC), lease=lease, limit=AT_ONCE)
    for held in taken:
        tx.execute(NOTE, _line(held, owner, "began"))
    return taken


def finish(tx: Connection, held: Any, owner: str) -> None:
    """Note that it ended, if the claim still holds, and give it back. Raises Fenced."""
    claims.reclaim(tx, held)
    tx.execute(NOTE, _line(held, owner, "ended"))
    claims.give_back(tx, held.incident.id, token=held.lease_token, due_at=datetime.now(UTC))


def note_fenced(tx: Connection, held: Any, owner: str) -> None:
    """Note that the claim was lost before it ended."""
    tx.execute(NOTE, _line(held, owner, "fenced"))


def _line(held: Any, owner: str, what: str) -> dict[str, Any]:
    return {"incident": held.incident.id, "token": held.lease_token, "owner": owner, "what": what}


async def main(url: str, owner: str, lease: timedelta) -> None:
    """Claim for ever."""
    store = open_postgres(url)
    while True:
        taken = await store.write(lambda tx: take(tx, owner, lease))
        for held in taken:
            try:
                await store.write(partial(finish, held=held, owner=owner))
            except claims.Fenced:
                await store.write(partial(note_fenced, held=held, owner=owner))
        if not taken:
            await asyncio.sleep(0.002)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], timedelta(seconds=float(sys.argv[3]))))
