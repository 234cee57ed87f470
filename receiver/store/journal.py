"""The deliveries that are still kept, read or not, for whoever wants to replay them."""

from __future__ import annotations

import zlib
from datetime import datetime

from sqlalchemy import Connection, select

from receiver.domain.journal import Kept
from receiver.store.schema import deliveries
from receiver.store.timeline import moment, seconds

AT_ONCE = 500
# A read holds no more than this and one body, however large bodies are.
READ_AT_ONCE_BYTES = 4_000_000


def kept_after(
    tx: Connection, after: int, *, since: datetime | None, until: datetime | None
) -> list[tuple[int, Kept]]:
    """Deliveries received in [since, until) beyond that id, oldest first; empty where no more are kept."""
    wanted = select(deliveries).where(deliveries.c.id > after).order_by(deliveries.c.id).limit(AT_ONCE)
    if since is not None:
        wanted = wanted.where(deliveries.c.received_at >= seconds(since))
    if until is not None:
        wanted = wanted.where(deliveries.c.received_at < seconds(until))
    found: list[tuple[int, Kept]] = []
    size = 0
    rows = tx.execute(wanted)
    for row in rows:
        body = zlib.decompress(row.body) if row.compressed else bytes(row.body)
        found.append((row.id, Kept(moment(row.received_at), row.source, body)))
        size += len(body)
        if size >= READ_AT_ONCE_BYTES:
            rows.close()
            break
    return found
