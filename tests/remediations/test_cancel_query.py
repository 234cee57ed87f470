"""`postgres.cancel-query`: what it plans, as a table; and for real, that it ends that statement only."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from builders import policies, policy
from harness import harness
from pydantic import ValidationError
from shop_database import NAME, Later, Session, ShopDatabase, alive, close, doors, until
from stories import approve, noticed

from receiver.domain import events as ev
from receiver.domain.backends import read_backend
from receiver.domain.plans import ApprovalRule, BackendStep, Draft, NotApplicable, Receipt, Risk
from receiver.domain.remediation import Evidence
from receiver.policy.model import Candidate, PolicySet
from receiver.store.engine import Store
from remediations.postgres.cancel_query import CancelQuery, Parameters

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def running(
    pid: int, age: float, *, blocks: int = 0, blocked_by: int = 0, app: str = "api"
) -> dict[str, Any]:
    """A statement that runs for so many seconds."""
    since = (AT - timedelta(seconds=age)).isoformat()
    return {
        "metadata": {
            "namespace": NAME,
            "name": str(pid),
            "uid": "u",
            "resourceVersion": f"active@{since}@{since}",
        },
        "spec": {
            "usename": "app",
            "application_name": app,
            "state": "active",
            "state_change": since,
            "query_start": since,
            "query": "SELECT ?",
            "blocks": blocks,
            "blocked_by": blocked_by,
        },
    }


def planned(*backends: dict[str, Any], **parameters: Any) -> Draft | NotApplicable:
    state = {
        "database": "shop",
        "users": ["app"],
        "at": AT.isoformat(),
        "backends": list(backends),
        "namespace": "greenlang",
    }
    remediation = CancelQuery(None)  # type: ignore[arg-type]
    now = AT + timedelta(hours=1)
    return remediation.plan(state, {"connection": NAME, **parameters}, Evidence(first_bad_at=None), now=now)


@pytest.mark.parametrize(
    ("backends", "parameters", "chosen"),
    [
        ([running(1, 60), running(2, 59.9)], {}, [1]),
        ([running(1, 100), running(2, 70, blocks=2)], {}, [2, 1]),
        ([running(1, 70, blocks=1), running(2, 70, blocks=2), running(3, 90, blocks=1)], {}, [2, 3, 1]),
        ([running(n, 100 + n) for n in range(1, 6)], {}, [5, 4, 3]),
        ([running(1, 100), running(2, 90)], {"limit": 1}, [1]),
        ([running(1, 100, blocked_by=1), running(2, 90, blocks=1)], {}, [2]),
        ([running(1, 100, blocks=1, blocked_by=1), running(2, 90, blocks=2)], {}, [2]),
        ([running(1, 9000, app="pg_dump"), running(2, 61)], {}, [2]),
        ([running(1, 9000, app="alembic"), running(2, 61)], {"spare": []}, [1, 2]),
        ([running(1, 89.9), running(2, 90)], {"signal": "terminate"}, [2]),
        ([running(1, 15)], {"slow_after": "15s"}, [1]),
    ],
)
def test_who_is_chosen_and_in_which_order(
    backends: list[dict[str, Any]], parameters: dict[str, Any], chosen: list[int]
) -> None:
    draft = planned(*backends, **parameters)
    assert isinstance(draft, Draft)
    assert [int(step.target.name) for step in draft.steps] == chosen


@pytest.mark.parametrize(
    ("backends", "said"),
    [
        ([], "no statement of app runs for 60 s by itself"),
        ([running(1, 100, blocked_by=1)], "1 wait for others"),
        ([running(1, 100, app="flyway")], "1 are spared"),
    ],
)
def test_why_nothing_is_cancelled(backends: list[dict[str, Any]], said: str) -> None:
    found = planned(*backends)
    assert isinstance(found, NotApplicable)
    assert said in found.reason


def test_the_card_says_what_is_told_to_whom() -> None:
    draft = planned(running(7, 95, blocks=3), signal="cancel")
    assert isinstance(draft, Draft)
    (step,) = draft.steps
    assert isinstance(step, BackendStep)
    assert step.seen == "app (api): active since 11:58:25 UTC, 95 s, 3 wait for it: SELECT ?"
    assert draft.summary == "cancel 1 statement of shop on shop"
    assert draft.why == "the longest runs for 95 s; 3 wait for them"
    ending = planned(running(7, 95), signal="terminate")
    assert isinstance(ending, Draft)
    assert ending.summary == "end the sessions of 1 statement of shop on shop"
    assert ending.steps[0].digested() != step.digested()


@pytest.mark.parametrize(
    "parameters", [{"limit": 4}, {"slow_after": "9s"}, {"signal": "kill"}, {"then": "terminate"}]
)
def test_a_policy_cannot_make_it_careless(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Parameters.model_validate({"connection": NAME, **parameters})


def cancelling(**parameters: Any) -> PolicySet:
    return policies(
        policy(
            candidates=(
                Candidate("postgres.cancel-query", "slow", None, {"connection": NAME, **parameters}),
            ),
            approve={Risk.BOUNDED_LOSS: ApprovalRule(groups=("oncall", "sre"))},
        )
    )


async def sleeping(session: Session, statement: str = "SELECT pg_sleep(600)") -> asyncio.Task[str]:
    """A statement that runs, once the server has it."""
    return asyncio.create_task(session.execute(statement))


async def test_only_the_slow_statement_ends_and_its_session_stays(shop: ShopDatabase, store: Store) -> None:
    slow, dumping, waits = await shop.connect(), await shop.connect(app="pg_dump"), await shop.connect()
    shop.run("CREATE TABLE IF NOT EXISTS queue (id int); GRANT ALL ON queue TO app", database="shop")
    locking = "BEGIN; LOCK TABLE queue IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)"
    tasks = [await sleeping(slow, locking), await sleeping(dumping)]
    async with doors(shop, Later) as door, harness(store, policies=cancelling(), databases=door) as h:

        async def seen() -> int:
            return len((await door.statements(NAME, running_for=timedelta(0)))["backends"])

        await until(seen, lambda count: count == 2)
        tasks.append(await sleeping(waits, "SELECT * FROM queue"))
        await until(seen, lambda count: count == 3)
        await noticed(h)
        await approve(h)
        await h.work()
        told = [event.receipt for event in await h.events() if isinstance(event, ev.Executed)]
        assert [int(receipt.target.name) for receipt in told] == [slow.get_server_pid()]
        assert told[0].version.startswith("active@")
        with pytest.raises(asyncpg.QueryCanceledError):
            await tasks[0]
        # Who waited for it goes on by itself.
        await slow.execute("ROLLBACK")
        await tasks[2]
        assert await alive(slow)
        assert not tasks[1].done()
        assert (await CancelQuery(door).verify(told[0]))[0] == "in-place"
    await close(slow, dumping, waits)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_session_ends_where_that_was_approved(shop: ShopDatabase, store: Store) -> None:
    slow = await shop.connect()
    task = await sleeping(slow)
    ending = cancelling(signal="terminate")
    async with doors(shop, Later) as door, harness(store, policies=ending, databases=door) as h:
        await until(
            lambda: door.statements(NAME, running_for=timedelta(0)), lambda found: len(found["backends"]) == 1
        )
        await noticed(h)
        await approve(h)
        await h.work()
        await asyncio.gather(task, return_exceptions=True)
        assert not await alive(slow)
    await close(slow)


async def test_the_next_statement_of_the_same_session_is_left_alone(shop: ShopDatabase, store: Store) -> None:
    slow = await shop.connect()
    task = await sleeping(slow)
    async with doors(shop, Later) as door, harness(store, policies=cancelling(), databases=door) as h:

        async def seen() -> list[Any]:
            found: list[Any] = (await door.statements(NAME, running_for=timedelta(0)))["backends"]
            return found

        (first,) = await until(seen, lambda backends: len(backends) == 1)
        await noticed(h)
        await approve(h)
        shop.run(f"SELECT pg_cancel_backend({slow.get_server_pid()})")
        await asyncio.gather(task, return_exceptions=True)
        task = await sleeping(slow)
        await until(
            seen,
            lambda backends: (
                bool(backends)
                and backends[0]["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
            ),
        )
        await h.work()
        events = await h.events()
        assert not [event for event in events if isinstance(event, ev.Executed)]
        assert not task.done()
        version = first["metadata"]["resourceVersion"]
        target = next(event.target for event in events if isinstance(event, ev.Planned))
        assert target.kind == "Database"
        told = read_backend(first).ref
        receipt = Receipt("i", told, (), None, AT, version=version)
        assert (await CancelQuery(door).verify(receipt))[0] == "in-place"
        running_now = (await seen())[0]["metadata"]["resourceVersion"]
        receipt = Receipt("i", told, (), None, AT, version=running_now)
        assert (await CancelQuery(door).verify(receipt))[0] == "not-yet"
    await close(slow)
    await asyncio.gather(task, return_exceptions=True)
