"""What each remediation of the cluster makes of what it sees: tables, without a cluster."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.domain.plans import Draft, FieldChange, NotApplicable, ObjectRef, PatchStep, Receipt
from receiver.domain.remediation import Evidence
from remediations.kubernetes.cordon import Cordon
from remediations.kubernetes.evict import Evict
from remediations.kubernetes.restart import Restart
from remediations.kubernetes.scale import Scale
from remediations.kubernetes.set_env import SetEnv
from remediations.kubernetes.set_resources import SetResources

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
EVIDENCE = Evidence(NOW - timedelta(minutes=5))
DOOR: Any = None  # Planning is pure: it never knocks.


def deployment(**spec: Any) -> dict[str, Any]:
    container = {
        "name": "api",
        "image": "shop/api:1",
        "env": [{"name": "DB_POOL_SIZE", "value": "20"}, {"name": "DISABLE_AGENTS", "value": "a, b"}],
        "resources": {
            "limits": {"memory": "1Gi", "cpu": "1"},
            "requests": {"memory": "512Mi", "cpu": "500m"},
        },
    }
    usual = {
        "replicas": 6,
        "selector": {"matchLabels": {"app": "api"}},
        "template": {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [container]}},
    }
    return {
        "metadata": {"name": "api", "namespace": "shop", "uid": "d", "generation": 3},
        "spec": {**usual, **spec},
    }


def with_container(**fields: Any) -> dict[str, Any]:
    found = deployment()
    found["spec"]["template"]["spec"]["containers"][0].update(fields)
    return found


def scaler(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "api", "namespace": "shop", "uid": "h"},
        "spec": {"minReplicas": 4, "maxReplicas": 12, **spec},
    }


def node(name: str = "n", *, cpu: str = "8", memory: str = "32Gi", **spec: Any) -> dict[str, Any]:
    ready = [{"type": "Ready", "status": "True"}]
    allocatable = {"cpu": cpu, "memory": memory, "pods": "110"}
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {"allocatable": allocatable, "conditions": ready},
    }


def quota(hard: Mapping[str, str], used: Mapping[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "team"}, "spec": {"hard": hard}, "status": {"used": used}}


def planned(remediation: Any, state: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    return remediation.plan(state, parameters, EVIDENCE, now=NOW)


def change_of(found: Any) -> FieldChange:
    assert isinstance(found, Draft), found
    (step,) = found.steps
    assert isinstance(step, PatchStep)
    return step.changes[0]


def room(**more: Any) -> dict[str, Any]:
    return {"scaler": None, "scaledObject": None, "quotas": [], "nodes": [node()], "pods": [], **more}


KEDA_METADATA = {
    "name": "k",
    "namespace": "shop",
    "uid": "k",
    "labels": {"scaledobject.keda.sh/name": "api"},
}


def kept_by_keda(
    annotations: Mapping[str, str] | None = None, going: str | None = None, **spec: Any
) -> dict[str, Any]:
    """An autoscaler of KEDA's with its ScaledObject; None takes a field away."""
    metadata = {"name": "api", "namespace": "shop", "uid": "s", "annotations": annotations or {}}
    if going is not None:
        metadata["deletionTimestamp"] = going
    usual = {"scaleTargetRef": {"name": "api"}, "maxReplicaCount": 12}
    said = {name: value for name, value in {**usual, **spec}.items() if value is not None}
    return {
        "scaler": {**scaler(), "metadata": KEDA_METADATA},
        "scaledObject": {"metadata": metadata, "spec": said},
    }


