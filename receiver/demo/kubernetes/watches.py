"""Watching: the changes that concern one selection, in order, from a version on.

Enough for informers, `kubectl get -w` and `kubectl rollout status`: initial events, a bookmark after them,
an ERROR with 410 when the version asked for is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

from receiver.demo.kubernetes.resources import JsonObject, Resource
from receiver.demo.kubernetes.selectors import Selection, truth
from receiver.demo.kubernetes.status import expired
from receiver.demo.kubernetes.storage import Change, Store

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


async def follow(
    store: Store, resource: Resource, namespace: str | None, query: Mapping[str, str]
) -> AsyncIterator[JsonObject]:
    """Yield watch events for ever; whoever iterates decides when it is over."""
    selection = Selection.parse(query)
    asked = query.get("resourceVersion", "")
    everything_first = truth(query.get("sendInitialEvents")) or asked in ("", "0")
    with store.listening() as changed:
        if everything_first:
            seen = store.version
            for obj in store.objects(resource, namespace):
                if selection.matches(obj):
                    yield _event("ADDED", _typed(resource, obj))
            if truth(query.get("sendInitialEvents")):
                yield bookmark(resource, seen, {INITIAL_EVENTS_END: "true"})
        else:
            seen = int(asked)
            if seen < store.oldest_version:
                yield _event("ERROR", expired(seen, store.oldest_version).body)
                return
        while True:
            changed.clear()
            for change in store.since(seen):
                seen = change.version
                for event in _seen_through(selection, resource, namespace, change):
                    yield event
            await _wait(changed, store, seen)


async def _wait(changed: asyncio.Event, store: Store, seen: int) -> None:
    # Changes may have come while the consumer was sending; then there is nothing to wait for.
    if store.version == seen or not store.since(seen):
        await changed.wait()


def bookmark(resource: Resource, version: int, annotations: dict[str, str] | None = None) -> JsonObject:
    """An event that carries only how far the watch has come."""
    metadata: JsonObject = {"resourceVersion": str(version)}
    if annotations:
        metadata["annotations"] = annotations
    obj: JsonObject = {"kind": resource.kind, "apiVersion": resource.group_version, "metadata": metadata}
    if resource.plural == "deployments":
        # Recorded: a zero value as Go writes it.
        template = {"metadata": {}, "spec": {"containers": None}}
        obj["spec"] = {"replicas": 0, "selector": None, "strategy": {}, "template": template}
        obj["status"] = {}
    return _event("BOOKMARK", obj)


def _seen_through(
    selection: Selection, resource: Resource, namespace: str | None, change: Change
) -> Iterator[JsonObject]:
    """What a change looks like to somebody who sees only a selection."""
    subject = change.after or change.before
    if change.resource != resource or subject is None:
        return
    if namespace is not None and subject["metadata"].get("namespace", "") != namespace:
        return
    before, after = selection.matches(change.before), selection.matches(change.after)
    if change.after is not None and after:
        yield _event("MODIFIED" if before else "ADDED", _typed(resource, change.after))
    elif before and change.before is not None:
        gone = {**change.before["metadata"], "resourceVersion": str(change.version)}
        yield _event("DELETED", _typed(resource, {**change.before, "metadata": gone}))


def _event(kind: str, obj: JsonObject) -> JsonObject:
    return {"type": kind, "object": obj}


def _typed(resource: Resource, obj: JsonObject) -> JsonObject:
    return {"kind": resource.kind, "apiVersion": resource.group_version, **obj}
