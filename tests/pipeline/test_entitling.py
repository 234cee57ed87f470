"""What people of the cluster may do, its own RBAC says: which verb, on what, where; and it is asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from builders import CAROL, policies, policy
from hand_clock import HandSteady
from harness import Harness, harness
from sqlalchemy import Connection, update
from stories import noticed

from receiver.clients import cluster
from receiver.demo.kubernetes import Fault, User
from receiver.demo.kubernetes.access import Grant
from receiver.domain import events as ev
from receiver.domain.errors import AnotherPlan, Conflict, NotAllowed, TemporaryError
from receiver.domain.incidents import PlanState
from receiver.domain.plans import ApprovalRule, Risk
from receiver.domain.severity import Severity
from receiver.pipeline import people
from receiver.policy.approval import Identity, KnownBy
from receiver.policy.rights import GROUP, RESOURCE, Verb
from receiver.store import effects
from receiver.store.engine import Store
from receiver.store.schema import approvals
from receiver.web.cluster_access import PATH, REMEMBERED_SECONDS, ClusterAccess
from remediations import registry

ROLLBACK = "deployment.rollback"
NAMESPACE = "greenlang"
ANN = Identity("oidc:ann@greenlang.io", ("oidc:sre", "system:authenticated"), KnownBy.CLUSTER)
BOB = Identity("oidc:bob@greenlang.io", ("oidc:sre", "system:authenticated"), KnownBy.CLUSTER)
EVE = Identity("oidc:eve@greenlang.io", ("oidc:interns", "system:authenticated"), KnownBy.CLUSTER)
ROBOT = Identity(
    "system:serviceaccount:ci:deployer",
    ("system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"),
    KnownBy.CLUSTER,
)
SRE = ApprovalRule(groups=("oidc:sre", "sre"))


@asynccontextmanager
async def entitled(
    store: Store, *granted: Grant, rule: ApprovalRule = SRE, by_hand: bool = True
) -> AsyncIterator[tuple[Harness, HandSteady]]:
    """The pipeline with the cluster's word on people; ``by_hand`` is whether ann may patch Deployments."""
    found = policies(policy(approve=dict.fromkeys(Risk, rule)))
    async with harness(store, policies=found) as h:
        access = h.demo.api.access
        access.tokens["ours"] = User("system:serviceaccount:stanch:stanch")
        access.tokens["hers"] = User(ANN.name, only=None if by_hand else frozenset())
        access.grants += granted
        steady = HandSteady()
        door = await cluster.connect(url=h.demo.api.url, token="ours")
        world = replace(
            h.world,
            cluster=door,
            remediations=registry.build(door, h.world.databases, h.world.endpoints),
            access=ClusterAccess(door.wire, steady=steady),
        )
        h.worker._world = world
        try:
            yield replace(h, world=world), steady
        finally:
            await door.close()


def may(verb: Verb, *, subject: str = "oidc:sre", name: str = ROLLBACK, namespace: str = NAMESPACE) -> Grant:
    return Grant(subject=subject, verb=verb, group=GROUP, resource=RESOURCE, name=name, namespace=namespace)


async def asked_for(h: Harness) -> None:
    await noticed(h)
    incident = await h.incident()
    assert incident.plan is not None and incident.plan.state is PlanState.AWAITING


TABLE = [
    pytest.param(ANN, may(Verb.APPROVE_DISRUPTIVE), None, id="the verb, the name and the place fit"),
    pytest.param(ANN, may(Verb.APPROVE_DISRUPTIVE, name=""), None, id="every remediation"),
    pytest.param(ANN, may(Verb.APPROVE_DISRUPTIVE, namespace=""), None, id="every namespace"),
    pytest.param(ANN, may(Verb.APPROVE_DISRUPTIVE, subject=ANN.name), None, id="by name"),
    pytest.param(ANN, may(Verb.APPROVE), "may not approve-disruptive", id="a lesser verb"),
    pytest.param(ANN, may(Verb.DENY), "may not approve-disruptive", id="another verb"),
    pytest.param(ANN, may(Verb.APPROVE_DISRUPTIVE, name="pod.evict"), "may not", id="another cure"),
    pytest.param(ANN, may(Verb.APPROVE_DISRUPTIVE, namespace="kube-system"), "may not", id="elsewhere"),
    pytest.param(ANN, may(Verb.APPROVE_DISRUPTIVE, subject=BOB.name), "may not", id="somebody else's"),
    pytest.param(EVE, may(Verb.APPROVE_DISRUPTIVE, subject=EVE.name), "it takes one of", id="not asked"),
    pytest.param(ROBOT, may(Verb.APPROVE_DISRUPTIVE, subject=ROBOT.name), "it takes one of", id="a robot"),
]