SCALES: dict[str, tuple[dict[str, Any], dict[str, Any], Any]] = {
    "more": ({}, {"replicas": 10}, ("/spec/replicas", 6, 10)),
    "never fewer": (
        {"deployment": deployment(replicas=20)},
        {"replicas": 10},
        "it has 20 replicas already; 10 would not be more",
    ),
    "as many": ({}, {"replicas": 6}, "it has 6 replicas already"),
    "switched off": ({"deployment": deployment(replicas=0)}, {"replicas": 10}, "scaled to zero"),
    "an autoscaler": ({"scaler": scaler()}, {"replicas": 10}, ("/spec/minReplicas", 4, 10)),
    "an autoscaler without a floor": (
        {"scaler": scaler(minReplicas=None)},
        {"replicas": 10},
        ("/spec/minReplicas", None, 10),
    ),
    "an autoscaler with a lower ceiling": (
        {"scaler": scaler(maxReplicas=8)},
        {"replicas": 10},
        ("/spec/minReplicas", 4, 8),
    ),
    "an autoscaler at its ceiling": (
        {"scaler": scaler(maxReplicas=6)},
        {"replicas": 10},
        "its autoscaler may go to 6",
    ),
    "its floor is there already": (
        {"scaler": scaler(minReplicas=10)},
        {"replicas": 10},
        "the autoscaler's floor is 10 already",
    ),
    "KEDA": (kept_by_keda(minReplicaCount=4), {"replicas": 10}, ("/spec/minReplicaCount", 4, 10)),
    "KEDA without a floor": (kept_by_keda(), {"replicas": 10}, ("/spec/minReplicaCount", None, 10)),
    "KEDA without a ceiling stops at 100": (
        kept_by_keda(maxReplicaCount=None),
        {"replicas": 200, "room": "autoscaled"},
        ("/spec/minReplicaCount", None, 100),
    ),
    "KEDA with a lower ceiling": (
        kept_by_keda(maxReplicaCount=8),
        {"replicas": 10},
        ("/spec/minReplicaCount", None, 8),
    ),
    "KEDA at its ceiling": (kept_by_keda(maxReplicaCount=6), {"replicas": 10}, "its autoscaler may go to 6"),
    "KEDA, and its floor is there already": (
        kept_by_keda(minReplicaCount=10),
        {"replicas": 10},
        "the autoscaler's floor is 10 already",
    ),
    "KEDA, paused": (
        kept_by_keda(annotations={"autoscaling.keda.sh/paused": "true"}),
        {"replicas": 10},
        "KEDA ScaledObject api is paused (autoscaling.keda.sh/paused)",
    ),
    "KEDA, paused in other words": (
        kept_by_keda(annotations={"autoscaling.keda.sh/paused": "yes, until Monday"}),
        {"replicas": 10},
        "is paused (autoscaling.keda.sh/paused)",
    ),
    "KEDA, no longer paused": (
        kept_by_keda(annotations={"autoscaling.keda.sh/paused": "False"}),
        {"replicas": 10},
        ("/spec/minReplicaCount", None, 10),
    ),
    "KEDA, paused at a number": (
        kept_by_keda(annotations={"autoscaling.keda.sh/paused-replicas": "0"}),
        {"replicas": 10},
        "is paused (autoscaling.keda.sh/paused-replicas)",
    ),
    "KEDA, paused upwards": (
        kept_by_keda(annotations={"autoscaling.keda.sh/paused-scale-out": "true"}),
        {"replicas": 10},
        "is paused (autoscaling.keda.sh/paused-scale-out)",
    ),
    "KEDA, paused downwards": (
        kept_by_keda(annotations={"autoscaling.keda.sh/paused-scale-in": "true"}),
        {"replicas": 10},
        ("/spec/minReplicaCount", None, 10),
    ),
    "KEDA, paused, which takes its autoscaler away": (
        {**kept_by_keda(annotations={"autoscaling.keda.sh/paused": "true"}), "scaler": None},
        {"replicas": 10},
        "KEDA ScaledObject api is paused (autoscaling.keda.sh/paused)",
    ),
    "KEDA, without an autoscaler": (
        {**kept_by_keda(), "scaler": None},
        {"replicas": 10},
        "KEDA ScaledObject api keeps no autoscaler of it now",
    ),
    "KEDA, going away": (
        kept_by_keda(going="2026-03-02T03:00:00Z"),
        {"replicas": 10},
        "is being deleted",
    ),
    "KEDA, idle": (
        kept_by_keda(idleReplicaCount=6, minReplicaCount=7),
        {"replicas": 10},
        "keeps 6 replicas while none of its triggers is active",
    ),
    "KEDA, not idle": (
        kept_by_keda(idleReplicaCount=1, minReplicaCount=2),
        {"replicas": 10},
        ("/spec/minReplicaCount", 2, 10),
    ),
    "KEDA, but nothing of that name": (
        {**kept_by_keda(), "scaledObject": None},
        {"replicas": 10},
        "there is none of that name",
    ),
    "KEDA, but for something else": (
        kept_by_keda(scaleTargetRef={"name": "other"}),
        {"replicas": 10},
        "scales something else",
    ),
    "KEDA, and scaled to zero": (
        {**kept_by_keda(), "deployment": deployment(replicas=0)},
        {"replicas": 10},
        "somebody switched it off or KEDA saw nothing for it to do",
    ),
    "no room": (
        {"nodes": [node(cpu="1", memory="1Gi")]},
        {"replicas": 10},
        "the nodes have room for 2 of 4 pods more, each of which asks for 0.5 cores, 512Mi memory",
    ),
    "a cordoned node has none": (
        {"nodes": [node(unschedulable=True)]},
        {"replicas": 10},
        "the nodes have room for 0 of 4 pods more",
    ),
    "a node of which nobody knows how large it is": (
        {"nodes": [node(cpu="much")]},
        {"replicas": 10},
        "whether the nodes have room cannot be told: 'much' is no quantity",
    ),
    "a node that is written with an exponent": (
        {"nodes": [node(cpu="8e0", memory="32e9")]},
        {"replicas": 10},
        None,
    ),
    "a quota that cannot be read": (
        {"quotas": [quota({"pods": "some"}, {"pods": "6"})]},
        {"replicas": 10},
        "whether there is room for 4 pods more cannot be told: 'some' is no quantity",
    ),
    "nodes come by themselves": ({"nodes": []}, {"replicas": 10, "room": "autoscaled"}, None),
    "a quota": (
        {"quotas": [quota({"pods": "8"}, {"pods": "6"})]},
        {"replicas": 10},
        "ResourceQuota team allows pods 8, of which 6 is used",
    ),
    "too few connections of the database": (
        {"usage": {"used": 70, "usable": 97}},
        {"replicas": 10, "connection": "main", "connections_each": 8},
        "70 of 97 connections of main are in use; this would ask for 32, beside 70 of others",
    ),
    "just enough connections": (
        {"usage": {"used": 65, "usable": 97}},
        {"replicas": 10, "connection": "main", "connections_each": 8},
        None,
    ),
    "a quota with room": ({"quotas": [quota({"pods": "10"}, {"pods": "6"})]}, {"replicas": 10}, None),
}


