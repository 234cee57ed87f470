"""Which door a step goes through: how its object is read, what it would do, how it is sent, what is seen.

The rest of the pipeline speaks of steps only. Every kind of step answers the same questions, so that dry run,
guards, intents and recovery exist once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from receiver.clients.answers import Answer, Applied, Rejected, Unanswered
from receiver.clients.cluster import differing, resource_of
from receiver.domain.plans import (
    FENCE,
    MARKER,
    BackendStep,
    EvictStep,
    PatchStep,
    Permission,
    Step,
    WarmUpStep,
)
from receiver.pipeline.tracing import Span, Verb
from receiver.pipeline.world import World
from receiver.policy.recovery import is_gone

_DRY_RUN = "dry-run"


@dataclass(frozen=True)
class Version:
    """What a write is conditional on; neither is part of a digest."""

    resource_version: str
    generation: int | None


async def read(world: World, step: Step) -> Mapping[str, Any] | None:
    """The object of a step as it is now, or None where it is gone. Raises TemporaryError, PermanentError."""
    match step:
        case PatchStep() | EvictStep():
            return await world.cluster.get(step.target)
        case BackendStep():
            return await world.databases.backend(step.target)
        case WarmUpStep():
            return world.endpoints.warmable(step.target.name)
        case _:
            assert_never(step)


async def try_out(world: World, step: Step, current: Mapping[str, Any]) -> Answer:
    """The same write as a dry run."""
    match step:
        case PatchStep():
            return await world.cluster.patch(step, current=current, marker={MARKER: _DRY_RUN}, dry_run=True)
        case EvictStep():
            return await world.cluster.evict(step, dry_run=True)
        case BackendStep():
            # The statement's own condition is all that a dry run could ask.
            return Applied(current)
        case WarmUpStep():
            # A request is as harmless as trying one out, and planning has asked it once.
            return Applied(current)
        case _:
            assert_never(step)


async def send(world: World, step: Step, current: Mapping[str, Any], *, intent: str) -> Answer:
    """The one write. Kubernetes objects carry the intent's name from then on."""
    with world.tracer.span("write") as span:
        answer = await _send(world, step, current, intent)
        _say(span, _verb(step), answer)
    return answer


async def _send(world: World, step: Step, current: Mapping[str, Any], intent: str) -> Answer:
    match step:
        case PatchStep():
            return await world.cluster.patch(step, current=current, marker={MARKER: intent}, dry_run=False)
        case EvictStep():
            return await world.cluster.evict(step, dry_run=False)
        case BackendStep():
            return await world.databases.signal(step)
        case WarmUpStep():
            return await world.endpoints.warm(step)
        case _:
            assert_never(step)


async def fence(world: World, step: PatchStep, current: Mapping[str, Any], *, intent: str) -> Answer:
    """Move the version of the object ourselves, so that nothing sent under an earlier one can land."""
    bare = PatchStep(step.target, (), step.generation)
    with world.tracer.span("write") as span:
        answer = await world.cluster.patch(bare, current=current, marker={FENCE: intent}, dry_run=False)
        _say(span, "fence", answer)
    return answer


def _verb(step: Step) -> Verb:
    match step:
        case PatchStep():
            return "patch"
        case EvictStep():
            return "evict"
        case BackendStep():
            return step.signal
        case WarmUpStep():
            return "warm-up"
        case _:
            assert_never(step)


def _say(span: Span, verb: Verb, answer: Answer) -> None:
    match answer:
        case Applied():
            span.set(verb=verb, outcome="applied")
        case Rejected(status=status):
            span.set(verb=verb, outcome="rejected", http_status=status)
        case Unanswered():
            span.set(verb=verb, outcome="unanswered")
        case _:
            assert_never(answer)


async def rights(world: World, step: Step) -> dict[str, bool | None]:
    """Whether we may do exactly this, by the other side's own word."""
    target = step.target
    match step:
        case PatchStep():
            group, resource = resource_of(target.kind)
            asked = Permission(group, resource, "patch")
        case EvictStep():
            asked = Permission("", "pods/eviction", "create")
        case BackendStep():
            return {f"{step.signal} backends of {target.namespace}": await world.databases.may_signal(step)}
        case WarmUpStep():
            return {f"warm up {target.name}": world.endpoints.warmable(target.name) is not None}
        case _:
            assert_never(step)
    allowed = await world.cluster.may(asked, target.namespace, target.name)
    return {str(asked): allowed}


def version_of(current: Mapping[str, Any]) -> Version:
    """What the next write of this object will be conditional on."""
    metadata = current["metadata"]
    return Version(metadata["resourceVersion"], metadata.get("generation"))


def already_so(step: Step, current: Mapping[str, Any] | None) -> str | None:
    """Why there is nothing left to do; None where there is."""
    match step:
        case PatchStep():
            if current is None or differing(current, step.changes, "after"):
                return None
            return "others had made it so already"
        case EvictStep() | BackendStep():
            return f"{step.target} is gone already" if is_gone(step, current) else None
        case WarmUpStep():
            # Nobody can tell how warm it is.
            return None
        case _:
            assert_never(step)


def changed(step: Step, current: Mapping[str, Any]) -> tuple[str, ...]:
    """What is otherwise than planned on."""
    match step:
        case PatchStep():
            return tuple(differing(current, step.changes, "before"))
        case EvictStep() | WarmUpStep():
            return ()
        case BackendStep():
            return () if current["metadata"]["resourceVersion"] == step.version else ("what it does",)
        case _:
            assert_never(step)


def left_out(step: Step, current: Mapping[str, Any] | None) -> str | None:
    """Why one step among several is passed over while the others go on; None where it is not.

    A backend that woke up is no longer what was approved, and no reason against the next one.
    """
    if isinstance(step, PatchStep | WarmUpStep):
        return None
    if (why := already_so(step, current)) is not None:
        return why
    assert current is not None
    return f"{step.target} does something else now; it is left alone" if changed(step, current) else None
