"""What every registered remediation promises; a new one meets it or is not registered."""

from __future__ import annotations

import ast
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import CAROL, alert, notification, policies, policy
from cures import CURES, Cure
from harness import Harness, harness
from rights import covered_by, right_of
from stories import approved, noticed, until_state
from warm_door import WarmDoor

from receiver.demo.kubernetes.faults import Fault
from receiver.demo.kubernetes.resources import by_plural
from receiver.domain.backends import BACKEND
from receiver.pipeline import people
from receiver.policy.model import Mode
from receiver.policy.rbac import ELSEWHERE, grants, roles
from receiver.probes.catalogue import READS
from receiver.store import migrate
from receiver.store.engine import Store
from receiver.store.sqlite import open_sqlite
from remediations.plugins import ill_formed
from remediations.registry import SPECS, catalogue

ROOT = Path(__file__).parent.parent.parent
EVERY = pytest.mark.parametrize("name", sorted(catalogue()))
CURE = pytest.mark.parametrize("cure", CURES, ids=str)


@EVERY
def test_its_spec_is_well_formed(name: str) -> None:
    assert list(ill_formed(catalogue()[name])) == []


def test_names_are_registered_once() -> None:
    assert len({spec.name for spec in SPECS}) == len(SPECS)


@EVERY
def test_the_documentation_has_its_section(name: str) -> None:
    text = (ROOT / "docs" / "remediations.md").read_text(encoding="utf-8")
    assert f"\n## {name}\n" in text


def test_no_remediation_has_a_way_to_write() -> None:
    for path in (ROOT / "remediations").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not called & {"patch", "post", "put", "delete", "execute", "request", "evict", "warm"}, path
        calls = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
        # A step has a signal; nobody here sends one.
        assert not [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "signal"], path


METHODS = {"patch": "PATCH", "evict": "POST"}


