"""The door to PostgreSQL, on a real server: it sees the application only, and tells one backend or none."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from farewell import relay
from real_postgres import RealPostgres
from shop_database import ENDED, HOSTILE, NAME, Session, ShopDatabase, alive, close, doors, until

from receiver.clients.answers import Applied, Rejected, Unanswered
from receiver.clients.connections import Connection
from receiver.clients.database import Databases
from receiver.domain.backends import read_backend
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import BackendStep, ObjectRef, Signal


async def step_for(
    door: Databases, pid: int, signal: Signal = Signal.TERMINATE, **changes: object
) -> BackendStep:
    """A step about this backend as it is now."""
    found = await door.backend(ObjectRef("postgresql", "Backend", NAME, str(pid)))
    assert found is not None
    backend = read_backend(found)
    usual = BackendStep(
        target=backend.ref,
        signal=signal,
        database="shop",
        users=("app",),
        version=backend.version,
        rule="a rule",
        seen=backend.user,
    )
    return BackendStep(**{**vars(usual), **changes})


def pid(session: Session) -> int:
    found: int = session.get_server_pid()
    return found


async def running(door: Databases, count: int) -> list[dict[str, Any]]:
    """The statements that run, once there are so many."""
    found = await until(
        lambda: door.statements(NAME, running_for=timedelta(0)), lambda seen: len(seen["backends"]) == count
    )
    backends: list[dict[str, Any]] = found["backends"]
    return backends


async def gone(door: Databases, step: BackendStep) -> bool:
    """Whether it is: a signal is obeyed a moment later."""
    await until(
        lambda: door.backend(step.target),
        lambda found: found is None or found["metadata"]["uid"] != step.target.uid,
    )
    return True


async def test_the_applications_sessions_are_listed_and_nobody_elses(shop: ShopDatabase) -> None:
    sessions = [
        await shop.idle(),
        await shop.in_transaction(),
        await shop.idle(user=HOSTILE),
        await shop.idle(user="reporting"),
        await shop.idle(user="stanch"),
        await shop.idle(database="other"),
        await shop.idle(user="stanch_operator"),
    ]
    async with doors(shop) as door:
        found = await door.backends(NAME)
        listed = {(one["spec"]["usename"], one["spec"]["state"]) for one in found["backends"]}
        assert listed == {("app", "idle"), ("app", "idle in transaction"), (HOSTILE, "idle")}
        assert found["database"] == "shop"
        assert {one["metadata"]["namespace"] for one in found["backends"]} == {NAME}
    await close(*sessions)


async def test_a_user_that_became_superuser_or_replicates_is_not_listed(shop: ShopDatabase) -> None:
    session = await shop.idle()
    async with doors(shop) as door:
        for attribute in ("SUPERUSER", "REPLICATION"):
            shop.run(f"ALTER ROLE app {attribute}")
            assert (await door.backends(NAME))["backends"] == []
            shop.run(f"ALTER ROLE app NO{attribute}")
        assert len((await door.backends(NAME))["backends"]) == 1
    await close(session)


async def test_a_session_that_does_not_tell_what_it_does_is_not_listed(shop: ShopDatabase) -> None:
    shop.run("ALTER ROLE app SET track_activities = off")
    session = await shop.connect()
    shop.run("ALTER ROLE app RESET track_activities")
    async with doors(shop) as door:
        assert (await door.backends(NAME))["backends"] == []
    await close(session)


async def test_what_a_statement_says_is_shown_without_its_values(shop: ShopDatabase) -> None:
    session = await shop.connect(app="a\"b'; \n--")
    await session.execute("SELECT 'hunter2', 4711")
    async with doors(shop) as door:
        (found,) = (await door.backends(NAME))["backends"]
        assert found["spec"]["query"] == "SELECT ?, ?"
        assert found["spec"]["application_name"].startswith("a\"b'; ")
    await close(session)


@pytest.mark.parametrize("who", ["app", HOSTILE])
async def test_a_backend_that_still_does_what_it_did_is_ended(shop: ShopDatabase, who: str) -> None:
    session, other = await shop.in_transaction(user=who), await shop.in_transaction(user=who)
    async with doors(shop) as door:
        step = await step_for(door, pid(session), users=(who,))
        assert await door.may_signal(step) is True
        assert isinstance(await door.signal(step), Applied)
        assert await gone(door, step)
        assert not await alive(session)
        assert await alive(other)
        again = await door.signal(step)
        assert isinstance(again, Rejected)
        assert again.status == 409
    await close(session, other)


async def test_a_cancelled_statement_ends_and_its_session_stays(shop: ShopDatabase) -> None:
    session = await shop.connect()
    sleeping = asyncio.create_task(session.execute("SELECT pg_sleep(60)"))
    async with doors(shop) as door:
        found = await running(door, 1)
        assert found[0]["spec"]["query"] == "SELECT pg_sleep(?)"
        step = await step_for(door, pid(session), Signal.CANCEL)
        assert isinstance(await door.signal(step), Applied)
        with pytest.raises(Exception, match="canceling statement due to user request"):
            await sleeping
        assert await alive(session)
        # The next statement of the same session is another one.
        again = await door.signal(step)
        assert isinstance(again, Rejected)
        assert again.status == 409
        assert await alive(session)
    await close(session)


async def test_who_blocks_others_comes_first(shop: ShopDatabase) -> None:
    shop.run("CREATE TABLE IF NOT EXISTS items (id int); GRANT ALL ON items TO app", database="shop")
    sessions = [await shop.connect() for _ in range(3)]
    older, blocker, waiting = sessions
    async with doors(shop) as door:
        tasks = [asyncio.create_task(older.execute("SELECT pg_sleep(60)"))]
        await running(door, 1)
        locking = "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)"
        tasks.append(asyncio.create_task(blocker.execute(locking)))
        await running(door, 2)
        tasks.append(asyncio.create_task(waiting.execute("SELECT * FROM items")))
        found = await until(
            lambda: running(door, 3), lambda seen: any(one["spec"]["blocked_by"] for one in seen)
        )
        assert found[0]["spec"]["blocks"] == 1
        assert found[0]["metadata"]["name"] == str(pid(blocker))
        assert found[1]["metadata"]["name"] == str(pid(older))
        assert found[2]["spec"]["blocked_by"] == 1
    await close(*sessions)
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("who", "status"),
    [({"user": "stanch"}, 403), ({"user": "reporting"}, 403), ({"database": "other"}, 409)],
    ids=["a superuser", "another role", "another database"],
)
async def test_nobody_else_is_ever_told_anything(
    shop: ShopDatabase, who: dict[str, str], status: int
) -> None:
    session = await shop.idle(**who)
    async with doors(shop) as door:
        named = (who.get("user", "app"),)
        answer = await door.signal(await step_for(door, pid(session), users=named))
        assert isinstance(answer, Rejected)
        assert answer.status == status
        assert await alive(session)
    await close(session)


async def test_the_server_itself_refuses_to_end_a_superuser(shop: ShopDatabase) -> None:
    session = await shop.idle(user="stanch")
    careless = shop.connection.model_copy(update={"users": ("stanch",)})
    door = Databases({NAME: careless})
    step = await step_for(door, pid(session), users=("stanch",))
    assert await door.may_signal(step) is False
    answer = await door.signal(step)
    assert isinstance(answer, Rejected)
    assert answer.status == 403
    assert await alive(session)
    await door.close()
    await close(session)


async def test_an_operator_without_its_role_is_known_before_anybody_approves(shop: ShopDatabase) -> None:
    session = await shop.idle()
    for right in ("pg_signal_backend", "pg_read_all_stats"):
        shop.run(f"REVOKE {right} FROM stanch_operator")
        async with doors(shop) as door:
            step = await step_for(door, pid(session))
            assert await door.may_signal(step) is False
            answer = await door.signal(step)
            assert isinstance(answer, Rejected), right
        shop.run(f"GRANT {right} TO stanch_operator")
        assert await alive(session)
    await close(session)


@pytest.fixture(params=[300, pytest.param(1000, marks=pytest.mark.long)])
def times(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


async def test_a_session_that_woke_up_before_the_statement_is_left_alone(
    shop: ShopDatabase, times: int
) -> None:
    session = await shop.in_transaction()
    async with doors(shop) as door:
        for _ in range(times):
            step = await step_for(door, pid(session))
            await session.execute("SELECT 1")
            answer = await door.signal(step)
            assert isinstance(answer, Rejected)
            assert answer.status == 409
        assert await alive(session)
    await close(session)


async def test_a_signal_that_races_with_its_session_never_reaches_another_one(
    shop: ShopDatabase, times: int
) -> None:
    bystander = await shop.in_transaction()
    session = await shop.in_transaction()
    answers = {True: 0, False: 0}
    async with doors(shop) as door:
        for _ in range(times // 3):
            step = await step_for(door, pid(session))

            async def wakes(session: Session = session) -> None:
                try:
                    await session.execute("SELECT 1")
                except Exception:  # noqa: BLE001 - whichever way it was ended
                    return

            _, answer = await asyncio.gather(wakes(), door.signal(step))
            told = isinstance(answer, Applied)
            assert told or isinstance(answer, Rejected)
            answers[told] += 1
            assert await gone(door, step) if told else await alive(session)
            if told:
                session = await shop.in_transaction()
        assert await alive(bystander)
    assert sum(answers.values()) == times // 3
    await close(session, bystander)


async def asked_again(pool: asyncpg.Pool) -> int:
    """The process that answers an application which tries again, as one does whose session is ended.

    The pool may still hold what the server has ended and not yet taken leave of.
    """
    for _ in range(200):
        try:
            return int(await pool.fetchval("SELECT pg_backend_pid()"))
        except ENDED:
            await asyncio.sleep(0.02)
    raise AssertionError("the application never came back")


async def test_the_application_comes_back_by_itself(shop: ShopDatabase) -> None:
    pool = await asyncpg.create_pool(
        host="127.0.0.1",
        port=shop.server.port,
        user="app",
        database="shop",
        password="",
        ssl=False,
        min_size=1,
        max_size=1,
    )
    async with doors(shop) as door:
        before: int = await pool.fetchval("SELECT pg_backend_pid()")
        step = await step_for(door, before)
        assert isinstance(await door.signal(step), Applied)
        assert await gone(door, step)
        assert await asked_again(pool) != before
    pool.terminate()


async def test_nothing_can_be_written_as_either_role(shop: ShopDatabase) -> None:
    async with doors(shop) as door:
        for setting, value in (
            ("default_transaction_read_only", "on"),
            ("statement_timeout", "5s"),
            ("lock_timeout", "1s"),
            ("search_path", "pg_catalog"),
        ):
            rows = await door._rows(NAME, "SELECT current_setting($1) AS value", setting)
            assert rows[0]["value"] == value


async def test_a_session_of_ours_that_was_ended_is_replaced(shop: ShopDatabase) -> None:
    async with doors(shop) as door:
        await door.usage(NAME)
        shop.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'stanch_monitor'"
        )
        assert (await door.usage(NAME))["usable"] == 37


async def test_a_session_that_was_ended_and_still_looks_open_is_replaced(shop: ShopDatabase) -> None:
    async with relay(shop.server.port) as relayed:
        door = Databases({NAME: shop.connection.model_copy(update={"port": relayed.port})})
        await door.usage(NAME)
        await relayed.bid_farewell()
        assert (await door.usage(NAME))["usable"] == 37
        await relayed.bid_farewell()
        await door.close()


async def test_a_step_that_was_given_up_leaves_the_door_usable(shop: ShopDatabase) -> None:
    async with doors(shop) as door:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await door._rows(NAME, "SELECT pg_sleep(4)")
        assert (await door.usage(NAME))["max"] == 40


async def test_a_slow_look_is_given_up_by_the_server(shop: ShopDatabase) -> None:
    async with doors(shop) as door:
        with pytest.raises(TemporaryError, match="QueryCanceledError"):
            await door._rows(NAME, "SELECT set_config('statement_timeout', '20ms', false), pg_sleep(0)")
            await door._rows(NAME, "SELECT pg_sleep(4)")


@pytest.fixture
def strict_server() -> Iterator[RealPostgres]:
    """A server that asks for passwords over the network."""
    # Not below tmp_path: the server's user may not look into that folder's parents.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        rules = Path(folder) / "hba.conf"
        rules.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        rules.chmod(0o644)
        with RealPostgres(options={"hba_file": str(rules)}) as server:
            yield server


async def test_no_password_gets_out_whatever_goes_wrong(
    strict_server: RealPostgres, shop: ShopDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = shop.connection.model_copy(update={"port": strict_server.port})
    nowhere = shop.connection.model_copy(update={"port": 1})
    unreadable = shop.connection.model_copy(
        update={
            "monitor": shop.connection.monitor.model_copy(update={"password_file": Path("/nowhere/at-all")})
        }
    )
    said: list[str] = []
    for connection, kind in (
        (wrong, PermanentError),
        (nowhere, TemporaryError),
        (unreadable, PermanentError),
    ):
        door = Databases({NAME: connection})
        with pytest.raises(kind) as caught:
            await door.usage(NAME)
        said.append(str(caught.value))
        assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)
        await door.close()
    async with doors(shop) as door:
        step = await step_for_nobody(door)
    for connection, answered in ((wrong, Rejected), (nowhere, Unanswered)):
        door = Databases({NAME: connection})
        answer = await door.signal(step)
        assert isinstance(answer, answered)
        said.append(answer.sentence)
    assert "not-to-be-shown" not in "".join(said) + caplog.text + repr(shop.connection)


async def step_for_nobody(door: Databases) -> BackendStep:
    """A step about a backend that there is not."""
    return step_about_nobody((await door.backends(NAME))["at"])


def step_about_nobody(now: str = "2026-05-04T12:00:00+00:00") -> BackendStep:
    """The same, at some time."""
    target = ObjectRef("postgresql", "Backend", NAME, "1", now)
    return BackendStep(target, Signal.TERMINATE, "shop", ("app",), f"idle@{now}@", "a rule", "nobody")


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
async def test_a_server_without_tls_is_not_spoken_to_in_the_clear(shop: ShopDatabase, sslmode: str) -> None:
    door = Databases({NAME: shop.connection.model_copy(update={"sslmode": sslmode})})
    with pytest.raises(TemporaryError, match="ConnectionError"):
        await door.usage(NAME)
    assert isinstance(await door.signal(step_about_nobody()), Unanswered)


async def test_an_unknown_connection_is_named_with_those_that_there_are(shop: ShopDatabase) -> None:
    async with doors(shop) as door:
        with pytest.raises(PermanentError, match=r"no database connection 'shpo'.*has: shop"):
            await door.usage("shpo")


@pytest.mark.parametrize("version", ["", "idle", "idle@then@", "a@b@c@d"])
async def test_a_step_that_cannot_be_told_apart_is_refused(shop: ShopDatabase, version: str) -> None:
    async with doors(shop) as door:
        step = await step_for_nobody(door)
        answer = await door.signal(BackendStep(**{**vars(step), "version": version}))
        assert isinstance(answer, Rejected)


def test_the_driver_is_loaded_only_where_it_is_used() -> None:
    script = "import sys, receiver.app; print('asyncpg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_connections_know_nothing_by_default() -> None:
    assert Connection.model_fields["sslmode"].default == "verify-full"
