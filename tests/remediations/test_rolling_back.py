"""Rolling back where `kubectl rollout undo` goes wrong: twice, after a variable was set, under GitOps."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from builders import CAROL, alert, notification, policies, policy
from cures import APP, CURES, NAMESPACE
from harness import Harness, harness
from stories import approve, noticed, resolved, until_state

from receiver.domain.plans import ApprovalRule, Risk
from receiver.pipeline import people
from receiver.policy.model import Budget, Candidate, Guards
from receiver.store import effects
from receiver.store.engine import Store

POOL = next(cure for cure in CURES if "DB_POOL_SIZE" in str(cure.parameters))
ROLLBACK = Candidate("deployment.rollback", "", None, {"to": "known-good"})


def image(h: Harness) -> str:
    template = h.demo.api.get("deployments", NAMESPACE, APP)["spec"]["template"]
    return str(template["spec"]["containers"][0]["image"])


async def reasons(h: Harness, number: int = 1) -> str:
    """Why nothing was offered, the newest time."""
    return str([event for event in await h.events(number) if event.event == "NothingApplies"][-1])


async def test_rolling_back_twice_does_not_bring_the_bad_release_back(store: Store) -> None:
    often = replace(policy(), guards=Guards(per_target=Budget(5, timedelta(hours=2))))
    async with harness(store, policies=policies(often)) as h:
        started = await noticed(h)
        bad = image(h)
        await approve(h)
        await h.work()
        good = image(h)
        assert good != bad
        await until_state(h, "verified")
        await resolved(h, started)
        await h.pass_time(timedelta(minutes=5))
        # The same alert again: `rollout undo` would now go to the release that was just left.
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.pass_time(timedelta(minutes=2))
        assert image(h) == good
        assert h.demo.real_writes == 1


async def test_where_the_cure_helped_and_it_is_bad_again_a_person_is_called_and_nothing_is_repeated(
    store: Store,
) -> None:
    async with harness(store) as h:
        started = await noticed(h)
        await approve(h)
        await until_state(h, "verified")
        await resolved(h, started)
        await h.pass_time(timedelta(minutes=1))
        h.demo.release_bad()
        await h.pass_time(timedelta(minutes=7))
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.pass_time(timedelta(minutes=20))
        escalated = [event for event in await h.events() if event.event == "Escalated"]
        assert "P-1 helped by the metrics, but the alert still fires" in str(escalated[-1])
        assert h.demo.real_writes == 1


async def test_after_a_variable_was_set_it_goes_past_the_bad_release_and_says_what_ends(store: Store) -> None:
    both = POOL.policies(
        candidates=(
            Candidate(POOL.remediation, "", None, POOL.parameters, expires=timedelta(hours=24)),
            ROLLBACK,
        ),
        guards=Guards(per_target=Budget(5, timedelta(hours=2))),
        approve={Risk.DISRUPTIVE: ApprovalRule(groups=("oncall",))},
    )
    async with harness(store, policies=both, with_scenario="inc-001-not-helping") as h:
        good = image(h)
        await noticed(h)
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="more room")
        await until_state(h, "undo-asked")
        await people.decide_undo(h.world, "P-1", CAROL, undo=False, reason="it does no harm")
        await h.pass_time(timedelta(minutes=3))
        planned = [event for event in await h.events() if event.event == "Planned"]
        assert len(planned) == 2
        plan = (await h.world.store.read(lambda tx: effects.load_plan(tx, "P-2"))).plan
        assert plan.remediation == "deployment.rollback"
        assert any(note.startswith("P-1 ends with this: set DB_POOL_SIZE=50") for note in plan.notes)
        await people.approve_plan(h.world, "P-2", CAROL, digest=None, reason="back")
        await h.work()
        # "Previous" is the bad release without the variable; the known-good one is two steps away.
        assert image(h) == good


async def test_what_argo_cd_heals_is_refused_with_its_owner(store: Store) -> None:
    async with harness(store) as h:
        tracked = {
            "metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:g/api"}}
        }
        h.demo.api.change("deployments", NAMESPACE, APP, tracked)
        await noticed(h)
        assert (
            "managed by Argo CD (annotation argocd.argoproj.io/tracking-id): change it there"
            in await reasons(h)
        )
        assert h.demo.real_writes == 0


async def test_a_rollback_that_a_controller_takes_back_is_seen_and_not_called_in_place(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        before = h.demo.api.get("deployments", NAMESPACE, APP)["spec"]["template"]
        await approve(h)
        await h.work()
        h.demo.api.change("deployments", NAMESPACE, APP, {"spec": {"template": before}}, manager="someone")
        await h.pass_time(timedelta(seconds=30))
        in_place = next(event for event in await h.events() if event.event == "InPlace")
        assert "not in place, judged all the same: somebody changed /spec/template since" in str(in_place)
