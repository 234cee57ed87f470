"""The chain finds every edit, removal and reordering; a removed tail is found against an anchor."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from builders import alert, notification
from chains import chain
from harness import harness
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from receiver.store import audit
from receiver.store.audit import GENESIS, Broken, Head, chained, verify
from receiver.store.engine import Store


def test_an_untouched_chain_gives_its_head() -> None:
    rows = chain(5)
    assert verify(rows) == Head(5, rows[-1]["hash"])
    assert verify([]) == Head(0, GENESIS)


FIELDS = ("seal", "prev", "hash", "incident_id", "seq", "at", "actor", "kind", "body", "body_hash")


@given(st.integers(0, 7), st.sampled_from(FIELDS))
def test_editing_any_field_of_any_row_is_found(index: int, field: str) -> None:
    rows = chain(8)
    value = rows[index][field]
    rows[index][field] = value + 1 if isinstance(value, int | float) else f"{value}x"
    assert isinstance(verify(rows), Broken)


@given(st.integers(0, 6))
def test_removing_any_row_but_the_last_is_found(index: int) -> None:
    rows = chain(8)
    del rows[index]
    assert isinstance(verify(rows), Broken)


@given(st.integers(0, 7), st.integers(0, 7))
def test_swapping_any_two_rows_is_found(one: int, other: int) -> None:
    rows = chain(8)
    rows[one], rows[other] = rows[other], rows[one]
    assert isinstance(verify(rows), Broken) == (one != other)


@given(st.integers(1, 7))
def test_removing_the_tail_is_found_against_the_anchor_and_only_there(kept: int) -> None:
    rows = chain(8)
    anchor = Head(8, rows[-1]["hash"])
    assert isinstance(verify(rows[:kept]), Head)
    assert isinstance(verify(rows[:kept], anchor=anchor), Broken)
    assert verify(rows, anchor=anchor) == anchor


def test_a_chain_written_anew_is_found_against_the_anchor() -> None:
    anchor = Head(3, chain(3)[-1]["hash"])
    forged = chain(4)
    forged[1]["actor"] = "mallory"
    prev = GENESIS
    for number, row in enumerate(forged, start=1):
        row["prev"] = prev
        prev = row["hash"] = chained(prev, number, row)
    assert isinstance(verify(forged), Head)
    assert isinstance(verify(forged, anchor=anchor), Broken)


def test_a_body_that_retention_dropped_does_not_break_the_chain() -> None:
    rows = chain(3)
    rows[1]["body"] = None
    assert isinstance(verify(rows), Head)


async def test_what_happened_is_sealed_without_a_gap_and_verifies(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        assert await store.write(audit.seal) > 0
        assert await store.write(audit.seal) == 0
        rows = await store.read(audit.export)
        assert [row["seal"] for row in rows] == list(range(1, len(rows) + 1))
        assert verify(json.loads(json.dumps(rows))) == await store.read(audit.head)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM incident_events",
        "UPDATE incident_events SET actor = 'mallory'",
        "UPDATE incident_events SET body = '{}'",
        "UPDATE incident_events SET seq = seq + 100",
        "UPDATE incident_events SET hash = 'x' WHERE seal IS NOT NULL",
    ],
)
async def test_the_database_itself_refuses_to_change_the_timeline(store: Store, statement: str) -> None:
    async with harness(store) as h:
        await h.deliver(notification(alert(starts_at=datetime(2026, 3, 1, 11, tzinfo=UTC))))
        await store.write(audit.seal)

        def change(tx: Connection) -> None:
            tx.execute(text(statement))

        with pytest.raises(DBAPIError, match=r"append-only|sealed"):
            await store.write(change)


async def test_retention_may_empty_a_body(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await store.write(audit.seal)
        await store.write(lambda tx: tx.execute(text("UPDATE incident_events SET body = NULL WHERE seq = 1")))
        assert isinstance(verify(await store.read(audit.export)), Head)
