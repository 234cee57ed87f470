"""What a newer release wrote is left to it: nothing of it is lost or guessed at, and nothing else waits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders import alert, labels, notification
from harness import Harness, harness
from sqlalchemy import Connection, func, select, update

from receiver.domain.errors import NewerWords
from receiver.domain.events import read_event
from receiver.pipeline.joining import NEWER_WAITS
from receiver.store.engine import Store
from receiver.store.schema import dead_letters, deliveries, incidents


async def noticed(h: Harness, app: str, **changes: str) -> None:
    with_labels = labels(app=app, **changes)
    await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=with_labels)))
    await h.work()


async def rewritten(h: Harness, old: str, new: str) -> None:
    """Incident 1, in other words."""

    def body(tx: Connection) -> None:
        text = tx.execute(select(incidents.c.snapshot).where(incidents.c.id == 1)).scalar_one()
        assert old in text
        tx.execute(
            update(incidents)
            .where(incidents.c.id == 1)
            .values(snapshot=text.replace(old, new), next_due_at=h.clock.now().timestamp())
        )

    await h.world.store.write(body)


async def left(h: Harness) -> tuple[int, int]:
    """How many deliveries wait, and how many were given up."""

    def body(tx: Connection) -> tuple[int, int]:
        waiting = select(func.count()).select_from(deliveries).where(deliveries.c.done_at.is_(None))
        buried = select(func.count()).select_from(dead_letters)
        return int(tx.execute(waiting).scalar_one()), int(tx.execute(buried).scalar_one())

    return await h.world.store.read(body)


OURS, THEIRS = '"status":"investigating"', '"status":"sleeping"'


async def test_an_incident_that_a_newer_release_wrote_waits_and_nothing_else_does(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h, "api")
        await noticed(h, "web")
        before = len(await h.events(2))
        await rewritten(h, OURS, THEIRS)
        with pytest.raises(NewerWords, match="a newer one wrote it"):
            await h.incident()
        assert [incident.id for incident in await h.incidents()] == [2]
        await noticed(h, "api", alertname="High5xxRate")
        await noticed(h, "web", alertname="High5xxRate")
        assert len(await h.events(2)) > before
        assert await left(h) == (1, 0)
        # A replica that can read it goes on where this one waited.
        await rewritten(h, THEIRS, OURS)
        await noticed(h, "web", alertname="ApiErrorBudgetBurn")
        assert len((await h.incident()).alerts) == 2
        assert await left(h) == (0, 0)


async def test_what_nobody_reads_for_long_becomes_a_dead_letter(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h, "api")
        await rewritten(h, OURS, THEIRS)
        await noticed(h, "api", alertname="High5xxRate")
        await h.pass_time(NEWER_WAITS - timedelta(seconds=15))
        await noticed(h, "web")
        assert await left(h) == (1, 0)
        await h.pass_time(timedelta(seconds=30))
        await noticed(h, "web", alertname="High5xxRate")
        assert await left(h) == (0, 1)


def test_an_event_of_a_newer_release_is_no_reason_to_guess() -> None:
    with pytest.raises(NewerWords, match="a timeline cannot be read by this release"):
        read_event('{"event":"Hypnotised"}')
