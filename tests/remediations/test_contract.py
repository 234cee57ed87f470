"""What every registered remediation promises; a new one meets it or is not registered."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path

import pytest
from builders import policies, policy
from harness import harness
from stories import approved, noticed, rolled_back

from receiver.domain.plans import Risk
from receiver.pipeline import people
from receiver.policy.approval import Identity
from receiver.policy.model import Mode
from receiver.store.engine import Store
from remediations.registry import SPECS, catalogue

ROOT = Path(__file__).parent.parent.parent
EVERY = pytest.mark.parametrize("name", sorted(catalogue()))


@EVERY
def test_its_spec_is_well_formed(name: str) -> None:
    spec = catalogue()[name]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*", spec.name)
    assert spec.sentence.endswith(".")
    assert spec.version >= 1
    assert spec.settle > timedelta(0)
    assert spec.writes
    assert all(right.verb in ("get", "list") for right in spec.reads)
    assert spec.risk is not Risk.READ_ONLY


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
        assert not called & {"patch", "post", "put", "delete", "execute", "request", "evict"}, path
        calls = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
        # A step has a signal; nobody here sends one.
        assert not [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "signal"], path


async def test_proposing_sends_reads_and_dry_runs_only(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        assert h.demo.api.writes == []
        for call in h.demo.api.calls:
            assert call.method == "GET" or call.dry_run or "selfsubjectaccessreviews" in call.path


async def test_the_rights_it_uses_are_those_it_declares(store: Store) -> None:
    async with harness(store) as h:
        await rolled_back(h)
        spec = catalogue()["deployment.rollback"]
        used = set()
        for call in h.demo.api.calls:
            if "selfsubjectaccessreviews" in call.path or call.path == "/version":
                continue
            kind = re.search(r"/namespaces/[^/]+/([a-z]+)(/[^/]+)?$", call.path)
            assert kind is not None, call.path
            named = kind.group(2) is not None
            verb = "patch" if call.method == "PATCH" else "get" if named else "list"
            used.add((kind.group(1), verb))
        declared = {(right.resource, right.verb) for right in (*spec.reads, *spec.writes)}
        # Guards ask for autoscalers, whatever the cure; references are read only where there are any.
        assert used - declared == {("horizontalpodautoscalers", "list")}
        assert declared - used <= {("configmaps", "get"), ("secrets", "get")}


async def test_it_writes_once_with_its_marker_under_the_version_it_read(store: Store) -> None:
    async with harness(store) as h:
        await rolled_back(h)
        (call,) = [call for call in h.demo.api.writes if call.method == "PATCH"]
        paths = [operation["path"] for operation in call.body]
        assert paths[:2] == ["/metadata/resourceVersion", "/metadata/uid"]
        assert "/metadata/annotations/stanch.dev~1intent" in paths
        assert {operation["op"] for operation in call.body} <= {"replace", "add"}
        assert "fieldValidation=Strict" in str(call.query) or call.query.get("fieldValidation") == "Strict"


async def test_undoing_restores_exactly_what_was_captured(store: Store) -> None:
    async with harness(store, with_scenario="inc-001-not-helping") as h:
        await h.fall_ill()
        before = h.demo.api.get("deployments", "greenlang", "greenlang-api")["spec"]
        await noticed(h)
        await people.approve_plan(h.world, "P-1", Identity("carol", ("sre",)), digest=None, reason="x")
        await h.pass_time(timedelta(minutes=22))
        await people.decide_undo(h.world, "P-1", Identity("carol", ("sre",)), undo=True, reason="back")
        await h.work()
        after = h.demo.api.get("deployments", "greenlang", "greenlang-api")["spec"]
        assert after == before


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
