"""The client library that Stanch speaks through understands every answer of the small API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from kubernetes_asyncio import client as kubernetes
from kubernetes_asyncio import watch

from receiver.demo.kubernetes import ApiServer, JsonObject

Manifest = Callable[..., JsonObject]


@pytest.fixture
async def library(api: ApiServer, manifest: Manifest) -> AsyncIterator[Any]:
    api.rollout(manifest("v1"), ago=timedelta(hours=2))
    api.rollout(manifest("v2"), ago=timedelta(hours=1))
    async with kubernetes.ApiClient(kubernetes.Configuration(host=api.url)) as library:
        yield library


async def test_a_pinned_json_patch_rolls_back(api: ApiServer, library: Any) -> None:
    apps = kubernetes.AppsV1Api(library)
    read = await apps.read_namespaced_deployment("api", "shop")
    sets = await apps.list_namespaced_replica_set("shop", label_selector="app=api")
    good = next(s for s in sets.items if s.spec.template.spec.containers[0].image == "shop/api:v1")
    template = library.sanitize_for_serialization(good.spec.template)
    del template["metadata"]["labels"]["pod-template-hash"]
    patch = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": read.metadata.resource_version},
        {"op": "replace", "path": "/metadata/uid", "value": read.metadata.uid},
        {"op": "add", "path": "/metadata/annotations/stanch.dev~1plan", "value": "P-1"},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]
    await apps.patch_namespaced_deployment("api", "shop", patch)
    after = await apps.read_namespaced_replica_set(good.metadata.name, "shop")
    assert after.metadata.uid == good.metadata.uid
    assert after.metadata.annotations["deployment.kubernetes.io/revision"] == "3"
    assert after.metadata.annotations["stanch.dev/plan"] == "P-1"
    with pytest.raises(kubernetes.ApiException) as raised:
        await apps.patch_namespaced_deployment("api", "shop", patch)
    assert raised.value.status == 409


async def test_a_plain_map_is_a_strategic_merge(api: ApiServer, library: Any) -> None:
    container = {"name": "api", "env": [{"name": "BREAKER", "value": "on"}]}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    apps = kubernetes.AppsV1Api(library)
    patched = await apps.patch_namespaced_deployment("api", "shop", body, dry_run="All")
    assert [each.name for each in patched.spec.template.spec.containers] == ["api", "sidecar"]
    assert api.writes == []


async def test_pods_logs_events_and_reviews_are_understood(api: ApiServer, library: Any) -> None:
    core = kubernetes.CoreV1Api(library)
    pods = await core.list_namespaced_pod("shop", label_selector="app=api")
    name = pods.items[0].metadata.name
    assert (await core.read_namespaced_pod_log(name, "shop", container="api", tail_lines=1)).count("\n") == 1
    events = await core.list_namespaced_event("shop", field_selector="involvedObject.kind=Deployment")
    assert {event.reason for event in events.items} == {"ScalingReplicaSet"}
    attributes = kubernetes.V1ResourceAttributes(group="apps", resource="deployments", verb="patch")
    spec = kubernetes.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    review = kubernetes.V1SelfSubjectAccessReview(spec=spec)
    answer = await kubernetes.AuthorizationV1Api(library).create_self_subject_access_review(review)
    assert answer.status.allowed is True


async def test_a_watch_of_the_library_sees_the_world(api: ApiServer, library: Any) -> None:
    apps = kubernetes.AppsV1Api(library)
    async with watch.Watch() as watching:
        async for event in watching.stream(apps.list_namespaced_deployment, "shop"):
            assert (event["type"], event["object"].metadata.name) == ("ADDED", "api")
            break
