"""A candidate is offered for its own cause: its condition sees facts and the numbers of the moment."""

from __future__ import annotations

import pytest
from builders import alert, notification, policies, policy
from harness import harness

from receiver.demo.kubernetes import Fault
from receiver.domain.events import NothingApplies
from receiver.policy.model import Candidate
from receiver.policy.next_step import BLIND_AGAIN
from receiver.store.engine import Store


@pytest.mark.parametrize(
    ("when", "said"),
    [
        pytest.param("err > 0.2 && rollout.hasEarlier", None, id="it holds"),
        pytest.param("err > 0.9 && rollout.hasEarlier", "does not hold", id="it does not hold"),
        pytest.param("gone > 1", "there is no value for gone", id="it has no value"),
    ],
)
async def test_a_condition_over_a_query_decides(store: Store, when: str, said: str | None) -> None:
    candidate = Candidate("deployment.rollback", "", when, {"to": "known-good"})
    usual = policy(candidates=(candidate,))
    asked = policy(candidates=(candidate,), queries={**usual.queries, "gone": "max(gone_total)"})
    async with harness(store, policies=policies(asked)) as h:
        await h.fall_ill()
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        reasons = [event.reasons for event in await h.events() if isinstance(event, NothingApplies)]
        if said is None:
            assert (await h.incident()).plan is not None
        else:
            assert said in reasons[0][0]


async def test_a_prometheus_that_is_away_is_named_and_asked_again(store: Store) -> None:
    candidate = Candidate("deployment.rollback", "", "err > 0.2", {"to": "known-good"})
    async with harness(store, policies=policies(policy(candidates=(candidate,)))) as h:
        await h.fall_ill()
        h.demo.prometheus.faults.down = True
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        (event,) = [event for event in await h.events() if isinstance(event, NothingApplies)]
        assert "there is no value for err (" in event.reasons[0]
        assert "Escalated" not in await h.kinds()


async def test_a_cluster_that_is_away_is_named_and_asked_again(store: Store) -> None:
    candidate = Candidate("deployment.rollback", "", "rollout.hasEarlier", {"to": "known-good"})
    async with harness(store, policies=policies(policy(candidates=(candidate,)))) as h:
        await h.fall_ill()
        h.demo.api.faults.add(Fault(kind="drop", path="/apis/apps/v1/namespaces/", count=None))
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        (event,) = [event for event in await h.events() if isinstance(event, NothingApplies)]
        assert "there is no value for rollout (the API server cannot be reached: " in event.reasons[0]
        assert "Escalated" not in await h.kinds()
        h.demo.api.faults.clear()
        await h.pass_time(BLIND_AGAIN)
        await h.work()
        assert (await h.incident()).plan is not None
