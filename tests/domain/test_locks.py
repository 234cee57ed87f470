"""What a security lock covers; where it is not clear, it does."""

from __future__ import annotations

import pytest

from receiver.domain.locks import covering, widest
from receiver.domain.plans import ObjectRef

SHOP = ObjectRef("apps/v1", "Deployment", "shop", "web", "u")
POD = ObjectRef("v1", "Pod", "shop", "web-api-7c5-x2x", "u")
CLAIM = ObjectRef("v1", "PersistentVolumeClaim", "shop", "data-web-db-0", "u")
NODE = ObjectRef("v1", "Node", "", "n-1", "u")


@pytest.mark.parametrize(
    ("target", "scope", "covered"),
    [
        (SHOP, "cluster", True),
        (SHOP, "namespace/shop", True),
        (SHOP, "namespace/shopping", False),
        (SHOP, "Deployment/shop/web", True),
        (SHOP, "Deployment/shop/web-api", False),
        (SHOP, "StatefulSet/shop/web", False),
        (POD, "namespace/shop", True),
        (POD, "Deployment/shop/web-api", True),
        (POD, "StatefulSet/shop/web-api-7c5", True),
        # Which of the two made it is not asked.
        (POD, "Deployment/shop/web", True),
        (POD, "Deployment/shop/we", False),
        (POD, "Deployment/other/web-api", False),
        (POD, "Pod/shop/web-api-7c5-x2x", True),
        (CLAIM, "namespace/shop", True),
        (CLAIM, "StatefulSet/shop/web-db", True),
        (CLAIM, "Cluster/shop/web-db", True),
        (CLAIM, "StatefulSet/shop/cache", False),
        (NODE, "node/n-1", True),
        (NODE, "node/n-2", False),
        (NODE, "cluster", True),
        (NODE, "namespace/", False),
    ],
)
def test_a_scope_covers_what_is_in_it(target: ObjectRef, scope: str, covered: bool) -> None:
    assert (scope in covering(target)) is covered


@pytest.mark.parametrize(
    ("alerts", "scopes"),
    [
        ([{"namespace": "shop"}], ("namespace/shop",)),
        ([{"namespace": "shop"}, {"namespace": "bank"}], ("namespace/bank", "namespace/shop")),
        ([{"namespace": "shop"}, {"app": "web"}], ("cluster",)),
        ([{"namespace": ""}], ("cluster",)),
        ([], ("cluster",)),
    ],
)
def test_alerts_lock_their_namespaces_and_everything_where_one_names_none(
    alerts: list[dict[str, str]], scopes: tuple[str, ...]
) -> None:
    assert widest(alerts) == scopes
