"""Isolation with an account for each door, held to the printed Roles and admission policies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from builders import CAROL, alert, labels, notification, policies, policy
from cures import APP
from exposed import blocking, exposed
from harness import Harness, harness
from rights import READER_ACCOUNT, ROLES, TOKEN, bind, covered_by, of_role, right_of

from receiver.clients import cluster
from receiver.clients.isolator import Isolator
from receiver.domain.isolation import BY_SIGNS, QUARANTINE, TAINT, IsolationState
from receiver.pipeline import people
from receiver.pipeline.containing import approve_isolation, isolate
from receiver.policy.admission import ISOLATOR_ACCOUNT, admissions, documents
from receiver.policy.approval import Identity
from receiver.policy.model import IsolationWish, SecuritySign
from receiver.policy.rbac import grants, roles
from receiver.probes.catalogue import READS
from receiver.store.engine import Store
from remediations.isolation import registry as isolations
from remediations.registry import catalogue

LEAD = Identity("lena", ("security-lead",))
NAMESPACE = "greenlang"
WISHES = tuple(IsolationWish(act, pod="{{ labels.pod }}") for act in BY_SIGNS)
SET = policies(policy(security=(SecuritySign("a miner", 'labels.rule == "miner"', isolate=WISHES),)))
SPECS = {spec.act: spec for spec in isolations.SPECS}
GRANTED = roles(grants(SET, catalogue(), READS, isolations=SPECS))


@asynccontextmanager
async def bound(store: Store) -> AsyncIterator[Harness]:
    """Everything is read as the reader and isolated as the isolator."""
    async with harness(store, policies=SET) as h:
        api = h.demo.api
        api.load(documents(admissions()))
        bind(api, GRANTED)
        reader = await cluster.connect(url=api.url, token=TOKEN, act_as=READER_ACCOUNT)
        isolator = await cluster.connect(url=api.url, token=TOKEN, act_as=ISOLATOR_ACCOUNT)
        world = replace(
            h.world,
            cluster=reader,
            isolations=isolations.build(reader),
            isolator=Isolator(isolator.wire),
        )
        h.worker._world = world
        yield replace(h, world=world)
        await reader.close()
        await isolator.close()


async def isolated(h: Harness) -> tuple[str, str]:
    """A miner was seen in a pod: it and its node are isolated, and addresses shut out; their names."""
    h.demo.api.load(exposed(NAMESPACE, APP))
    await h.fall_ill()
    pod = min(h.demo.api.find("pods", NAMESPACE), key=lambda found: str(found["metadata"]["name"]))
    name = str(pod["metadata"]["name"])
    await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels(rule="miner", pod=name))))
    await h.work()
    await isolate(h.world, 1, LEAD, blocking(NAMESPACE, APP, h.clock.now()), reason="from there")
    for one in ("S-1", "S-2", "S-3"):
        await approve_isolation(h.world, one, LEAD, digest=None, reason="")
    await h.pass_time(timedelta(minutes=3))
    return name, str(pod["spec"]["nodeName"])


async def test_each_account_has_the_rights_of_its_role_and_needs_every_one(store: Store) -> None:
    async with bound(store) as h:
        pod, node = await isolated(h)
        assert [one.state for one in (await h.incident()).isolations] == [IsolationState.HOLDS] * 3
        assert h.demo.api.get("pods", NAMESPACE, pod)["metadata"]["labels"] == {QUARANTINE: "1"}
        assert TAINT in h.demo.api.get("nodes", "", node)["spec"]["taints"]
        calls = list(h.demo.api.calls)
        assert {call.user for call in calls} == {READER_ACCOUNT, ISOLATOR_ACCOUNT}
        assert {call.user for call in h.demo.api.writes} == {ISOLATOR_ACCOUNT}
        for call in calls:
            assert covered_by(of_role(GRANTED, ROLES[call.user]), call), call.path
        used = {(call.user, right_of(call)) for call in calls}
        for spec in SPECS.values():
            assert {(READER_ACCOUNT, (right.resource, right.verb)) for right in spec.reads} <= used
        written = {right for user, right in used if user == ISOLATOR_ACCOUNT}
        assert written == {(right.resource, right.verb) for spec in SPECS.values() for right in spec.writes}


async def test_the_isolator_takes_back_what_it_did(store: Store) -> None:
    async with bound(store) as h:
        pod, node = await isolated(h)
        for who in (CAROL, LEAD):
            await people.release(h.world, 1, who, reason="a false alarm", undo=True)
        await h.work()
        *lifted, left = (await h.incident()).isolations
        assert [one.state for one in lifted] == [IsolationState.LIFTED] * 2
        assert "a person does: kubectl" in left.stays
        assert [call.path for call in h.demo.api.calls if call.method == "DELETE"] == []
        assert QUARANTINE not in h.demo.api.get("pods", NAMESPACE, pod)["metadata"]["labels"]
        assert TAINT not in h.demo.api.get("nodes", "", node)["spec"].get("taints", [])
