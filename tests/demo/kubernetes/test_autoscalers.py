"""What KEDA does in the small cluster: it keeps an autoscaler for each ScaledObject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from receiver.demo.kubernetes import JsonObject, SteppedClock, World
from receiver.demo.kubernetes.resources import SCALED_OBJECTS

Manifest = Callable[..., JsonObject]


@pytest.fixture
def world(clock: SteppedClock, manifest: Manifest) -> World:
    """A Deployment whose replicas a ScaledObject sets."""
    made = World(clock)
    scaled = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"name": "api"}, "triggers": [{"type": "cpu"}]},
    }
    made.load([manifest("v1"), scaled])
    made.reconcile()
    return made


def scalers(world: World) -> list[JsonObject]:
    found: list[JsonObject] = world.find("horizontalpodautoscalers", "shop")
    return found


def change(world: World, **fields: Any) -> None:
    world.change("scaledobjects", "shop", "api", fields)
    world.reconcile()


def test_it_makes_an_autoscaler_with_its_own_bounds(world: World) -> None:
    (scaler,) = scalers(world)
    assert scaler["metadata"]["name"] == "keda-hpa-api"
    assert scaler["metadata"]["labels"]["scaledobject.keda.sh/name"] == "api"
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (1, 100)


def test_a_floor_is_passed_on_and_the_replicas_follow(world: World) -> None:
    change(world, spec={"minReplicaCount": 9, "maxReplicaCount": 12})
    (scaler,) = scalers(world)
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (9, 12)
    assert world.get("deployments", "shop", "api")["spec"]["replicas"] == 9


def test_what_somebody_sets_in_the_autoscaler_is_taken_back(world: World) -> None:
    world.change("horizontalpodautoscalers", "shop", "keda-hpa-api", {"spec": {"minReplicas": 9}})
    world.reconcile()
    (scaler,) = scalers(world)
    assert scaler["spec"]["minReplicas"] == 1


def test_while_it_is_paused_there_is_no_autoscaler(world: World) -> None:
    change(world, metadata={"annotations": {"autoscaling.keda.sh/paused": "true"}})
    assert scalers(world) == []
    change(world, metadata={"annotations": {"autoscaling.keda.sh/paused": None}})
    assert len(scalers(world)) == 1


def test_it_goes_with_its_scaled_object(world: World) -> None:
    world.registry.delete(SCALED_OBJECTS, "shop", "api", {})
    world.reconcile()
    assert scalers(world) == []