@pytest.mark.parametrize(("state", "parameters", "expected"), SCALES.values(), ids=SCALES)
def test_scaling(state: dict[str, Any], parameters: dict[str, Any], expected: Any) -> None:
    world = {"deployment": deployment(), **room(), **state}
    if parameters.get("room") == "autoscaled":
        del world["nodes"]
    if world["scaler"] is not None:
        world["scaler"]["spec"] = {
            key: value for key, value in world["scaler"]["spec"].items() if value is not None
        }
    check(planned(Scale(DOOR, DOOR), world, parameters), expected)


def check(found: Any, expected: Any) -> None:
    if isinstance(expected, str):
        assert isinstance(found, NotApplicable), found
        assert expected in found.reason
    else:
        change = change_of(found)
        assert expected is None or (change.pointer, change.before, change.after) == expected


def test_the_ceiling_of_keda_goes_up_with_the_floor_where_the_policy_lets_it() -> None:
    world = {"deployment": deployment(), **room(**kept_by_keda(maxReplicaCount=8, minReplicaCount=4))}
    found = planned(Scale(DOOR, DOOR), world, {"replicas": 10, "raise_ceiling": True})
    assert isinstance(found, Draft)
    (step,) = found.steps
    assert step.target == ObjectRef("keda.sh/v1alpha1", "ScaledObject", "shop", "api", "s")
    assert [(one.pointer, one.before, one.after) for one in step.changes] == [
        ("/spec/minReplicaCount", 4, 10),
        ("/spec/maxReplicaCount", 8, 10),
    ]


def test_the_floor_of_keda_goes_back_while_it_is_paused_too() -> None:
    target = ObjectRef("keda.sh/v1alpha1", "ScaledObject", "shop", "api", "s")
    receipt = Receipt("i", target, (FieldChange("/spec/minReplicaCount", None, 10),), 2, NOW)
    kept = kept_by_keda(annotations={"autoscaling.keda.sh/paused": "true"}, minReplicaCount=10)
    world = {"deployment": deployment(), **room(**kept), "scaler": None}
    steps = Scale(DOOR, DOOR).undo_plan((receipt,), world)
    assert not isinstance(steps, NotApplicable), steps
    assert steps[0].changes == (FieldChange("/spec/minReplicaCount", 10, None),)


