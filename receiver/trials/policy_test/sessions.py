"""The databases of a test: sessions in memory, seen and told through the service's own door.

What a test says of a session is what it did when the story began; it does the same until it is told
something. Every signal that was obeyed is kept, as the small cluster keeps its writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from receiver.clients.answers import Answer, Applied, Rejected, Unanswered
from receiver.clients.database import Databases, version_of
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import BackendStep, ObjectRef, Signal
from receiver.trials.policy_test.model import Database, Obeyed

# Where the first session's pid lies; any number would do.
FIRST_PID = 1001


class StoryDatabases(Databases):
    """Answers with the sessions of the test, at the test's time."""

    def __init__(
        self, databases: Mapping[str, Database], began: datetime, now: Callable[[], datetime]
    ) -> None:
        super().__init__()
        self._databases = databases
        self._began = began
        self._now = now
        self._sessions = {name: _sessions(name, database, began) for name, database in databases.items()}
        self.obeyed: list[Obeyed] = []

    async def backend(self, ref: ObjectRef) -> dict[str, Any] | None:
        """See `DatabaseReader.backend`."""
        self._database(ref.namespace)
        return self._sessions[ref.namespace].get(ref.name)

    async def backends(self, connection: str) -> dict[str, Any]:
        """See `DatabaseReader.backends`."""
        return self._told(connection, list(self._sessions.get(connection, {}).values()))

    async def statements(self, connection: str, *, running_for: timedelta) -> dict[str, Any]:
        """See `DatabaseReader.statements`."""
        sessions = self._sessions.get(connection, {}).values()
        return self._told(
            connection,
            [
                one
                for one in sessions
                if one["spec"]["state"] == "active"
                and self._now() - datetime.fromisoformat(one["spec"]["query_start"]) >= running_for
            ],
        )

    async def usage(self, connection: str) -> dict[str, Any]:
        """See `DatabaseReader.usage`."""
        database = self._database(connection)
        names = ("usename", "application_name", "state")
        counted: dict[tuple[str, ...], int] = {}
        for one in self._sessions[connection].values():
            group = tuple(one["spec"][name] for name in names)
            counted[group] = counted.get(group, 0) + 1
        groups = [
            {**dict(zip(names, group, strict=True)), "sessions": count} for group, count in counted.items()
        ]
        used = sum(counted.values())
        return {"used": used, "usable": database.usable, "max": database.usable, "groups": groups}

    async def replication(self, connection: str) -> dict[str, Any]:
        """A primary without standbys."""
        self._database(connection)
        return {"standby": False, "standbys": []}

    async def storage(self, connection: str) -> dict[str, Any]:
        """The slots of the test; nothing else is known of it."""
        slots = self._database(connection).slots
        if slots is None:
            return {}
        return {
            "slots": [{"slot_name": slot.name, "active": False, "kept": float(slot.kept)} for slot in slots]
        }

    async def may_signal(self, step: BackendStep) -> bool | None:
        """Always."""
        return True

    async def signal(self, step: BackendStep) -> Answer:
        """See `Databases.signal`: under the same condition."""
        try:
            self._database(step.target.namespace)
        except TemporaryError as error:
            return Unanswered(str(error))
        sessions = self._sessions[step.target.namespace]
        found = sessions.get(step.target.name)
        if found is None or found["metadata"]["resourceVersion"] != step.version:
            return Rejected(409, "Changed", (), f"{step.target} is gone or does something else now")
        self.obeyed.append(Obeyed(self._now(), step.target))
        if step.signal is Signal.TERMINATE:
            del sessions[step.target.name]
        else:
            sessions[step.target.name] = _changed(found, self._now())
        return Applied(found)

    def _database(self, connection: str) -> Database:
        if connection not in self._databases:
            raise PermanentError(f"there is no database connection {connection!r} in this test")
        found = self._databases[connection]
        if found.away is not None and self._now() - self._began >= found.away:
            raise TemporaryError(f"connection {connection}: no answer")
        return found

    def _told(self, connection: str, backends: list[dict[str, Any]]) -> dict[str, Any]:
        database = self._database(connection)
        ours = [one for one in backends if one["spec"]["usename"] in database.users]
        return {
            "database": connection,
            "users": sorted(database.users),
            "at": self._now().isoformat(),
            "backends": sorted(ours, key=lambda one: str(one["spec"]["state_change"])),
        }


def _sessions(name: str, database: Database, began: datetime) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for group in database.sessions:
        for _ in range(group.count):
            pid = str(FIRST_PID + len(found))
            since = began - group.since
            spec = {
                "usename": group.user,
                "application_name": group.application,
                "state": group.state,
                "state_change": since.isoformat(),
                "query_start": since.isoformat(),
                "query": "SELECT ?",
                "blocks": 0,
                "blocked_by": 0,
                "wait_event_type": None,
                "wait_event": None,
            }
            found[pid] = {
                "apiVersion": "postgresql",
                "kind": "Backend",
                "metadata": {
                    "namespace": name,
                    "name": pid,
                    "uid": since.isoformat(),
                    "resourceVersion": version_of(group.state, since, since),
                },
                "spec": spec,
            }
    return found


def _changed(found: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The session once its statement is over."""
    began = datetime.fromisoformat(found["spec"]["query_start"])
    return {
        **found,
        "metadata": {**found["metadata"], "resourceVersion": version_of("idle", now, began)},
        "spec": {**found["spec"], "state": "idle", "state_change": now.isoformat()},
    }
