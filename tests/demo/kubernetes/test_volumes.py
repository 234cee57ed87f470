"""Claims of the small cluster: what may be changed of one, and how a volume grows, step by step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from receiver.demo.kubernetes import ApiServer, JsonObject, SteppedClock

PATH = "/api/v1/namespaces/shop/persistentvolumeclaims/data"
STEP = timedelta(seconds=30)


def storage_class(name: str = "fast", **fields: Any) -> JsonObject:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "csi.example.com",
        **fields,
    }


def claim(**spec: Any) -> JsonObject:
    usual = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "10Gi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "shop"},
        "spec": {**usual, **spec},
    }


def asking(size: str) -> JsonObject:
    return {"spec": {"resources": {"requests": {"storage": size}}}}


@pytest.fixture
def disk(api: ApiServer) -> ApiServer:
    """A bound claim of 10Gi whose class lets it grow."""
    api.load([storage_class(allowVolumeExpansion=True), claim()])
    api.reconcile()
    return api


def status(api: ApiServer) -> JsonObject:
    api.reconcile()
    found: JsonObject = api.get("persistentvolumeclaims", "shop", "data")["status"]
    return found


def stages(api: ApiServer) -> list[str]:
    return [condition["type"] for condition in status(api).get("conditions", [])]


def test_a_claim_gets_a_volume_of_its_size(disk: ApiServer) -> None:
    assert status(disk) == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "10Gi"},
    }


def test_a_claim_whose_class_there_is_not_waits(api: ApiServer) -> None:
    api.load([claim()])
    assert status(api) == {"phase": "Pending"}


async def test_it_grows_in_two_steps_and_says_so(disk: ApiServer, client: Any, clock: SteppedClock) -> None:
    code, _ = await client.patch(PATH, asking("13Gi"))
    assert code == 200
    assert (stages(disk), status(disk)["capacity"]) == (["Resizing"], {"storage": "10Gi"})
    await clock.advance(STEP)
    assert (stages(disk), status(disk)["capacity"]) == (["FileSystemResizePending"], {"storage": "10Gi"})
    assert status(disk)["allocatedResourceStatuses"] == {"storage": "NodeResizePending"}
    await clock.advance(STEP)
    assert (stages(disk), status(disk)["capacity"]) == ([], {"storage": "13Gi"})


async def test_a_jump_of_an_hour_leaves_it_grown(disk: ApiServer, client: Any, clock: SteppedClock) -> None:
    await client.patch(PATH, asking("13Gi"))
    disk.reconcile()
    await clock.advance(timedelta(hours=1))
    assert status(disk)["capacity"] == {"storage": "13Gi"}
    events = [event["reason"] for event in disk.find("events", "shop")]
    assert events == ["Resizing", "FileSystemResizeRequired", "FileSystemResizeSuccessful"]


@pytest.mark.parametrize("stage", ["Resizing", "FileSystemResizePending"])
async def test_it_gets_stuck_where_it_is_told_to(
    disk: ApiServer, client: Any, clock: SteppedClock, stage: Any
) -> None:
    disk.controller.volumes.stuck["shop", "data"] = stage
    await client.patch(PATH, asking("13Gi"))
    disk.reconcile()
    await clock.advance(timedelta(hours=1))
    assert (stages(disk), status(disk)["capacity"]) == ([stage], {"storage": "10Gi"})


async def test_it_does_not_shrink(disk: ApiServer, client: Any) -> None:
    code, body = await client.patch(PATH, asking("5Gi"))
    assert (code, body["reason"]) == (422, "Invalid")
    (cause,) = body["details"]["causes"]
    assert cause["field"] == "spec.resources.requests.storage"
    assert cause["message"] == "Forbidden: field can not be less than status.capacity"


async def test_only_its_size_may_change(disk: ApiServer, client: Any) -> None:
    code, body = await client.patch(PATH, {"spec": {"storageClassName": "slow"}})
    assert code == 422
    assert "spec is immutable after creation except resources.requests" in body["message"]


@pytest.mark.parametrize("fields", [{}, {"allowVolumeExpansion": False}], ids=["not said", "said no"])
async def test_its_class_must_let_it_grow(api: ApiServer, client: Any, fields: JsonObject) -> None:
    api.load([storage_class(**fields), claim()])
    api.reconcile()
    code, body = await client.patch(PATH, asking("13Gi"))
    assert (code, body["reason"]) == (403, "Forbidden")
    assert body["message"] == (
        'persistentvolumeclaims "data" is forbidden: only dynamically provisioned pvc can be resized and the '
        "storageclass that provisions the pvc must support resize"
    )


async def test_its_labels_may_change_whatever_its_class(api: ApiServer, client: Any) -> None:
    api.load([storage_class(), claim()])
    api.reconcile()
    code, _ = await client.patch(PATH, {"metadata": {"labels": {"team": "shop"}}})
    assert code == 200
