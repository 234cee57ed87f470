"""An intent has no outcome: what does the object tell? At most once, and said honestly.

Done is proven by the marker alone. Not done is proven by an absent marker on the planned object whose
generation is the one in the intent (our write changes the spec, and status writes do not move it), or by our
own fence. Anything else is unknown, and a person settles it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from receiver.domain.plans import FENCE, MARKER


@dataclass(frozen=True)
class Happened:
    """The marker is there: settle as done, never again."""

    generation: int | None


@dataclass(frozen=True)
class NotYet:
    """It did not happen so far. ``impossible`` says that what was sent can no longer land."""

    impossible: bool


@dataclass(frozen=True)
class CannotTell:
    """Somebody changed the object since, or it is gone."""

    reason: str


Seen = Happened | NotYet | CannotTell


def what_happened(
    *,
    intent: str,
    uid: str,
    sent_version: str | None,
    sent_generation: int | None,
    found: Mapping[str, Any] | None,
) -> Seen:
    """Judge the object as read after the last send. ``sent_*`` are what that send carried."""
    if found is None:
        return CannotTell("the object is gone")
    metadata = found["metadata"]
    if metadata["uid"] != uid:
        return CannotTell("another object of that name is there now")
    if metadata.get("annotations", {}).get(MARKER) == intent:
        return Happened(metadata.get("generation"))
    if metadata.get("annotations", {}).get(FENCE) == intent:
        # The fence was a write under the version at which the marker was absent: nothing landed before it,
        # and nothing that was sent before it can land after.
        return NotYet(impossible=True)
    generation = metadata.get("generation")
    if generation is None or sent_generation is None:
        return CannotTell("the object has no generation to tell by")
    if generation != sent_generation:
        return CannotTell(
            f"somebody changed the spec since (generation {sent_generation} is {generation} now)"
        )
    return NotYet(impossible=metadata["resourceVersion"] != sent_version)
