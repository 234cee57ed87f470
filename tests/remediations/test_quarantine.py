"""What the card of a quarantine says of its pod, what it takes back, and when the pod is cut off."""

from __future__ import annotations

from typing import Any, cast

import pytest

from receiver.domain.isolation import (
    NOT_TO_BE_ENDED,
    QUARANTINE,
    Act,
    Hold,
    IsolationPlan,
    Relabel,
    Wanted,
    deny_all,
)
from receiver.domain.remediation import ClusterReader
from remediations.isolation.quarantine import Quarantine

WAY = Quarantine(cast(ClusterReader, None))
WANTED = Wanted(Act.POD_QUARANTINE, "shop", "api-0")
DENY = {"metadata": {"name": "stanch-quarantine"}, "spec": deny_all()}


def pod(**metadata: Any) -> dict[str, Any]:
    usual = {"name": "api-0", "namespace": "shop", "uid": "u-1", "labels": {"app": "api"}}
    return {"metadata": usual | metadata, "spec": {}, "status": {"podIP": "10.0.0.7"}}


def planned(found: dict[str, Any]) -> IsolationPlan:
    plan = WAY.plan({"pod": found, "policies": [], "slices": []}, WANTED, incident_id=7)
    assert isinstance(plan, IsolationPlan)
    return plan


def owned(kind: str) -> dict[str, Any]:
    return pod(ownerReferences=[{"kind": kind, "name": "api", "controller": True}])


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (owned("ReplicaSet"), "ReplicaSet api starts another pod of the same image in its place"),
        (owned("StatefulSet"), "StatefulSet api cannot start another one while it is there"),
        (owned("Node"), "it is a static pod"),
        (pod(deletionTimestamp="2026-03-01T03:00:00Z"), "somebody deleted it already"),
        (pod() | {"spec": {"hostNetwork": True}}, "no network policy reaches it"),
    ],
)
def test_what_it_does_not_do_is_said_of_this_very_pod(found: dict[str, Any], says: str) -> None:
    assert any(says in note for note in planned(found).notes)


def test_annotations_come_back_as_they_were() -> None:
    name = next(iter(NOT_TO_BE_ENDED))
    found = pod(annotations={name: "true"})
    plan = planned(found)
    cut_off = pod(labels={QUARANTINE: "7"}, annotations=dict(NOT_TO_BE_ENDED))
    back = WAY.lift(plan, {"pod": cut_off, "policies": [DENY], "slices": []})
    assert isinstance(back, Relabel)
    assert back.after == {"app": "api"}
    assert back.annotations[name] == "true"
    assert [said for other, said in back.annotations.items() if other != name] == [None, None]


@pytest.mark.parametrize(
    ("endpoint", "serves"),
    [
        ({"addresses": ["10.0.0.7"], "targetRef": {"kind": "Pod", "uid": "u-1"}}, True),
        # Another pod on the same host's network.
        ({"addresses": ["10.0.0.7"], "targetRef": {"kind": "Pod", "uid": "u-2"}}, False),
        ({"addresses": ["10.0.0.7"]}, True),
        ({"addresses": ["10.0.0.8"]}, False),
    ],
)
def test_an_endpoint_is_the_pods_by_its_uid_and_by_its_address_only_without_one(
    endpoint: dict[str, Any], serves: bool
) -> None:
    plan = planned(pod())
    state = {
        "pod": pod(labels={QUARANTINE: "7"}),
        "policies": [DENY],
        "slices": [{"metadata": {"name": "api"}, "endpoints": [endpoint]}],
    }
    held = WAY.judge(plan, state, 0.0)
    assert held.hold is (Hold.NOT_YET if serves else Hold.HOLDS)