def test_replicas_that_keda_sets_by_now_are_not_put_back() -> None:
    target = ObjectRef("apps/v1", "Deployment", "shop", "api", "d")
    receipt = Receipt("i", target, (FieldChange("/spec/replicas", 4, 6),), 2, NOW)
    found = Scale(DOOR, DOOR).undo_plan((receipt,), {"deployment": deployment(), **room(**kept_by_keda())})
    assert found == NotApplicable("KEDA ScaledObject api sets the replicas now: nothing is to undo")


def test_the_ceiling_goes_up_with_the_floor_where_the_policy_lets_it() -> None:
    world = {"deployment": deployment(), **room(scaler=scaler(maxReplicas=8))}
    found = planned(Scale(DOOR, DOOR), world, {"replicas": 10, "raise_ceiling": True})
    assert isinstance(found, Draft)
    (step,) = found.steps
    assert [(one.pointer, one.before, one.after) for one in step.changes] == [
        ("/spec/minReplicas", 4, 10),
        ("/spec/maxReplicas", 8, 10),
    ]


ENV = "/spec/template/spec/containers/0/env"
ENVS: dict[str, tuple[dict[str, Any], dict[str, Any], Any]] = {
    "another value": (
        deployment(),
        {"names": ["DB_POOL_SIZE"], "value": "50"},
        (f"{ENV}/0", {"name": "DB_POOL_SIZE", "value": "20"}, {"name": "DB_POOL_SIZE", "value": "50"}),
    ),
    "the same value": (deployment(), {"names": ["DB_POOL_SIZE"], "value": "20"}, "it is 20 already"),
    "a name that nobody has": (
        deployment(),
        {"names": ["DB_POOLSIZE"], "value": "50"},
        "container api has no DB_POOLSIZE: setting it may do nothing",
    ),
    "of two names the one that is there": (
        deployment(),
        {"names": ["POOL", "DB_POOL_SIZE"], "value": "50"},
        (f"{ENV}/0", {"name": "DB_POOL_SIZE", "value": "20"}, {"name": "DB_POOL_SIZE", "value": "50"}),
    ),
    "added": (
        deployment(),
        {"names": ["NEW"], "value": "1", "add": True},
        (f"{ENV}/2", None, {"name": "NEW", "value": "1"}),
    ),
    "added to none": (
        with_container(env=None),
        {"names": ["NEW"], "value": "1", "add": True},
        (ENV, None, [{"name": "NEW", "value": "1"}]),
    ),
    "down, and it is": (
        deployment(),
        {"names": ["DB_POOL_SIZE"], "value": "10", "direction": "down"},
        None,
    ),
    "down, and it would go up": (
        deployment(),
        {"names": ["DB_POOL_SIZE"], "value": "50", "direction": "down"},
        "from 20 to 50 is not down",
    ),
    "a direction from what is no number": (
        with_container(env=[{"name": "DB_POOL_SIZE", "value": "many"}]),
        {"names": ["DB_POOL_SIZE"], "value": "50", "direction": "up"},
        "'many' is no number",
    ),
    "appended": (
        deployment(),
        {"names": ["DISABLE_AGENTS"], "value": "c", "mode": "append"},
        (
            f"{ENV}/1",
            {"name": "DISABLE_AGENTS", "value": "a, b"},
            {"name": "DISABLE_AGENTS", "value": "a,b,c"},
        ),
    ),
    "appended, and it is there": (
        deployment(),
        {"names": ["DISABLE_AGENTS"], "value": "b", "mode": "append"},
        "b is in the list already",
    ),
    "appended, and it is two": (
        deployment(),
        {"names": ["DISABLE_AGENTS"], "value": "c,d", "mode": "append"},
        "the value to append is no single plain entry",
    ),
    "from a ConfigMap": (
        with_container(env=[{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]),
        {"names": ["X"], "value": "1"},
        "X comes from elsewhere (configMapKeyRef): change it there",
    ),
    "two containers and none named": (
        deployment(
            template={"metadata": {}, "spec": {"containers": [{"name": "api"}, {"name": "proxy"}]}},
        ),
        {"names": ["X"], "value": "1"},
        "it has containers api, proxy: the policy must name one",
    ),
    "a container that is none": (
        deployment(),
        {"names": ["X"], "value": "1", "container": "proxy"},
        "it has no container proxy, only api",
    ),
    "paused": (deployment(paused=True), {"names": ["DB_POOL_SIZE"], "value": "50"}, "paused"),
}


@pytest.mark.parametrize(("found", "parameters", "expected"), ENVS.values(), ids=ENVS)
def test_setting_a_variable(found: dict[str, Any], parameters: dict[str, Any], expected: Any) -> None:
    found = copy.deepcopy(found)
    container = found["spec"]["template"]["spec"]["containers"][0]
    if container.get("env", ...) is None:
        del container["env"]
    check(planned(SetEnv(DOOR, DOOR), {"deployment": found}, parameters), expected)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        pytest.param({"names": ["API_KEY"], "value": "x"}, "looks like a secret", id="a secret"),
        pytest.param({"names": ["a b"], "value": "x"}, "is no name of a variable", id="no name"),
        pytest.param({"names": [], "value": "x"}, "at least 1 item", id="no names"),
        pytest.param({"names": ["X"], "value": ""}, "at least 1 character", id="no value"),
        pytest.param({"names": ["X"], "value": "70", "most": 60.0}, "above the bound of 60", id="too much"),
        pytest.param({"names": ["X"], "value": "7", "least": 10.0}, "below the bound of 10", id="too little"),
        pytest.param({"names": ["X"], "value": "a", "most": 60.0}, "is no number", id="no number"),
        pytest.param(
            {"names": ["X"], "value": "a", "mode": "append", "direction": "up"},
            "a list has no direction",
            id="a list with a direction",
        ),
        pytest.param({"names": ["X"], "value": 50}, "valid string", id="a number for a text"),
    ],
)
def test_what_a_policy_may_not_say_of_a_variable(parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SetEnv.spec.parameters.model_validate(parameters)


@pytest.mark.parametrize(
    ("used", "value", "reason"),
    [
        # Six pods hold 20 each now; while they are replaced there are eight, with 50 each.
        pytest.param(200, "50", "this would ask for 400, beside 80 of others", id="the playbook's number"),
        pytest.param(200, "25", None, id="it fits"),
        pytest.param(120, "35", None, id="exactly all of them"),
        pytest.param(121, "35", "this would ask for 280, beside 1 of others", id="one too many"),
        pytest.param(100, "many", "'many' is no size of a pool", id="no number"),
    ],
)
def test_a_pool_grows_only_where_the_server_has_room(used: int, value: str, reason: str | None) -> None:
    state = {"deployment": deployment(), "usage": {"used": used, "usable": 280}}
    asked = {"names": ["DB_POOL_SIZE"], "value": value, "connection": "main"}
    check(planned(SetEnv(DOOR, DOOR), state, asked), reason)


def test_undoing_a_variable_finds_it_where_it_stands_now() -> None:
    target = ObjectRef("apps/v1", "Deployment", "shop", "api", "d")
    change = FieldChange(f"{ENV}/0", {"name": "X", "value": "1"}, {"name": "X", "value": "2"})
    receipt = Receipt("i", target, (change,), 4, NOW)
    others = [{"name": "NEW", "value": "7"}, {"name": "X", "value": "2"}]
    (step,) = undone(receipt, with_container(env=others))
    assert step.changes == (FieldChange(f"{ENV}/1", change.after, change.before),)


def test_undoing_an_added_variable_takes_it_away_and_the_list_if_it_was_alone() -> None:
    target = ObjectRef("apps/v1", "Deployment", "shop", "api", "d")
    added = {"name": "X", "value": "2"}
    receipt = Receipt("i", target, (FieldChange(f"{ENV}/2", None, added),), 4, NOW)
    (step,) = undone(receipt, with_container(env=[added, {"name": "Y", "value": "1"}]))
    assert step.changes == (FieldChange(f"{ENV}/0", added, None),)
    alone = Receipt("i", target, (FieldChange(ENV, None, [added]),), 4, NOW)
    (step,) = undone(alone, with_container(env=[added]))
    assert step.changes == (FieldChange(ENV, [added], None),)


def undone(receipt: Receipt, found: dict[str, Any]) -> tuple[PatchStep, ...]:
    steps = SetEnv(DOOR, DOOR).undo_plan((receipt,), {"deployment": found})
    assert not isinstance(steps, NotApplicable), steps
    assert all(isinstance(step, PatchStep) for step in steps)
    return steps  # type: ignore[return-value]


RESOURCES = "/spec/template/spec/containers/0/resources"
MORE: dict[str, tuple[dict[str, Any], dict[str, Any], Any]] = {
    "an amount that cannot be read": (
        {"deployment": with_container(resources={"limits": {"memory": "lots"}})},
        {"memory_limit": "4Gi"},
        "what it has, or what is left, cannot be told: 'lots' is no quantity",
    ),
    "more memory": (
        {},
        {"memory_limit": "4Gi", "memory_request": "2Gi"},
        {"limits": {"memory": "4Gi", "cpu": "1"}, "requests": {"memory": "2Gi", "cpu": "500m"}},
    ),
    "as an API server spells it": (
        {"nodes": [node(memory="9Ti")]},
        {"memory_limit": "1024Gi", "memory_request": "1024Mi", "cpu_limit": "1.5", "cpu_request": "1000m"},
        {"limits": {"memory": "1Ti", "cpu": "1500m"}, "requests": {"memory": "1Gi", "cpu": "1"}},
    ),
    "as much in another spelling": ({}, {"memory_limit": "1024Mi"}, "it has as much already"),
    "less": ({}, {"memory_limit": "512Mi"}, "limits.memory is 1Gi; 512Mi would be less"),
    "as much": ({}, {"memory_limit": "1Gi"}, "it has as much already"),
    "a request above the limit that stays": (
        {},
        {"memory_request": "2Gi"},
        "the request of 2Gi memory would be more than the limit of 1Gi",
    ),
    "more than any node has": (
        {"nodes": [node(memory="3Gi"), node("m", memory="3Gi")]},
        {"memory_limit": "4Gi", "memory_request": "4Gi"},
        "no node has room for a pod that asks for 0.5 cores, 4Gi memory",
    ),
    "more than all have together": (
        {"nodes": [node(memory="5Gi")]},
        {"memory_limit": "4Gi", "memory_request": "2Gi"},
        "the nodes have 8 cores, 5Gi memory left, and 6 pods would ask for 0 cores, 9Gi memory more",
    ),
    "a quota": (
        {"quotas": [quota({"requests.memory": "8Gi"}, {"requests.memory": "3Gi"})]},
        {"memory_limit": "4Gi", "memory_request": "2Gi"},
        "ResourceQuota team allows requests.memory 8Gi, of which 3Gi is used",
    ),
}


@pytest.mark.parametrize(("state", "parameters", "expected"), MORE.values(), ids=MORE)
def test_more_resources(state: dict[str, Any], parameters: dict[str, Any], expected: Any) -> None:
    world = {"deployment": deployment(), **room(), **state}
    found = planned(SetResources(DOOR), world, {"container": "api", **parameters})
    if isinstance(expected, str):
        check(found, expected)
    else:
        change = change_of(found)
        assert (change.pointer, change.after) == (RESOURCES, expected)


def replica_set(*, age: timedelta, uid: str = "r") -> dict[str, Any]:
    made = (NOW - age).isoformat().replace("+00:00", "Z")
    template = copy.deepcopy(deployment()["spec"]["template"])
    template["metadata"]["labels"]["pod-template-hash"] = "h"
    return {
        "metadata": {
            "name": "api-h",
            "uid": uid,
            "creationTimestamp": made,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "labels": {"pod-template-hash": "h"},
            "ownerReferences": [{"uid": "d", "kind": "Deployment", "name": "api", "controller": True}],
        },
        "spec": {"template": template, "replicas": 6},
        "status": {"readyReplicas": 6},
    }


RESTARTS: dict[str, tuple[dict[str, Any], timedelta, dict[str, Any], str | None]] = {
    "long ago": (deployment(), timedelta(hours=5), {}, None),
    "not long ago": (deployment(), timedelta(minutes=12), {}, "its pods were replaced 12 min ago"),
    "as the policy allows": (deployment(), timedelta(minutes=12), {"not_within_minutes": 10}, None),
    "one replica": (deployment(replicas=1), timedelta(hours=5), {}, "it has 1 replicas; the policy wants 2"),
    "paused": (deployment(paused=True), timedelta(hours=5), {}, "paused"),
}


@pytest.mark.parametrize(("found", "age", "parameters", "reason"), RESTARTS.values(), ids=RESTARTS)
def test_restarting(
    found: dict[str, Any], age: timedelta, parameters: dict[str, Any], reason: str | None
) -> None:
    state = {"deployment": found, "replicaSets": [replica_set(age=age)]}
    check(planned(Restart(DOOR), state, parameters), reason)


def test_a_restart_that_is_planned_again_later_is_the_same_one() -> None:
    state = {"deployment": deployment(), "replicaSets": [replica_set(age=timedelta(hours=5))]}
    later = NOW + timedelta(minutes=10)
    first = Restart(DOOR).plan(state, {}, EVIDENCE, now=NOW)
    second = Restart(DOOR).plan(state, {}, EVIDENCE, now=later)
    assert change_of(first) == change_of(second)


def pod(**changes: Any) -> dict[str, Any]:
    metadata = {
        "name": "api-h-1",
        "namespace": "shop",
        "uid": "p",
        "creationTimestamp": "2026-03-02T01:00:00Z",
        "labels": {"app": "api"},
        "ownerReferences": [{"uid": "r", "kind": "ReplicaSet", "name": "api-h", "controller": True}],
    }
    return {"metadata": {**metadata, **changes}, "spec": {}, "status": {}}


EVICTIONS: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str | None]] = {
    "one of six": (deployment(), pod(), None),
    "it is not there": (deployment(), None, "there is no pod api-h-1"),
    "it is somebody else's": (deployment(), pod(ownerReferences=[]), "does not belong to api"),
    "it is evidence": (deployment(), pod(labels={"stanch.dev/quarantine": "7"}), "quarantined"),
    "it is leaving": (deployment(), pod(deletionTimestamp="2026-03-02T02:59:00Z"), "leaving already"),
    "it has just started": (
        deployment(),
        pod(creationTimestamp="2026-03-02T02:58:00Z"),
        "run for 2 min only",
    ),
    "it is the only one": (deployment(replicas=1), pod(), "the only replica"),
}


