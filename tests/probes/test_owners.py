"""Who else manages an object, and which of its fields."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.domain.plans import ObjectRef
from receiver.probes.owners import EVERYTHING, owners_of


@pytest.mark.parametrize(
    ("kind", "owner", "fields"),
    [
        pytest.param(
            "PersistentVolumeClaim", "StatefulSet", frozenset(), id="a claim that goes with its set"
        ),
        pytest.param("PersistentVolumeClaim", "Cluster", EVERYTHING, id="a claim of an operator"),
        pytest.param("Deployment", "StatefulSet", EVERYTHING, id="anything else"),
    ],
)
def test_what_the_owner_of_an_object_manages(kind: str, owner: str, fields: Any) -> None:
    target = ObjectRef("v1", kind, "shop", "data")
    found = {"metadata": {"ownerReferences": [{"kind": owner, "name": "db", "controller": True}]}}
    (named,) = owners_of(target, found, [])
    assert (named.owner, named.fields) == (f"{owner} db", fields)
