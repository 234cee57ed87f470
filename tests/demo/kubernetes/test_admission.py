"""Admission policies are stored like others and hold for whoever writes over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from receiver.demo.kubernetes import ApiServer, JsonObject

Manifest = Callable[..., JsonObject]
PODS = "/api/v1/namespaces/shop/pods"
ROOT = "/apis/admissionregistration.k8s.io/v1"
KEPT = "has(oldObject.metadata.labels) && 'kept' in oldObject.metadata.labels"


@pytest.fixture(autouse=True)
def deployment(api: ApiServer, manifest: Manifest) -> None:
    api.rollout(manifest("v1"), ago=timedelta(hours=1))


def a_policy(expression: str, *operations: str, resources: tuple[str, ...] = ("pods",), **spec: Any) -> Any:
    rule = {
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "operations": [*operations],
        "resources": [*resources],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "keep"},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression, "message": "it is kept"}],
            **spec,
        },
    }


def a_binding(**spec: Any) -> JsonObject:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "bound"},
        "spec": {"policyName": "keep", "validationActions": ["Deny"], **spec},
    }


def a_pod(api: ApiServer, *, kept: bool = False) -> str:
    name = min(pod["metadata"]["name"] for pod in api.find("pods", "shop"))
    if kept:
        api.change("pods", "shop", name, {"metadata": {"labels": {"kept": "yes"}}})
    return str(name)


DENIED = "ValidatingAdmissionPolicy 'keep' with binding 'bound' denied request: it is kept"


async def test_it_is_stored_over_http_and_holds_from_its_binding_on(api: ApiServer, client: Any) -> None:
    name = a_pod(api, kept=True)
    status, _ = await client("POST", f"{ROOT}/validatingadmissionpolicies", a_policy(f"!({KEPT})", "DELETE"))
    assert status == 201
    assert (await client("DELETE", f"{PODS}/{name}?dryRun=All"))[0] == 200
    status, _ = await client("POST", f"{ROOT}/validatingadmissionpolicybindings", a_binding())
    assert status == 201
    status, refused = await client("DELETE", f"{PODS}/{name}")
    assert (status, refused["reason"]) == (422, "Invalid")
    assert refused["message"] == f'pods "{name}" is forbidden: {DENIED}'
    assert (await client("DELETE", f"{ROOT}/validatingadmissionpolicybindings/bound"))[0] == 200
    assert (await client("DELETE", f"{PODS}/{name}"))[0] == 200


async def test_a_reason_of_its_own_changes_the_status(api: ApiServer, client: Any) -> None:
    check = {"expression": "false", "message": "it is kept", "reason": "Forbidden"}
    api.load([a_policy("", "DELETE", validations=[check]), a_binding()])
    status, refused = await client("DELETE", f"{PODS}/{a_pod(api)}")
    assert (status, refused["reason"], refused["code"]) == (403, "Forbidden", 403)


@pytest.mark.parametrize("dry_run", ["", "?dryRun=All"], ids=["really", "dry run"])
async def test_every_verb_is_held_to_it_in_a_dry_run_too(api: ApiServer, client: Any, dry_run: str) -> None:
    name = a_pod(api)
    whole = api.get("pods", "shop", name)
    api.load([a_policy("false", "*", resources=("pods", "pods/eviction")), a_binding()])
    before = api.store.version
    tried = [
        await client("POST", f"{PODS}{dry_run}", {**whole, "metadata": {"name": "new"}}),
        await client("PUT", f"{PODS}/{name}{dry_run}", whole),
        await client.patch(f"{PODS}/{name}{dry_run}", {"metadata": {"labels": {"a": "b"}}}),
        await client("DELETE", f"{PODS}/{name}{dry_run}"),
        await client("DELETE", f"{PODS}{dry_run}"),
        await client("POST", f"{PODS}/{name}/eviction{dry_run}", {"metadata": {"name": name}}),
    ]
    assert [status for status, _ in tried] == [422] * 6
    assert all(DENIED in body["message"] for _, body in tried)
    assert api.store.version == before


async def test_a_patch_is_judged_by_what_it_makes_of_the_object(api: ApiServer, client: Any) -> None:
    name = a_pod(api)
    api.load([a_policy("object.spec == oldObject.spec", "UPDATE"), a_binding()])
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "other:1"}]
    label = {"metadata": {"labels": {"a": "b"}}}
    assert (await client.patch(f"{PODS}/{name}", image))[0] == 422
    assert (await client.patch(f"{PODS}/{name}", label))[0] == 200


async def test_a_scale_is_what_is_seen_of_a_scaled_workload(api: ApiServer, client: Any) -> None:
    allowed = "object.kind == 'Scale' && object.spec.replicas > oldObject.spec.replicas"
    api.load([a_policy(allowed, "UPDATE", resources=("deployments/scale",)), a_binding()])
    path = "/apis/apps/v1/namespaces/shop/deployments/api"
    assert (await client.patch(f"{path}/scale", {"spec": {"replicas": 2}}))[0] == 422
    assert (await client.patch(f"{path}/scale", {"spec": {"replicas": 4}}))[0] == 200
    assert (await client.patch(path, {"spec": {"replicas": 2}}))[0] == 200


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        pytest.param("request.userInfo.username == 'somebody'", 200, id="it is about others"),
        pytest.param("request.operation == 'DELETE' && request.namespace == 'shop'", 422, id="about this"),
        pytest.param("has(request.subResource)", 200, id="about subresources"),
        pytest.param("object == null", 422, id="a null can be asked for"),
        pytest.param("request.nothing == 'x'", 422, id="it cannot be told"),
    ],
)
async def test_conditions_say_whom_it_is_about(
    api: ApiServer, client: Any, condition: str, status: int
) -> None:
    conditions = [{"name": "about", "expression": condition}]
    api.load([a_policy("false", "DELETE", matchConditions=conditions), a_binding()])
    assert (await client("DELETE", f"{PODS}/{a_pod(api)}"))[0] == status


@pytest.mark.parametrize(("policy", "status"), [("Fail", 422), ("Ignore", 200)])
async def test_what_cannot_be_told_is_refused_unless_it_is_to_be_ignored(
    api: ApiServer, client: Any, policy: str, status: int
) -> None:
    api.load([a_policy("oldObject.spec.nothing == 1", "DELETE", failurePolicy=policy), a_binding()])
    answered, body = await client("DELETE", f"{PODS}/{a_pod(api)}")
    assert answered == status
    if status == 422:
        assert "expression 'oldObject.spec.nothing == 1' resulted in error" in body["message"]


async def test_it_is_asked_once_for_each_object_that_the_binding_selects(api: ApiServer, client: Any) -> None:
    names = sorted(pod["metadata"]["name"] for pod in api.find("pods", "shop"))
    named = a_policy(
        "request.name != params.metadata.name",
        "CREATE",
        resources=("pods/eviction",),
        paramKind={"apiVersion": "v1", "kind": "Pod"},
    )
    selected = {"selector": {"matchLabels": {"kept": "yes"}}, "parameterNotFoundAction": "Allow"}
    api.load([named, a_binding(paramRef=selected)])

    async def evicted(name: str) -> int:
        body = {"metadata": {"name": name}}
        status, _ = await client("POST", f"{PODS}/{name}/eviction?dryRun=All", body)
        return int(status)

    assert await evicted(names[0]) == 201
    for name in names[:2]:
        api.change("pods", "shop", name, {"metadata": {"labels": {"kept": "yes"}}})
    assert [await evicted(name) for name in names] == [422, 422, 201]


async def test_controllers_go_on_and_what_may_not_be_done_anyway_is_said_first(
    api: ApiServer, client: Any
) -> None:
    api.load([a_policy("false", "*", resources=("*", "*/*")), a_binding()])
    api.change("deployments", "shop", "api", {"spec": {"replicas": 5}})
    api.reconcile()
    assert len(api.find("pods", "shop")) == 5
    api.access.forbidden.add(("delete", "pods"))
    status, body = await client("DELETE", f"{PODS}/{a_pod(api)}")
    assert (status, "cannot delete resource" in body["message"]) == (403, True)


async def test_a_policy_cannot_lock_itself_in(api: ApiServer, client: Any) -> None:
    api.load([a_policy("false", "*", resources=("*/*",)), a_binding()])
    assert (await client("DELETE", f"{ROOT}/validatingadmissionpolicies/keep"))[0] == 200