@pytest.mark.parametrize(("found", "one", "reason"), EVICTIONS.values(), ids=EVICTIONS)
def test_evicting(found: dict[str, Any], one: dict[str, Any] | None, reason: str | None) -> None:
    state = {"deployment": found, "replicaSets": [replica_set(age=timedelta(hours=5))], "pod": one}
    answer = planned(Evict(DOOR), state, {"pod": "api-h-1"})
    if reason is not None:
        check(answer, reason)
    else:
        assert isinstance(answer, Draft)
        assert answer.steps[0].target == ObjectRef("v1", "Pod", "shop", "api-h-1", "p")


CORDON = Cordon(DOOR)
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
MASTER = "node-role.kubernetes.io/master"


def cluster_node(name: str, *, ready: str = "True", disk: str = "False", **spec: Any) -> dict[str, Any]:
    found = node(name, **spec)
    found["metadata"] |= {"uid": f"uid-{name}", "labels": {}}
    conditions = [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": disk}]
    found["status"]["conditions"] = conditions
    return found


def around(sick: dict[str, Any] | None, *others: dict[str, Any], pods: int = 2) -> dict[str, Any]:
    """A Deployment with so many pods on the node that is to be cordoned, and the nodes of the cluster."""
    return {
        "deployment": deployment(),
        "node": sick,
        "pods": [{"metadata": {"name": f"api-{number}"}} for number in range(pods)],
        "nodes": [*([] if sick is None else [sick]), *others],
    }


WELL, ALSO_WELL = cluster_node("b"), cluster_node("c")
NO_SCHEDULE = [{"key": "gpu", "effect": "NoSchedule"}]
EXPRESSIONS = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
TOO_FEW = "1 other nodes take pods; the policy wants 2 left"


def labelled(key: str) -> dict[str, Any]:
    found = cluster_node("a")
    found["metadata"]["labels"] = {key: ""}
    return found


def of_control_plane_by_taint() -> dict[str, Any]:
    return cluster_node("a", taints=[{"key": CONTROL_PLANE, "effect": "NoSchedule"}])


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({**around(WELL), "deployment": None}, "there is no such Deployment"),
        (around(None, WELL, ALSO_WELL), "there is no node a"),
        (
            {**around(cluster_node("a"), WELL, ALSO_WELL), "deployment": deployment(selector=EXPRESSIONS)},
            "which pods are of Deployment shop/api is not known: it selects by expressions",
        ),
        (around(cluster_node("a"), WELL, ALSO_WELL, pods=0), "no pod of Deployment shop/api runs on Node a"),
        (around(cluster_node("a", unschedulable=True), WELL, ALSO_WELL), "node a is cordoned already"),
        (around(labelled(CONTROL_PLANE), WELL, ALSO_WELL), "node a is of the control plane"),
        (around(labelled(MASTER), WELL, ALSO_WELL), "node a is of the control plane"),
        (around(of_control_plane_by_taint(), WELL, ALSO_WELL), "node a is of the control plane"),
        (around(cluster_node("a")), "0 other nodes take pods; the policy wants 2 left"),
        (around(cluster_node("a"), WELL), TOO_FEW),
        (around(cluster_node("a", ready="False"), WELL), TOO_FEW),
        (around(cluster_node("a"), WELL, cluster_node("c", ready="Unknown")), TOO_FEW),
        (around(cluster_node("a"), WELL, cluster_node("c", unschedulable=True)), TOO_FEW),
        (around(cluster_node("a"), WELL, cluster_node("c", taints=NO_SCHEDULE)), TOO_FEW),
    ],
    ids=[
        "no Deployment",
        "no node",
        "whose pods",
        "none of its pods",
        "cordoned already",
        "control plane",
        "master",
        "control plane by taint",
        "the last one",
        "too few",
        "too few, and it is sick",
        "the other is not heard of",
        "the other is cordoned",
        "the other is tainted",
    ],
)
def test_what_is_never_cordoned(state: dict[str, Any], reason: str) -> None:
    assert planned(CORDON, state, {"node": "a"}) == NotApplicable(reason)


