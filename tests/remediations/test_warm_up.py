"""`http.warm-up`: what it plans, as a table; and in the demo world, that it ends when it should."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from builders import CAROL, policies, policy
from harness import Harness, harness
from pydantic import ValidationError
from stories import approve, end_leases, noticed
from warm_door import NAME, WarmDoor

from receiver.domain import events as ev
from receiver.domain.incidents import PlanState
from receiver.domain.plans import ApprovalRule, Draft, NotApplicable, Risk, WarmUpStep
from receiver.domain.remediation import Evidence
from receiver.pipeline import people
from receiver.policy.model import Candidate, PolicySet
from receiver.store import effects
from receiver.store.engine import Store
from remediations.http.warm_up import Parameters, WarmUp

READY = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "observedGeneration": 2}


def planned(*, status: int = 200, rollout: dict[str, Any] | None = None, **asked: Any) -> Any:
    metadata = {"name": "api", "namespace": "shop", "uid": "d", "generation": 2}
    deployment = {"metadata": metadata, "spec": {"replicas": 3}, "status": READY | (rollout or {})}
    state = {
        "deployment": deployment,
        "endpoint": {"metadata": {"namespace": "", "name": NAME, "uid": "e"}},
        "status": status,
        "well": status == 200,
    }
    remediation = WarmUp(None, None)  # type: ignore[arg-type]
    return remediation.plan(state, {"endpoint": NAME, **asked}, Evidence(None), now=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("requests", "steps"), [(1, [1]), (5, [5]), (6, [5, 1]), (12, [5, 5, 2]), (100, [5] * 20)]
)
def test_requests_come_in_steps_of_a_second(requests: int, steps: list[int]) -> None:
    draft = planned(requests=requests)
    assert isinstance(draft, Draft)
    assert [step.requests for step in draft.steps if isinstance(step, WarmUpStep)] == steps
    assert draft.target.key == "Deployment/shop/api"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"status": 503}, "answers 503"),
        ({"rollout": {"updatedReplicas": 2}}, "the rollout is not over: 2 of 3 replicas updated"),
        (
            {"rollout": {"availableReplicas": 2}},
            "the rollout is not over: 3 of 3 replicas updated, 2 available",
        ),
        ({"rollout": {"replicas": 4}}, "the rollout is not over"),
        ({"rollout": {"observedGeneration": 1}}, "the controller has not seen the change"),
        ({"rollout": {"conditions": [{"reason": "ProgressDeadlineExceeded"}]}}, "made no progress"),
    ],
    ids=["it fails", "pods are missing", "pods are not ready", "old pods are left", "unseen", "stuck"],
)
def test_who_is_not_well_or_not_there_gets_no_load_on_top(state: dict[str, Any], said: str) -> None:
    found = planned(**state)
    assert isinstance(found, NotApplicable)
    assert said in found.reason


@pytest.mark.parametrize(
    "asked",
    [
        {"endpoint": "{{ labels.endpoint }}"},
        {"endpoint": "https://evil.example/"},
        {"endpoint": "api\n"},
        {"endpoint": ""},
        {"endpoint": NAME, "requests": 0},
        {"endpoint": NAME, "requests": 101},
        {"endpoint": NAME, "url": "https://evil.example/"},
    ],
)
def test_a_policy_names_an_endpoint_and_at_most_a_hundred_requests(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Parameters.model_validate(asked)


def warming(requests: int = 15) -> PolicySet:
    candidate = Candidate("http.warm-up", "", None, {"endpoint": NAME, "requests": requests})
    approver = {Risk.REVERSIBLE: ApprovalRule(groups=("oncall", "sre"))}
    return policies(policy(candidates=(candidate,), probes=(), approve=approver))


async def intents(h: Harness) -> dict[str, int]:
    return dict(await h.world.store.read(effects.intent_counts))


async def test_each_step_is_written_down_first_and_the_receipt_tells_the_share(store: Store) -> None:
    door = WarmDoor()
    async with harness(store, policies=warming(), endpoints=door) as h:
        await noticed(h)
        await approve(h)
        await h.work()
        assert [step.requests for step in door.sent] == [5, 5, 5]
        assert await intents(h) == {"confirmed": 3}
        (planned,) = [event for event in await h.events() if isinstance(event, ev.Planned)]
        assert planned.diff == "+ GET api-warm-up 5 times; 3 such steps"
        receipts = [event.receipt for event in await h.events() if isinstance(event, ev.Executed)]
        assert {receipt.how for receipt in receipts} == {
            "5 of 5 requests, all answered with 2xx, the slowest in 0 ms"
        }


async def test_a_failure_ends_it_and_no_more_steps_follow(store: Store) -> None:
    door = WarmDoor()
    async with harness(store, policies=warming(), endpoints=door) as h:
        await noticed(h)
        await approve(h)
        door.answers(503)
        await h.work()
        assert len(door.sent) == 1
        assert await intents(h) == {"refused": 1}
        (over,) = [event for event in await h.events() if isinstance(event, ev.NotDone)]
        assert "it answered 503 (request 1 of 5); no more were sent" in over.reason
        incident = await h.incident()
        assert incident.plan is not None
        assert incident.plan.state is PlanState.REFUSED


async def test_the_kill_switch_ends_it_between_two_steps(store: Store) -> None:
    class Stopping(WarmDoor):
        async def warm(self, step: WarmUpStep) -> Any:
            answer = await super().warm(step)
            await people.set_pause(h.world, CAROL, on=True, policy=None, reason="stop")
            return answer

    door = Stopping()
    async with harness(store, policies=warming(), endpoints=door) as h:
        await noticed(h)
        await approve(h)
        await h.work()
        assert len(door.sent) == 1
        (refused,) = [event for event in await h.events() if isinstance(event, ev.Refused)]
        assert "G4 paused" in str(refused)


async def test_after_a_crash_nothing_is_sent_again_and_a_person_is_asked(store: Store) -> None:
    door = WarmDoor()
    door.hangs = True
    async with harness(store, policies=warming(), endpoints=door) as h:
        await noticed(h)
        await approve(h)
        working = asyncio.create_task(h.work())
        await door.reached.wait()
        for task in list(h.worker._tasks):
            task.cancel()
        await asyncio.gather(working, *h.worker._tasks, return_exceptions=True)
        door.hangs = False
        await end_leases(h)
        await h.rival().work()
        assert len(door.sent) == 1
        (unknown,) = [event for event in await h.events() if isinstance(event, ev.EffectUnknown)]
        assert "requests leave no trace" in unknown.reason
