"""The `postgres-*` probes: connections, slow statements, replication lag, and what takes space.

Each looks at one configured connection as the monitor role. What the server does not say is missing from the
facts, never zero: a condition over it is then unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from receiver.domain.backends import Backend, read_backend, words
from receiver.domain.remediation import DatabaseReader

# What conditions may use, with a sample value of the right kind: policies are checked against this.
CONNECTIONS: Mapping[str, Any] = {
    "used": 93,
    "usable": 97,
    "max": 100,
    "utilisation": 0.96,
    "active": 10,
    "idle": 60,
    "idleInTransaction": 23,
    "top": [{"user": "shop", "application": "api", "state": "idle", "sessions": 60}],
}
SLOW: Mapping[str, Any] = {
    "count": 1,
    "longestSeconds": 70.0,
    "blocking": 1,
    "statements": [
        {
            "pid": 4711,
            "user": "shop",
            "application": "api",
            "seconds": 70.0,
            "blocks": 3,
            "blockedBy": 0,
            "waitsFor": "",
            "query": "SELECT ?",
        }
    ],
}
LAG: Mapping[str, Any] = {
    "standby": True,
    "paused": False,
    "streaming": True,
    "lagSeconds": 0.0,
    "standbys": [
        {
            "application": "standby1",
            "state": "streaming",
            "sync": "async",
            "lagSeconds": 0.1,
            "bytesBehind": 0.0,
        }
    ],
}
DISK: Mapping[str, Any] = {
    "inactiveSlots": 1,
    "inactiveSlotBytes": 1e9,
    "slots": [{"name": "gone", "active": False, "bytesKept": 1e9}],
    "archiverFailing": False,
    "archiverFailures": 0,
    "walBytes": 1e9,
    "databaseBytes": 1e10,
    "temporaryBytes": 0.0,
    "tables": [{"name": "public.orders", "bytes": 1e9}],
}

# The playbook's list of slow statements begins there.
SLOWER_THAN = timedelta(seconds=5)
SHOWN = 20


async def connections(databases: DatabaseReader, connection: str) -> dict[str, Any]:
    """Who uses how many connections of those that an application can have."""
    found = await databases.usage(connection)
    groups: Sequence[Mapping[str, Any]] = found["groups"]
    facts: dict[str, Any] = {
        "used": found["used"],
        "usable": found["usable"],
        "max": found["max"],
        "active": _sessions(groups, "active"),
        "idle": _sessions(groups, "idle"),
        "idleInTransaction": _sessions(groups, "idle in transaction")
        + _sessions(groups, "idle in transaction (aborted)"),
        "top": [
            {
                "user": words(group["usename"]),
                "application": words(group["application_name"]),
                "state": group["state"],
                "sessions": group["sessions"],
            }
            for group in groups[:SHOWN]
        ],
    }
    if found["usable"] > 0:
        facts["utilisation"] = found["used"] / found["usable"]
    return facts


async def slow(databases: DatabaseReader, connection: str) -> dict[str, Any]:
    """The application's statements that run for more than five seconds; who blocks others first."""
    found = await databases.statements(connection, running_for=SLOWER_THAN)
    now = datetime.fromisoformat(found["at"])
    statements = [_statement(read_backend(shown), shown["spec"], now) for shown in found["backends"][:SHOWN]]
    return {
        "count": len(found["backends"]),
        "longestSeconds": max((each["seconds"] for each in statements), default=0.0),
        "blocking": sum(each["blocks"] > 0 for each in statements),
        "statements": statements,
    }


async def lag(databases: DatabaseReader, connection: str) -> dict[str, Any]:
    """How far a standby is behind: 0 when it has all, Infinity when paused, missing when nothing reaches it.

    On a primary: its standbys, as they told it.
    """
    found = await databases.replication(connection)
    if found["standby"]:
        facts = {"standby": True, "paused": found["paused"], "streaming": found["streaming"]}
        return _with(facts, lagSeconds=found["lag"])
    return {
        "standby": False,
        "standbys": [
            _with(
                {"application": words(each["application_name"]), "state": each["state"]},
                sync=each["sync_state"],
                lagSeconds=each["lag"],
                bytesBehind=each["behind"],
            )
            for each in found["standbys"]
        ],
    }


async def disk(databases: DatabaseReader, connection: str) -> dict[str, Any]:
    """What takes space: WAL that a forgotten slot or a failing archiver keeps, the largest tables."""
    found = await databases.storage(connection)
    facts: dict[str, Any] = {}
    if "slots" in found:
        idle = [slot for slot in found["slots"] if not slot["active"]]
        facts["inactiveSlots"] = len(idle)
        facts["inactiveSlotBytes"] = sum((slot["kept"] or 0.0 for slot in idle), 0.0)
        facts["slots"] = [
            _with({"name": words(slot["slot_name"]), "active": slot["active"]}, bytesKept=slot["kept"])
            for slot in found["slots"]
        ]
    for archiver in found.get("archiver", ()):
        facts["archiverFailing"] = archiver["failing"]
        facts["archiverFailures"] = archiver["failed_count"]
    for database in found.get("database", ()):
        facts = _with(facts, databaseBytes=database["bytes"], temporaryBytes=database["temporary"])
    for wal in found.get("wal", ()):
        facts["walBytes"] = wal["bytes"]
    if "tables" in found:
        facts["tables"] = [
            _with({"name": words(table["name"])}, bytes=table["bytes"]) for table in found["tables"]
        ]
    return facts


def _sessions(groups: Sequence[Mapping[str, Any]], state: str) -> int:
    return sum(group["sessions"] for group in groups if group["state"] == state)


def _statement(backend: Backend, spec: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    since = backend.query_since or backend.since
    return {
        "pid": int(backend.ref.name),
        "user": words(backend.user),
        "application": words(backend.application),
        "seconds": (now - since).total_seconds(),
        "blocks": backend.blocks,
        "blockedBy": backend.blocked_by,
        "waitsFor": " ".join(part for part in (spec["wait_event_type"], spec["wait_event"]) if part),
        "query": spec["query"],
    }


def _with(facts: dict[str, Any], **known: Any) -> dict[str, Any]:
    """And these, where there is a value."""
    return {**facts, **{name: value for name, value in known.items() if value is not None}}
