"""An intent has no outcome: what does the object tell? At most once, and said honestly.

Done is proven by the marker alone. Not done is proven by an absent marker on the planned object whose
generation is the one in the intent (our write changes the spec, and status writes do not move it), or by our
own fence. Anything else is unknown, and a person settles it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.domain.plans import FENCE, MANAGER, MARKER, BackendStep, EvictStep, PatchStep, Step, WarmUpStep
from receiver.domain.pointers import pointed_at


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
    step: Step,
    *,
    intent: str,
    sent_version: str | None,
    sent_generation: int | None,
    since: datetime,
    found: Mapping[str, Any] | None,
) -> Seen:
    """Judge the object as read after the last send. ``sent_*`` are what that send carried; ``since`` is when
    the intent was written.
    """
    if isinstance(step, EvictStep | BackendStep):
        return _has_it_gone(step, sent_version, found)
    if isinstance(step, WarmUpStep):
        return CannotTell("requests leave no trace: how many were sent is not known, and none is sent again")
    if found is None:
        return CannotTell("the object is gone")
    metadata = found["metadata"]
    if metadata["uid"] != step.target.uid:
        return CannotTell("another object of that name is there now")
    if metadata.get("annotations", {}).get(MARKER) == intent:
        return Happened(metadata.get("generation"))
    if metadata.get("annotations", {}).get(FENCE) == intent:
        # The fence was a write under the version at which the marker was absent: nothing landed before it,
        # and nothing that was sent before it can land after.
        return NotYet(impossible=True)
    generation = metadata.get("generation")
    impossible = metadata["resourceVersion"] != sent_version
    if generation is None or sent_generation is None:
        if (why := _touched(step, found, since)) is not None:
            return CannotTell(why)
        return NotYet(impossible)
    if generation != sent_generation:
        return CannotTell(
            f"somebody changed the spec since (generation {sent_generation} is {generation} now)"
        )
    return NotYet(impossible)


def is_gone(step: EvictStep | BackendStep, found: Mapping[str, Any] | None) -> bool:
    """Whether this very pod or backend is no longer there, or leaving."""
    if found is None or found["metadata"]["uid"] != step.target.uid:
        return True
    return found["metadata"].get("deletionTimestamp") is not None


def _has_it_gone(
    step: EvictStep | BackendStep, sent_version: str | None, found: Mapping[str, Any] | None
) -> Seen:
    """What was told to go carries no marker: gone is what was wanted, whoever did it, and nobody can do it
    twice. While it is there as it was, telling it once more is the same request.
    """
    if found is None or is_gone(step, found):
        return Happened(None)
    if isinstance(step, EvictStep):
        # A pod's status moves all the time, and the request names its uid only.
        return NotYet(impossible=False)
    moved = found["metadata"]["resourceVersion"] != sent_version
    if step.signal == "cancel" and moved:
        # The statement is over, and the backend stays.
        return Happened(None)
    return NotYet(impossible=moved)


def _touched(step: PatchStep, found: Mapping[str, Any], since: datetime) -> str | None:
    """Nodes, claims and autoscalers carry no generation. Not done is: no marker, the planned fields as
    before, and nothing written under our name since.
    """
    if any(pointed_at(found, change.pointer) != change.before for change in step.changes):
        return "somebody changed the planned fields since, and the object has no generation to tell by"
    for entry in found["metadata"].get("managedFields", []):
        if entry.get("manager") == MANAGER and _written_since(entry.get("time"), since):
            return "something was written under our name since, without the marker"
    return None


def _written_since(time: str | None, since: datetime) -> bool:
    # The API server writes whole seconds.
    return time is None or datetime.fromisoformat(time.replace("Z", "+00:00")) >= since.replace(microsecond=0)
