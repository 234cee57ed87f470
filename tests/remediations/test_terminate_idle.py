"""`postgres.terminate-idle`: what it plans, as a table; and that it ends those and nobody else, for real."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import policies, policy
from harness import Harness, harness
from pydantic import ValidationError
from shop_database import HOSTILE, NAME, Later, Session, ShopDatabase, alive, close, doors, until
from stories import approve, end_leases, noticed, until_state

from receiver.clients.answers import Answer, Rejected, Unanswered
from receiver.domain import events as ev
from receiver.domain.backends import read_backend
from receiver.domain.incidents import PlanState
from receiver.domain.plans import ApprovalRule, BackendStep, Draft, NotApplicable, Receipt, Risk, Signal
from receiver.domain.remediation import Evidence
from receiver.policy.model import Candidate, PolicySet
from receiver.store import effects
from receiver.store.engine import Store
from receiver.trials.explain import ReadOnlyDatabases
from remediations.postgres.terminate_idle import Parameters, TerminateIdle

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NOTHING_KNOWN = Evidence(first_bad_at=None)


def backend(
    pid: int, *, state: str = "idle", age: float = 0.0, user: str = "app", app: str = "api"
) -> dict[str, Any]:
    """A session that does this for so many seconds."""
    since = (AT - timedelta(seconds=age)).isoformat()
    return {
        "metadata": {"namespace": NAME, "name": str(pid), "uid": "u", "resourceVersion": f"{state}@{since}@"},
        "spec": {
            "usename": user,
            "application_name": app,
            "state": state,
            "state_change": since,
            "query_start": since,
        },
    }


def state(*backends: dict[str, Any], used: int = 95, usable: int = 97) -> dict[str, Any]:
    """What was observed: a server that is nearly full."""
    return {
        "database": "shop",
        "users": ["app"],
        "at": AT.isoformat(),
        "backends": list(backends),
        "namespace": "greenlang",
        "used": used,
        "usable": usable,
    }


def planned(observed: dict[str, Any], **parameters: Any) -> Draft | NotApplicable:
    # What plans never asks the door.
    remediation = TerminateIdle(None)  # type: ignore[arg-type]
    # Our own clock is an hour off; ages are the server's.
    now = AT + timedelta(hours=1)
    return remediation.plan(observed, {"connection": NAME, **parameters}, NOTHING_KNOWN, now=now)


def pids(draft: Draft | NotApplicable) -> list[int]:
    assert isinstance(draft, Draft)
    return [int(step.target.name) for step in draft.steps]


TX, ABORTED = "idle in transaction", "idle in transaction (aborted)"


@pytest.mark.parametrize(
    ("backends", "parameters", "chosen"),
    [
        ([backend(1, age=300)], {}, [1]),
        ([backend(1, age=299.9), backend(2, age=300)], {}, [2]),
        ([backend(1, state=TX, age=60), backend(2, state=TX, age=59.9)], {}, [1]),
        (
            [backend(1, age=9000), backend(2, state=TX, age=61), backend(3, state=ABORTED, age=62)],
            {},
            [3, 2, 1],
        ),
        ([backend(1, age=400), backend(2, age=500)], {"limit": 1}, [2]),
        ([backend(n, age=1000 - n) for n in range(1, 31)], {}, list(range(1, 21))),
        ([backend(1, state="active", age=9000), backend(2, age=301)], {}, [2]),
        ([backend(1, state="fastpath function call", age=9000), backend(2, age=301)], {}, [2]),
        ([backend(1, state=TX, age=9000, app="pg_dump"), backend(2, age=301)], {}, [2]),
        ([backend(1, age=9000, app="PG_DUMP: shop"), backend(2, age=301)], {}, [2]),
        ([backend(1, age=9000, app="pg_dump"), backend(2, age=301)], {"spare": ["cron"]}, [1, 2]),
        ([backend(1, age=90)], {"idle": "90s"}, [1]),
        ([backend(1, state=TX, age=90)], {"idle_in_transaction": "2m", "idle": "30s"}, []),
    ],
)
def test_who_is_chosen_and_in_which_order(
    backends: list[dict[str, Any]], parameters: dict[str, Any], chosen: list[int]
) -> None:
    draft = planned(state(*backends), **parameters)
    assert (pids(draft) if isinstance(draft, Draft) else []) == chosen


@pytest.mark.parametrize(
    ("used", "usable", "said"),
    [
        (85, 100, "85 of 100 connections are in use; sessions are ended above 85%"),
        (10, 97, "10 of 97"),
        (3, 0, "3 of 0"),
    ],
)
def test_nobody_is_ended_while_there_is_room(used: int, usable: int, said: str) -> None:
    found = planned(state(backend(1, age=9000), used=used, usable=usable))
    assert isinstance(found, NotApplicable)
    assert said in found.reason


def test_a_full_server_whose_sessions_all_work_is_no_case_for_this() -> None:
    found = planned(state(backend(1, state="active", age=9000), backend(2, age=10)))
    assert isinstance(found, NotApplicable)
    assert (
        "no session of app does nothing for long enough (60 s in a transaction, 5 min outside)"
        in found.reason
    )


def test_the_card_says_what_happens_to_whom() -> None:
    draft = planned(state(backend(7, state=TX, age=95), backend(8, age=400)))
    assert isinstance(draft, Draft)
    assert draft.why == "95 of 97 connections are in use (98%)"
    assert draft.blast_radius.startswith(
        "2 sessions at most: 1 in a transaction, which is rolled back, and 1 idle"
    )
    first = draft.steps[0]
    assert isinstance(first, BackendStep)
    assert first.seen == "app (api): idle in transaction since 11:58:25 UTC, 95 s"
    assert "microseconds" in draft.notes[1]
    assert draft.undo_sentence.startswith("cannot be undone")


def test_an_approval_covers_the_rule_and_not_who_is_chosen_by_it() -> None:
    some = planned(state(backend(1, age=301)))
    others = planned(state(backend(2, age=400), backend(3, state=TX, age=99), used=93))
    wider = planned(state(backend(1, age=301)), idle="1m")
    more = planned(state(backend(1, age=301)), limit=5)

    def covered(draft: Draft | NotApplicable) -> list[dict[str, Any]]:
        assert isinstance(draft, Draft)
        found = [step.digested() for step in draft.steps]
        return [one for index, one in enumerate(found) if one not in found[:index]]

    assert covered(some) == covered(others)
    assert covered(some) != covered(wider)
    assert covered(some) != covered(more)


def test_names_that_others_chose_stay_on_their_line() -> None:
    draft = planned(state(backend(1, age=301, user='a"b\n\x1b[31m', app="x" * 200)))
    assert isinstance(draft, Draft)
    assert isinstance(draft.steps[0], BackendStep)
    seen = draft.steps[0].seen
    assert "\n" not in seen
    assert "\x1b" not in seen
    assert len(seen) < 150


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": 21},
        {"limit": 0},
        {"idle": "29s"},
        {"idle_in_transaction": "9s"},
        {"idle": 300},
        {"idle": "300"},
        {"spare": "pg_dump"},
        {"users": ["postgres"]},
    ],
)
def test_a_policy_cannot_make_it_careless(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Parameters.model_validate({"connection": NAME, **parameters})


def test_there_is_no_undo() -> None:
    remediation = TerminateIdle(None)  # type: ignore[arg-type]
    assert isinstance(remediation.undo_plan((), state()), NotApplicable)


# On a real server, through the whole pipeline.


def ending_idle(**parameters: Any) -> PolicySet:
    """When errors are many, end idle sessions."""
    return policies(
        policy(
            candidates=(
                Candidate("postgres.terminate-idle", "full", None, {"connection": NAME, **parameters}),
            ),
            approve={Risk.BOUNDED_LOSS: ApprovalRule(groups=("oncall", "sre"))},
        )
    )


async def filled(shop: ShopDatabase, sessions: Sequence[Session]) -> list[Session]:
    """These sessions and as many of others' as it takes to fill the server to 95 percent with ours."""
    rest = [await shop.idle(user="reporting") for _ in range(34 - len(sessions))]
    return [*sessions, *rest]


