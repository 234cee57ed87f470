"""What a client may rely on when it writes: versions, conflicts, dry runs, refusals."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from receiver.demo.kubernetes import ApiServer, JsonObject, SteppedClock, User

Manifest = Callable[..., JsonObject]
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/api"


@pytest.fixture(autouse=True)
def deployment(api: ApiServer, manifest: Manifest) -> None:
    api.rollout(manifest("v1"), ago=timedelta(hours=1))


def stored(api: ApiServer) -> JsonObject:
    return api.get("deployments", "shop", "api")


def pinned(obj: JsonObject, *rest: JsonObject) -> list[JsonObject]:
    """A JSON patch that holds only for the object and the version that were read."""
    keys = ("resourceVersion", "uid")
    pins = [{"op": "replace", "path": f"/metadata/{k}", "value": obj["metadata"][k]} for k in keys]
    return [*pins, *rest]


SCALE_TO_4 = {"op": "replace", "path": "/spec/replicas", "value": 4}


async def test_a_dry_run_shows_the_result_and_writes_nothing(api: ApiServer, client: Any) -> None:
    before, version = stored(api), api.store.version
    status, shown = await client.patch(f"{DEPLOYMENT}?dryRun=All", pinned(before, SCALE_TO_4))
    assert (status, shown["spec"]["replicas"]) == (200, 4)
    assert shown["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert (stored(api), api.store.version, api.writes) == (before, version, [])


async def test_amounts_are_spelled_back_in_one_way(api: ApiServer, client: Any) -> None:
    limits = {"limits": {"memory": "1024Gi", "cpu": "0.5"}}
    path = "/spec/template/spec/containers/0/resources"
    patch = pinned(stored(api), {"op": "add", "path": path, "value": limits})
    status, shown = await client.patch(f"{DEPLOYMENT}?dryRun=All", patch)
    container = shown["spec"]["template"]["spec"]["containers"][0]
    assert (status, container["resources"]["limits"]) == (200, {"memory": "1Ti", "cpu": "500m"})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "configmaps", {"metadata": {"name": "c"}}, id="create"),
        pytest.param("DELETE", "pods", None, id="delete many"),
    ],
)
async def test_every_verb_has_a_dry_run(
    api: ApiServer, client: Any, method: str, path: str, body: JsonObject | None
) -> None:
    version = api.store.version
    status, _ = await client(method, f"/api/v1/namespaces/shop/{path}?dryRun=All", body)
    assert status in (200, 201)
    assert (api.store.version, api.writes) == (version, [])


async def test_of_twenty_patches_pinned_to_one_version_one_wins(api: ApiServer, client: Any) -> None:
    patch = pinned(stored(api), SCALE_TO_4)
    answers = await asyncio.gather(*(client.patch(DEPLOYMENT, patch) for _ in range(20)))
    assert Counter(status for status, _ in answers) == {200: 1, 409: 19}
    [write] = api.writes
    assert write.applied and write.applied.name == "api"


async def test_a_status_write_moves_the_version_but_not_the_generation(api: ApiServer, client: Any) -> None:
    before = stored(api)["metadata"]
    api.touch("deployments", "shop", "api")
    after = stored(api)["metadata"]
    assert after["resourceVersion"] != before["resourceVersion"]
    assert after["generation"] == before["generation"]
    status, _ = await client.patch(DEPLOYMENT, pinned({"metadata": before}, SCALE_TO_4))
    assert status == 409


async def test_a_patch_without_effect_is_no_write(api: ApiServer, client: Any) -> None:
    before = stored(api)
    status, body = await client.patch(DEPLOYMENT, {"spec": {"replicas": 3}})
    assert (status, body, api.writes) == (200, before, [])


async def test_a_pinned_patch_of_another_object_of_that_name_is_invalid(api: ApiServer, client: Any) -> None:
    other = {"metadata": {**stored(api)["metadata"], "uid": "another"}}
    status, body = await client.patch(DEPLOYMENT, pinned(other, SCALE_TO_4))
    assert (status, body["details"]["causes"][0]["field"]) == (422, "metadata.uid")


async def test_an_annotation_cannot_be_added_where_there_are_none(api: ApiServer, client: Any) -> None:
    [pod, *_] = api.find("pods", "shop")
    path = f"/api/v1/namespaces/shop/pods/{pod['metadata']['name']}"
    one = {"op": "add", "path": "/metadata/annotations/stanch.dev~1plan", "value": "P-1"}
    assert (await client.patch(path, [one]))[0] == 422
    whole = {"op": "add", "path": "/metadata/annotations", "value": {"stanch.dev/plan": "P-1"}}
    assert (await client.patch(path, [whole]))[0] == 200


async def test_a_scale_drops_the_marker_without_a_word(api: ApiServer, client: Any) -> None:
    marked = {"metadata": {"annotations": {"stanch.dev/plan": "P-1"}}, "spec": {"replicas": 5}}
    status, _ = await client.patch(f"{DEPLOYMENT}/scale", marked)
    assert (status, stored(api)["spec"]["replicas"]) == (200, 5)
    assert "stanch.dev/plan" not in stored(api)["metadata"]["annotations"]


async def test_the_status_door_writes_the_status_only(api: ApiServer, client: Any) -> None:
    body = {"spec": {"replicas": 9}, "status": {"collisionCount": 1}}
    await client.patch(f"{DEPLOYMENT}/status", body)
    assert stored(api)["spec"]["replicas"] == 3
    status, answer = await client.patch(DEPLOYMENT, {"status": {"replicas": 99}})
    assert (status, answer["status"]["replicas"]) == (200, 3)


async def test_managed_fields_say_who_changed_what(api: ApiServer, client: Any) -> None:
    api.change("deployments", "shop", "api", {"spec": {"replicas": 7}}, manager="some-operator")
    await client.patch(f"{DEPLOYMENT}?fieldManager=stanch", {"spec": {"minReadySeconds": 3}})
    owners = {
        entry["manager"]: list(entry["fieldsV1"].get("f:spec", {}))
        for entry in stored(api)["metadata"]["managedFields"]
    }
    assert (owners["some-operator"], owners["stanch"]) == (["f:replicas"], ["f:minReadySeconds"])


async def test_put_needs_the_current_version_if_it_names_one(api: ApiServer, client: Any) -> None:
    body = stored(api)
    api.touch("deployments", "shop", "api")
    assert (await client("PUT", DEPLOYMENT, body))[0] == 409
    del (unpinned := {**body, "metadata": {**body["metadata"]}})["metadata"]["resourceVersion"]
    assert (await client("PUT", DEPLOYMENT, unpinned))[0] == 200


async def test_delete_checks_its_preconditions(api: ApiServer, client: Any) -> None:
    wrong = {"preconditions": {"uid": "another"}}
    assert (await client("DELETE", DEPLOYMENT, wrong))[0] == 409
    assert (await client("DELETE", DEPLOYMENT, {}))[0] == 200
    assert (await client("GET", DEPLOYMENT))[0] == 404
    assert [write.applied.verb for write in api.writes if write.applied] == ["delete"]


@pytest.mark.parametrize(
    ("pair", "method", "path"),
    [
        pytest.param(("get", "pods"), "GET", "/api/v1/namespaces/shop/pods/x", id="one"),
        pytest.param(("list", "pods"), "GET", "/api/v1/pods", id="list"),
        pytest.param(("watch", "pods"), "GET", "/api/v1/pods?watch=true", id="watch"),
        pytest.param(("get", "pods/log"), "GET", "/api/v1/namespaces/shop/pods/x/log", id="subresource"),
        pytest.param(("*", "secrets"), "GET", "/api/v1/namespaces/shop/secrets", id="any verb"),
    ],
)
async def test_what_is_forbidden_is_refused_by_name(
    api: ApiServer, client: Any, pair: tuple[str, str], method: str, path: str
) -> None:
    api.access.forbidden.add(pair)
    status, body = await client(method, path)
    assert (status, body["reason"]) == (403, "Forbidden")
    assert f'resource "{pair[1]}"' in body["message"]


async def test_with_tokens_set_a_stranger_is_unauthorized(api: ApiServer, client: Any) -> None:
    api.access.tokens["t0ken"] = User("stanch")
    assert (await client("GET", DEPLOYMENT))[0] == 401
    assert (await client("GET", DEPLOYMENT, headers={"Authorization": "Bearer t0ken"}))[0] == 200
    assert [call.user for call in api.calls] == ["", "stanch"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("POST", "", {"metadata": {}}, 400, id="no name"),
        pytest.param("POST", "", {"kind": "Pod", "apiVersion": "v1"}, 400, id="another kind"),
        pytest.param("POST", "/api", {"metadata": {"name": "x"}}, 405, id="create by name"),
        pytest.param("PUT", "/none", {"metadata": {"name": "none"}}, 404, id="put of nothing"),
        pytest.param("PATCH", "/api", {"spec": {}}, 415, id="a patch of no known type"),
        pytest.param("GET", "?labelSelector=a%20b%20c", None, 400, id="no selector"),
        pytest.param("GET", "/api/nonsense", None, 404, id="no such subresource"),
    ],
)
async def test_nonsense_is_refused_with_a_status(
    client: Any, method: str, path: str, body: JsonObject | None, status: int
) -> None:
    got, answer = await client(method, f"/apis/apps/v1/namespaces/shop/deployments{path}", body)
    assert (got, answer["kind"], answer["code"]) == (status, "Status", status)


async def test_a_list_comes_in_pages(api: ApiServer, client: Any) -> None:
    path = "/api/v1/namespaces/shop/pods?limit=2"
    _, first = await client("GET", path)
    _, second = await client("GET", f"{path}&continue={first['metadata']['continue']}")
    names = [item["metadata"]["name"] for page in (first, second) for item in page["items"]]
    assert names == [pod["metadata"]["name"] for pod in api.find("pods", "shop")]
    assert "continue" not in second["metadata"]


async def test_events_are_found_by_whom_they_are_about(api: ApiServer, client: Any) -> None:
    selector = "involvedObject.kind=Deployment,involvedObject.name=api"
    _, events = await client("GET", f"/api/v1/namespaces/shop/events?fieldSelector={selector}")
    assert [event["reason"] for event in events["items"]] == ["ScalingReplicaSet"]


async def test_a_watch_of_a_forgotten_version_is_told_so(api: ApiServer, client: Any) -> None:
    api.store.compact()
    status, event = await client("GET", "/apis/apps/v1/deployments?watch=true&resourceVersion=1")
    assert (status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)


async def test_a_watch_sees_changes_in_order_and_ends_on_time(
    api: ApiServer, client: Any, clock: SteppedClock
) -> None:
    version = api.store.version
    path = f"/apis/apps/v1/deployments?watch=true&resourceVersion={version}&timeoutSeconds=60"
    async with client.session.get(api.url + path) as answer:
        for replicas in (4, 5):
            api.change("deployments", "shop", "api", {"spec": {"replicas": replicas}})
        lines = [await answer.content.readline() for _ in range(2)]
        await clock.advance(timedelta(seconds=60))
        await answer.content.read()
    assert b'"replicas": 4' in lines[0] and b'"replicas": 5' in lines[1]


async def test_a_watcher_that_leaves_harms_nobody(api: ApiServer, client: Any) -> None:
    async with client.session.get(f"{api.url}/apis/apps/v1/deployments?watch=true") as answer:
        await answer.content.readline()
        answer.close()
    for replicas in (4, 5):
        assert (await client.patch(DEPLOYMENT, {"spec": {"replicas": replicas}}))[0] == 200


@pytest.mark.parametrize("query", ["labelSelector=a%20b%20c", "resourceVersion=soon"])
async def test_a_watch_that_makes_no_sense_is_refused_before_it_begins(client: Any, query: str) -> None:
    status, body = await client("GET", f"/apis/apps/v1/deployments?watch=true&{query}")
    assert (status, body["reason"]) == (400, "BadRequest")


async def test_a_stripped_pod_is_released_and_replaced(
    api: ApiServer, client: Any, clock: SteppedClock
) -> None:
    [pod, *_] = api.find("pods", "shop")
    path = f"/api/v1/namespaces/shop/pods/{pod['metadata']['name']}"
    await client.patch(path, {"metadata": {"labels": {"app": None, "pod-template-hash": None}}})
    await clock.advance(timedelta(seconds=30))
    assert "ownerReferences" not in api.get("pods", "shop", pod["metadata"]["name"])["metadata"]
    assert len(api.find("pods", "shop")) == 4
