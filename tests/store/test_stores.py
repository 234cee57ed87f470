"""What both stores promise: a returned write is durable, a failed one left nothing, a full disk is a 503."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from farewell import relay
from sqlalchemy import Connection, create_engine, func, make_url, select, text

from receiver.domain.errors import PermanentError, Unavailable
from receiver.store import intake, migrate, triggers
from receiver.store.engine import Delivery, Store
from receiver.store.postgres import open_postgres
from receiver.store.schema import dead_letters, deliveries, metadata
from receiver.store.sqlite import open_sqlite
from receiver.store.timeline import moment


def a_delivery(number: int, size: int = 100) -> Delivery:
    return Delivery(float(number), "alertmanager", str(number), bytes([65 + number % 20]) * size)


def count(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).select_from(deliveries)).scalar_one())


async def test_many_deliveries_at_once_are_all_kept(store: Store) -> None:
    await asyncio.gather(*(store.keep(a_delivery(number)) for number in range(700)))
    assert await store.read(count) == 700


async def test_a_large_body_comes_back_byte_for_byte(store: Store) -> None:
    await store.keep(a_delivery(3, size=500_000))
    (waiting,) = await store.read(lambda tx: intake.waiting(tx, limit=5, lock=False))
    assert waiting.body == a_delivery(3, size=500_000).body


async def test_a_body_that_raises_leaves_nothing_and_harms_no_neighbour(store: Store) -> None:
    def good(tx: Connection) -> None:
        intake.bury(tx, received_at=moment(0), source="s", reason="kept", body=b"")

    def bad(tx: Connection) -> None:
        intake.bury(tx, received_at=moment(0), source="s", reason="lost", body=b"")
        raise ValueError("a bug")

    results = await asyncio.gather(
        store.write(good),
        store.write(bad),
        store.write(good),
        store.keep(a_delivery(1)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), ValueError, type(None), type(None)]

    def reasons(tx: Connection) -> list[str]:
        return [row.reason for row in tx.execute(select(dead_letters.c.reason))]

    assert await store.read(reasons) == ["kept", "kept"]


async def test_the_schema_that_migrations_make_is_the_schema_in_the_code(store: Store) -> None:
    def differences(tx: Connection) -> list[object]:
        found = compare_metadata(MigrationContext.configure(tx), metadata)
        return [one for one in found if "alembic_version" not in str(one)]

    assert await store.read(differences) == []


async def test_migrations_put_the_triggers_in_place(store: Store) -> None:
    def names(tx: Connection) -> int:
        if store.name == "postgresql":
            query = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
        else:
            query = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
        return int(tx.execute(text(query)).scalar_one())

    assert await store.read(names) == (1 if store.name == "postgresql" else len(triggers.SQLITE))


def test_migrating_twice_changes_nothing(store_url: str) -> None:
    migrate.upgrade(store_url)


async def test_a_second_process_cannot_open_the_same_file(tmp_path: Path) -> None:
    migrate.upgrade(f"sqlite:///{tmp_path / 'one.sqlite3'}")
    first = open_sqlite(tmp_path / "one.sqlite3")
    with pytest.raises(Unavailable, match="in use by another process"):
        open_sqlite(tmp_path / "one.sqlite3")
    await first.close()
    await open_sqlite(tmp_path / "one.sqlite3").close()


async def test_a_session_that_postgresql_ended_is_away_once_and_then_another(
    fresh_database: Callable[[], str],
) -> None:
    url = make_url(fresh_database())
    async with relay(url.port or 0) as relayed:
        through = url.set(host="127.0.0.1", port=relayed.port).render_as_string(hide_password=False)
        await asyncio.to_thread(migrate.upgrade, url.render_as_string(hide_password=False))
        store = open_postgres(through)
        assert await store.read(count) == 0
        await relayed.bid_farewell()
        with pytest.raises(Unavailable):
            await store.read(count)
        assert await store.read(count) == 0
        await store.close()


async def test_a_full_disk_refuses_and_what_was_kept_stays(tmp_path: Path) -> None:
    migrate.upgrade(f"sqlite:///{tmp_path / 'full.sqlite3'}")
    store = open_sqlite(tmp_path / "full.sqlite3")
    await store.keep(a_delivery(1))
    await store.write(lambda tx: tx.exec_driver_sql("PRAGMA max_page_count=1") and None)
    with pytest.raises(Unavailable, match="full"):
        for number in range(400):
            await store.keep(Delivery(0.0, "s", str(number), os.urandom(4000)))
    assert await store.read(count) >= 1
    await store.write(lambda tx: tx.exec_driver_sql("PRAGMA max_page_count=1000000") and None)
    await store.keep(a_delivery(2))
    await store.close()


async def test_read_bodies_are_pruned_and_unread_ones_are_not(store: Store) -> None:
    for number in range(10):
        await store.keep(a_delivery(number))
    await store.write(lambda tx: intake.done(tx, [1, 2, 3, 4, 5], at=moment(100)))
    dropped = await store.write(lambda tx: intake.prune_deliveries(tx, before=moment(200), limit=3))
    assert dropped == 3
    await store.write(lambda tx: intake.prune_deliveries(tx, before=moment(200), limit=30))
    assert await store.read(count) == 5


def test_a_store_of_the_first_release_is_brought_on_with_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate._run(connection, "0001")
        connection.execute(
            text("INSERT INTO dead_letters (received_at, source, reason, body) VALUES (1, 's', 'kept', '')")
        )
    assert not migrate._is_current(path)
    migrate.upgrade(f"sqlite:///{path}")
    assert migrate._is_current(path)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT reason FROM dead_letters")).scalar_one() == "kept"
        kept = (
            connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
        )
    engine.dispose()
    assert len(kept) == len(triggers.SQLITE)


async def test_a_store_of_a_newer_release_is_left_alone(store_url: str) -> None:
    store = open_sqlite(migrate.sqlite_path(store_url)) if "sqlite" in store_url else open_postgres(store_url)

    def age(tx: Connection) -> None:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    await store.write(age)
    await store.close()
    with pytest.raises(PermanentError, match=r"of a newer release \(9999\)"):
        await asyncio.to_thread(migrate.prepare, store_url)