async def acted(h: Harness) -> list[ev.Event]:
    """From the alert to the last step."""
    await noticed(h)
    await approve(h)
    await h.work()
    return await h.events()


async def dead(sessions: Sequence[Session]) -> list[bool]:
    return [not await alive(session) for session in sessions]


def told(events: list[ev.Event]) -> list[int]:
    """The pids that got a signal, in order."""
    return [int(event.receipt.target.name) for event in events if isinstance(event, ev.Executed)]


async def test_a_full_server_is_freed_of_those_that_do_nothing_and_of_nobody_else(
    shop: ShopDatabase, store: Store
) -> None:
    inside = [await shop.in_transaction() for _ in range(11)]
    inside.append(await shop.in_transaction(user=HOSTILE, app="\"'; \nx"))
    idle = [await shop.idle() for _ in range(12)]
    others = [
        await shop.in_transaction(app="pg_dump"),
        await shop.in_transaction(user="reporting"),
        await shop.in_transaction(user="stanch"),
        await shop.in_transaction(database="other"),
        await shop.idle(user="reporting"),
        await shop.idle(user="stanch"),
        await shop.idle(database="other"),
    ]
    busy = await shop.connect()
    working = asyncio.create_task(busy.execute("SELECT pg_sleep(600)"))
    everybody = await filled(shop, [*inside, *idle, *others, busy])
    async with doors(shop, Later) as door, harness(store, policies=ending_idle(), databases=door) as h:
        events = await acted(h)
        (plan,) = [event for event in events if isinstance(event, ev.Planned)]
        assert plan.summary == "end 20 sessions of shop on shop that do nothing"
        assert "35 of 37 connections are in use (95%)" in plan.why
        assert told(events) == [session.get_server_pid() for session in [*inside, *idle[:8]]]
        await until(lambda: dead([*inside, *idle[:8]]), all)
        assert not any(await dead([*idle[8:], *others]))
        assert not working.done()
        assert h.demo.real_writes == 0
        incident = await until_state(h, "watched", within=timedelta(minutes=2))
        assert incident.plan is not None
        (placed,) = [event for event in await h.events() if isinstance(event, ev.InPlace)]
        assert placed.sentence.endswith("is gone")
        counts: dict[str, int] = dict(await h.world.store.read(effects.intent_counts))
        assert counts == {"confirmed": 20}
    await close(*everybody)
    await asyncio.gather(working, return_exceptions=True)