@pytest.mark.parametrize(
    ("sick", "why"),
    [
        (cluster_node("a"), "the node itself says that it is well"),
        (cluster_node("a", ready="False", disk="True"), "of the node, DiskPressure is True, Ready is False"),
        (cluster_node("a", ready="Unknown"), "of the node, Ready is Unknown"),
        (cluster_node("a", taints=NO_SCHEDULE), "the node itself says that it is well"),
    ],
    ids=["well", "short of disk and not ready", "not heard of", "tainted"],
)
def test_a_node_of_the_workload_is_cordoned_and_nothing_else_is_touched(
    sick: dict[str, Any], why: str
) -> None:
    found = planned(CORDON, around(sick, WELL, ALSO_WELL), {"node": "a"})
    assert change_of(found) == FieldChange("/spec/unschedulable", None, True)
    assert found.steps[0].target == ObjectRef("v1", "Node", "", "a", "uid-a")
    assert found.target.kind == "Deployment"
    assert found.why == why
    assert "no pod is ended or moved; new ones go to the 2 other nodes" in found.blast_radius


def test_how_many_others_must_be_left_is_for_the_policy_to_say() -> None:
    state = around(cluster_node("a"), WELL)
    assert isinstance(planned(CORDON, state, {"node": "a", "keep": 1}), Draft)
    assert isinstance(planned(CORDON, around(cluster_node("a")), {"node": "a", "keep": 1}), NotApplicable)


