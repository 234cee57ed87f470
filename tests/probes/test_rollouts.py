"""Which revisions are a Deployment's own, however it selects."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from cures import APP, NAMESPACE
from harness import Harness, harness

from receiver.domain.errors import PermanentError
from receiver.domain.plans import ObjectRef
from receiver.domain.rollouts import MOST_REPLICA_SETS, read_rollout
from receiver.probes import rollouts
from receiver.store.engine import Store
from remediations.kubernetes.reading import with_replica_sets

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EXPRESSION = {"key": "app", "operator": "In", "values": ["api", "jobs"]}
SELECTORS = pytest.mark.parametrize(
    "selector",
    [
        {"matchExpressions": [EXPRESSION]},
        {"matchLabels": {"team": "shop"}, "matchExpressions": [EXPRESSION]},
    ],
    ids=["expressions alone", "labels that others have too"],
)


def two_that_select_alike(h: Harness, selector: dict[str, Any]) -> None:
    """Two Deployments of one namespace of which each would find the other's ReplicaSets."""
    found = h.demo.api.get("deployments", NAMESPACE, APP)
    for name in ("api", "jobs"):
        spec = copy.deepcopy(found["spec"])
        labels = {"app": name, "team": "shop"}
        spec["selector"] = selector
        spec["template"]["metadata"] = {"labels": labels}
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
        h.demo.api.load([{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}])
    h.demo.api.reconcile()


@SELECTORS
async def test_the_revisions_of_another_are_not_taken_for_its_own(
    store: Store, selector: dict[str, Any]
) -> None:
    async with harness(store) as h:
        two_that_select_alike(h, selector)
        target = ObjectRef("apps/v1", "Deployment", NAMESPACE, "api")
        facts = await rollouts.look(h.world.cluster, target, first_bad_at=None, now=h.clock.now())
        assert (facts["revisions"], facts["hasEarlier"]) == (1, False)
        assert facts["current"]["name"].startswith("api-")
        state = await with_replica_sets(h.world.cluster, target)
        (revision,) = read_rollout(state["deployment"], state["replicaSets"]).revisions
        assert revision.name == facts["current"]["name"]


class Crowded:
    """A namespace with as many ReplicaSets as anybody looks through."""

    async def get(self, ref: ObjectRef) -> Any:
        return {"metadata": {"name": ref.name, "uid": "u"}, "spec": {"selector": {}}}

    async def list_objects(self, *_: Any, limit: int = 500, **__: Any) -> Any:
        return [{"metadata": {"name": "x"}}] * min(limit, MOST_REPLICA_SETS)


async def test_among_too_many_none_is_known() -> None:
    target = ObjectRef("apps/v1", "Deployment", NAMESPACE, APP)
    crowded: Any = Crowded()
    with pytest.raises(PermanentError, match="its own are not known"):
        await with_replica_sets(crowded, target)
    with pytest.raises(PermanentError, match="its own are not known"):
        await rollouts.look(crowded, target, first_bad_at=None, now=NOON)