async def test_what_did_not_help_is_not_asked_back(shop: ShopDatabase, store: Store) -> None:
    everybody = await filled(shop, [await shop.in_transaction()])
    async with doors(shop, Later) as door, harness(store, policies=ending_idle(), databases=door) as h:
        await acted(h)
        await until_state(h, "still-sick")
        kinds = await h.kinds()
        assert not {"UndoAsked", "UndoApproved", "UndoImpossible"} & set(kinds)
        assert "Escalated" in kinds
    await close(*everybody)


async def test_nobody_is_told_anything_before_somebody_approves(shop: ShopDatabase, store: Store) -> None:
    everybody = await filled(shop, [await shop.in_transaction()])
    async with doors(shop, Later) as door, harness(store, policies=ending_idle(), databases=door) as h:
        await noticed(h)
        await h.pass_time(timedelta(minutes=3))
        assert (await h.kinds()).count("ApprovalRequested") == 1
        assert await alive(everybody[0])
    await close(*everybody)


async def test_an_operator_that_may_not_is_said_before_anybody_approves(
    shop: ShopDatabase, store: Store
) -> None:
    everybody = await filled(shop, [await shop.in_transaction()])
    shop.run("REVOKE pg_signal_backend FROM stanch_operator")
    async with doors(shop, Later) as door, harness(store, policies=ending_idle(), databases=door) as h:
        await noticed(h)
        (nothing,) = [event for event in await h.events() if isinstance(event, ev.NothingApplies)]
        assert "G9 forbidden: the operator's role may not terminate backends of shop" in str(nothing)
    shop.run("GRANT pg_signal_backend TO stanch_operator")
    await close(*everybody)


async def test_explaining_tells_nobody_anything(shop: ShopDatabase) -> None:
    session = await shop.in_transaction()
    async with doors(shop, ReadOnlyDatabases) as door:
        (found,) = (await door.backends(NAME))["backends"]
        seen = read_backend(found)
        step = BackendStep(seen.ref, Signal.TERMINATE, "shop", ("app",), seen.version, "a rule", "app")
        assert isinstance(await door.signal(step), Rejected)
        assert await alive(session)
    await close(session)


async def test_a_session_that_woke_up_since_it_was_planned_is_left_alone(
    shop: ShopDatabase, store: Store
) -> None:
    sessions = [await shop.in_transaction() for _ in range(4)]
    everybody = await filled(shop, sessions)
    async with doors(shop, Later) as door, harness(store, policies=ending_idle(), databases=door) as h:
        await noticed(h)
        await approve(h)
        await sessions[0].execute("SELECT 1")
        await sessions[3].execute("COMMIT")
        sessions[1].terminate()
        await until(lambda: door.backends(NAME), lambda found: len(found["backends"]) == 3)
        await h.work()
        events = await h.events()
        assert told(events) == [sessions[2].get_server_pid()]
        over = [event.reason for event in events if isinstance(event, ev.StepPassedOver)]
        assert ["does something else now" in reason for reason in over] == [True, False, True]
        assert "is gone already" in over[1]
        assert await alive(sessions[0])
        assert await alive(sessions[3])
        incident = await h.incident()
        assert incident.plan is not None
        assert incident.plan.state in (PlanState.EXECUTED, PlanState.WATCHED)
    await close(*everybody)


async def test_one_more_that_falls_asleep_voids_no_approval_and_is_not_ended(
    shop: ShopDatabase, store: Store
) -> None:
    first = await shop.in_transaction()
    everybody = await filled(shop, [first])
    async with doors(shop, Later) as door, harness(store, policies=ending_idle(), databases=door) as h:
        await noticed(h)
        await approve(h)
        late = await shop.in_transaction()
        await h.work()
        assert told(await h.events()) == [first.get_server_pid()]
        assert await alive(late)
    await close(*everybody, late)


