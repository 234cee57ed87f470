"""A Cluster of CloudNativePG in the small cluster: claims, instances, and what a full volume stops."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from receiver.demo.kubernetes import JsonObject, SteppedClock, World


def database(**spec: Any) -> JsonObject:
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"instances": 2, "storage": {"size": "10Gi", "storageClass": "fast"}, **spec},
    }


@pytest.fixture
async def world(clock: SteppedClock) -> World:
    """A Cluster of two instances, ready, with volumes that may grow."""
    made = World(clock)
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "fast"},
        "provisioner": "csi.example.com",
        "allowVolumeExpansion": True,
    }
    made.load([storage_class, database(walStorage={"size": "2Gi", "storageClass": "fast"})])
    made.reconcile()
    await later(made, clock)
    return made


async def later(world: World, clock: SteppedClock) -> None:
    await clock.advance(timedelta(minutes=5))
    world.reconcile()


def status(world: World) -> JsonObject:
    found: JsonObject = world.get("clusters", "shop", "orders")["status"]
    return found


def sizes(world: World) -> dict[str, str]:
    return {
        claim["metadata"]["name"]: claim["status"]["capacity"]["storage"]
        for claim in world.find("persistentvolumeclaims", "shop")
    }


def test_each_instance_has_its_claims(world: World) -> None:
    assert sizes(world) == {
        "orders-1": "10Gi",
        "orders-1-wal": "2Gi",
        "orders-2": "10Gi",
        "orders-2-wal": "2Gi",
    }
    (wal,) = world.find(
        "persistentvolumeclaims", "shop", "cnpg.io/instanceName=orders-2,cnpg.io/pvcRole=PG_WAL"
    )
    assert wal["metadata"]["ownerReferences"][0]["kind"] == "Cluster"
    assert status(world)["phase"] == "Cluster in healthy state"


async def test_a_new_instance_is_ready_once_it_has_joined(world: World, clock: SteppedClock) -> None:
    world.change("clusters", "shop", "orders", {"spec": {"instances": 3}})
    world.reconcile()
    assert (status(world)["instances"], status(world)["readyInstances"]) == (3, 2)
    await later(world, clock)
    assert (status(world)["readyInstances"], status(world)["phase"]) == (3, "Cluster in healthy state")


async def test_a_size_is_passed_on_to_every_claim(world: World, clock: SteppedClock) -> None:
    world.change("clusters", "shop", "orders", {"spec": {"storage": {"size": "13Gi"}}})
    world.reconcile()
    await later(world, clock)
    assert sizes(world) == {
        "orders-1": "13Gi",
        "orders-1-wal": "2Gi",
        "orders-2": "13Gi",
        "orders-2-wal": "2Gi",
    }


async def test_with_a_full_volume_no_size_is_passed_on(world: World, clock: SteppedClock) -> None:
    world.controller.cnpg.full.add(("shop", "orders"))
    world.change("clusters", "shop", "orders", {"spec": {"walStorage": {"size": "4Gi"}}})
    world.reconcile()
    await later(world, clock)
    assert sizes(world)["orders-1-wal"] == "2Gi"
    assert status(world)["phase"] == "Not enough disk space"
