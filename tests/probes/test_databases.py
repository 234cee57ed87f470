"""What the postgres probes say of a real server, and above all what they do not claim to know."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from builders import policies, policy
from harness import harness
from real_postgres import FreshDatabases, RealPostgres
from shop_database import NAME, Later, ShopDatabase, close, doors, until
from stories import noticed

from receiver.clients.database import Databases
from receiver.domain.errors import PermanentError
from receiver.domain.events import Diagnosed, NothingApplies
from receiver.policy.model import Candidate, ProbeUse
from receiver.probes import databases as probes
from receiver.store import timeline
from receiver.store.engine import Store

STANDBY = "shop-standby"


@pytest.fixture
async def pair(shop: ShopDatabase, standby: RealPostgres) -> AsyncIterator[Databases]:
    """Doors to the primary and to its standby, which has received everything."""
    there = shop.connection.model_copy(update={"port": standby.port})
    door = Databases({NAME: shop.connection, STANDBY: there})
    await until(lambda: probes.lag(door, STANDBY), lambda facts: facts.get("lagSeconds") == 0.0)
    yield door
    await door.close()


def on(server: RealPostgres, statement: str) -> str:
    return FreshDatabases(server.url).run(statement)


async def test_connections_are_counted_by_what_they_do(shop: ShopDatabase) -> None:
    sessions = [await shop.idle(), await shop.idle(app="cron"), await shop.in_transaction()]
    async with doors(shop) as door:
        facts = await probes.connections(door, NAME)
    assert (facts["idle"], facts["idleInTransaction"], facts["active"]) == (2, 1, 1)
    assert (facts["used"], facts["usable"], facts["max"]) == (4, 37, 40)
    assert facts["utilisation"] == 4 / 37
    assert {"user": "app", "application": "cron", "state": "idle", "sessions": 1} in facts["top"]
    await close(*sessions)


async def test_a_slow_statement_is_shown_without_its_values(shop: ShopDatabase) -> None:
    session = await shop.connect()
    sleeping = asyncio.create_task(session.execute("SELECT pg_sleep(60), 'hunter2'"))
    async with doors(shop, Later) as door:
        facts = await until(lambda: probes.slow(door, NAME), lambda seen: seen["count"] == 1)
    (statement,) = facts["statements"]
    assert statement["query"] == "SELECT pg_sleep(?), ?"
    assert 3600 <= facts["longestSeconds"] < 3700
    assert statement["waitsFor"] == "Timeout PgSleep"
    await close(session)
    await asyncio.gather(sleeping, return_exceptions=True)


async def test_nothing_slow_is_no_seconds(shop: ShopDatabase) -> None:
    async with doors(shop) as door:
        facts = await probes.slow(door, NAME)
    assert facts == {"count": 0, "longestSeconds": 0.0, "blocking": 0, "statements": []}


async def test_an_idle_standby_that_has_everything_is_not_behind(
    pair: Databases, standby: RealPostgres
) -> None:
    facts = await probes.lag(pair, STANDBY)
    assert facts == {"standby": True, "paused": False, "streaming": True, "lagSeconds": 0.0}
    naive = on(standby, "SELECT coalesce(now() - pg_last_xact_replay_timestamp() > '0 s', true)")
    assert naive == "t"


async def test_a_paused_standby_is_behind_without_end(pair: Databases, standby: RealPostgres) -> None:
    on(standby, "SELECT pg_wal_replay_pause()")
    facts = await probes.lag(pair, STANDBY)
    assert facts["paused"] is True
    assert facts["lagSeconds"] == math.inf
    on(standby, "SELECT pg_wal_replay_resume()")


async def test_a_standby_that_receives_nothing_does_not_say_how_far_it_is_behind(
    pair: Databases, standby: RealPostgres
) -> None:
    on(standby, "ALTER SYSTEM SET primary_conninfo = ''")
    on(standby, "SELECT pg_reload_conf()")
    facts = await until(lambda: probes.lag(pair, STANDBY), lambda seen: not seen["streaming"])
    assert facts == {"standby": True, "paused": False, "streaming": False}
    connect = f"host=127.0.0.1 port={await _primary_port(pair)} user=stanch"
    on(standby, f"ALTER SYSTEM SET primary_conninfo = '{connect}'")
    on(standby, "SELECT pg_reload_conf()")


async def _primary_port(door: Databases) -> int:
    rows = await door._rows(NAME, "SELECT current_setting('port')::int AS port")
    found: int = rows[0]["port"]
    return found


async def test_a_primary_names_its_standbys_and_not_its_own_lag(pair: Databases) -> None:
    facts = await until(lambda: probes.lag(pair, NAME), lambda seen: len(seen["standbys"]) == 1)
    assert facts["standby"] is False
    assert "lagSeconds" not in facts
    assert facts["standbys"][0]["state"] == "streaming"


async def test_replication_is_no_session_of_the_application(pair: Databases) -> None:
    assert (await pair.backends(NAME))["backends"] == []
    assert (await probes.slow(pair, NAME))["count"] == 0
    assert (await probes.connections(pair, NAME))["used"] == 1


async def test_a_forgotten_slot_is_found_with_what_it_keeps(shop: ShopDatabase) -> None:
    shop.run("SELECT pg_create_physical_replication_slot('gone', true)")
    async with doors(shop) as door:
        facts = await probes.disk(door, NAME)
    shop.run("SELECT pg_drop_replication_slot('gone')")
    assert facts["inactiveSlots"] == 1
    assert facts["slots"][0]["name"] == "gone"
    assert facts["inactiveSlotBytes"] >= 0.0
    assert facts["walBytes"] >= 16 * 1024**2
    assert facts["databaseBytes"] > 1024**2
    assert facts["archiverFailing"] is False
    assert len(facts["tables"]) == 20


async def test_a_table_that_is_being_rewritten_leaves_only_the_sizes_missing(shop: ShopDatabase) -> None:
    shop.run("CREATE TABLE big AS SELECT generate_series(1, 100000) AS n; ANALYZE big", database="shop")
    session = await shop.connect(user="stanch")
    await session.execute("BEGIN; LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
    async with doors(shop) as door:
        facts = await probes.disk(door, NAME)
        assert "tables" not in facts
        assert facts["walBytes"] > 0
        await session.execute("ROLLBACK")
        facts = await probes.disk(door, NAME)
        assert facts["tables"][0]["name"] == "public.big"
    await close(session)


async def test_a_monitor_without_its_rights_knows_less_and_says_so(shop: ShopDatabase) -> None:
    shop.run("REVOKE pg_monitor FROM stanch_monitor")
    async with doors(shop) as door:
        assert "walBytes" not in await probes.disk(door, NAME)
        # It would count itself alone, and call a full server empty.
        for look in (probes.connections, probes.slow):
            with pytest.raises(PermanentError, match="stanch_monitor sees no sessions; grant it pg_monitor"):
                await look(door, NAME)
        with pytest.raises(PermanentError, match="grant it pg_monitor"):
            await door.backends(NAME)
    nobody = shop.connection.model_copy(update={"database": "no-such"})
    with pytest.raises(PermanentError, match="InvalidCatalogNameError"):
        await probes.disk(Databases({NAME: nobody}), NAME)
    shop.run("GRANT pg_monitor TO stanch_monitor")


def _looking(probe: str, connection: str, when: str) -> Any:
    return policies(
        policy(
            probes=(ProbeUse("db", probe, {"connection": connection}),),
            candidates=(Candidate("deployment.rollback", "because", when, {"to": "known-good"}),),
        )
    )


async def test_a_paused_standby_is_more_than_any_limit_and_is_kept_as_text(
    pair: Databases, standby: RealPostgres, store: Store
) -> None:
    on(standby, "SELECT pg_wal_replay_pause()")
    looking = _looking("postgres-replication-lag", STANDBY, "db.lagSeconds > 300.0")
    async with harness(store, databases=pair, policies=looking) as h:
        await noticed(h)
        events = await h.events()
        (found,) = [event for event in events if isinstance(event, Diagnosed)]
        assert found.facts["db"]["lagSeconds"] == "Infinity"
        assert "Planned" in await h.kinds()
        kept = await store.read(lambda tx: timeline.load_facts(tx, found.facts_hash))
        assert '"lagSeconds":"Infinity"' in kept
    on(standby, "SELECT pg_wal_replay_resume()")


async def test_a_connection_that_is_not_there_leaves_the_facts_missing(store: Store) -> None:
    looking = _looking("postgres-connections", "nowhere", "db.utilisation > 0.85")
    async with harness(store, policies=looking) as h:
        await noticed(h)
        events = await h.events()
        (found,) = [event for event in events if isinstance(event, Diagnosed)]
        assert "no database connection 'nowhere'" in found.missing["db"]
        (nothing,) = [event for event in events if isinstance(event, NothingApplies)]
        assert "is not known" in str(nothing)
