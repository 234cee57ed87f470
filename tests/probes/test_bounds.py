"""What becomes a fact is bounded, and says where something is missing."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.probes.bounds import bounded

MANY = list(range(1001))


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        pytest.param({"names": MANY[:1000]}, {"names": MANY[:1000]}, id="a thousand are whole"),
        pytest.param({"names": MANY}, {"names": MANY[:1000], "truncated": {"names": 1001}}, id="one more"),
        pytest.param(
            {"spec": {"env": MANY, "replicas": 3}, "ok": True},
            {"spec": {"env": MANY[:1000], "replicas": 3, "truncated": {"env": 1001}}, "ok": True},
            id="said where the list is",
        ),
        pytest.param(
            {"pods": [{"ports": MANY}]},
            {"pods": [{"ports": MANY[:1000], "truncated": {"ports": 1001}}]},
            id="in a list of objects",
        ),
        pytest.param(None, None, id="nothing found"),
        pytest.param({"text": "x" * 5000}, {"text": "x" * 5000}, id="a text is no list"),
    ],
)
def test_lists_are_cut_to_a_thousand_and_it_is_said(facts: Any, told: Any) -> None:
    assert bounded(facts) == told