async def test_room_that_came_by_itself_voids_the_plan(shop: ShopDatabase, store: Store) -> None:
    first = await shop.in_transaction()
    everybody = await filled(shop, [first])
    async with doors(shop, Later) as door, harness(store, policies=ending_idle(), databases=door) as h:
        await noticed(h)
        await approve(h)
        await close(*everybody[1:10])
        await until(lambda: door.usage(NAME), lambda found: found["used"] < 30)
        await h.work()
        events = await h.events()
        assert told(events) == []
        assert any(isinstance(event, ev.PlanVoided) for event in events)
        assert await alive(first)
    await close(*everybody)


class AnswersLost(Later):
    """The statement arrives or not, and nobody hears of it the first time."""

    arrives = True
    lost = 1

    async def signal(self, step: BackendStep) -> Answer:
        """Lose the first answers."""
        if self.lost:
            self.lost -= 1
            if self.arrives:
                await super().signal(step)
            return Unanswered("the connection broke")
        return await super().signal(step)


class NeverArrives(AnswersLost):
    """The statement is lost, not its answer."""

    arrives = False


@pytest.mark.parametrize("kind", [AnswersLost, NeverArrives], ids=["it was sent", "it was not"])
async def test_a_signal_without_an_answer_reaches_that_backend_and_no_other(
    shop: ShopDatabase, store: Store, kind: type[AnswersLost]
) -> None:
    sessions = [await shop.in_transaction() for _ in range(3)]
    everybody = await filled(shop, sessions)
    async with doors(shop, kind) as door, harness(store, policies=ending_idle(limit=2), databases=door) as h:
        events = await acted(h)
        assert told(events) == [session.get_server_pid() for session in sessions[:2]]
        await until(lambda: dead(sessions[:2]), all)
        assert await alive(sessions[2])
        assert dict(await h.world.store.read(effects.intent_counts)) == {"confirmed": 2}
    await close(*everybody)


class Dies(Later):
    """The process ends right before or right after the statement."""

    arrives = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reached = asyncio.Event()

    async def signal(self, step: BackendStep) -> Answer:
        """Send it or not, and never come back."""
        if self.reached.is_set():
            return await super().signal(step)
        if self.arrives:
            await super().signal(step)
        self.reached.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class DiesBefore(Dies):
    """Right before."""

    arrives = False


@pytest.mark.parametrize("wakes", [False, True], ids=["it sleeps on", "it wakes up"])
@pytest.mark.parametrize("kind", [Dies, DiesBefore], ids=["after", "before"])
async def test_a_crash_around_the_statement_ends_the_planned_ones_and_nobody_else(
    shop: ShopDatabase, store: Store, kind: type[Dies], wakes: bool
) -> None:
    sessions = [await shop.in_transaction() for _ in range(3)]
    everybody = await filled(shop, sessions)
    async with doors(shop, kind) as door, harness(store, policies=ending_idle(limit=2), databases=door) as h:
        await noticed(h)
        await approve(h)
        working = asyncio.create_task(h.work())
        assert isinstance(door, Dies)
        await door.reached.wait()
        for task in list(h.worker._tasks):
            task.cancel()
        await asyncio.gather(working, *h.worker._tasks, return_exceptions=True)
        await end_leases(h)
        if wakes and not kind.arrives:
            await sessions[0].execute("SELECT 1")
        await h.rival().work()
        events = await h.events()
        left_alone = wakes and not kind.arrives
        expected = sessions[1:2] if left_alone else sessions[:2]
        assert told(events) == [session.get_server_pid() for session in expected]
        await until(lambda: dead(expected), all)
        assert await alive(sessions[2])
        assert await alive(sessions[0]) is left_alone
    await close(*everybody)


async def test_it_is_in_place_once_the_backend_is_gone(shop: ShopDatabase) -> None:
    session = await shop.idle()
    async with doors(shop) as door:
        (found,) = (await door.backends(NAME))["backends"]
        remediation = TerminateIdle(door)
        draft = remediation.plan(
            {**state(found), "at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()},
            {"connection": NAME},
            NOTHING_KNOWN,
            now=AT,
        )
        assert isinstance(draft, Draft)
        (step,) = draft.steps
        assert isinstance(step, BackendStep)
        assert step.signal is Signal.TERMINATE
        receipt = Receipt("i", step.target, (), None, AT)
        assert (await remediation.verify(receipt))[0] == "not-yet"
        await close(session)
        await until(lambda: remediation.verify(receipt), lambda placed: placed[0] == "in-place")
