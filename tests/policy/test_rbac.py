"""The rights that policies need: the least ones, in their namespaces, for their names."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from builders import policies, policy
from typer.testing import CliRunner

from receiver.cli.main import app
from receiver.domain.isolation import BY_SIGNS, Act
from receiver.policy.model import (
    Candidate,
    IsolationWish,
    Mode,
    Policy,
    ProbeUse,
    SecuritySign,
    TargetTemplate,
)
from receiver.policy.rbac import EXECUTOR, ISOLATOR, READER, allowed, grants, roles
from receiver.probes.catalogue import FACTS, READS
from remediations.isolation.registry import SPECS
from remediations.registry import catalogue

ISOLATIONS = {spec.act: spec for spec in SPECS}
FIXED = TargetTemplate("Deployment", "shop", "api", ("shop",), ())


def of(*found: Policy) -> list[dict[str, object]]:
    return roles(grants(policies(*found), catalogue(), READS, isolations=ISOLATIONS))


def rules(found: list[dict[str, object]], name: str) -> list[object]:
    return [role["rules"] for role in found if role["metadata"]["name"] == name]  # type: ignore[index]


def test_a_fixed_target_is_all_that_may_be_written() -> None:
    (executor,) = rules(of(policy(target=FIXED)), EXECUTOR)
    assert executor == [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"], "resourceNames": ["api"]}
    ]


def test_a_target_from_a_label_may_be_any_of_its_namespaces() -> None:
    target = TargetTemplate("Deployment", "{{ labels.namespace }}", "{{ labels.app }}", ("a", "b"), ())
    found = of(policy(target=target))
    places = {role["metadata"]["namespace"] for role in found if role["metadata"]["name"] == EXECUTOR}  # type: ignore[index]
    assert places == {"a", "b"}
    assert all("resourceNames" not in str(rule) for rule in rules(found, EXECUTOR))


def test_one_policy_for_all_names_takes_the_names_of_another_away() -> None:
    open_target = TargetTemplate("Deployment", "shop", "{{ labels.app }}", ("shop",), ())
    (executor,) = rules(of(policy(target=FIXED), policy(name="b", target=open_target)), EXECUTOR)
    assert executor == [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}]


def test_what_is_disabled_needs_nothing() -> None:
    never = Candidate("pod.evict", "not wanted", None, {}, disabled=True)
    assert "eviction" not in str(of(policy(candidates=(never,))))
    assert of(policy(mode=Mode.DISABLED)) == []


def test_the_reader_writes_nothing_and_nobody_deletes_or_takes_all() -> None:
    every = tuple(Candidate(name, "", None, {}) for name in catalogue())
    found = of(replace(policy(target=FIXED), candidates=every))
    for role in found:
        verbs = {verb for rule in role["rules"] for verb in rule["verbs"]}  # type: ignore[attr-defined]
        assert verbs <= ({"get", "list"} if role["metadata"]["name"] == READER else {"patch", "create"})  # type: ignore[index]
    assert "*" not in str(found)


def isolating(*acts: Act) -> Policy:
    wishes = tuple(IsolationWish(act, pod="{{ labels.pod }}") for act in acts)
    return policy(target=FIXED, security=(SecuritySign("a miner runs in it", isolate=wishes),))


def test_what_signs_isolate_the_isolator_writes_and_the_reader_reads() -> None:
    found = of(isolating(Act.POD_QUARANTINE))
    (isolator,) = rules(found, ISOLATOR)
    assert isolator == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["create"]},
    ]
    assert "endpointslices" in str(rules(found, READER))
    # What people ask for beside it takes no other write, and more to look at.
    assert "services" in str(rules(found, READER))
    assert rules(found, EXECUTOR) == rules(of(policy(target=FIXED)), EXECUTOR)


def test_what_people_ask_for_beside_a_sign_has_its_rights_whichever_the_sign_asks_for() -> None:
    found = of(isolating(Act.NODE_ISOLATE))
    block = ISOLATIONS[Act.IP_BLOCK]
    for role, rights in ((READER, block.reads), (ISOLATOR, block.writes)):
        granted = [one for one in found if one["metadata"]["name"] == role]  # type: ignore[index]
        for right in rights:
            asked = {"group": right.group, "resource": right.resource, "verb": right.verb}
            assert allowed(granted, **asked, namespace="shop", name="any"), right


def test_the_isolator_deletes_evicts_and_replaces_nothing() -> None:
    found = [role for role in of(isolating(*BY_SIGNS)) if role["metadata"]["name"] == ISOLATOR]  # type: ignore[index]
    assert [role["kind"] for role in found] == ["ClusterRole", "Role"]
    verbs = {verb for role in found for rule in role["rules"] for verb in rule["verbs"]}  # type: ignore[attr-defined]
    assert verbs == {"create", "patch"}
    assert "eviction" not in str(found) and "*" not in str(found)


def test_no_isolator_where_no_sign_isolates() -> None:
    looked_for = policy(target=FIXED, security=(SecuritySign("a miner runs in it"),))
    for one in (policy(target=FIXED), looked_for, replace(isolating(*BY_SIGNS), mode=Mode.DISABLED)):
        assert rules(of(one), ISOLATOR) == []


def test_what_is_looked_at_in_all_namespaces_is_a_cluster_role() -> None:
    found = of(policy(target=FIXED, candidates=(Candidate("deployment.scale", "", None, {"replicas": 3}),)))
    (cluster_role,) = [role for role in found if role["kind"] == "ClusterRole"]
    assert cluster_role["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]


def test_what_is_in_no_namespace_is_written_by_a_cluster_role() -> None:
    candidate = Candidate("node.cordon", "", None, {"node": "a"}, expires=timedelta(hours=4))
    found = of(policy(target=FIXED, candidates=(candidate,)))
    assert [(role["kind"], role["metadata"]["name"]) for role in found] == [  # type: ignore[index]
        ("ClusterRole", EXECUTOR),
        ("ClusterRole", READER),
        ("Role", READER),
    ]
    assert rules(found, EXECUTOR) == [[{"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]}]]


def test_a_claim_is_all_that_is_read_and_written_of_one() -> None:
    target = TargetTemplate("PersistentVolumeClaim", "shop", "data", ("shop",), ())
    grow = Candidate("volume.expand", "", None, {"most": "9Gi"})
    owner = ProbeUse("owner", "owners", {})
    found = of(policy(target=target, candidates=(grow,), probes=(owner,)))
    claims = {"apiGroups": [""], "resources": ["persistentvolumeclaims"]}
    assert rules(found, EXECUTOR) == [[{**claims, "verbs": ["patch"], "resourceNames": ["data"]}]]
    assert "deployments" not in str(found)
    (cluster_role,) = [role for role in found if role["kind"] == "ClusterRole"]
    assert cluster_role["rules"] == [
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get"]}
    ]


def test_roles_are_judged_as_the_api_server_does() -> None:
    found = of(policy(target=FIXED))
    asked = {"group": "apps", "resource": "deployments", "verb": "patch", "namespace": "shop"}
    assert allowed(found, **asked, name="api")
    assert not allowed(found, **asked, name="other")
    assert not allowed(found, **{**asked, "namespace": "pay"}, name="api")
    assert not allowed(found, **{**asked, "verb": "delete"}, name="api")


def test_every_probe_says_what_it_reads() -> None:
    assert READS.keys() == FACTS.keys()


def test_the_command_prints_what_kubectl_takes() -> None:
    shown = CliRunner().invoke(app, ["rbac", "--format", "json"])
    assert shown.exit_code == 0
    found = json.loads(shown.stdout)["items"]
    assert {role["kind"] for role in found} <= {"Role", "ClusterRole"}
    assert {role["metadata"]["name"] for role in found} <= {READER, EXECUTOR, ISOLATOR}
    text = CliRunner().invoke(app, ["rbac"]).stdout
    assert text.count("apiVersion: rbac.authorization.k8s.io/v1") == len(found)
