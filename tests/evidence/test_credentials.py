"""Which Secrets and accounts a pod was given, wherever its spec names them."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.evidence.credentials import credentials_of


def named(spec: dict[str, Any]) -> list[str]:
    pod = {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}
    return [str(one) for one in credentials_of([pod, pod])]


ACCOUNT = "serviceaccount/shop/default"
KEY = {"secretKeyRef": {"name": "b", "key": "k"}}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({}, []),
        ({"volumes": [{"name": "v", "secret": {"secretName": "a"}}]}, ["secret/shop/a"]),
        ({"volumes": [{"projected": {"sources": [{"secret": {"name": "p"}}, {}]}}]}, ["secret/shop/p"]),
        ({"volumes": [{"emptyDir": {}}, {"configMap": {"name": "c"}}]}, []),
        ({"imagePullSecrets": [{"name": "pull"}]}, ["secret/shop/pull"]),
        (
            {"containers": [{"envFrom": [{"secretRef": {"name": "e"}}, {"configMapRef": {}}]}]},
            ["secret/shop/e"],
        ),
        ({"initContainers": [{"env": [{"name": "X", "valueFrom": KEY}, {"name": "Y"}]}]}, ["secret/shop/b"]),
        ({"ephemeralContainers": [{"env": [{"name": "X", "valueFrom": KEY}]}]}, ["secret/shop/b"]),
    ],
)
def test_a_secret_is_found_wherever_it_is_named(spec: dict[str, Any], found: list[str]) -> None:
    assert named(spec) == [*found, ACCOUNT]


def test_the_account_is_the_one_that_it_runs_as_unless_its_token_is_not_mounted() -> None:
    assert named({"serviceAccountName": "shop"}) == ["serviceaccount/shop/shop"]
    assert named({"serviceAccountName": "shop", "automountServiceAccountToken": False}) == []