@asynccontextmanager
async def fresh_memory() -> AsyncIterator[Store]:
    """A store of its own: what holds for a remediation does not depend on the kind of store."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/stanch.sqlite3"
        migrate.upgrade(url)
        opened = open_sqlite(migrate.sqlite_path(url))
        yield opened
        await opened.close()


@pytest.fixture
async def memory() -> AsyncIterator[Store]:
    async with fresh_memory() as opened:
        yield opened


async def sick(h: Harness, cure: Cure) -> None:
    """The bad release is out and noticed, in a world that is arranged for this cure."""
    cure.arrange(h)
    await h.fall_ill()
    await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=cure.labels(h))))
    await h.work()


async def done(h: Harness, cure: Cure) -> None:
    """The same, approved and written."""
    await sick(h, cure)
    await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="as planned")
    await h.work()


def not_helping(memory: Store, cure: Cure) -> AbstractAsyncContextManager[Harness]:
    """A world in which the cure changes nothing."""
    return harness(
        memory, policies=cure.policies(), with_scenario="inc-001-not-helping", endpoints=WarmDoor()
    )


def outside(h: Harness) -> WarmDoor:
    """What endpoints were sent."""
    assert isinstance(h.world.endpoints, WarmDoor)
    return h.world.endpoints


def another_of_that_name(h: Harness, plural: str, namespace: str) -> None:
    """Everything of this kind is deleted and made anew: the same names, other uids."""
    resource = by_plural(plural)
    for found in h.demo.api.find(plural, namespace):
        name, old = found["metadata"]["name"], found["metadata"]
        kept = {key: old[key] for key in ("name", "namespace", "labels", "ownerReferences") if key in old}
        h.demo.api.registry.delete(resource, namespace, name, {}, dry_run=False)
        h.demo.api.load([{**found, "metadata": kept}])


def bare(found: Mapping[str, Any]) -> dict[str, Any]:
    """The spec, as others may have written it."""
    return json.loads(json.dumps(found["spec"]))  # type: ignore[no-any-return]


@CURE
async def test_proposing_sends_reads_and_dry_runs_only(memory: Store, cure: Cure) -> None:
    async with harness(memory, policies=cure.policies(), endpoints=WarmDoor()) as h:
        await sick(h, cure)
        assert h.demo.api.writes == []
        assert outside(h).sent == []
        for call in h.demo.api.calls:
            assert call.method == "GET" or call.dry_run or "selfsubjectaccessreviews" in call.path
        planned = next(event for event in await h.events() if event.event == "Planned")
        assert cure.summary in str(planned)


@CURE
async def test_it_writes_once_with_its_marker_under_the_version_it_read(memory: Store, cure: Cure) -> None:
    async with harness(memory, policies=cure.policies(), endpoints=WarmDoor()) as h:
        await done(h, cure)
        if cure.outside:
            assert (len(outside(h).sent), h.demo.api.writes) == (1, [])
            return
        (call,) = [call for call in h.demo.api.writes if call.method in ("PATCH", "POST")]
        assert f"/{cure.resource}/" in call.path
        if cure.verb != "patch":
            assert call.body["deleteOptions"]["preconditions"]["uid"]
            return
        paths = [operation["path"] for operation in call.body]
        assert paths[:2] == ["/metadata/resourceVersion", "/metadata/uid"]
        assert {operation["op"] for operation in call.body} <= {"replace", "add"}
        marked = next(
            operation for operation in call.body if operation["path"].startswith("/metadata/annotations")
        )
        assert "stanch.dev" in json.dumps(marked)
        assert call.query["fieldValidation"] == "Strict"
        written = [path for path in paths if path.startswith("/spec")]
        assert tuple(written) == cure.written


@CURE
async def test_what_it_wrote_is_seen_to_be_in_place(memory: Store, cure: Cure) -> None:
    async with harness(memory, policies=cure.policies(), endpoints=WarmDoor()) as h:
        await done(h, cure)
        incident = await until_state(h, "watched", within=timedelta(minutes=12))
        assert incident.plan is not None
        sentence = next(event for event in await h.events() if event.event == "InPlace")
        assert "judged all the same" not in str(sentence)


@CURE
async def test_a_second_run_after_an_answer_that_was_lost_writes_nothing(memory: Store, cure: Cure) -> None:
    if cure.outside:
        await nothing_is_sent_again(memory, cure)
        return
    async with harness(memory, policies=cure.policies(), endpoints=WarmDoor()) as h:
        await sick(h, cure)
        path = f"/{cure.resource}/"
        h.demo.api.faults.add(Fault(kind="lose-answer", path=path, dry_run=False, method=METHODS[cure.verb]))
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="as planned")
        await h.work()
        await h.pass_time(timedelta(seconds=30))
        assert len(h.demo.api.writes) == 1
        assert "Executed" in await h.kinds()


async def nothing_is_sent_again(memory: Store, cure: Cure) -> None:
    """Nothing shows whether requests arrived, so a person is asked."""
    async with harness(memory, policies=cure.policies(), endpoints=WarmDoor()) as h:
        await sick(h, cure)
        outside(h).loses_answers = True
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="as planned")
        await h.pass_time(timedelta(minutes=3))
        assert len(outside(h).sent) == 1
        assert "EffectUnknown" in await h.kinds()


@CURE
async def test_a_target_that_changed_since_is_not_written(memory: Store, cure: Cure) -> None:
    async with harness(memory, policies=cure.policies(), endpoints=WarmDoor()) as h:
        await sick(h, cure)
        if cure.outside:
            outside(h).move()
        else:
            another_of_that_name(h, cure.resource, cure.namespace)
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="as planned")
        await h.work()
        assert h.demo.real_writes == 0
        assert outside(h).sent == []
        assert "Executed" not in await h.kinds()


@CURE
async def test_undoing_restores_exactly_what_was_captured(memory: Store, cure: Cure) -> None:
    async with not_helping(memory, cure) as h:
        cure.arrange(h)
        await h.fall_ill()
        before = cure.reversible and bare(h.demo.api.get(cure.resource, cure.namespace, cure.name))
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=cure.labels(h))))
        await h.work()
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="as planned")
        await h.pass_time(timedelta(minutes=32))
        await people.decide_undo(h.world, "P-1", CAROL, undo=True, reason="back")
        await h.work()
        if cure.reversible:
            assert bare(h.demo.api.get(cure.resource, cure.namespace, cure.name)) == before
            assert "Undone" in await h.kinds()
        else:
            assert "UndoImpossible" in await h.kinds()


@CURE
async def test_undoing_leaves_alone_what_others_changed_since(memory: Store, cure: Cure) -> None:
    if not cure.reversible:
        return
    async with not_helping(memory, cure) as h:
        await done(h, cure)
        await h.pass_time(timedelta(minutes=32))
        cure.meddle(h)
        meddled = bare(h.demo.api.get(cure.resource, cure.namespace, cure.name))
        await people.decide_undo(h.world, "P-1", CAROL, undo=True, reason="back")
        await h.work()
        assert bare(h.demo.api.get(cure.resource, cure.namespace, cure.name)) == meddled
        impossible = next(event for event in await h.events() if event.event == "UndoImpossible")
        assert "somebody changed" in str(impossible)


async def test_the_rights_it_uses_are_those_it_declares(memory: Store) -> None:
    """Over all its stories together: each right that is used is declared, and each declared one is used."""
    # What a database grants is held to its server, where those remediations have their tests.
    in_cluster = [spec.name for spec in SPECS if not any(right.group == BACKEND for right in spec.writes)]
    for name in in_cluster:
        used: set[tuple[str, str]] = set()
        stories = [cure for cure in CURES if cure.remediation == name]
        assert stories, f"{name} has no story"
        for cure in stories:
            async with (
                fresh_memory() as store,
                harness(store, policies=cure.policies(), endpoints=WarmDoor()) as h,
            ):
                await done(h, cure)
                await until_state(h, "watched", within=timedelta(minutes=12))
                used |= {right for call in h.demo.api.calls if (right := right_of(call)) is not None}
                granted = roles(grants(cure.policies(), catalogue(), READS))
                for call in h.demo.api.calls:
                    assert covered_by(granted, call), call.path
        spec = catalogue()[name]
        declared = {
            (right.resource, right.verb)
            for right in (*spec.reads, *spec.writes)
            if right.group not in ELSEWHERE
        }
        # The guards ask for autoscalers, whatever the cure.
        assert used - declared <= {("horizontalpodautoscalers", "list")}, name
        unused = declared - used
        # References are read only where an earlier revision has any that the present one lacks.
        rare = {("configmaps", "get"), ("secrets", "get")} if name == "deployment.rollback" else set()
        assert unused <= rare, name


async def test_a_right_that_is_missing_is_said_before_anybody_approves(store: Store) -> None:
    async with harness(store) as h:
        h.demo.api.access.forbidden.add(("patch", "deployments"))
        await noticed(h)
        assert "Planned" not in await h.kinds()
        nothing = [event for event in await h.events() if event.event == "NothingApplies"]
        assert "G9 forbidden: the chart's Role lacks patch deployments.apps" in str(nothing[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spec": {"paused": True}}, "the rollout is paused"),
        ({"spec": {"revisionHistoryLimit": 0}}, "rollout.hasEarlier does not hold"),
        (
            {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:a/b"}}},
            "managed by Argo CD",
        ),
        ({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}}, "managed by Flux"),
        ({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}, "may stay ready"),
        (
            {
                "spec": {
                    "template": {"metadata": {"annotations": {"stanch.dev/irreversible-migration": "true"}}}
                }
            },
            "irreversible migration",
        ),
    ],
    ids=["paused", "no history", "Argo CD", "Flux", "Recreate", "migration"],
)
async def test_what_forbids_a_rollback_is_named(store: Store, change: dict[str, object], reason: str) -> None:
    async with harness(store) as h:
        h.demo.release_bad()
        h.demo.api.change("deployments", "greenlang", "greenlang-api", change)
        await noticed(h)
        nothing = [event for event in await h.events() if event.event == "NothingApplies"]
        assert reason in str(nothing[0])
        assert h.demo.real_writes == 0


async def test_an_autoscaler_owns_the_replicas_and_does_not_forbid_a_rollback(store: Store) -> None:
    async with harness(store) as h:
        scaler = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "api", "namespace": "greenlang"},
            "spec": {
                "minReplicas": 2,
                "maxReplicas": 8,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "greenlang-api"},
            },
        }
        h.demo.api.load([scaler])
        await approved(h)
        await h.work()
        assert h.demo.real_writes == 1
        planned = next(event for event in await h.events() if event.event == "Planned")
        assert "HorizontalPodAutoscaler api" in str(planned)


async def test_a_shadowing_policy_records_what_it_would_do_and_asks_nobody(store: Store) -> None:
    async with harness(store, policies=policies(policy(mode=Mode.SHADOW))) as h:
        await noticed(h)
        await h.pass_time(timedelta(minutes=3))
        kinds = await h.kinds()
        assert "ApprovalRequested" not in kinds
        assert h.demo.real_writes == 0
        assert "Planned" in kinds
