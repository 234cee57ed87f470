"""Hundreds of alerts of a few causes within seconds: one incident and one plan for each cause, no more."""

from __future__ import annotations

import random
from datetime import timedelta

from builders import alert, labels, notification, policies
from harness import harness

from receiver.policy.model import CorrelationRule, Matcher
from receiver.store.engine import Store

# Whatever fires about one app is one incident, wherever and of whichever pod.
BY_APP = CorrelationRule(
    matchers=(Matcher("app", "=~", "greenlang-api|greenlang-agent|greenlang-web"),),
    by=(("app",),),
    reopen=timedelta(hours=2),
)
CAUSES = ("greenlang-api", "greenlang-agent", "greenlang-web")
SEED = 20261126


def storm() -> list[dict[str, str]]:
    """480 alerts of three causes, over pods and kinds of alert, and 20 of somebody else in 20 namespaces."""
    dice = random.Random(SEED)
    found = [
        labels(
            alertname=dice.choice(("HighErrorRate", "HighLatency", "PodNotReady")),
            app=CAUSES[number % 3],
            pod=f"pod-{number}",
            instance=f"10.0.{number // 250}.{number % 250}",
        )
        for number in range(480)
    ]
    found += [
        {"alertname": "DiskFillsUp", "namespace": f"team-{number}", "job": "node", "cluster": "demo"}
        for number in range(20)
    ]
    dice.shuffle(found)
    return found


async def test_one_incident_and_one_plan_for_each_cause(store: Store) -> None:
    async with harness(store, policies=policies(correlation=(BY_APP,))) as h:
        await h.fall_ill()
        now = h.clock.now()
        alerts = [alert(starts_at=now, with_labels=found) for found in storm()]
        for start in range(0, len(alerts), 25):
            await h.deliver(notification(*alerts[start : start + 25]))
            await h.work()
        await h.pass_time(timedelta(seconds=30))
        incidents = await h.incidents()
        of_causes = [one for one in incidents if len(one.alerts) > 1]
        assert len(incidents) == 3 + 20
        assert sorted(len(one.alerts) for one in of_causes) == [160, 160, 160]
        planned = [one for one in incidents if one.plan is not None]
        # One of the causes has a policy; its plan was asked for once, though alerts kept arriving.
        assert len(planned) == 1
        kinds = await h.kinds(planned[0].id)
        assert kinds.count("Planned") == kinds.count("ApprovalRequested") == 1
        assert h.demo.real_writes == 0
