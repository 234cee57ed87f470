"""The state of the small cluster: objects under one global version counter, and the history a watch replays.

Rules about what may be written live one floor up; here is only what is true of every write. Stored objects
are never changed in place, so whoever got one keeps what they saw.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from receiver.demo.kubernetes.resources import JsonObject, Resource

HISTORY = 5_000
"""Changes kept for watches; a watch from before them gets 410."""

FIRST_VERSION = 100
"""A cluster has always written something before the first object of ours: "1" is an old version."""

# What names end in on the real server: no vowels, so no words.
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


Kind = tuple[str, str]
Key = tuple[str, str]


@dataclass(frozen=True)
class Change:
    """One step of history: ADDED has no ``before``, DELETED no ``after``."""

    version: int
    resource: Resource
    before: JsonObject | None
    after: JsonObject | None


def timestamp(moment: datetime) -> str:
    """As `metav1.Time` is written: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> datetime:
    """The reverse of `timestamp`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def controller_uid(obj: JsonObject) -> str | None:
    """The uid of the owner that controls an object."""
    references = obj["metadata"].get("ownerReferences", [])
    return next((each["uid"] for each in references if each.get("controller")), None)


def _kind(resource: Resource) -> Kind:
    return resource.group, resource.plural


def _key(obj: JsonObject) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Store:
    """All objects. Not thread-safe; between two awaits everything is one transaction."""

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0) -> None:
        self._clock_now = now
        self._pinned: datetime | None = None
        # Names and uids need to differ, not to be secret; a seed makes a run repeatable.
        self._random = random.Random(seed)  # noqa: S311
        # Of each kind by namespace and name; and by the uid of their controller, "" where there is none.
        self._objects: dict[Kind, dict[Key, JsonObject]] = defaultdict(dict)
        self._controlled: dict[tuple[Kind, str], set[Key]] = defaultdict(set)
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._listeners: set[asyncio.Event] = set()
        self.version = FIRST_VERSION
        self.oldest_version = FIRST_VERSION

    def now(self) -> datetime:
        """The clock's time, or the moment that the world is just being moved to."""
        return self._pinned or self._clock_now()

    @contextmanager
    def pinned(self, moment: datetime) -> Iterator[None]:
        """Within it, everything happens at ``moment``; there must be no await within it."""
        before, self._pinned = self._pinned, moment
        try:
            yield
        finally:
            self._pinned = before

    def new_uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def new_suffix(self, length: int = 5) -> str:
        return "".join(self._random.choices(_NAME_LETTERS, k=length))

    def get(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        return self._objects[_kind(resource)].get((namespace, name))

    def objects(self, resource: Resource, namespace: str | None = None) -> list[JsonObject]:
        """Objects of a kind in the order of their keys, in one namespace or in all (None)."""
        of_kind = self._objects[_kind(resource)]
        return [of_kind[key] for key in sorted(of_kind) if namespace in (None, key[0])]

    def controlled(self, resource: Resource, namespace: str, uid: str | None) -> list[JsonObject]:
        """Objects of a kind whose controller has this uid (None: that have no controller), in order."""
        kind = _kind(resource)
        keys = self._controlled[kind, uid or ""]
        return [self._objects[kind][key] for key in sorted(keys) if key[0] == namespace]

    def put(self, resource: Resource, obj: JsonObject) -> JsonObject:
        """Store ``obj`` under the next version and return it as stored."""
        metadata = obj["metadata"]
        kind, key = _kind(resource), _key(obj)
        before = self._objects[kind].get(key)
        if before is not None:
            self._controlled[kind, controller_uid(before) or ""].discard(key)
        self.version += 1
        stored = {**obj, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        self._objects[kind][key] = stored
        self._controlled[kind, controller_uid(stored) or ""].add(key)
        self._remember(Change(self.version, resource, before, stored))
        return stored

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        kind, key = _kind(resource), _key(obj)
        before = self._objects[kind].pop(key)
        self._controlled[kind, controller_uid(before) or ""].discard(key)
        self.version += 1
        self._remember(Change(self.version, resource, before, None))

    def _remember(self, change: Change) -> None:
        if len(self._history) == self._history.maxlen:
            self.oldest_version = self._history[0].version
        self._history.append(change)
        for listener in self._listeners:
            listener.set()

    def since(self, version: int) -> list[Change]:
        """The changes after ``version``; whoever asks has checked `oldest_version`."""
        return [change for change in self._history if change.version > version]

    def compact(self) -> None:
        """Forget the history, as etcd does every five minutes: older watches get 410."""
        self._history.clear()
        self.oldest_version = self.version

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set at every change; the listener clears it."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
