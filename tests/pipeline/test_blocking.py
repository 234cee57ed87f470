"""Addresses are shut out of a workload: asked for by a person, approved, written once, watched, and ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal

import pytest
from builders import CAROL, MALLORY
from exposed import ATTACKER, blocking, exposed
from harness import Harness, harness
from sqlalchemy import select

from receiver.demo.kubernetes import Fault
from receiver.demo.kubernetes.resources import NETWORKPOLICIES
from receiver.domain import events as ev
from receiver.domain.errors import Conflict, NotAllowed
from receiver.domain.isolation import Act, IsolationState, Wanted, all_but
from receiver.domain.locks import covering
from receiver.domain.plans import ObjectRef
from receiver.pipeline import people
from receiver.pipeline.containing import approve_isolation, isolate
from receiver.pipeline.expiring import end_blocks
from receiver.policy.approval import Identity
from receiver.store.engine import Store
from receiver.store.schema import security_locks

LEAD = Identity("lena", ("security-lead",))
NAMESPACE, APP = "greenlang", "greenlang-api"


@asynccontextmanager
async def attacked(store: Store, **spec: Any) -> AsyncIterator[Harness]:
    """A security incident that somebody opened; the workload is reached from outside."""
    async with harness(store) as h:
        h.demo.api.load(exposed(NAMESPACE, APP, **spec))
        await h.clock.advance(timedelta(seconds=1))
        h.demo.api.reconcile()
        await people.open_security(
            h.world, LEAD, title="logins", reason="audit log", scopes=(f"namespace/{NAMESPACE}",)
        )
        await h.work()
        yield h


def wanted(h: Harness, *blocked: str, **more: Any) -> Wanted:
    return blocking(NAMESPACE, APP, h.clock.now(), *blocked, **more)


async def asked(h: Harness, about: Wanted | None = None) -> None:
    await isolate(h.world, 1, LEAD, about or wanted(h), reason="logins from there")


async def blocked(h: Harness, about: Wanted | None = None) -> None:
    """It is asked for, approved and carried out."""
    await asked(h, about)
    await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="shut them out")
    await h.work()


def policies_of(h: Harness) -> list[dict[str, Any]]:
    return h.demo.api.find("networkpolicies", NAMESPACE)


async def state(h: Harness) -> IsolationState:
    return (await h.incident()).isolations[0].state


async def test_addresses_are_shut_out_once_a_security_lead_says_yes_and_watched(store: Store) -> None:
    async with attacked(store) as h:
        await isolate(h.world, 1, CAROL, wanted(h, ATTACKER, "2001:db8::/64"), reason="logins from there")
        await h.work()
        assert h.demo.real_writes == 0
        (one,) = (await h.incident()).isolations
        assert (one.act, one.target.kind, one.target.name) == (Act.IP_BLOCK, "Deployment", APP)
        with pytest.raises(NotAllowed):
            await approve_isolation(h.world, "S-1", MALLORY, digest=None, reason="")
        with pytest.raises(Conflict, match="approve that one"):
            await approve_isolation(h.world, "S-1", LEAD, digest="0" * 64, reason="")
        await approve_isolation(h.world, "S-1", LEAD, digest=one.digest, reason="")
        await h.work()
        (found,) = policies_of(h)
        assert found["spec"] == all_but({"app": APP}, [ATTACKER, "2001:db8::/64"])
        told = found["metadata"]["annotations"]
        assert (told["stanch.dev/incident"], told["stanch.dev/asked-by"]) == ("1", CAROL.name)
        assert told["stanch.dev/until"] == (h.clock.now() + timedelta(hours=24)).isoformat()
        await h.pass_time(timedelta(minutes=2))
        assert await state(h) is IsolationState.HOLDS
        assert h.demo.real_writes == 1
        # No cure touches what is isolated.
        covers = covering(ObjectRef("apps/v1", "Deployment", NAMESPACE, APP))
        assert f"Deployment/{NAMESPACE}/{APP}" in covers & set(await scopes(h))


async def scopes(h: Harness) -> list[str]:
    return await h.world.store.read(lambda tx: list(tx.execute(select(security_locks.c.scope)).scalars()))


@pytest.mark.parametrize(
    ("networks", "spec", "why"),
    [
        (("203.0.113.7/24",), {}, "write 203.0.113.0/24 for all of it"),
        (("198.51.100.1",), {}, "overlaps with 198.51.100.1 of the load balancer of Service outside"),
        (("198.51.100.20",), {}, "overlaps with 198.51.100.20 of the API server"),
        (("10.0.0.1",), {}, "overlaps with private addresses"),
        ((), {"externalTrafficPolicy": "Cluster"}, "it would shut out nobody"),
    ],
)
async def test_what_would_do_harm_or_nothing_is_refused_and_nothing_is_asked(
    store: Store, networks: tuple[str, ...], spec: dict[str, Any], why: str
) -> None:
    async with attacked(store, **spec) as h:
        with pytest.raises(Conflict, match=why):
            await asked(h, wanted(h, *networks))
        assert (await h.incident()).isolations == ()


async def test_what_is_no_longer_so_at_the_yes_is_not_written(store: Store) -> None:
    async with attacked(store) as h:
        await asked(h)
        h.demo.api.change("services", NAMESPACE, "outside", {"spec": {"externalTrafficPolicy": "Cluster"}})
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.work()
        assert await state(h) is IsolationState.FAILED
        assert policies_of(h) == []


async def test_a_yes_that_comes_after_its_end_writes_nothing(store: Store) -> None:
    async with attacked(store) as h:
        await asked(h, wanted(h, hours=1))
        await h.pass_time(timedelta(hours=1), step=timedelta(minutes=5))
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.work()
        (one,) = (await h.incident()).isolations
        assert (one.state, one.sentence) == (
            IsolationState.FAILED,
            "its time was over before it was carried out",
        )
        assert policies_of(h) == []


async def test_what_the_incident_does_not_lock_is_locked_and_kept_first(store: Store) -> None:
    async with attacked(store) as h:
        edge = "edge"
        pods = {"labels": {"app": edge}}
        template = {"metadata": pods, "spec": {"containers": [{"name": "proxy", "image": "p"}]}}
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": edge}}, "template": template}
        metadata = {"name": edge, "namespace": edge}
        proxy = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        h.demo.api.load([proxy, exposed(edge, edge)[0]])
        await h.clock.advance(timedelta(seconds=1))
        h.demo.api.reconcile()
        about = blocking(edge, edge, h.clock.now())
        with pytest.raises(Conflict, match="stanch incidents secure 1 --scope namespace/edge comes first"):
            await asked(h, about)
        with pytest.raises(Conflict, match="those with the right see why"):
            await isolate(h.world, 1, CAROL, about, reason="from there")
        await people.secure(h.world, 1, LEAD, reason="the edge too", scopes=("namespace/edge",))
        await asked(h, about)
        assert await state(h) is IsolationState.ASKED


@pytest.mark.parametrize("kind", ["drop", "lose-answer"])
async def test_a_lost_answer_is_looked_at_and_leads_to_one_policy(
    store: Store, kind: Literal["drop", "lose-answer"]
) -> None:
    async with attacked(store) as h:
        await asked(h)
        h.demo.api.faults.add(Fault(kind=kind, method="POST", path="networkpolicies$"))
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.work()
        await h.pass_time(timedelta(seconds=30))
        assert len(policies_of(h)) == 1
        assert (await h.incident()).isolations[0].done_at is not None


async def test_a_second_list_waits_until_a_person_took_the_first_away(store: Store) -> None:
    async with attacked(store) as h:
        await asked(h)
        with pytest.raises(Conflict, match="S-1 does that already"):
            await asked(h, wanted(h, "203.0.113.9"))
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.work()
        (first,) = policies_of(h)
        with pytest.raises(Conflict, match=f"{first['metadata']['name']} decides what comes in"):
            await asked(h, wanted(h, "203.0.113.9"))
        h.demo.api.store.remove(NETWORKPOLICIES, first)
        await asked(h, wanted(h, "203.0.113.9"))
        await approve_isolation(h.world, "S-2", LEAD, digest=None, reason="")
        await h.work()
        (second,) = policies_of(h)
        assert second["spec"] == all_but({"app": APP}, ["203.0.113.9/32"])


async def test_what_others_take_away_or_open_is_told(store: Store) -> None:
    async with attacked(store) as h:
        await blocked(h)
        await h.pass_time(timedelta(minutes=2))
        metadata = {"name": "open", "namespace": NAMESPACE}
        opened = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        h.demo.api.load([{**kind, "metadata": metadata, "spec": opened}])
        await h.pass_time(timedelta(minutes=2))
        (one,) = (await h.incident()).isolations
        assert one.state is IsolationState.TALKING
        assert one.sentence == "network policies add up: open may let in what this shuts out"
        assert any("not known to hold" in reason for reason in (await h.incident()).escalated)


async def test_release_deletes_nothing_and_says_how_a_person_does(store: Store) -> None:
    async with attacked(store) as h:
        await blocked(h)
        (found,) = policies_of(h)
        for who in (CAROL, LEAD):
            await people.release(h.world, 1, who, reason="a false alarm", undo=True)
        await h.work()
        incident = await h.incident()
        assert incident.lockdown is None
        delete = f"kubectl --namespace {NAMESPACE} delete networkpolicy {found['metadata']['name']}"
        assert delete in incident.isolations[0].stays
        assert any(delete in reason for reason in incident.escalated)
        assert policies_of(h) == [found]
        assert h.demo.deletions == 0


@pytest.mark.parametrize("released", [False, True])
async def test_when_its_time_is_over_people_are_told_once_also_after_a_release(
    store: Store, released: bool
) -> None:
    async with attacked(store) as h:
        await blocked(h, wanted(h, hours=1))
        (found,) = policies_of(h)
        if released:
            for who in (CAROL, LEAD):
                await people.release(h.world, 1, who, reason="clean")
            await h.work()
        await h.pass_time(timedelta(minutes=59), step=timedelta(minutes=1))
        assert await end_blocks(h.world) == 0
        await h.pass_time(timedelta(minutes=2))
        assert [await end_blocks(h.world) for _ in range(2)] == [1, 0]
        await h.work()
        told = [one.reason for one in await h.events() if isinstance(one, ev.Escalated)]
        name = found["metadata"]["name"]
        assert [name in reason for reason in told if "over its time" in reason] == [True]
        # That somebody does so then is no news.
        h.demo.api.store.remove(NETWORKPOLICIES, found)
        await h.pass_time(timedelta(minutes=3))
        assert not [one for one in await h.events() if isinstance(one, ev.IsolationLeaks)]


async def test_what_never_stood_or_has_no_end_is_not_told_of(store: Store) -> None:
    async with attacked(store) as h:
        await asked(h, wanted(h, hours=1))
        await isolate(h.world, 1, LEAD, Wanted(Act.NODE_ISOLATE, node="node-0"), reason="its kubelet")
        await approve_isolation(h.world, "S-2", LEAD, digest=None, reason="")
        await h.pass_time(timedelta(hours=2), step=timedelta(minutes=5))
        assert await end_blocks(h.world) == 0


async def test_a_service_that_cannot_be_read_is_no_reason_to_go_on(store: Store) -> None:
    async with attacked(store) as h:
        await asked(h)
        h.demo.api.access.forbidden.add(("list", "services"))
        await approve_isolation(h.world, "S-1", LEAD, digest=None, reason="")
        await h.pass_time(timedelta(minutes=6))
        assert policies_of(h) == []
        assert any("S-1 is not carried out" in reason for reason in (await h.incident()).escalated)
