"""What the chart grants is what the commands print: for these accounts, for these namespaces, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_files import CHART, made, printed
from chart_rendering import CASES, HELMS, Document, of_kind, rendered, run, values_of

from receiver import packaged
from receiver.app import read_policies
from receiver.domain.plans import Permission
from receiver.policy.model import Mode
from receiver.policy.rbac import ELSEWHERE
from receiver.policy.rights import GROUP, RESOURCE, Verb
from remediations.isolation.registry import SPECS as ISOLATIONS
from remediations.registry import catalogue

# Whoever writes, what, and for which cures or isolations of the GreenLang pack.
WRITES: dict[tuple[str, str, str], set[str]] = {
    ("executor", "patch", "deployments.apps"): {
        "deployment.rollback",
        "deployment.restart",
        "deployment.scale",
        "deployment.set-env",
        "deployment.set-resources",
    },
    ("executor", "patch", "horizontalpodautoscalers.autoscaling"): {"deployment.scale"},
    ("executor", "patch", "scaledobjects.keda.sh"): {"deployment.scale"},
    ("executor", "patch", "persistentvolumeclaims"): {"volume.expand"},
    ("executor", "create", "pods/eviction"): {"pod.evict"},
    ("isolator", "patch", "pods"): {"pod.quarantine"},
    ("isolator", "patch", "nodes"): {"node.isolate"},
    ("isolator", "create", "networkpolicies.networking.k8s.io"): {"pod.quarantine"},
}


def granted(documents: list[Document], account: str) -> Iterator[tuple[Document, dict[str, Any]]]:
    """Each role with each of its rules that is bound to this account, as the API server would find them."""
    roles = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one
        for one in of_kind(documents, "Role", "ClusterRole")
    }
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "stanch"}
    for binding in of_kind(documents, "RoleBinding", "ClusterRoleBinding"):
        if subject in binding["subjects"]:
            reference = binding["roleRef"]
            assert reference["kind"] + "Binding" == binding["kind"]
            role = roles[reference["kind"], binding["metadata"].get("namespace"), reference["name"]]
            yield from ((role, rule) for rule in role["rules"])


def in_order(found: Iterable[Any]) -> list[str]:
    """The same whatever the order, of each and within it."""
    return sorted(json.dumps(one, sort_keys=True) for one in found)


def rights(documents: list[Document], account: str) -> set[tuple[str, str]]:
    """Verb and resource of all of them."""
    return {
        (verb, f"{resource}.{group}" if group else resource)
        for _, rule in granted(documents, account)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_what_is_made_from_elsewhere_is_of_today() -> None:
    for path, content in made().items():
        assert path.read_text(encoding="utf-8") == content, f"run make chart: {path.name} is old"


def test_the_roles_are_what_the_command_prints() -> None:
    documents = rendered("default")
    wanted = json.loads(printed("rbac", "--output", "json"))["items"]
    for who in ("reader", "executor", "isolator"):
        found = [
            (role["metadata"].get("namespace"), rule) for role, rule in granted(documents, f"stanch-{who}")
        ]
        printed_rules = [
            (role["metadata"].get("namespace"), rule)
            for role in wanted
            if role["metadata"]["name"] == f"stanch-{who}"
            for rule in role["rules"]
        ]
        assert in_order(found) == in_order(printed_rules)


def test_the_admission_policies_are_what_the_command_prints_for_these_accounts() -> None:
    documents = rendered("default", name="other", namespace="elsewhere")
    found = of_kind(documents, "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    account = "system:serviceaccount:elsewhere:other-stanch"
    accounts = [f"--account={account}{suffix}" for suffix in ("", "-reader", "-executor")]
    text = printed("admission", *accounts, f"--isolator={account}-isolator", "--output", "json")
    wanted = json.loads(text)["items"]
    assert len(wanted) == 16
    for one in wanted:
        ours = one["metadata"]["name"].replace("stanch-", "elsewhere-other-stanch-", 1)
        one["metadata"]["name"] = ours
        if "policyName" in one["spec"]:
            one["spec"]["policyName"] = ours
    for one in found:
        del one["metadata"]["labels"]
    assert in_order(found) == in_order(wanted)


def test_roles_of_ones_own_take_their_place(tmp_path: Path) -> None:
    path = tmp_path / "roles.yaml"
    path.write_text(printed("rbac", str(packaged.policies())).replace("greenlang", "shop"), encoding="utf-8")
    documents = rendered("default", "--set-file", f"rbac.roles={path}")
    places = {one["metadata"].get("namespace") for one in of_kind(documents, "Role", "RoleBinding")}
    assert places == {"stanch", "shop"}
    assert rights(documents, "stanch-executor") == rights(rendered("default"), "stanch-executor")


@pytest.mark.parametrize("case", CASES)
def test_the_pods_own_account_acts_as_three_others_and_nothing_else(case: str) -> None:
    documents = rendered(case)
    found = list(granted(documents, "stanch"))
    if case == "least":
        assert found == []
        return
    impersonating = [rule for _, rule in found if "impersonate" in rule["verbs"]]
    assert [rule["resourceNames"] for rule in impersonating] == [
        ["stanch-reader", "stanch-executor", "stanch-isolator"]
    ]
    assert all(role["kind"] == "Role" for role, rule in found if rule in impersonating)
    assert rights(documents, "stanch") == {
        ("impersonate", "serviceaccounts"),
        ("create", "tokenreviews.authentication.k8s.io"),
        ("create", "subjectaccessreviews.authorization.k8s.io"),
    }


def test_the_roles_for_people_hold_every_verb_once_and_nobody_is_bound_to_them() -> None:
    documents = rendered("default")
    found = {
        role["metadata"]["name"]: role["rules"]
        for role in of_kind(documents, "ClusterRole")
        if any(GROUP in rule["apiGroups"] for rule in role["rules"])
    }
    assert found.keys() == {
        f"stanch-{name}"
        for name in ("respond", "approve", "approve-irreversible", "approve-security", "breakglass")
    }
    verbs = [verb for ((rule),) in found.values() for verb in rule["verbs"]]
    assert sorted(verbs) == sorted(verb.value for verb in Verb)
    assert {tuple(rule["resources"]) for ((rule),) in found.values()} == {(RESOURCE,)}
    bound = {one["roleRef"]["name"] for one in of_kind(documents, "RoleBinding", "ClusterRoleBinding")}
    assert not bound & found.keys()
    without = of_kind(rendered("default", "--set", "people.roles.create=false"), "ClusterRole")
    assert not found.keys() & {role["metadata"]["name"] for role in without}


@pytest.mark.parametrize("case", CASES)
def test_nobody_deletes_takes_all_or_is_handed_a_role(case: str) -> None:
    documents = rendered(case)
    for role in of_kind(documents, "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["apiGroups"], *rule["resources"]]
            assert not {"delete", "deletecollection", "update", "bind", "escalate"} & set(rule["verbs"])
            assert "nonResourceURLs" not in rule
    for binding in of_kind(documents, "RoleBinding", "ClusterRoleBinding"):
        (subject,) = binding["subjects"]
        assert subject["kind"] == "ServiceAccount" and subject["namespace"] == "stanch"
        roles = {one["metadata"]["name"] for one in of_kind(documents, "Role", "ClusterRole")}
        assert binding["roleRef"]["name"] in roles


def test_the_reader_writes_nothing_and_reads_secrets_one_by_one_in_the_policies_namespaces_only() -> None:
    documents = rendered("default")
    assert {verb for verb, _ in rights(documents, "stanch-reader")} == {"get", "list"}
    found = [
        (role["kind"], role["metadata"].get("namespace"), rule["verbs"])
        for role, rule in granted(documents, "stanch-reader")
        if "secrets" in rule["resources"]
    ]
    assert found == [("Role", "greenlang", ["get"])]
    for account in ("stanch", "stanch-executor", "stanch-isolator"):
        assert not any(resource == "secrets" for _, resource in rights(documents, account))
    # For one cure: whether what a release needs is still there.
    asking = {name for name, spec in catalogue().items() if Permission("", "secrets", "get") in spec.reads}
    assert asking == {"deployment.rollback"}


def test_every_right_to_write_is_there_for_a_cure_or_an_isolation_of_the_pack() -> None:
    loaded = read_policies(None).policies
    assert loaded is not None
    policies = [policy for policy in loaded.policies if policy.mode is not Mode.DISABLED]
    offered = {
        candidate.remediation
        for policy in policies
        for candidate in policy.candidates
        if not candidate.disabled
    }
    asked = {wish.act for policy in policies for sign in policy.security for wish in sign.isolate}
    executing = [(name, spec.writes) for name, spec in catalogue().items() if name in offered]
    isolating = [(str(spec.act), spec.writes) for spec in ISOLATIONS if spec.act in asked]
    needed: dict[tuple[str, str, str], set[str]] = {}
    for who, specs in (("executor", executing), ("isolator", isolating)):
        for name, writes in specs:
            for right in writes:
                if right.group not in ELSEWHERE:
                    resource = f"{right.resource}.{right.group}" if right.group else right.resource
                    needed.setdefault((who, right.verb, resource), set()).add(name)
    assert needed == WRITES
    documents = rendered("default")
    for who in ("executor", "isolator"):
        assert rights(documents, f"stanch-{who}") == {
            (verb, resource) for role, verb, resource in WRITES if role == who
        }


def test_a_role_that_the_command_does_not_print_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "roles.yaml"
    role = {"kind": "ClusterRole", "metadata": {"name": "cluster-admin"}, "rules": []}
    path.write_text(yaml.safe_dump(role), encoding="utf-8")
    for helm in HELMS:
        more = ("-f", values_of("default"), "--set-file", f"rbac.roles={path}")
        done = run(helm, "template", "stanch", CHART, *more)
        assert done.returncode != 0
        assert "cluster-admin is no role that stanch rbac prints" in done.stderr
