"""A security incident is isolated: planned from its sign, asked for or approved before, written, watched."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from builders import CAROL, MALLORY, alert, labels, notification, policies, policy
from harness import Harness, harness
from sqlalchemy import select
from stories import end_leases

from receiver.clients.isolator import MOST_ANNOTATION_BYTES
from receiver.demo.kubernetes import Fault
from receiver.demo.kubernetes.resources import NETWORKPOLICIES, PODS
from receiver.domain import events as ev
from receiver.domain.errors import Conflict, NotAllowed, TemporaryError
from receiver.domain.isolation import LABELS_BEFORE, QUARANTINE, TAINT, Act, IsolationState, Wanted
from receiver.domain.locks import covering
from receiver.domain.plans import ObjectRef
from receiver.domain.standing import Standing
from receiver.pipeline import people
from receiver.pipeline.containing import approve_isolation, deny_isolation, isolate
from receiver.policy.approval import Identity, KnownBy
from receiver.policy.model import IsolationWish, PolicySet, SecuritySign
from receiver.policy.rights import Right, Verb
from receiver.store import switches
from receiver.store.engine import Store
from receiver.store.schema import security_locks

LEAD = Identity("lena", ("security-lead",))
ANN = Identity("oidc:ann", ("security-lead", "system:authenticated"), KnownBy.CLUSTER, "u-1")
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
            "no Service sends it anything, and it sends less than 50 bytes a second",
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


class Word:
    """The cluster's word on what people may, as the test sets it."""

    def __init__(self) -> None:
        self.why: str | None = None
        self.away = False

    async def why_not(self, who: Identity, right: Right) -> str | None:
        if self.away:
            raise TemporaryError("the API server did not answer in time")
        assert (who, right) == (ANN, Right(Verb.APPROVE_SECURITY))
        return self.why


async def test_a_lead_who_may_no_longer_is_no_lead_when_it_is_written(store: Store) -> None:
    word = Word()
    async with mined(store, access=word) as h:
        await seen(h)
        await approve_isolation(h.world, "S-1", ANN, digest=None, reason="")
        word.away = True
        await h.work()
        assert (await h.incident()).isolations[0].state is IsolationState.APPROVED
        word.away, word.why = False, "ann may not approve-security"
        await h.pass_time(timedelta(seconds=15))
        assert (await h.incident()).isolations[0].state is IsolationState.ASKED
        asked = [event for event in await h.events() if isinstance(event, ev.IsolationAsked)][-1]
        assert asked.why == "the yes no longer holds: ann may not approve-security"
        assert h.demo.real_writes == 0
        word.why = None
        await approve_isolation(h.world, "S-1", ANN, digest=None, reason="")
        await h.work()
        assert h.demo.real_writes == 2


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
        assert incident.isolations[1].state is IsolationState.RELEASED


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


async def test_anybody_who_responds_asks_for_more_and_a_lead_sees_it_before_the_yes(
    store: Store,
) -> None:
    async with mined(store) as h:
        name = await seen(h)
        with pytest.raises(NotAllowed):
            await isolate(h.world, 1, MALLORY, Wanted(Act.NODE_ISOLATE, node="node-0"), reason="x")
        await isolate(h.world, 1, CAROL, Wanted(Act.NODE_ISOLATE, node="node-0"), reason="its node")
        assert (await h.incident()).isolations[1].state is IsolationState.ASKED
        wanted = Wanted(Act.POD_QUARANTINE, NAMESPACE, name)
        with pytest.raises(Conflict, match="S-1 does that already"):
            await isolate(h.world, 1, LEAD, wanted, reason="x")
        # Whoever may not read it learns neither what is isolated nor which pods there are.
        for about in (wanted, Wanted(Act.POD_QUARANTINE, "kube-system", "none")):
            with pytest.raises(Conflict, match="those with the right see why"):
                await isolate(h.world, 1, CAROL, about, reason="x")
        await deny_isolation(h.world, "S-1", LEAD, reason="once more by hand")
        await isolate(h.world, 1, LEAD, wanted, reason="cut it off")
        await h.work()
        assert h.demo.real_writes == 0
        await approve_isolation(h.world, "S-3", LEAD, digest=None, reason="")
        await h.work()
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}


async def test_a_pod_that_a_later_alert_names_is_asked_for_as_well(store: Store) -> None:
    async with mined(store) as h:
        first, second = sorted(
            str(pod["metadata"]["name"]) for pod in h.demo.api.find("pods", NAMESPACE, f"app={APP}")
        )[:2]
        await seen(h, first)
        await h.pass_time(timedelta(minutes=1))
        await seen(h, second)
        assert [one.target.name for one in (await h.incident()).isolations] == [first, second]


