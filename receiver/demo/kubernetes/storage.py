"""The state of the small cluster: objects under one global version counter, and the history a watch replays.

Rules about what may be written live one floor up; here is only what is true of every write. Stored objects
are never changed in place, so whoever got one keeps what they saw.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
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


class Store:
    """All objects. Not thread-safe; between two awaits everything is one transaction."""

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0) -> None:
        self._clock_now = now
        self._pinned: datetime | None = None
        # Names and uids need to differ, not to be secret; a seed makes a run repeatable.
        self._random = random.Random(seed)  # noqa: S311
        self._objects: dict[tuple[str, str, str, str], JsonObject] = {}
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
        return self._objects.get((resource.group, resource.plural, namespace, name))

    def objects(self, resource: Resource, namespace: str | None = None) -> list[JsonObject]:
        """Objects of a kind in the order of their keys, in one namespace or in all (None)."""
        found = [
            (key, obj)
            for key, obj in self._objects.items()
            if key[:2] == (resource.group, resource.plural) and namespace in (None, key[2])
        ]
        return [obj for _, obj in sorted(found, key=lambda pair: pair[0][2:])]

    def put(self, resource: Resource, obj: JsonObject) -> JsonObject:
        """Store ``obj`` under the next version and return it as stored."""
        metadata = obj["metadata"]
        key = (resource.group, resource.plural, metadata.get("namespace", ""), metadata["name"])
        before = self._objects.get(key)
        self.version += 1
        stored = {**obj, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        self._objects[key] = stored
        self._remember(Change(self.version, resource, before, stored))
        return stored

    def remove(self, resource: Resource, obj: JsonObject) -> None:
        metadata = obj["metadata"]
        before = self._objects.pop(
            (resource.group, resource.plural, metadata.get("namespace", ""), metadata["name"])
        )
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