@pytest.mark.parametrize(("who", "granted", "refusal"), TABLE)
async def test_who_may_approve_is_the_policy_s_and_the_cluster_s_word(
    store: Store, who: Identity, granted: Grant, refusal: str | None
) -> None:
    async with entitled(store, granted) as (h, _):
        await asked_for(h)
        if refusal is None:
            answered = await people.approve_plan(h.world, "P-1", who, digest=None, reason="")
            assert answered.state == "approved"
            return
        with pytest.raises(NotAllowed, match=refusal):
            await people.approve_plan(h.world, "P-1", who, digest=None, reason="")
        refused = [event for event in await h.events() if isinstance(event, ev.AnswerRefused)]
        assert [(one.by, one.known_by) for one in refused] == [(who.name, "cluster")]
        assert "ApprovalGiven" not in await h.kinds()


@pytest.mark.parametrize(
    ("groups", "refusal"),
    [
        (("system:authenticated",), "is no person"),
        (("oidc:sre", "system:serviceaccounts:other"), "it takes one of"),
        (("system:serviceaccounts:ci",), None),
        (("system:serviceaccounts",), None),
    ],
)
async def test_an_account_approves_only_where_the_policy_names_accounts(
    store: Store, groups: tuple[str, ...], refusal: str | None
) -> None:
    granted = may(Verb.APPROVE_DISRUPTIVE, subject=ROBOT.name)
    async with entitled(store, granted, rule=ApprovalRule(groups=groups)) as (h, _):
        await asked_for(h)
        if refusal is None:
            await people.approve_plan(h.world, "P-1", ROBOT, digest=None, reason="")
            return
        with pytest.raises(NotAllowed, match=refusal):
            await people.approve_plan(h.world, "P-1", ROBOT, digest=None, reason="")


async def test_a_no_takes_no_more_than_deny(store: Store) -> None:
    async with entitled(store, may(Verb.DENY, subject=EVE.name)) as (h, _):
        await asked_for(h)
        with pytest.raises(NotAllowed, match="may not deny"):
            await people.deny_plan(h.world, "P-1", ANN, reason="no")
        await people.deny_plan(h.world, "P-1", EVE, reason="not now")
        assert "Denied" in await h.kinds()


@pytest.mark.parametrize("binding", [False, True])
@pytest.mark.parametrize("by_hand", [False, True])
async def test_what_an_approver_could_not_do_by_hand_is_said_and_binds_where_the_policy_wants_it(
    store: Store, binding: bool, by_hand: bool
) -> None:
    rule = replace(SRE, own_rights=binding)
    async with entitled(store, may(Verb.APPROVE_DISRUPTIVE), rule=rule, by_hand=by_hand) as (h, _):
        await asked_for(h)
        if binding and not by_hand:
            with pytest.raises(NotAllowed, match=r"may not do this by hand.*patch deployments\.apps"):
                await people.approve_plan(h.world, "P-1", ANN, digest=None, reason="")
            return
        answered = await people.approve_plan(h.world, "P-1", ANN, digest=None, reason="")
        waived = () if by_hand else ("patch deployments.apps/greenlang-api in greenlang",)
        assert answered.waived == waived
        given = next(event for event in await h.events() if isinstance(event, ev.ApprovalGiven))
        assert given.waived == waived
        assert given.known_by == "cluster"
        assert given.right == "approve-disruptive actions.stanch.dev/deployment.rollback in greenlang"


async def test_somebody_of_the_token_file_has_no_rights_of_their_own(store: Store) -> None:
    async with entitled(store, rule=replace(SRE, own_rights=True)) as (h, _):
        await asked_for(h)
        with pytest.raises(NotAllowed, match="in the token file only"):
            await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="")