async def test_what_people_turn_before_anybody_looked_is_isolated_by_its_sign_as_well(store: Store) -> None:
    async with mined(store) as h:
        name = pod_name(h)
        found = alert(starts_at=h.clock.now(), with_labels=labels(rule="miner", pod=name))
        await h.deliver(notification(found))
        await people.secure(h.world, 1, CAROL, reason="a pod sends too much")
        await h.work()
        assert [one.target.name for one in (await h.incident()).isolations] == [name]


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ({"labels": {QUARANTINE: None, "app": APP}}, "somebody took the mark off"),
        ({"labels": {"app": APP}}, "it is still among the endpoints of greenlang-api"),
    ],
)
async def test_what_holds_is_looked_at_again_and_told_once_it_does_not(
    store: Store, others: dict[str, Any], sentence: str
) -> None:
    async with mined(store, standing=standing()) as h:
        name = await seen(h)
        await h.pass_time(timedelta(minutes=3))
        assert (await h.incident()).isolations[0].state is IsolationState.HOLDS
        h.demo.api.change("pods", NAMESPACE, name, {"metadata": others})
        await h.pass_time(timedelta(minutes=2))
        (one,) = (await h.incident()).isolations
        assert one.state is IsolationState.TALKING and sentence in one.sentence
        assert any(sentence in reason for reason in (await h.incident()).escalated)


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


async def yes(h: Harness, isolation: str = "S-1") -> None:
    await approve_isolation(h.world, isolation, LEAD, digest=None, reason="")


async def released(h: Harness, *, undo: bool = True) -> None:
    for who in (CAROL, LEAD):
        await people.release(h.world, 1, who, reason="a false alarm", undo=undo)


async def states(h: Harness, number: int = 1) -> list[IsolationState]:
    return [one.state for one in (await h.incident(number)).isolations]