def managed(*managers: str, **spec: Any) -> dict[str, Any]:
    found = cluster_node("a", **{"unschedulable": True, **spec})
    fields: dict[str, Any] = {"f:spec": {"f:unschedulable": {}}}
    found["metadata"]["managedFields"] = [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}] + [
        {"manager": manager, "fieldsV1": fields} for manager in managers
    ]
    return found


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        (None, "is gone"),
        (cluster_node("a") | {"metadata": {"name": "a", "uid": "new"}}, "another Node of that name"),
        (managed(unschedulable=None), "somebody changed /spec/unschedulable since; it is left as it is"),
        (managed("kubectl-cordon"), "another manager has set it anew"),
        (managed("kubectl-cordon", "stanch"), "another manager has set it anew"),
        (managed(), "another manager has set it anew"),
    ],
    ids=["gone", "another", "uncordoned", "cordoned anew", "by both", "by nobody knows whom"],
)
def test_a_node_is_uncordoned_only_where_it_is_our_word(present: Any, reason: str) -> None:
    draft = planned(CORDON, around(cluster_node("a"), WELL, ALSO_WELL), {"node": "a"})
    receipt = Receipt("i", draft.steps[0].target, draft.steps[0].changes, None, NOW)
    found = CORDON.undo_plan((receipt,), {"node": present})
    assert isinstance(found, NotApplicable)
    assert reason in found.reason
    back = CORDON.undo_plan((receipt,), {"node": managed("stanch")})
    assert isinstance(back, tuple)
    assert back[0].changes == (FieldChange("/spec/unschedulable", True, None),)
    assert isinstance(CORDON.undo_plan((), {"node": managed("stanch")}), NotApplicable)
