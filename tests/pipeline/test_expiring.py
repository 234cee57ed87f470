"""A mitigation comes back as a question when its time is over, also when its incident is long resolved."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from builders import CAROL, alert, notification, policies
from cures import APP, CURES, NAMESPACE
from harness import Harness, harness
from stories import die_sending, resolved

from receiver.demo.kubernetes import Fault
from receiver.domain import events as ev
from receiver.domain.incidents import PlanState, Status
from receiver.domain.plans import Ends, Undo
from receiver.pipeline import people
from receiver.pipeline.expiring import expire
from receiver.policy.model import Candidate, PolicySet
from receiver.store import mitigations
from receiver.store.engine import Store

POOL = replace(
    next(cure for cure in CURES if "DB_POOL_SIZE" in str(cure.parameters)), expires=timedelta(hours=1)
)


def ending(expr: str) -> PolicySet:
    """The larger pool, which also ends once this has held for ten minutes."""
    queries = {"err": policies().policies[0].queries["err"], "nodata": "absent_metric"}
    ends = Ends(expr, timedelta(minutes=10), timedelta(minutes=1), 8, queries)
    return POOL.policies(
        undo=Undo(automatic=frozenset(), ask=frozenset()),
        candidates=(Candidate(POOL.remediation, "", None, POOL.parameters, expires=POOL.expires, ends=ends),),
    )


def pool(h: Harness) -> str:
    container = h.demo.api.get("deployments", NAMESPACE, APP)["spec"]["template"]["spec"]["containers"][0]
    return str(container["env"][0]["value"])


async def approved(h: Harness) -> datetime:
    """A larger pool may be set; when the alert started."""
    await h.fall_ill()
    started = h.clock.now()
    await h.deliver(notification(alert(starts_at=started, with_labels=POOL.labels(h))))
    await h.work()
    await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="more room")
    return started


async def mitigated(h: Harness) -> None:
    """The pool is larger, the alert has ended, the incident is closed."""
    started = await approved(h)
    await h.work()
    h.demo.api.change(
        "deployments",
        NAMESPACE,
        APP,
        {"spec": {"template": {"metadata": {"annotations": {"by": "others"}}}}},
    )
    await h.pass_time(timedelta(minutes=25), step=timedelta(minutes=1))
    await resolved(h, started)
    await h.pass_time(timedelta(minutes=1))
    await people.close(h.world, 1, CAROL, cause="the pool was too small")
    await h.work()


async def test_when_its_time_is_over_people_are_asked_and_a_yes_puts_it_back(store: Store) -> None:
    async with harness(store, policies=POOL.policies(), with_scenario="inc-001-not-helping") as h:
        await mitigated(h)
        assert pool(h) == "50"
        assert await expire(h.world) == 0
        await h.clock.advance(timedelta(hours=1))
        assert await expire(h.world) == 1
        incident = await h.incident()
        assert incident.status is Status.RESOLVED
        assert incident.plan is not None and incident.plan.state is PlanState.UNDO_ASKED
        await people.decide_undo(h.world, "P-1", CAROL, undo=True, reason="the release is fixed")
        await h.work()
        assert pool(h) == "20"
        kinds = await h.kinds()
        assert kinds[-1] == "Undone"
        assert (await h.incident()).status is Status.RESOLVED
        await h.clock.advance(timedelta(hours=2))
        assert await expire(h.world) == 0


async def test_nobody_answers_and_it_is_asked_again_the_next_day_and_never_done_by_itself(
    store: Store,
) -> None:
    async with harness(store, policies=POOL.policies(), with_scenario="inc-001-not-helping") as h:
        await mitigated(h)
        for asked, later in enumerate((timedelta(hours=1), timedelta(hours=23), timedelta(hours=1))):
            await h.clock.advance(later)
            await expire(h.world)
            await h.work()
            assert (await h.kinds()).count("MitigationExpired") == (1, 1, 2)[asked]
        assert pool(h) == "50"


async def test_a_no_lets_it_stay_for_good(store: Store) -> None:
    async with harness(store, policies=POOL.policies(), with_scenario="inc-001-not-helping") as h:
        await mitigated(h)
        await h.clock.advance(timedelta(hours=1))
        await expire(h.world)
        await people.decide_undo(h.world, "P-1", CAROL, undo=False, reason="it is in Git now")
        await h.clock.advance(timedelta(hours=2))
        assert await expire(h.world) == 0
        assert pool(h) == "50"
        assert (await h.kinds())[-1] == "MitigationKept"


@pytest.mark.parametrize(("done", "questions"), [(True, 1), (False, 0)], ids=["it happened", "it did not"])
async def test_what_a_person_found_done_expires_too(store: Store, done: bool, questions: int) -> None:
    async with harness(store, policies=POOL.policies(), with_scenario="inc-001-not-helping") as h:
        await approved(h)
        await die_sending(h, Fault(kind="drop", method="PATCH", path=rf"/deployments/{APP}$", dry_run=False))
        h.demo.api.change("deployments", NAMESPACE, APP, {"spec": {"minReadySeconds": 3}})
        await h.rival().work()
        await people.settle_effect(h.world, "P-1", CAROL, done=done, reason="looked at it")
        await h.clock.advance(POOL.expires or timedelta(0))
        assert await expire(h.world) == questions


async def test_what_it_waits_for_has_come_and_people_are_asked_before_its_time(store: Store) -> None:
    async with harness(store, policies=ending("err < 0.9"), with_scenario="inc-001-not-helping") as h:
        await mitigated(h)
        assert await expire(h.world) == 1
        (asked,) = [event for event in await h.events() if isinstance(event, ev.MitigationExpired)]
        assert asked.reason.startswith("err < 0.9 has held for 10 min: set DB_POOL_SIZE=50")
        await h.clock.advance(timedelta(minutes=5))
        assert await expire(h.world) == 0
        await people.decide_undo(h.world, "P-1", CAROL, undo=False, reason="it stays")
        assert await expire(h.world) == 0


async def test_nobody_answers_an_early_question_and_it_is_asked_again_the_next_day(store: Store) -> None:
    async with harness(store, policies=ending("err < 0.9"), with_scenario="inc-001-not-helping") as h:
        await mitigated(h)
        assert await expire(h.world) == 1
        await h.clock.advance(timedelta(hours=24))
        assert await expire(h.world) == 1
        assert (await h.kinds()).count("MitigationExpired") == 2


@pytest.mark.parametrize("never", ["err > 0.9", "nodata < 1.0"], ids=["it does not hold", "nobody can tell"])
async def test_until_then_nobody_is_asked(store: Store, never: str) -> None:
    async with harness(store, policies=ending(never), with_scenario="inc-001-not-helping") as h:
        await mitigated(h)
        assert await expire(h.world) == 0
        await h.clock.advance(timedelta(hours=1))
        assert await expire(h.world) == 1


async def test_what_others_changed_since_is_left_alone(store: Store) -> None:
    async with harness(store, policies=POOL.policies(), with_scenario="inc-001-not-helping") as h:
        await mitigated(h)
        POOL.meddle(h)
        await h.clock.advance(timedelta(hours=1))
        await expire(h.world)
        await people.decide_undo(h.world, "P-1", CAROL, undo=True, reason="back")
        await h.work()
        assert pool(h) == "30"
        assert "UndoImpossible" in await h.kinds()


async def test_an_incident_that_went_on_without_it_is_told_to_people(store: Store) -> None:
    async with harness(store, policies=POOL.policies(), with_scenario="inc-001-not-helping") as h:
        await mitigated(h)
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=POOL.labels(h))))
        await h.work()
        await h.clock.advance(timedelta(hours=1))
        await expire(h.world)
        await h.tell()
        (told,) = [body for body in h.told.bodies if body["kind"] == "MitigationExpired"]
        assert "put it back by hand: set DB_POOL_SIZE=50" in told["text"]
        assert not told["pages"]


async def test_what_is_in_force_on_a_target_can_be_asked(store: Store) -> None:
    async with harness(store, policies=POOL.policies(), with_scenario="inc-001-not-helping") as h:
        await mitigated(h)
        found = await store.read(lambda tx: mitigations.in_force(tx, f"Deployment/{NAMESPACE}/{APP}"))
        assert [one.plan_id for one in found] == ["P-1"]
