"""One write, under a condition, written down first: whatever happens to the request, the object or us."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from builders import CAROL, alert, notification
from harness import Harness, harness
from sqlalchemy import Connection, insert
from stories import approve, approved, die_sending, end_leases, noticed, rolled_back, until_state

from receiver.demo.kubernetes import Fault
from receiver.domain.errors import Conflict
from receiver.domain.incidents import PlanState
from receiver.domain.plans import FENCE, MARKER
from receiver.pipeline import people
from receiver.pipeline.telling import deliver
from receiver.store import effects
from receiver.store.engine import Store
from receiver.store.schema import security_locks

PATCH = r"/deployments/greenlang-api$"


def image(h: Harness) -> str:
    found = h.demo.api.get("deployments", "greenlang", "greenlang-api")
    name: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
    return name


async def intents(h: Harness) -> dict[str, int]:
    return dict(await h.world.store.read(effects.intent_counts))


async def die_after(h: Harness, fault: Fault) -> None:
    """Approve, send the write into this fault, and vanish before its outcome is known."""
    await approved(h)
    await die_sending(h, fault)


async def test_an_answer_that_got_lost_is_found_by_its_marker(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        h.demo.api.faults.add(Fault(kind="lose-answer", method="PATCH", path=PATCH, dry_run=False))
        await h.work()
        assert image(h) == "greenlang/api:1.8.1"
        assert h.demo.real_writes == 1
        assert await intents(h) == {"confirmed": 1}


async def test_a_request_that_never_arrived_is_sent_again_under_the_same_intent(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        h.demo.api.faults.add(Fault(kind="drop", method="PATCH", path=PATCH, dry_run=False))
        await h.work()
        assert image(h) == "greenlang/api:1.8.1"
        assert len([call for call in h.demo.api.writes if call.method == "PATCH"]) == 1
        assert await intents(h) == {"confirmed": 1}


async def test_status_writes_that_move_the_version_do_not_make_the_plan_stale(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        h.demo.api.faults.add(Fault(kind="delay", seconds=1, method="PATCH", path=PATCH, dry_run=False))
        working = asyncio.create_task(h.work())
        await h.demo.api.calls.until(lambda call: call.method == "PATCH" and not call.dry_run)
        h.demo.api.touch("deployments", "greenlang", "greenlang-api")
        await h.clock.advance(timedelta(seconds=2))
        await working
        assert image(h) == "greenlang/api:1.8.1"
        assert await intents(h) == {"confirmed": 1}


async def test_a_change_made_meanwhile_by_somebody_makes_the_plan_stale(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        template = {"spec": {"template": {"metadata": {"annotations": {"by": "somebody"}}}}}
        h.demo.api.change("deployments", "greenlang", "greenlang-api", template)
        await h.work()
        assert h.demo.real_writes == 0
        assert "PlanVoided" in await h.kinds()


async def test_a_change_between_look_and_write_makes_the_plan_stale_and_writes_nothing(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        h.demo.api.faults.add(Fault(kind="delay", seconds=1, method="PATCH", path=PATCH, dry_run=False))
        working = asyncio.create_task(h.work())
        await h.demo.api.calls.until(lambda call: call.method == "PATCH" and not call.dry_run)
        template = {"spec": {"template": {"metadata": {"annotations": {"by": "somebody"}}}}}
        h.demo.api.change("deployments", "greenlang", "greenlang-api", template)
        await h.clock.advance(timedelta(seconds=2))
        await working
        assert [call for call in h.demo.api.writes if call.method == "PATCH"] == []
        assert await intents(h) == {"refused": 1}
        assert "NotDone" in await h.kinds()


async def test_what_others_did_already_is_recognised_and_not_done_again(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        scenario = h.demo.scenario
        template = scenario.manifest(scenario.good)["spec"]["template"]
        h.demo.api.change("deployments", "greenlang", "greenlang-api", {"spec": {"template": template}})
        await h.work()
        assert h.demo.real_writes == 0
        assert "AlreadySo" in await h.kinds()


async def test_after_a_crash_a_write_that_happened_is_settled_and_not_repeated(store: Store) -> None:
    async with harness(store) as h:
        await die_after(h, Fault(kind="answer-late", seconds=3600, method="PATCH", path=PATCH, dry_run=False))
        await h.rival().work()
        assert h.demo.real_writes == 1
        incident = await h.incident()
        assert incident.plan is not None
        assert incident.plan.state is PlanState.EXECUTED
        assert incident.plan.receipts[0].how == "found by its marker"


async def test_after_a_crash_a_write_that_did_not_happen_is_done_once(store: Store) -> None:
    async with harness(store) as h:
        await die_after(h, Fault(kind="delay", seconds=3600, method="PATCH", path=PATCH, dry_run=False))
        await h.rival().work()
        assert len([call for call in h.demo.api.writes if call.method == "PATCH"]) == 1
        assert image(h) == "greenlang/api:1.8.1"
        # The first request lands an hour late, and finds another version.
        await h.clock.advance(timedelta(hours=1, minutes=1))
        assert len([call for call in h.demo.api.writes if call.method == "PATCH"]) == 1


async def test_a_refused_recovery_makes_the_late_request_impossible_before_it_says_not_done(
    store: Store,
) -> None:
    async with harness(store) as h:
        late = Fault(
            kind="land-late", seconds=30, respect_timeout=False, method="PATCH", path=PATCH, dry_run=False
        )
        await die_after(h, late)
        await people.set_pause(h.world, CAROL, on=True, policy=None, reason="stop")
        await h.rival().work()
        assert "NotDone" in await h.kinds()
        await h.clock.advance(timedelta(minutes=2))
        await asyncio.sleep(0.05)
        assert image(h) == "greenlang/api:1.8.2-bad"
        marker = h.demo.api.get("deployments", "greenlang", "greenlang-api")["metadata"]["annotations"]
        assert MARKER not in marker


async def test_a_foreign_change_after_a_lost_request_is_unknown_and_keeps_the_target_locked(
    store: Store,
) -> None:
    async with harness(store) as h:
        await die_after(h, Fault(kind="drop", method="PATCH", path=PATCH, dry_run=False))
        h.demo.api.change("deployments", "greenlang", "greenlang-api", {"spec": {"minReadySeconds": 3}})
        await h.rival().work()
        incident = await h.incident()
        assert incident.plan is not None
        assert incident.plan.state is PlanState.UNKNOWN
        held = await h.world.store.read(
            lambda tx: effects.target_holder(tx, "Deployment/greenlang/greenlang-api")
        )
        assert held == "P-1"
        assert h.demo.real_writes == 1


@pytest.mark.parametrize("done", [True, False], ids=["it happened", "it did not"])
async def test_a_person_settles_an_unknown_effect_and_the_target_is_free(store: Store, done: bool) -> None:
    async with harness(store) as h:
        await die_after(h, Fault(kind="drop", method="PATCH", path=PATCH, dry_run=False))
        h.demo.api.change("deployments", "greenlang", "greenlang-api", {"spec": {"minReadySeconds": 3}})
        await h.rival().work()
        await people.settle_effect(h.world, "P-1", CAROL, done=done, reason="looked at the revision")
        incident = await h.incident()
        assert incident.plan is not None
        assert incident.plan.state is (PlanState.EXECUTED if done else PlanState.VOID)
        with pytest.raises(Conflict, match="only an unknown effect"):
            await people.settle_effect(h.world, "P-1", CAROL, done=done, reason="again")


async def test_a_resolve_that_lands_between_intent_and_receipt_neither_starts_nor_erases_anything(
    store: Store,
) -> None:
    async with harness(store) as h:
        started = await approved(h)
        h.demo.api.faults.add(Fault(kind="answer-late", seconds=1, method="PATCH", path=PATCH, dry_run=False))
        working = asyncio.create_task(h.work())
        await h.demo.api.calls.until(lambda call: call.method == "PATCH" and not call.dry_run)
        await h.deliver(notification(alert(status="resolved", starts_at=started, ends_at=h.clock.now())))
        rival = h.rival()
        assert await rival.worker.claim_due() == 0
        await h.clock.advance(timedelta(seconds=2))
        await working
        kinds = await h.kinds()
        assert kinds.count("ExecutionStarted") == kinds.count("Executed") == kinds.count("AlertResolved") == 1
        assert h.demo.real_writes == 1


async def test_a_fenced_owner_writes_no_outcome_into_the_timeline(store: Store) -> None:
    async with harness(store) as h:
        await approved(h)
        h.demo.api.faults.add(Fault(kind="answer-late", seconds=1, method="PATCH", path=PATCH, dry_run=False))
        working = asyncio.create_task(h.work())
        await h.demo.api.calls.until(lambda call: call.method == "PATCH" and not call.dry_run)
        await end_leases(h)
        await h.rival().work()
        await h.clock.advance(timedelta(seconds=2))
        await working
        kinds = await h.kinds()
        assert kinds.count("Executed") == 1
        assert h.demo.real_writes == 1
        assert h.counters.fenced == 1


async def test_the_kill_switch_stops_an_approved_plan_before_its_write(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await approve(h)
        await people.set_pause(h.world, CAROL, on=True, policy=None, reason="something is off")
        await h.work()
        assert h.demo.real_writes == 0
        refused = [event for event in await h.events() if event.event == "Refused"]
        assert "paused" in str(refused[0])
        await people.set_pause(h.world, CAROL, on=False, policy=None, reason="go on")
        await h.pass_time(timedelta(seconds=30))
        assert h.demo.real_writes == 1


async def test_an_approval_that_was_not_used_in_time_is_void(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        await approve(h)
        await people.set_pause(h.world, CAROL, on=True, policy=None, reason="wait")
        await h.pass_time(timedelta(minutes=6))
        await people.set_pause(h.world, CAROL, on=False, policy=None, reason="go on")
        await h.work()
        assert h.demo.real_writes == 0
        assert "PlanVoided" in await h.kinds()


async def test_a_regression_is_undone_once_without_asking(store: Store) -> None:
    async with harness(store) as h:
        await rolled_back(h)
        # The "good" release turns out to be worse than the bad one was.
        bad = h.demo.scenario.bad.model_copy(update={"error_ratio": 0.9})
        h.demo.scenario = h.demo.scenario.model_copy(update={"helps": False, "bad": bad})
        h.demo.traffic.scenario = h.demo.scenario
        incident = await until_state(h, "undone")
        assert image(h) == "greenlang/api:1.8.2-bad"
        assert incident.automatic_undos == 1
        assert h.demo.real_writes == 2


async def test_a_rollback_that_does_not_help_asks_before_bringing_the_bad_release_back(store: Store) -> None:
    async with harness(store, with_scenario="inc-001-not-helping") as h:
        await rolled_back(h)
        await until_state(h, "undo-asked")
        assert image(h) == "greenlang/api:1.8.1"
        assert h.demo.real_writes == 1
        await people.decide_undo(h.world, "P-1", CAROL, undo=True, reason="it was not the release")
        await h.work()
        assert image(h) == "greenlang/api:1.8.2-bad"
        assert "Undone" in await h.kinds()


async def test_an_undo_whose_target_cannot_be_read_waits_and_people_are_told_once(
    store: Store,
) -> None:
    async with harness(store, with_scenario="inc-001-not-helping") as h:
        await rolled_back(h)
        await until_state(h, "undo-asked")
        unreadable = Fault(kind="refuse", status=403, method="GET", path=r"/deployments/", count=None)
        h.demo.api.faults.add(unreadable)
        await people.decide_undo(h.world, "P-1", CAROL, undo=True, reason="it was not the release")
        await h.pass_time(timedelta(minutes=1))
        assert not [one for one in (await h.incident()).escalated if "not put back" in one]
        await h.pass_time(timedelta(minutes=4))
        (told,) = [one for one in (await h.incident()).escalated if "not put back" in one]
        assert told.startswith("P-1 is not put back yet, its target cannot be read: ")
        h.demo.api.faults.clear()
        await until_state(h, "undone")
        assert image(h) == "greenlang/api:1.8.2-bad"


async def test_an_undo_leaves_alone_what_somebody_changed_since(store: Store) -> None:
    async with harness(store, with_scenario="inc-001-not-helping") as h:
        await rolled_back(h)
        await until_state(h, "undo-asked")
        template = {"spec": {"template": {"metadata": {"annotations": {"by": "somebody"}}}}}
        h.demo.api.change("deployments", "greenlang", "greenlang-api", template)
        await people.decide_undo(h.world, "P-1", CAROL, undo=True, reason="it was not the release")
        await h.work()
        assert h.demo.real_writes == 1
        assert "UndoImpossible" in await h.kinds()


async def test_without_metrics_the_verdict_is_inconclusive_and_nothing_is_undone(store: Store) -> None:
    async with harness(store) as h:
        await rolled_back(h)
        h.demo.prometheus.faults.empty = True
        await until_state(h, "inconclusive")
        assert h.demo.real_writes == 1
        assert any(body["kind"] == "Inconclusive" for body in await told(h))


async def told(h: Harness) -> list[dict[str, object]]:
    while await deliver(h.world, h.counters):
        pass
    return h.told.bodies


async def test_under_a_security_lock_nothing_is_fenced_and_not_seen_is_said_once_it_must_be_dead(
    store: Store,
) -> None:
    async with harness(store) as h:
        await die_after(h, Fault(kind="drop", method="PATCH", path=PATCH, dry_run=False))

        def lock(tx: Connection) -> None:
            tx.execute(insert(security_locks).values(scope="namespace/greenlang", reason="INC-007", at=0.0))

        await store.write(lock)
        rival = h.rival()
        await rival.work()
        assert "NotDone" not in await h.kinds()
        await rival.pass_time(timedelta(seconds=90))
        told = next(event for event in await h.events() if event.event == "NotDone")
        assert "not seen since it was sent" in str(told)
        assert h.demo.real_writes == 1
        metadata = h.demo.api.get("deployments", "greenlang", "greenlang-api")["metadata"]
        assert FENCE not in metadata.get("annotations", {})
