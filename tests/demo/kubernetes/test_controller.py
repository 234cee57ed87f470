"""The controllers walk a Deployment through its life as the real ones do, on a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from receiver.demo.kubernetes import JsonObject, SteppedClock, World, image_health, is_ready
from receiver.demo.kubernetes.resources import PODS
from receiver.demo.kubernetes.rollouts import (
    REVISION,
    REVISION_HISTORY,
    Bounds,
    Set,
    new_size,
    old_sizes,
)

Manifest = Callable[..., JsonObject]


@pytest.fixture
def world(clock: SteppedClock, manifest: Manifest) -> World:
    made = World(clock)
    made.rollout(manifest("v1"), ago=timedelta(hours=2))
    made.rollout(manifest("v2"), ago=timedelta(hours=1))
    return made


def set_template(world: World, template: JsonObject) -> None:
    world.reconcile()
    deployment = world.get("deployments", "shop", "api")
    changed = {**deployment, "spec": {**deployment["spec"], "template": template}}
    world.rollout(changed, ago=timedelta(0))


def sets(world: World) -> dict[str, JsonObject]:
    """ReplicaSets by the tag of their image."""
    found = world.find("replicasets", "shop")
    return {
        each["spec"]["template"]["spec"]["containers"][0]["image"].partition(":")[2]: each for each in found
    }


def revisions(world: World) -> dict[str, str]:
    return {tag: each["metadata"]["annotations"][REVISION] for tag, each in sets(world).items()}


def status(world: World) -> JsonObject:
    found: JsonObject = world.get("deployments", "shop", "api")["status"]
    return found


def reasons(world: World) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status(world)["conditions"]}


def test_two_rollouts_in_the_past_leave_two_revisions(world: World) -> None:
    assert revisions(world) == {"v1": "1", "v2": "2"}
    assert {tag: each["spec"]["replicas"] for tag, each in sets(world).items()} == {"v1": 0, "v2": 3}
    assert world.get("deployments", "shop", "api")["metadata"]["annotations"][REVISION] == "2"
    assert reasons(world)["Progressing"] == ("True", "NewReplicaSetAvailable")


def test_a_template_that_names_a_node_needs_no_scheduler(world: World, manifest: Manifest) -> None:
    template = manifest("v3")["spec"]["template"]
    set_template(world, {**template, "spec": {**template["spec"], "nodeName": "node-1"}})
    placed = {pod["spec"]["nodeName"] for pod in world.find("pods", "shop") if "v3" in str(pod["spec"])}
    assert placed == {"node-1"}


def test_what_happened_in_the_past_is_dated_then(world: World, clock: SteppedClock) -> None:
    made = {tag: each["metadata"]["creationTimestamp"] for tag, each in sets(world).items()}
    assert made == {"v1": "2026-03-01T10:00:00Z", "v2": "2026-03-01T11:00:00Z"}
    # Three pods, one after the other, twenty seconds each.
    assert status(world)["conditions"][1]["lastUpdateTime"] == "2026-03-01T11:01:00Z"


def test_a_rollout_never_goes_below_what_must_be_available(
    world: World, clock: SteppedClock, manifest: Manifest
) -> None:
    set_template(world, manifest("v3")["spec"]["template"])
    seen = []
    for _ in range(8):
        pods = world.find("pods", "shop")
        seen.append((len(pods), sum(is_ready(pod) for pod in pods)))
        clock.jump(timedelta(seconds=10))
        world.reconcile()
    assert {total for total, _ in seen} <= {3, 4}
    assert min(ready for _, ready in seen) == 3
    assert revisions(world)["v3"] == "3"
    assert status(world)["updatedReplicas"] == 3


def test_one_long_jump_leaves_the_same_trail_as_many_steps(clock: SteppedClock, manifest: Manifest) -> None:
    def walked(steps: int) -> list[JsonObject]:
        own = SteppedClock()
        world = World(own)
        world.load([manifest("v1")])
        world.reconcile()
        set_template(world, manifest("v2")["spec"]["template"])
        for _ in range(steps):
            own.jump(timedelta(seconds=600 / steps))
            world.reconcile()
        return world.find("events", "shop")

    assert [e["message"] for e in walked(1)] == [e["message"] for e in walked(600)]
    assert [e["firstTimestamp"] for e in walked(1)] == [e["firstTimestamp"] for e in walked(600)]


def test_a_broken_rollout_stands_still_until_its_deadline(
    world: World, clock: SteppedClock, manifest: Manifest
) -> None:
    set_template(world, manifest("broken")["spec"]["template"])
    clock.jump(timedelta(minutes=9))
    world.reconcile()
    assert reasons(world)["Progressing"] == ("True", "ReplicaSetUpdated")
    assert reasons(world)["Available"] == ("True", "MinimumReplicasAvailable")
    [waiting] = [pod for pod in world.find("pods", "shop") if not is_ready(pod)]
    assert waiting["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    clock.jump(timedelta(minutes=2))
    world.reconcile()
    assert reasons(world)["Progressing"] == ("False", "ProgressDeadlineExceeded")


def test_rolling_back_reuses_the_replica_set_under_a_new_revision(
    world: World, clock: SteppedClock, manifest: Manifest
) -> None:
    before = sets(world)["v1"]["metadata"]["uid"]
    set_template(world, manifest("v1")["spec"]["template"])
    reused = sets(world)["v1"]["metadata"]
    assert reused["uid"] == before
    assert (reused["annotations"][REVISION], reused["annotations"][REVISION_HISTORY]) == ("3", "1")
    set_template(world, manifest("v2")["spec"]["template"])
    set_template(world, manifest("v1")["spec"]["template"])
    assert sets(world)["v1"]["metadata"]["annotations"][REVISION_HISTORY] == "1,3"


def test_an_annotation_reaches_the_current_replica_set_only(world: World) -> None:
    world.change("deployments", "shop", "api", {"metadata": {"annotations": {"stanch.dev/plan": "P-1"}}})
    world.reconcile()
    marked = {
        tag for tag, each in sets(world).items() if "stanch.dev/plan" in each["metadata"]["annotations"]
    }
    assert marked == {"v2"}
    assert len(sets(world)) == 2


def test_scaling_down_takes_the_pods_that_serve_nobody_first(world: World, clock: SteppedClock) -> None:
    ready = {pod["metadata"]["name"] for pod in world.find("pods", "shop")}
    world.change("deployments", "shop", "api", {"spec": {"replicas": 5}})
    world.reconcile()
    world.change("deployments", "shop", "api", {"spec": {"replicas": 3}})
    world.reconcile()
    assert {pod["metadata"]["name"] for pod in world.find("pods", "shop")} == ready


def test_a_paused_deployment_makes_no_new_replica_set(world: World, manifest: Manifest) -> None:
    world.change("deployments", "shop", "api", {"spec": {"paused": True}})
    set_template(world, manifest("v3")["spec"]["template"])
    assert set(sets(world)) == {"v1", "v2"}
    world.change("deployments", "shop", "api", {"spec": {"paused": None}})
    world.reconcile()
    assert "v3" in sets(world)


def test_recreate_lets_everything_go_before_anything_comes(world: World, clock: SteppedClock) -> None:
    world.change(
        "deployments", "shop", "api", {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}
    )
    template = world.get("deployments", "shop", "api")["spec"]["template"]
    containers = [{**c, "image": f"{c['image']}-next"} for c in template["spec"]["containers"]]
    set_template(world, {**template, "spec": {**template["spec"], "containers": containers}})
    assert status(world).get("readyReplicas", 0) == 0
    clock.jump(timedelta(seconds=30))
    world.reconcile()
    assert status(world)["readyReplicas"] == 3


def test_min_ready_seconds_delay_availability(world: World, clock: SteppedClock, manifest: Manifest) -> None:
    slow = manifest("v3", minReadySeconds=30)
    slow["metadata"]["name"] = "slow"
    world.load([slow])
    world.reconcile()
    for seconds, available in ((25, None), (20, None), (10, 3)):
        clock.jump(timedelta(seconds=seconds))
        world.reconcile()
        found = world.get("deployments", "shop", "slow")["status"]
        assert found.get("availableReplicas") == available


def test_old_replica_sets_beyond_the_history_limit_go(world: World, manifest: Manifest) -> None:
    world.change("deployments", "shop", "api", {"spec": {"revisionHistoryLimit": 1}})
    for ago, tag in ((40, "v3"), (20, "v4")):
        kept = manifest(tag, revisionHistoryLimit=1)
        world.rollout(kept, ago=timedelta(minutes=ago))
    assert set(sets(world)) == {"v3", "v4"}


def test_a_deleted_pod_is_replaced(world: World, clock: SteppedClock) -> None:
    [victim, *_] = world.find("pods", "shop")
    world.registry.delete(PODS, "shop", victim["metadata"]["name"], {})
    world.reconcile()
    clock.jump(timedelta(seconds=30))
    world.reconcile()
    assert sum(is_ready(pod) for pod in world.find("pods", "shop")) == 3


def test_a_sick_image_is_ready_all_the_same(world: World, manifest: Manifest) -> None:
    world.rollout(manifest("v3-bad"), ago=timedelta(seconds=30))
    assert world.ready_pods("shop", "app=api") == {"well": 2, "sick": 1}


@pytest.mark.parametrize(
    ("image", "health"),
    [
        ("shop/api:v1", "well"),
        ("shop/api:v2-bad", "sick"),
        ("shop/api:broken", "broken"),
        ("registry:5000/api", "well"),
        ("broken", "well"),
    ],
)
def test_an_image_s_tag_decides_its_fate(image: str, health: str) -> None:
    assert image_health(image) == health


@pytest.mark.parametrize(
    ("surge", "unavailable", "new", "old", "grown", "shrunk"),
    [
        pytest.param("25%", "25%", (0, 0), (4, 4), 1, 3, id="first step"),
        pytest.param("25%", "25%", (1, 0), (4, 4), 1, 3, id="waiting for the new pod"),
        pytest.param(1, 0, (1, 1), (4, 4), 1, 3, id="one new pod is ready"),
        pytest.param(1, 0, (1, 0), (4, 2), 1, 4, id="too few are available to shrink"),
        pytest.param("100%", "0%", (0, 0), (4, 4), 4, 4, id="all at once"),
        pytest.param(0, 0, (0, 0), (4, 4), 0, 3, id="both zero means one may be missing"),
    ],
)
def test_how_far_one_step_of_a_rollout_goes(
    surge: int | str,
    unavailable: int | str,
    new: tuple[int, int],
    old: tuple[int, int],
    grown: int,
    shrunk: int,
) -> None:
    """(wanted, available) of the new and the old ReplicaSet, of four replicas."""
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    bounds = Bounds.of({"replicas": 4, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}})
    current = Set("new", new[0], new[0], new[1], new[1])
    former = Set("old", old[0], old[0], old[1], old[1])
    assert new_size(bounds, current, [former]) == grown
    assert old_sizes(bounds, current, [former]).get("old", old[0]) == shrunk