async def test_a_right_that_is_gone_at_execution_voids_the_approval(store: Store) -> None:
    async with entitled(store, may(Verb.APPROVE_DISRUPTIVE)) as (h, steady):
        await asked_for(h)
        await people.approve_plan(h.world, "P-1", ANN, digest=None, reason="")
        h.demo.api.access.grants.clear()
        steady.seconds += REMEMBERED_SECONDS
        await h.work()
        voided = next(event for event in await h.events() if isinstance(event, ev.PlanVoided))
        assert voided.reason.startswith(f"an approval no longer holds: {ANN.name} may not approve-disruptive")
        assert not [call for call in h.demo.api.writes if not call.dry_run]


async def test_where_the_cluster_does_not_answer_at_execution_nothing_is_written(store: Store) -> None:
    async with entitled(store, may(Verb.APPROVE_DISRUPTIVE)) as (h, steady):
        await asked_for(h)
        await people.approve_plan(h.world, "P-1", ANN, digest=None, reason="")
        h.demo.api.faults.add(Fault(kind="refuse", status=503, path=PATH, count=None))
        steady.seconds += REMEMBERED_SECONDS
        await h.work()
        assert not [call for call in h.demo.api.writes if not call.dry_run]
        assert "the cluster does not say who may" in str((await h.events())[-3:])


async def test_where_the_cluster_does_not_answer_nobody_is_let_in(store: Store) -> None:
    async with entitled(store, may(Verb.APPROVE_DISRUPTIVE)) as (h, _):
        await asked_for(h)
        h.demo.api.faults.add(Fault(kind="refuse", status=503, path=PATH))
        with pytest.raises(TemporaryError, match="does not say who may"):
            await people.approve_plan(h.world, "P-1", ANN, digest=None, reason="")
        assert "ApprovalGiven" not in await h.kinds()


async def test_one_person_under_two_names_is_one(store: Store) -> None:
    grants = (may(Verb.APPROVE_DISRUPTIVE),)
    async with entitled(store, *grants, rule=replace(SRE, count=2)) as (h, _):
        await asked_for(h)
        for who in (replace(ANN, uid="7"), replace(BOB, uid="7")):
            answered = await people.approve_plan(h.world, "P-1", who, digest=None, reason="")
        assert answered.state == "awaiting-approval"
        answered = await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="")
        assert answered.state == "approved"


async def test_an_answer_to_another_plan_is_refused_and_kept_but_not_without_end(store: Store) -> None:
    async with entitled(store, may(Verb.APPROVE_DISRUPTIVE)) as (h, _):
        await asked_for(h)
        for _ in range(3):
            with pytest.raises(AnotherPlan, match="another plan now"):
                await people.approve_plan(h.world, "P-1", ANN, digest="0" * 64, reason="")
        assert (await h.kinds()).count("AnswerRefused") == 1
        for number in range(people.MOST_REFUSALS + 3):
            with pytest.raises(NotAllowed):
                stranger = replace(EVE, name=f"oidc:{number}@greenlang.io")
                await people.approve_plan(h.world, "P-1", stranger, digest=None, reason="")
        assert (await h.kinds()).count("AnswerRefused") == people.MOST_REFUSALS


async def test_an_approval_that_is_gone_leaves_too_few(store: Store) -> None:
    ann, bob = (may(Verb.APPROVE_DISRUPTIVE, subject=who.name) for who in (ANN, BOB))
    async with entitled(store, ann, bob, rule=replace(SRE, count=2)) as (h, steady):
        await asked_for(h)
        await people.approve_plan(h.world, "P-1", ANN, digest=None, reason="")
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="")
        h.demo.api.access.grants.clear()
        steady.seconds += REMEMBERED_SECONDS
        await h.work()
        assert "PlanVoided" in await h.kinds()


async def test_a_vote_of_which_nobody_knows_who_vouched_for_it_does_not_count(store: Store) -> None:
    async with entitled(store, may(Verb.APPROVE_DISRUPTIVE)) as (h, _):
        await asked_for(h)
        await people.approve_plan(h.world, "P-1", ANN, digest=None, reason="")

        def forget(tx: Connection) -> None:
            tx.execute(update(approvals).values(known_by=""))

        await h.world.store.write(forget)
        await h.work()
        voided = next(event for event in await h.events() if isinstance(event, ev.PlanVoided))
        assert "who vouched for" in voided.reason


