"""Cordoning in the demo world: what others did meanwhile counts, and pods go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from builders import CAROL, alert, notification
from cures import APP, CURES, NAMESPACE, more_nodes
from harness import Harness, harness

from receiver.pipeline import people
from receiver.store.engine import Store

CORDON = next(cure for cure in CURES if cure.remediation == "node.cordon")


async def cordoned(h: Harness) -> None:
    """The node is cordoned by us, and it has not helped."""
    more_nodes(h)
    await h.fall_ill()
    await h.deliver(notification(alert(starts_at=h.clock.now())))
    await h.work()
    await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="as planned")
    await h.work()


async def test_pods_on_a_cordoned_node_go_on_and_new_ones_go_elsewhere(store: Store) -> None:
    async with harness(store, policies=CORDON.policies(), with_scenario="inc-001-not-helping") as h:
        pods = {pod["metadata"]["uid"] for pod in h.demo.api.find("pods", NAMESPACE, f"app={APP}")}
        assert pods
        await cordoned(h)
        assert h.demo.api.get("nodes", "", "node-1")["spec"] == {"unschedulable": True}
        (call,) = h.demo.api.writes
        assert (call.method, call.path) == ("PATCH", "/api/v1/nodes/node-1")
        assert not any("eviction" in call.path for call in h.demo.api.calls)


async def test_a_node_that_somebody_cordoned_anew_is_not_uncordoned(store: Store) -> None:
    async with harness(store, policies=CORDON.policies(), with_scenario="inc-001-not-helping") as h:
        await cordoned(h)
        await h.pass_time(timedelta(minutes=32))
        # The field is as we wrote it and our annotation is still there, and yet it is their word now.
        for word in (None, True):
            h.demo.api.change("nodes", "", "node-1", {"spec": {"unschedulable": word}}, manager="kubectl")
        await people.decide_undo(h.world, "P-1", CAROL, undo=True, reason="back")
        await h.work()
        assert h.demo.api.get("nodes", "", "node-1")["spec"] == {"unschedulable": True}
        impossible = next(event for event in await h.events() if event.event == "UndoImpossible")
        assert "another manager has set it anew" in str(impossible)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("node-3", "no pod of Deployment greenlang/greenlang-api runs on Node node-3"),
        ("no-such-node", "there is no node no-such-node"),
        ("../namespaces", "node takes plain words only"),
        ("node-1/status", "'node-1/status' is not a valid object name"),
    ],
)
async def test_a_node_that_an_alert_makes_up_is_not_cordoned(store: Store, node: str, reason: str) -> None:
    named_by_label = replace(CORDON, parameters={"node": "{{ labels.node }}"})
    async with harness(store, policies=named_by_label.policies()) as h:
        await h.fall_ill()
        # What was made only now runs none of its pods.
        more_nodes(h)
        labels = CORDON.labels(h) | {"node": node}
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels)))
        await h.work()
        assert h.demo.real_writes == 0
        nothing = next(event for event in await h.events() if event.event == "NothingApplies")
        assert reason in str(nothing)