async def working_until(
    h: Harness, met: Callable[[], bool], then: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Work until that is so, do something in the midst of it, then let time go on."""
    working = asyncio.create_task(h.work())
    await h.demo.api.calls.until(lambda call: met())
    if then is not None:
        await then()
    await h.clock.advance(timedelta(seconds=5))
    await working


async def locked_scopes(h: Harness) -> set[str]:
    left = select(security_locks.c.scope).where(security_locks.c.released_at.is_(None))
    return await h.world.store.read(lambda tx: {row.scope for row in tx.execute(left)})


def node_of(h: Harness, pod: str) -> dict[str, Any]:
    return h.demo.api.get("nodes", "", pod_of(h, pod)["spec"]["nodeName"])


async def test_of_two_who_say_yes_at_once_one_is_first_and_it_is_isolated_once(store: Store) -> None:
    async with mined(store) as h:
        await seen(h)
        answers = await asyncio.gather(yes(h), yes(h), return_exceptions=True)
        assert [type(answer) for answer in answers].count(Conflict) == 1
        await h.work()
        assert (await h.kinds()).count("IsolationApproved") == 1
        assert h.demo.real_writes == 2


async def test_one_node_named_by_two_alerts_is_asked_for_once(store: Store) -> None:
    async with mined(store, SHUNNED) as h:
        on_one = [
            str(pod["metadata"]["name"])
            for pod in h.demo.api.find("pods", NAMESPACE)
            if pod["spec"]["nodeName"] == node_of(h, pod_name(h))["metadata"]["name"]
        ]
        assert len(on_one) > 1
        about = [labels(rule="miner", pod=name) for name in on_one]
        await h.deliver(notification(*(alert(starts_at=h.clock.now(), with_labels=one) for one in about)))
        await h.work()
        assert await states(h) == [IsolationState.ASKED]


async def test_a_cluster_that_ails_for_a_moment_keeps_nothing_from_being_asked_for(store: Store) -> None:
    async with mined(store) as h:
        h.demo.api.faults.add(Fault(kind="refuse", path="/networkpolicies$", method="GET", count=None))
        await seen(h)
        assert await states(h) == []
        h.demo.api.faults.clear()
        await h.pass_time(timedelta(seconds=15))
        assert await states(h) == [IsolationState.ASKED]
        assert not any("not isolated" in reason for reason in (await h.incident()).escalated)


async def test_what_stays_unreadable_for_five_minutes_is_told_and_left_to_people(store: Store) -> None:
    async with mined(store) as h:
        h.demo.api.faults.add(Fault(kind="refuse", path="/networkpolicies$", method="GET", count=None))
        await seen(h)
        await h.pass_time(timedelta(minutes=6))
        assert any("not isolated" in reason for reason in (await h.incident()).escalated)


async def test_more_is_locked_before_the_sign_was_looked_at_and_its_wish_is_not_lost(store: Store) -> None:
    async with mined(store) as h:
        h.demo.api.faults.add(Fault(kind="refuse", path="/networkpolicies$", method="GET", count=None))
        await seen(h)
        await people.secure(h.world, 1, CAROL, reason="its node, too", scopes=("node/node-0",))
        h.demo.api.faults.clear()
        await h.pass_time(timedelta(seconds=15))
        assert await states(h) == [IsolationState.ASKED]


async def test_a_false_alarm_that_comes_true_is_asked_for_again(store: Store) -> None:
    async with mined(store, standing=standing()) as h:
        name = await seen(h)
        await released(h)
        await h.work()
        assert await states(h) == [IsolationState.LIFTED]
        await people.secure(h.world, 1, LEAD, reason="a miner runs in it")
        await h.work()
        assert (await states(h))[0] is IsolationState.LIFTED
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}


async def test_one_that_never_gets_an_answer_holds_up_no_other(store: Store) -> None:
    both = standing(acts=frozenset(Act), scopes=frozenset({"cluster"}))
    async with mined(store, QUARANTINED, SHUNNED, standing=both) as h:
        h.demo.api.faults.add(Fault(kind="drop", method="POST", path="/networkpolicies$", count=None))
        name = await seen(h)
        await h.pass_time(timedelta(minutes=1))
        assert TAINT in node_of(h, name)["spec"]["taints"]
        assert (await states(h))[0] is IsolationState.STARTED


async def test_what_is_never_answered_is_tried_less_often_after_five_minutes(store: Store) -> None:
    async with mined(store, standing=standing()) as h:
        h.demo.api.faults.add(Fault(kind="drop", method="POST", path="/networkpolicies$", count=None))
        await seen(h)
        await h.pass_time(timedelta(minutes=6))
        before = (await h.kinds()).count("IsolationStarted")
        await h.pass_time(timedelta(minutes=2), step=timedelta(seconds=2))
        assert (await h.kinds()).count("IsolationStarted") - before <= 5


async def test_a_write_that_lands_between_two_looks_is_not_taken_for_what_was_there_before(
    store: Store,
) -> None:
    """The labels as they were must survive: they are what release gives back."""
    async with mined(store) as h:
        name = await seen(h)
        before = pod_of(h, name)["metadata"]["labels"]
        late = Fault(kind="land-late", seconds=3, method="PATCH", path="/pods/", dry_run=False)
        h.demo.api.faults.add(late)
        await yes(h)
        await h.work()
        await h.clock.advance(timedelta(seconds=2))
        looks = f"/pods/{name}$"
        h.demo.api.faults.add(Fault(kind="delay", method="GET", path=looks))
        h.demo.api.faults.add(Fault(kind="delay", seconds=2, method="GET", path=looks))
        await working_until(h, lambda: not h.demo.api.faults.pending)
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}
        await released(h)
        await h.pass_time(timedelta(seconds=30))
        assert pod_of(h, name)["metadata"]["labels"] == before


async def test_labels_that_change_after_the_yes_are_the_ones_that_come_back(store: Store) -> None:
    async with mined(store) as h:
        name = await seen(h)
        await yes(h)
        h.demo.api.change("pods", NAMESPACE, name, {"metadata": {"labels": {"added": "since"}}})
        await h.work()
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}
        await released(h)
        await h.work()
        assert pod_of(h, name)["metadata"]["labels"]["added"] == "since"


async def test_a_pod_that_goes_between_the_steps_is_told_of(store: Store) -> None:
    async with mined(store) as h:
        name = await seen(h)
        h.demo.api.faults.add(Fault(kind="drop", method="PATCH", path="/pods/", dry_run=False))
        await yes(h)
        await h.work()
        h.demo.api.store.remove(PODS, pod_of(h, name))
        await h.pass_time(timedelta(seconds=15))
        assert await states(h) == [IsolationState.FAILED]
        assert any("there is no pod" in reason for reason in (await h.incident()).escalated)


@pytest.mark.parametrize("kind", ["lose-answer", "drop"])
async def test_a_lost_answer_while_it_is_taken_back_leads_to_the_same_state(
    store: Store, kind: Literal["drop", "lose-answer"]
) -> None:
    async with mined(store, standing=standing()) as h:
        name = pod_name(h)
        before = pod_of(h, name)["metadata"]["labels"]
        await seen(h, name)
        h.demo.api.faults.add(Fault(kind=kind, method="PATCH", path="/pods/", dry_run=False))
        await released(h)
        await h.work()
        await h.pass_time(timedelta(seconds=30))
        assert await states(h) == [IsolationState.LIFTED]
        assert pod_of(h, name)["metadata"]["labels"] == before
        assert (await h.incident()).lockdown is None


async def test_what_was_never_taken_back_is_not_told_as_taken_back(store: Store) -> None:
    async with mined(store, standing=standing()) as h:
        name = await seen(h)
        h.demo.api.faults.add(Fault(kind="drop", method="PATCH", path="/pods/", dry_run=False))
        await released(h)
        await h.work()
        assert await states(h) == [IsolationState.LIFTING]
        h.demo.api.change("pods", NAMESPACE, name, {"metadata": {"labels": {"mine": "now"}}})
        await h.pass_time(timedelta(seconds=15))
        incident = await h.incident()
        assert incident.lockdown is None
        assert "somebody changed the labels" in incident.isolations[0].stays


async def test_what_is_locked_once_more_is_not_taken_back(store: Store) -> None:
    async with mined(store, standing=standing()) as h:
        name = await seen(h)
        h.demo.api.faults.add(Fault(kind="drop", method="PATCH", path="/pods/", dry_run=False))
        await released(h)
        await h.work()
        await people.secure(h.world, 1, LEAD, reason="no false alarm", scopes=("cluster",))
        await h.pass_time(timedelta(minutes=1))
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}
        incident = await h.incident()
        assert incident.lockdown is not None
        assert incident.isolations[0].stays == "more was locked before it was taken back"


async def test_a_node_that_two_incidents_isolate_is_given_back_by_neither_alone(store: Store) -> None:
    async with mined(store, SHUNNED) as h:
        name = await seen(h)
        await yes(h)
        await h.pass_time(timedelta(seconds=30))
        second = await people.open_security(
            h.world, LEAD, title="strange logins", reason="audit log", scopes=("namespace/elsewhere",)
        )
        node = node_of(h, name)["metadata"]["name"]
        await isolate(h.world, second.id, LEAD, Wanted(Act.NODE_ISOLATE, node=node), reason="its node")
        await h.work()
        await approve_isolation(h.world, "S-2", LEAD, digest=None, reason="")
        await h.work()
        await released(h)
        await h.work()
        assert (await h.incident()).isolations[0].stays == f"incident {second.id} keeps it isolated, too"
        assert TAINT in node_of(h, name)["spec"]["taints"]


async def test_a_node_that_was_tainted_by_hand_before_stays_as_it_was(store: Store) -> None:
    async with mined(store, SHUNNED) as h:
        name = pod_name(h)
        node = node_of(h, name)["metadata"]["name"]
        by_hand = {"key": "compromised", "value": "perhaps", "effect": "NoSchedule"}
        h.demo.api.change("nodes", "", node, {"spec": {"taints": [by_hand]}})
        await seen(h, name)
        await yes(h)
        await h.work()
        assert node_of(h, name)["spec"]["taints"] == [TAINT]
        await released(h)
        await h.work()
        spec = node_of(h, name)["spec"]
        assert spec["taints"] == [by_hand] and not spec.get("unschedulable")


async def test_a_node_that_was_isolated_by_hand_before_is_left_to_people(store: Store) -> None:
    async with mined(store, SHUNNED) as h:
        name = pod_name(h)
        node = node_of(h, name)["metadata"]["name"]
        h.demo.api.change("nodes", "", node, {"spec": {"taints": [dict(TAINT)], "unschedulable": True}})
        await seen(h, name)
        await yes(h)
        await h.work()
        await released(h)
        await h.work()
        assert "not by this incident" in (await h.incident()).isolations[0].stays
        assert node_of(h, name)["spec"]["taints"] == [TAINT]


async def test_an_isolated_node_is_locked_and_no_cure_lets_pods_onto_it_again(store: Store) -> None:
    async with mined(store, SHUNNED) as h:
        name = await seen(h)
        await yes(h)
        await h.work()
        covers = covering(ObjectRef("v1", "Node", "", node_of(h, name)["metadata"]["name"]))
        assert covers & await locked_scopes(h)
        await released(h)
        await h.work()
        assert not await locked_scopes(h)


@pytest.mark.parametrize("left", [0, 10, 300])
async def test_a_pod_full_of_annotations_and_labels_is_isolated_all_the_same(store: Store, left: int) -> None:
    async with mined(store) as h:
        name = await seen(h)
        hostile = {"hostile": "x" * (MOST_ANNOTATION_BYTES - len("hostile") - left)}
        labelled = {f"l{number}": "y" * 63 for number in range(3000)}
        changes = {"metadata": {"annotations": hostile, "labels": labelled}}
        h.demo.api.change("pods", NAMESPACE, name, changes)
        await yes(h)
        await h.work()
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}
        await released(h)
        await h.work()
        assert pod_of(h, name)["metadata"]["labels"].items() >= labelled.items()


async def test_hundreds_of_network_policies_make_no_card_that_nobody_reads(store: Store) -> None:
    async with mined(store) as h:
        for number in range(200):
            name = f"{number}-" + "open" * 50
            metadata = {"name": name, "namespace": NAMESPACE}
            spec = {"podSelector": {}, "egress": [{}], "policyTypes": ["Egress"]}
            policy_ = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
            h.demo.api.load([{**policy_, "metadata": metadata, "spec": spec}])
        await seen(h)
        (one,) = (await h.incident()).isolations
        assert len(" ".join(one.notes)) < 2000
        assert "and 195 more" in " ".join(one.notes)


async def test_without_endpoint_slices_it_is_cut_off_and_people_judge_whether_it_holds(store: Store) -> None:
    async with mined(store) as h:
        fault = Fault(kind="refuse", status=404, path="/endpointslices$", count=None)
        h.demo.api.faults.add(fault)
        name = await seen(h)
        await yes(h)
        await h.pass_time(timedelta(minutes=3))
        assert pod_of(h, name)["metadata"]["labels"] == {QUARANTINE: "1"}
        (leaks,) = [event for event in await h.events() if isinstance(event, ev.IsolationLeaks)]
        assert leaks.sentence == "whether a Service sends it anything cannot be read"


async def test_a_network_policy_that_somebody_takes_away_is_told(store: Store) -> None:
    async with mined(store) as h:
        await seen(h)
        h.demo.kubelets.measures = False
        await yes(h)
        await h.work()
        denied = h.demo.api.get("networkpolicies", NAMESPACE, "stanch-quarantine")
        h.demo.api.store.remove(NETWORKPOLICIES, denied)
        await h.pass_time(timedelta(minutes=3))
        assert "took NetworkPolicy stanch-quarantine away" in (await h.incident()).isolations[0].sentence


async def test_a_policy_of_that_name_that_says_something_else_is_told_and_nothing_is_written(
    store: Store,
) -> None:
    async with mined(store) as h:
        metadata = {"name": "stanch-quarantine", "namespace": NAMESPACE}
        spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
        theirs = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        h.demo.api.load([{**theirs, "metadata": metadata, "spec": spec}])
        await seen(h)
        assert await states(h) == []
        assert any("says something else" in reason for reason in (await h.incident()).escalated)


async def test_a_pod_in_quarantine_for_another_incident_is_not_taken_over(store: Store) -> None:
    async with mined(store) as h:
        name = pod_name(h)
        marked = dict.fromkeys(pod_of(h, name)["metadata"]["labels"])
        h.demo.api.change("pods", NAMESPACE, name, {"metadata": {"labels": {**marked, QUARANTINE: "9"}}})
        await seen(h, name)
        assert await states(h) == []
        assert any("in quarantine for incident 9 already" in one for one in (await h.incident()).escalated)


async def test_what_two_people_release_before_it_is_begun_is_not_begun(store: Store) -> None:
    async with mined(store) as h:
        await seen(h)
        await yes(h)
        h.demo.api.faults.add(Fault(kind="delay", seconds=2, method="GET", path="/networkpolicies$"))

        async def release() -> None:
            await released(h, undo=False)

        await working_until(h, lambda: not h.demo.api.faults.pending, release)
        await h.pass_time(timedelta(seconds=15))
        assert h.demo.real_writes == 0
        assert await states(h) == [IsolationState.RELEASED]
        assert (await h.incident()).lockdown is None


async def test_the_counters_of_an_attack_tell_nobody_what_is_done_about_it(store: Store) -> None:
    async with mined(store) as h:
        await seen(h)
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.work()
        assert set(h.counters.writes) == {"other"}
        counted = set(h.counters.steps)
        assert "other" in counted
        assert not [step for step in counted if re.search("isolat|lock|capture|evidence|quarantine", step)]
