"""More replicas where KEDA keeps the autoscaler, through the whole service."""

from __future__ import annotations

import pytest
from builders import CAROL, alert, notification
from cures import APP, CURES, NAMESPACE
from harness import Harness, harness

from receiver.clients import wire
from receiver.pipeline import people
from receiver.store.engine import Store

KEDA = next(cure for cure in CURES if cure.resource == "scaledobjects")


async def sick(h: Harness) -> None:
    KEDA.arrange(h)
    await h.fall_ill()
    await h.deliver(notification(alert(starts_at=h.clock.now())))
    await h.work()


async def test_a_higher_floor_brings_more_pods_by_the_autoscaler_that_is_there(store: Store) -> None:
    async with harness(store, policies=KEDA.policies()) as h:
        await sick(h)
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="as planned")
        await h.work()
        h.demo.api.reconcile()
        scaler = h.demo.api.get("horizontalpodautoscalers", NAMESPACE, "keda-hpa-api")
        assert scaler["spec"]["minReplicas"] == 5
        assert h.demo.api.get("deployments", NAMESPACE, APP)["spec"]["replicas"] == 5
        assert h.demo.real_writes == 1


async def test_a_scaled_object_that_may_not_be_read_is_left_alone_with_the_reason(store: Store) -> None:
    async with harness(store, policies=KEDA.policies()) as h:
        h.demo.api.access.forbidden.add(("get", "scaledobjects"))
        await sick(h)
        (nothing,) = [event for event in await h.events() if event.event == "NothingApplies"]
        assert "ScaledObject" in str(nothing)
        assert h.demo.real_writes == 0


async def test_while_keda_is_paused_nobody_else_sets_the_replicas(store: Store) -> None:
    async with harness(store, policies=KEDA.policies()) as h:
        KEDA.arrange(h)
        paused = {"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}
        h.demo.api.change("scaledobjects", NAMESPACE, "api", paused)
        h.demo.api.reconcile()
        assert h.demo.api.find("horizontalpodautoscalers", NAMESPACE) == []
        await h.fall_ill()
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        (nothing,) = [event for event in await h.events() if event.event == "NothingApplies"]
        assert "KEDA ScaledObject api is paused" in str(nothing)


async def test_where_keda_is_not_installed_nothing_is_kept_by_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(wire.PLURALS, "ScaledObject", ("keda.sh", "unheardof"))
    async with harness(store, policies=KEDA.policies()) as h:
        await h.fall_ill()
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        (planned,) = [event for event in await h.events() if event.event == "Planned"]
        assert "to at least 5 replicas" in str(planned)


async def test_what_is_paused_before_the_write_is_not_written(store: Store) -> None:
    async with harness(store, policies=KEDA.policies()) as h:
        await sick(h)
        h.demo.api.change(
            "scaledobjects",
            NAMESPACE,
            "api",
            {"metadata": {"annotations": {"autoscaling.keda.sh/paused-scale-out": "true"}}},
        )
        await people.approve_plan(h.world, "P-1", CAROL, digest=None, reason="as planned")
        await h.work()
        assert h.demo.real_writes == 0


async def test_a_scaled_object_that_a_gitops_controller_keeps_is_changed_there(store: Store) -> None:
    async with harness(store, policies=KEDA.policies()) as h:
        KEDA.arrange(h)
        tracked = {
            "metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:keda.sh/ScaledObject"}}
        }
        h.demo.api.change("scaledobjects", NAMESPACE, "api", tracked)
        await h.fall_ill()
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        (nothing,) = [event for event in await h.events() if event.event == "NothingApplies"]
        assert "/spec/minReplicaCount is managed by Argo CD" in str(nothing)
