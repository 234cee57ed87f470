"""After a crash the object itself tells what happened, or nobody does."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.domain.plans import FENCE, MARKER
from receiver.policy.recovery import CannotTell, Happened, NotYet, Seen, what_happened


def found(
    annotations: dict[str, str] | None = None,
    *,
    version: str = "10",
    generation: int | None = 3,
    uid: str = "u",
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"uid": uid, "resourceVersion": version, "annotations": annotations or {}}
    if generation is not None:
        metadata["generation"] = generation
    return {"metadata": metadata}


CASES: dict[str, tuple[dict[str, Any] | None, Seen | type]] = {
    "our marker": (found({MARKER: "mine"}, version="11", generation=4), Happened(4)),
    "our marker, and somebody changed it since": (found({MARKER: "mine"}, generation=9), Happened(9)),
    "nothing happened": (found(), NotYet(impossible=False)),
    "only a status moved": (found(version="12"), NotYet(impossible=True)),
    "another intent's marker proves nothing": (found({MARKER: "other"}), NotYet(impossible=False)),
    "we fenced it": (found({FENCE: "mine"}, version="13", generation=4), NotYet(impossible=True)),
    "somebody changed the spec": (found(version="14", generation=4), CannotTell),
    "another object of that name": (found(uid="other"), CannotTell),
    "it is gone": (None, CannotTell),
    "an object without a generation": (found(generation=None), CannotTell),
}


@pytest.mark.parametrize(("now", "expected"), CASES.values(), ids=CASES)
def test_what_the_object_tells(now: dict[str, Any] | None, expected: Seen | type) -> None:
    seen = what_happened(intent="mine", uid="u", sent_version="10", sent_generation=3, found=now)
    if isinstance(expected, type):
        assert isinstance(seen, expected)
    else:
        assert seen == expected


def test_an_unknown_effect_says_why() -> None:
    seen = what_happened(
        intent="mine", uid="u", sent_version="10", sent_generation=3, found=found(generation=5)
    )
    assert isinstance(seen, CannotTell)
    assert "generation 3 is 5 now" in seen.reason
