"""The sessions of a test behave as those of a real server, as far as anybody asks them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from shop_database import NAME, Later, ShopDatabase, close, doors, until

from receiver.clients.answers import Answer, Applied, Rejected, Unanswered
from receiver.clients.database import Databases
from receiver.domain.backends import read_backend
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import BackendStep, Draft, ObjectRef, Signal
from receiver.domain.remediation import Evidence
from receiver.probes import databases as probes
from receiver.trials.policy_test.model import Database, Sessions
from receiver.trials.policy_test.sessions import StoryDatabases
from remediations.postgres.terminate_idle import TerminateIdle

BEGAN = datetime(2026, 3, 2, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
THREE = (
    Sessions("app", "greenlang", "idle in transaction", HOUR, 2),
    Sessions("app", "greenlang", "idle", HOUR),
)


def story(
    *sessions: Sessions, after: timedelta = timedelta(0), away: timedelta | None = None
) -> StoryDatabases:
    database = Database(("app",), 3, sessions or THREE, away=away)
    return StoryDatabases({NAME: database}, BEGAN, lambda: BEGAN + after)


def step_about(found: Mapping[str, Any], signal: Signal = Signal.TERMINATE) -> BackendStep:
    seen = read_backend(found)
    return BackendStep(seen.ref, signal, "shop", ("app",), seen.version, "a rule", "somebody")


async def planned(door: Databases) -> list[str]:
    """What a full server would be planned, without pids and times."""
    remediation = TerminateIdle(door)
    state = await remediation.observe(ObjectRef("apps/v1", "Deployment", "a", "b"), {"connection": NAME})
    full = {**state, "used": 95, "usable": 97}
    draft = remediation.plan(full, {"connection": NAME}, Evidence(first_bad_at=None), now=BEGAN)
    assert isinstance(draft, Draft)
    return [
        f"{step.signal} {step.seen.split(' since ')[0]} {step.users}"
        for step in draft.steps
        if isinstance(step, BackendStep)
    ]


async def test_the_same_sessions_are_planned_for_in_the_same_way(shop: ShopDatabase) -> None:
    sessions = [await shop.in_transaction(), await shop.in_transaction(), await shop.idle()]
    async with doors(shop, Later) as door:
        real = await planned(door)
        shown = (await door.backends(NAME))["backends"][0]
        facts = await probes.connections(door, NAME)
        slow = await probes.slow(door, NAME)
    await close(*sessions)
    told = await planned(story())
    users = ("('app',)", str(tuple(sorted(shop.connection.users))))
    assert told == [line.replace(users[1], users[0]) for line in real]
    imagined = (await story().backends(NAME))["backends"][0]
    assert set(imagined["metadata"]) == set(shown["metadata"])
    assert imagined["spec"]["state"] == shown["spec"]["state"]
    assert set(await probes.connections(story(), NAME)) == set(facts)
    assert set(await probes.slow(story(), NAME)) == set(slow)


async def test_a_signal_is_obeyed_once_as_by_a_real_session(shop: ShopDatabase) -> None:
    async def twice(door: Databases) -> list[type[Answer]]:
        found = (await door.backends(NAME))["backends"][0]
        answers = [type(await door.signal(step_about(found)))]

        async def gone() -> bool:
            return await door.backend(read_backend(found).ref) is None

        await until(gone, bool)
        return [*answers, type(await door.signal(step_about(found)))]

    session = await shop.idle()
    async with doors(shop) as door:
        real = await twice(door)
    await close(session)
    imagined = story()
    assert await twice(imagined) == real == [Applied, Rejected]
    assert [one.target.name for one in imagined.obeyed] == ["1001"]


async def test_a_cancelled_statement_is_over_and_its_session_stays() -> None:
    door = story(Sessions("app", "api", "active", HOUR))
    (found,) = (await door.statements(NAME, running_for=HOUR))["backends"]
    assert isinstance(await door.signal(step_about(found, Signal.CANCEL)), Applied)
    assert (await door.statements(NAME, running_for=timedelta(0)))["backends"] == []
    assert len((await door.backends(NAME))["backends"]) == 1
    assert isinstance(await door.signal(step_about(found, Signal.CANCEL)), Rejected)


async def test_a_server_that_is_away_does_not_answer() -> None:
    door = story(after=timedelta(minutes=12), away=timedelta(minutes=12))
    with pytest.raises(TemporaryError):
        await door.usage(NAME)
    found = (await story().backends(NAME))["backends"][0]
    assert isinstance(await door.signal(step_about(found)), Unanswered)
    with pytest.raises(PermanentError, match="no database connection 'other'"):
        await story().usage("other")