async def test_answers_are_remembered_for_seconds(store: Store) -> None:
    async with entitled(store, may(Verb.DENY)) as (h, steady):
        for _ in range(3):
            with pytest.raises(NotAllowed):
                await people.acknowledge(h.world, 1, ANN)
        assert sum(call.path == PATH for call in h.demo.api.calls) == 1
        steady.seconds += REMEMBERED_SECONDS
        with pytest.raises(NotAllowed):
            await people.acknowledge(h.world, 1, ANN)
        assert sum(call.path == PATH for call in h.demo.api.calls) == 2


WHY = "both leads are on a plane and checkout is down"


async def broken(h: Harness, who: Identity = ANN, *, reason: str = WHY, digest: str | None = None) -> Any:
    stored = await h.world.store.read(lambda tx: effects.load_plan(tx, "P-1"))
    shown = stored.plan.digest if digest is None else digest
    return await people.break_glass(h.world, "P-1", who, digest=shown, reason=reason)


async def test_one_person_breaks_the_glass_and_everybody_is_told(store: Store) -> None:
    rule = replace(SRE, groups=("oidc:directors",), count=2, not_requester=True)
    async with entitled(store, may(Verb.BREAKGLASS, subject=ANN.name), rule=rule) as (h, _):
        await asked_for(h)
        answered = await broken(h)
        assert answered.state == "approved"
        (event,) = [event for event in await h.events() if isinstance(event, ev.GlassBroken)]
        assert (event.by, event.known_by, event.instead_of) == (ANN.name, "cluster", "2 of oidc:directors")
        await h.tell()
        (told,) = [body for body in h.told.bodies if body["kind"] == "GlassBroken"]
        assert told["pages"] and WHY in told["text"]
        await h.work()
        assert "Executed" in await h.kinds()


async def test_the_glass_stays_whole_for_whoever_may_only_approve(store: Store) -> None:
    async with entitled(store, may(Verb.APPROVE_DISRUPTIVE)) as (h, _):
        await asked_for(h)
        with pytest.raises(NotAllowed, match="may not breakglass"):
            await broken(h)
        with pytest.raises(NotAllowed, match="no Approvers file names break-glass"):
            await broken(h, CAROL)
        robots = may(Verb.BREAKGLASS, subject=ROBOT.name)
        h.demo.api.access.grants.append(robots)
        with pytest.raises(NotAllowed, match="is no person"):
            await broken(h, ROBOT)
        assert "GlassBroken" not in await h.kinds()


async def test_the_glass_needs_a_reason_the_plan_that_was_shown_and_a_bad_incident(store: Store) -> None:
    async with entitled(store, may(Verb.BREAKGLASS)) as (h, _):
        await asked_for(h)
        with pytest.raises(NotAllowed, match="at least 20 characters"):
            await broken(h, reason="it is          urgent")
        with pytest.raises(AnotherPlan):
            await broken(h, digest="0" * 64)
        await people.set_severity(h.world, 1, CAROL, severity=Severity.P2, reason="it is not that bad")
        with pytest.raises(NotAllowed, match="for a P0 or P1 only, and the incident is a P2"):
            await broken(h)


async def test_a_broken_glass_passes_neither_the_kill_switch_nor_a_lock(store: Store) -> None:
    async with entitled(store, may(Verb.BREAKGLASS)) as (h, _):
        await asked_for(h)
        await people.set_pause(h.world, CAROL, on=True, policy=None, reason="hold")
        with pytest.raises(Conflict, match="paused"):
            await broken(h)
        await people.set_pause(h.world, CAROL, on=False, policy=None, reason="")
        await people.secure(h.world, 1, CAROL, reason="a miner")
        with pytest.raises(Conflict, match="security incident"):
            await broken(h)
        assert not [call for call in h.demo.api.writes if not call.dry_run]


async def test_a_right_to_break_the_glass_that_is_gone_voids_it(store: Store) -> None:
    async with entitled(store, may(Verb.BREAKGLASS)) as (h, steady):
        await asked_for(h)
        await broken(h)
        h.demo.api.access.grants.clear()
        steady.seconds += REMEMBERED_SECONDS
        await h.work()
        assert "PlanVoided" in await h.kinds()
        assert not [call for call in h.demo.api.writes if not call.dry_run]
