"""A security incident is isolated: planned from its sign, asked for or approved before, written, watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from builders import CAROL, MALLORY, alert, labels, notification, policies, policy
from harness import Harness, harness
from stories import end_leases

from receiver.demo.kubernetes import Fault
from receiver.demo.kubernetes.resources import PODS
from receiver.domain import events as ev
from receiver.domain.errors import Conflict, NotAllowed
from receiver.domain.isolation import LABELS_BEFORE, QUARANTINE, TAINT, Act, IsolationState, Wanted
from receiver.domain.standing import Standing
from receiver.pipeline import people
from receiver.pipeline.containing import approve_isolation, deny_isolation, isolate
from receiver.policy.approval import Identity
from receiver.policy.model import IsolationWish, PolicySet, SecuritySign
from receiver.store import switches
from receiver.store.engine import Store

LEAD = Identity("lena", ("security-lead",))
DEPUTY = Identity("dora", ("security-deputy",))
NAMESPACE, APP = "greenlang", "greenlang-api"
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": APP, "namespace": NAMESPACE},
    "spec": {"selector": {"app": APP}, "ports": [{"port": 80}]},
}
QUARANTINED = IsolationWish(Act.POD_QUARANTINE, pod="{{ labels.pod }}")
SHUNNED = IsolationWish(Act.NODE_ISOLATE, pod="{{ labels.pod }}")


def miner(*wishes: IsolationWish) -> PolicySet:
    sign = SecuritySign("a miner runs in it", 'labels.rule == "miner"', isolate=wishes)
    return policies(policy(security=(sign,)))


@asynccontextmanager
async def mined(store: Store, *wishes: IsolationWish, **changes: Any) -> AsyncIterator[Harness]:
    """A miner was seen in one pod of a workload that a Service sends requests to."""
    async with harness(store, policies=miner(*(wishes or (QUARANTINED,)))) as h:
        h.demo.api.load([SERVICE])
        if changes:
            h = replace(h, world=replace(h.world, **changes))
            h.worker._world = h.world
        await h.fall_ill()
        yield h


def pod_name(h: Harness) -> str:
    found = h.demo.api.find("pods", NAMESPACE, f"app={APP}")
    return min(str(pod["metadata"]["name"]) for pod in found)


def pod_of(h: Harness, name: str) -> dict[str, Any]:
    return h.demo.api.get("pods", NAMESPACE, name)


async def seen(h: Harness, pod: str | None = None) -> str:
    """The alert about it, worked on; the name of the pod."""
    name = pod_name(h) if pod is None else pod
    found = alert(starts_at=h.clock.now(), with_labels=labels(rule="miner", pod=name))
    await h.deliver(notification(found))
    await h.work()
    return name


async def test_a_pod_is_cut_off_once_a_security_lead_says_yes(store: Store) -> None:
    async with mined(store) as h:
        name = await seen(h)
        (one,) = (await h.incident()).isolations
        assert (one.state, one.act, one.target.name) == (IsolationState.ASKED, Act.POD_QUARANTINE, name)
        assert h.demo.real_writes == 0
        before = pod_of(h, name)["metadata"]["labels"]
        await approve_isolation(h.world, one.id, LEAD, digest=one.digest, reason="cut it off")
        await h.work()
        found = pod_of(h, name)["metadata"]
        assert found["labels"] == {QUARANTINE: "1"}
        assert found["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert found["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
        assert before["app"] in found["annotations"][LABELS_BEFORE]
        denied = h.demo.api.get("networkpolicies", NAMESPACE, "stanch-quarantine")["spec"]
        assert denied["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in denied and "egress" not in denied
        await h.pass_time(timedelta(minutes=3))
        (one,) = (await h.incident()).isolations
        assert (one.state, one.sentence) == (
            IsolationState.HOLDS,
            "no Service sends it anything, and it sends nothing",
        )
        # Its workload let go of it and started another one; it still runs, as evidence.
        assert not pod_of(h, name)["metadata"].get("ownerReferences")
        assert h.demo.real_writes == 2


async def test_a_pod_that_still_talks_is_told_of_and_looked_at_again(store: Store) -> None:
    async with mined(store) as h:
        name = await seen(h)
        h.demo.kubelets.enforces = False
        h.demo.kubelets.sending[name] = 4000.0
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.pass_time(timedelta(minutes=3))
        (leaks,) = [event for event in await h.events() if isinstance(event, ev.IsolationLeaks)]
        assert leaks.sentence == "it still sends 4000 bytes a second"
        assert (await h.incident()).isolations[0].state is IsolationState.TALKING
        h.demo.kubelets.enforces = True
        await h.pass_time(timedelta(minutes=3))
        assert (await h.incident()).isolations[0].state is IsolationState.HOLDS


async def test_what_nobody_measures_is_said(store: Store) -> None:
    async with mined(store) as h:
        await seen(h)
        h.demo.kubelets.measures = False
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.pass_time(timedelta(minutes=8))
        assert "what it sends itself is not measured" in (await h.incident()).isolations[0].sentence


async def test_a_node_is_cordoned_and_tainted_in_one_write_and_what_runs_there_goes_on(store: Store) -> None:
    async with mined(store, SHUNNED) as h:
        name = await seen(h)
        running = {pod["metadata"]["uid"] for pod in h.demo.api.find("pods", NAMESPACE)}
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.pass_time(timedelta(minutes=1))
        node = h.demo.api.get("nodes", "", pod_of(h, name)["spec"]["nodeName"])
        assert node["spec"]["unschedulable"] is True
        assert TAINT in node["spec"]["taints"]
        assert {pod["metadata"]["uid"] for pod in h.demo.api.find("pods", NAMESPACE)} == running
        assert h.demo.real_writes == 1
        assert (await h.incident()).isolations[0].state is IsolationState.HOLDS


async def test_the_last_node_that_takes_pods_is_left_alone(store: Store) -> None:
    async with mined(store, SHUNNED) as h:
        name = pod_name(h)
        own = pod_of(h, name)["spec"]["nodeName"]
        for node in h.demo.api.find("nodes"):
            if node["metadata"]["name"] != own:
                h.demo.api.change("nodes", "", node["metadata"]["name"], {"spec": {"unschedulable": True}})
        await seen(h, name)
        incident = await h.incident()
        assert incident.isolations == ()
        assert any("the last node that takes pods" in reason for reason in incident.escalated)
        assert h.demo.real_writes == 0


def standing(**changes: Any) -> Any:
    usual = Standing(
        by="lena",
        acts=frozenset({Act.POD_QUARANTINE}),
        scopes=frozenset({f"namespace/{NAMESPACE}"}),
        signed_at=datetime.fromisoformat("2020-01-01T00:00:00Z"),
        valid_until=datetime.fromisoformat("2100-01-01T00:00:00Z"),
    )
    found = replace(usual, **changes)

    async def read() -> Standing | str:
        return found

    return read


async def test_what_a_standing_approval_covers_is_isolated_without_asking(store: Store) -> None:
    async with mined(store, QUARANTINED, SHUNNED, standing=standing()) as h:
        name = await seen(h)
        quarantine, node = (await h.incident()).isolations
        assert (quarantine.approved_by, quarantine.standing) == ("lena", True)
        assert QUARANTINE in pod_of(h, name)["metadata"]["labels"]
        assert node.state is IsolationState.ASKED
        (asked,) = [event for event in await h.events() if isinstance(event, ev.IsolationAsked)]
        assert asked.why == "the standing approval of lena does not name node.isolate"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"valid_until": datetime.fromisoformat("2021-01-01T00:00:00Z")}, "ended at 2021-01-01T00:00+00:00"),
        ({"signed_at": datetime.fromisoformat("2099-01-01T00:00:00Z")}, "is dated 2099-01-01T00:00+00:00"),
        ({"scopes": frozenset({"namespace/elsewhere"})}, "does not cover Pod greenlang/"),
    ],
)
async def test_a_standing_approval_that_does_not_cover_it_says_why_and_people_are_asked(
    store: Store, changes: dict[str, Any], why: str
) -> None:
    async with mined(store, standing=standing(**changes)) as h:
        await seen(h)
        (asked,) = [event for event in await h.events() if isinstance(event, ev.IsolationAsked)]
        assert why in asked.why
        assert h.demo.real_writes == 0


async def test_a_standing_approval_that_ends_before_the_write_is_asked_for_instead(store: Store) -> None:
    async with mined(store, standing=standing()) as h:
        await h.world.store.write(
            lambda tx: switches.pause(tx, policy=None, by="carol", reason="wait", at=h.clock.now())
        )
        await seen(h)
        assert (await h.incident()).isolations[0].state is IsolationState.APPROVED
        h.worker._world = replace(h.world, standing=standing(valid_until=h.clock.now()))
        await h.world.store.write(
            lambda tx: switches.resume(tx, policy=None, by="carol", reason="", at=h.clock.now())
        )
        await h.pass_time(timedelta(seconds=15))
        assert (await h.incident()).isolations[0].state is IsolationState.ASKED
        assert h.demo.real_writes == 0


async def test_after_five_minutes_a_deputy_may_say_yes_and_in_the_end_somebody_is_told(store: Store) -> None:
    async with mined(store) as h:
        await seen(h)
        with pytest.raises(NotAllowed, match="the security lead's for 5 minutes"):
            await approve_isolation(h.world, "S-1", DEPUTY, digest=None, reason="")
        await h.pass_time(timedelta(minutes=16))
        assert [event.round for event in await h.events() if isinstance(event, ev.IsolationAsked)] == [
            1,
            2,
            3,
        ]
        assert any("nobody answered S-1" in reason for reason in (await h.incident()).escalated)
        await approve_isolation(h.world, "S-1", DEPUTY, digest=None, reason="")
        await h.work()
        assert h.demo.real_writes == 2


async def test_only_a_lead_says_yes_and_only_to_this_very_isolation(store: Store) -> None:
    async with mined(store) as h:
        await seen(h)
        for who in (CAROL, MALLORY):
            with pytest.raises(NotAllowed, match="takes a security lead"):
                await approve_isolation(h.world, "S-1", who, digest=None, reason="")
        with pytest.raises(Conflict, match="look at it and approve that one"):
            await approve_isolation(h.world, "S-1", LEAD, digest="0" * 64, reason="")
        await deny_isolation(h.world, "S-1", LEAD, reason="it is our own test")
        with pytest.raises(Conflict, match="not waiting"):
            await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.pass_time(timedelta(minutes=10))
        assert h.demo.real_writes == 0


async def test_another_pod_of_that_name_is_not_what_was_approved(store: Store) -> None:
    async with mined(store) as h:
        name = await seen(h)
        pod = pod_of(h, name)
        h.demo.api.store.remove(PODS, pod)
        keep = ("name", "namespace", "labels")
        metadata = {key: pod["metadata"][key] for key in keep}
        spec = {"containers": [{"name": "api", "image": "x"}]}
        h.demo.api.load([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.work()
        assert (await h.incident()).isolations[0].state is IsolationState.FAILED
        assert QUARANTINE not in pod_of(h, name)["metadata"]["labels"]


@pytest.mark.parametrize("kind", ["drop", "lose-answer"])
@pytest.mark.parametrize(("method", "path"), [("POST", "networkpolicies$"), ("PATCH", "/pods/")])
async def test_a_lost_answer_is_looked_at_and_leads_to_the_same_state(
    store: Store, kind: Literal["drop", "lose-answer"], method: str, path: str
) -> None:
    async with mined(store) as h:
        name = await seen(h)
        h.demo.api.faults.add(Fault(kind=kind, method=method, path=path, dry_run=False))
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.work()
        await h.pass_time(timedelta(seconds=30))
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}
        (one,) = (await h.incident()).isolations
        assert one.done_at is not None
        assert (await h.kinds()).count("IsolationFailed") == 0


async def test_a_rival_takes_over_what_a_dead_worker_began(store: Store) -> None:
    async with mined(store) as h:
        name = await seen(h)
        h.demo.api.faults.add(Fault(kind="drop", method="PATCH", path="/pods/", dry_run=False))
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.work()
        assert (await h.incident()).isolations[0].state is IsolationState.STARTED
        await end_leases(h)
        rival = h.rival()
        await rival.pass_time(timedelta(seconds=15))
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}


async def test_the_kill_switch_holds_it_and_the_answer_that_it_is_late_comes_after_five_minutes(
    store: Store,
) -> None:
    async with mined(store) as h:
        await seen(h)
        await people.set_pause(h.world, CAROL, on=True, policy=None, reason="wait")
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.pass_time(timedelta(minutes=6))
        assert h.demo.real_writes == 0
        assert any("S-1 is not carried out 5 minutes after" in one for one in (await h.incident()).escalated)
        await people.set_pause(h.world, CAROL, on=False, policy=None, reason="")
        await h.pass_time(timedelta(seconds=15))
        assert h.demo.real_writes == 2


async def test_a_right_that_is_missing_is_told_and_nothing_is_tried_again(store: Store) -> None:
    async with mined(store) as h:
        await seen(h)
        h.demo.api.access.forbidden.add(("patch", "pods"))
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.pass_time(timedelta(minutes=1))
        (failed,) = [event for event in await h.events() if isinstance(event, ev.IsolationFailed)]
        assert failed.reason.startswith("403 Forbidden")


async def test_release_leaves_what_is_isolated_unless_both_want_it_back(store: Store) -> None:
    async with mined(store, QUARANTINED, SHUNNED, standing=standing()) as h:
        name = await seen(h)
        await people.release(h.world, 1, CAROL, reason="rebuilt", undo=True)
        await people.release(h.world, 1, LEAD, reason="rebuilt")
        await h.work()
        incident = await h.incident()
        assert incident.lockdown is None
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}
        # Nobody had answered the other one.
        assert incident.isolations[1].state is IsolationState.DENIED


async def test_release_takes_back_what_still_stands_as_we_left_it(store: Store) -> None:
    both = standing(acts=frozenset(Act), scopes=frozenset({"cluster"}))
    async with mined(store, QUARANTINED, SHUNNED, standing=both) as h:
        name = pod_name(h)
        before = pod_of(h, name)["metadata"]["labels"]
        node = pod_of(h, name)["spec"]["nodeName"]
        await seen(h, name)
        await h.pass_time(timedelta(seconds=15))
        assert TAINT in h.demo.api.get("nodes", "", node)["spec"]["taints"]
        for who in (CAROL, LEAD):
            await people.release(h.world, 1, who, reason="a false alarm", undo=True)
        await h.work()
        assert [one.state for one in (await h.incident()).isolations] == [IsolationState.LIFTED] * 2
        # One pod is too many then, and its workload chooses which one.
        found = pod_of(h, name)["metadata"]
        assert found["labels"] == before
        assert LABELS_BEFORE not in found["annotations"]
        spec = h.demo.api.get("nodes", "", node)["spec"]
        assert not spec.get("unschedulable") and TAINT not in (spec.get("taints") or [])
        assert (await h.incident()).lockdown is None


async def test_what_somebody_changed_since_stays_and_is_told(store: Store) -> None:
    async with mined(store, standing=standing()) as h:
        name = await seen(h)
        h.demo.api.change("pods", NAMESPACE, name, {"metadata": {"labels": {"mine": "now"}}})
        for who in (CAROL, LEAD):
            await people.release(h.world, 1, who, reason="a false alarm", undo=True)
        await h.work()
        incident = await h.incident()
        assert incident.lockdown is None
        assert "somebody changed the labels" in incident.isolations[0].stays
        assert pod_of(h, name)["metadata"]["labels"]["mine"] == "now"


async def test_anybody_who_responds_asks_for_more_and_a_lead_who_asks_has_said_yes(store: Store) -> None:
    async with mined(store) as h:
        name = await seen(h)
        with pytest.raises(NotAllowed):
            await isolate(h.world, 1, MALLORY, Wanted(Act.NODE_ISOLATE, node="node-0"), reason="x")
        await isolate(h.world, 1, CAROL, Wanted(Act.NODE_ISOLATE, node="node-0"), reason="its node")
        assert (await h.incident()).isolations[1].state is IsolationState.ASKED
        with pytest.raises(Conflict, match="S-1 does that already"):
            await isolate(h.world, 1, LEAD, Wanted(Act.POD_QUARANTINE, NAMESPACE, name), reason="x")
        await deny_isolation(h.world, "S-1", LEAD, reason="once more by hand")
        await isolate(h.world, 1, LEAD, Wanted(Act.POD_QUARANTINE, NAMESPACE, name), reason="cut it off")
        await h.work()
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}


async def test_nothing_is_isolated_where_no_security_incident_is(store: Store) -> None:
    async with mined(store) as h:
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        with pytest.raises(Conflict, match="is no security incident"):
            await isolate(h.world, 1, LEAD, Wanted(Act.NODE_ISOLATE, node="node-0"), reason="x")


@pytest.mark.parametrize(
    "pod", ["../../nodes/node-0", 'a"} or vector(1) #', "a/log", "x" * 300, "UPPER", "pod name"]
)
async def test_a_hostile_name_in_a_label_isolates_nothing_and_is_told(store: Store, pod: str) -> None:
    async with mined(store) as h:
        found = alert(starts_at=h.clock.now(), with_labels=labels(rule="miner", pod=pod))
        await h.deliver(notification(found))
        await h.work()
        incident = await h.incident()
        assert incident.lockdown is not None and incident.isolations == ()
        assert any("not a plain name" in reason for reason in incident.escalated)


async def test_an_alert_without_the_label_isolates_nothing_and_is_told(store: Store) -> None:
    async with mined(store) as h:
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels(rule="miner"))))
        await h.work()
        incident = await h.incident()
        assert incident.lockdown is not None and incident.isolations == ()
        assert any("the alert has no label 'pod'" in reason for reason in incident.escalated)


async def test_of_many_names_in_alerts_only_ten_are_isolated(store: Store) -> None:
    async with mined(store, IsolationWish(Act.POD_QUARANTINE, pod="{{ labels.pod }}")) as h:
        about = [labels(rule="miner", pod=f"pod-{number}") for number in range(15)]
        await h.deliver(notification(*(alert(starts_at=h.clock.now(), with_labels=one) for one in about)))
        await h.work()
        told = " ".join((await h.incident()).escalated)
        assert told.count("more than 10 things") == 5
