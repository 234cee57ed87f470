"""What a capture looks at, and what of it is kept."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.evidence.selection import (
    REDACTED,
    Container,
    PodName,
    Subject,
    concerned,
    containers_of,
    redacted,
    roles_of,
    targets,
    without_values,
)

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
ALERT = {"namespace": "shop", "pod": "api-1"}


def subject(*scopes: str, labels: tuple[dict[str, str], ...] = (ALERT,)) -> Subject:
    return Subject(1, NOW, scopes, labels, namespaces=("ours",))


@pytest.mark.parametrize(
    ("scope", "pods", "namespaces", "nodes"),
    [
        ("cluster", ["api-1"], ["shop"], []),
        ("namespace/pay", ["api-1"], ["pay"], []),
        ("node/node-1", ["api-1"], ["shop", "ours"], ["node-1"]),
        ("Pod/pay/web-1", ["api-1", "web-1"], ["pay"], []),
        ("Deployment/pay/web", ["api-1"], ["pay"], []),
        ("whatever", ["api-1"], [], []),
    ],
)
def test_where_is_looked(scope: str, pods: list[str], namespaces: list[str], nodes: list[str]) -> None:
    found = targets(subject(scope))
    assert [pod.name for pod in found.pods] == pods
    assert (list(found.namespaces), list(found.nodes)) == (namespaces, nodes)
    assert bool(found.gaps) is (scope in ("cluster", "node/node-1", "whatever"))


HOSTILE = ["../../etc", "a/b", "a\0b", "x" * 300, "..", "A B", "-", "\u202e"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_label_that_is_no_name_is_a_gap_and_never_asked_for(name: str) -> None:
    for labels in ({"namespace": "shop", "pod": name}, {"namespace": name, "pod": "api-1"}):
        found = targets(subject("cluster", labels=(labels,)))
        assert found.pods == ()
        assert any("is no name" in gap.why for gap in found.gaps)
        assert name not in found.namespaces


def test_a_pod_without_a_namespace_is_a_gap() -> None:
    (_, told) = sorted(targets(subject("cluster", labels=({"pod": "api-1"},))).gaps, key=str, reverse=True)
    assert "no namespace stands beside 'api-1'" in str(told)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("namespace/shop", ["api-1", "web-1"]),
        ("Deployment/shop/api", ["api-1"]),
        ("Pod/shop/web-1", ["web-1"]),
        ("node/node-2", ["web-1"]),
        ("namespace/other", []),
    ],
)
def test_which_pods_a_lock_concerns(scope: str, expected: list[str]) -> None:
    pods = [
        {"metadata": {"namespace": "shop", "name": name}, "spec": {"nodeName": node}}
        for name, node in (("api-1", "node-1"), ("web-1", "node-2"))
    ]
    assert list(concerned(pods, (scope,))) == [PodName("shop", name) for name in expected]


def test_every_container_counts_those_attached_later_too() -> None:
    pod = {
        "spec": {
            "initContainers": [{"name": "first"}],
            "containers": [{"name": "api"}],
            "ephemeralContainers": [{"name": "debugger"}],
        },
        "status": {
            "containerStatuses": [{"name": "api", "restartCount": 2}],
            "initContainerStatuses": [{"name": "first", "restartCount": 0, "lastState": {}}],
        },
    }
    assert containers_of(pod) == (
        Container("first", False),
        Container("api", True),
        Container("debugger", False),
    )


ENV = [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "MODE", "value": "a"}]


@pytest.mark.parametrize(
    "document",
    [
        {"spec": {"containers": [{"name": "api", "env": ENV}]}},
        {"spec": {"template": {"spec": {"initContainers": [{"env": ENV}]}}}},
        {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}}},
        {"metadata": {"annotations": {"my-token": "hunter2"}}},
    ],
)
def test_values_whose_names_say_that_they_are_secret_are_left_out_and_told_of(document: Any) -> None:
    kept, left_out = redacted(document)
    assert "hunter2" not in str(kept)
    assert REDACTED in str(kept)
    assert len(left_out) == 1 and ("DB_PASSWORD" in left_out[0] or "annotations[" in left_out[0])


def test_a_variable_from_a_secret_keeps_its_reference() -> None:
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}]
    assert redacted({"env": env}) == ({"env": env}, ())


@given(
    st.dictionaries(st.text(), st.binary(min_size=40), min_size=1), st.sampled_from(["Secret", "ConfigMap"])
)
def test_no_value_of_a_secret_or_a_config_map_is_kept(data: dict[str, bytes], kind: str) -> None:
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    field = "data" if kind == "Secret" else "binaryData"
    metadata = {"name": "keys", "resourceVersion": "7", "annotations": {"applied": str(encoded)}}
    found = without_values({"kind": kind, "metadata": metadata, field: encoded})
    assert found["sizes"] == {name: len(value) for name, value in data.items()}
    assert all(value not in str(found) for value in encoded.values())
    assert found["metadata"] == {"name": "keys", "resourceVersion": "7", "annotations": ["applied"]}


@pytest.mark.parametrize(
    ("who", "bound"),
    [
        ({"kind": "ServiceAccount", "name": "api", "namespace": "shop"}, True),
        ({"kind": "ServiceAccount", "name": "api", "namespace": "pay"}, False),
        ({"kind": "ServiceAccount", "name": "other", "namespace": "shop"}, False),
        ({"kind": "Group", "name": "system:serviceaccounts:shop"}, True),
        ({"kind": "User", "name": "system:serviceaccount:shop:api"}, True),
        ({"kind": "User", "name": "api"}, False),
    ],
)
def test_the_roles_of_an_account(who: dict[str, str], bound: bool) -> None:
    binding = {"subjects": [who], "roleRef": {"kind": "Role", "name": "reader"}}
    found = roles_of([binding], "shop", frozenset({"api"}))
    assert found == ({"reader": "Role"} if bound else {})
