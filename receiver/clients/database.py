"""The door to the PostgreSQL servers that are looked after: every look and the two signals go through it.

Statements are fixed and take parameters; nobody outside can send one of their own. A backend is shown
in the shape of an object: its uid is when it began, its version is what it does and since when, so that the
condition of a signal reads like that of any other write.

Everything is read as the monitor role over one session a connection, which is kept: when connections run out
is when it is needed. A signal is a session of its own, as the operator role. What the server or the driver
says goes nowhere: it may quote statements, values and addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from receiver.clients import sql
from receiver.clients.answers import Answer, Applied, Rejected, Unanswered
from receiver.clients.connections import Connection, Role
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import BackendStep, ObjectRef, Signal
from receiver.domain.redaction import redacted

if TYPE_CHECKING:
    # The driver weighs eight megabytes that a service without databases does not need.
    import asyncpg

    Session = asyncpg.Connection[asyncpg.Record]

CONNECT_TIMEOUT_SECONDS = 3.0
# The server gives up first; the client waits a little longer for its word.
STATEMENT_TIMEOUT_SECONDS = 5
ANSWER_TIMEOUT_SECONDS = 6.0
CLOSE_TIMEOUT_SECONDS = 1.0

_SETTINGS: Mapping[str, str] = {
    "application_name": "stanch",
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "lock_timeout": "1s",
    "default_transaction_read_only": "on",
    # No function of somebody's own in another schema is ever called.
    "search_path": "pg_catalog",
}


@dataclass
class _Kept:
    """The one session that reads; who holds the lock may use it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: Session | None = None


class Databases:
    """The configured connections, by name; none of them is opened before it is asked."""

    def __init__(self, connections: Mapping[str, Connection] | None = None) -> None:
        self._connections = dict(connections or {})
        self._kept = {name: _Kept() for name in self._connections}

    async def close(self) -> None:
        """Let go of the sessions."""
        for kept in self._kept.values():
            session, kept.session = kept.session, None
            if session is not None:
                await _close(session)

    async def backend(self, ref: ObjectRef) -> dict[str, Any] | None:
        """See `DatabaseReader.backend`. Raises TemporaryError and PermanentError."""
        if not ref.name.isdigit():
            return None
        rows = await self._rows(ref.namespace, sql.BACKEND, int(ref.name))
        return _shown(ref.namespace, rows[0]) if rows else None

    async def backends(self, connection: str) -> dict[str, Any]:
        """See `DatabaseReader.backends`. Raises TemporaryError and PermanentError."""
        found, at = self._named(connection), await self._looking(connection)
        rows = await self._rows(connection, sql.BACKENDS, found.database, list(found.users))
        return _listing(connection, found, at, rows)

    async def statements(self, connection: str, *, running_for: timedelta) -> dict[str, Any]:
        """See `DatabaseReader.statements`. Raises TemporaryError and PermanentError."""
        found, at = self._named(connection), await self._looking(connection)
        rows = await self._rows(connection, sql.STATEMENTS, found.database, list(found.users), running_for)
        return _listing(connection, found, at, rows)

    async def usage(self, connection: str) -> dict[str, Any]:
        """See `DatabaseReader.usage`. Raises TemporaryError and PermanentError."""
        await self._looking(connection)
        rows = await self._rows(connection, sql.USAGE)
        # We are one of them, so there is a row.
        most, usable = rows[0]["most"], rows[0]["most"] - rows[0]["reserved"]
        groups = [
            {
                "usename": row["usename"],
                "application_name": row["application_name"],
                "state": row["state"],
                "sessions": row["sessions"],
            }
            for row in rows
        ]
        used = sum(group["sessions"] for group in groups)
        return {"used": used, "usable": usable, "max": most, "groups": groups}

    async def replication(self, connection: str) -> dict[str, Any]:
        """See `DatabaseReader.replication`. Raises TemporaryError and PermanentError."""
        (row,) = await self._rows(connection, sql.LAG)
        if row["standby"]:
            return {
                "standby": True,
                "paused": row["paused"],
                "streaming": row["streaming"],
                "lag": row["lag"],
            }
        standbys = await self._rows(connection, sql.STANDBYS)
        return {"standby": False, "standbys": [dict(each) for each in standbys]}

    async def storage(self, connection: str) -> dict[str, Any]:
        """See `DatabaseReader.storage`. Raises TemporaryError and PermanentError."""
        found: dict[str, Any] = {}
        failure: TemporaryError | PermanentError | None = None
        for name, statement in (
            ("slots", sql.SLOTS),
            ("archiver", sql.ARCHIVER),
            ("tables", sql.TABLES),
            ("database", sql.DATABASE),
            ("wal", sql.WAL),
        ):
            try:
                rows = await self._rows(connection, statement)
            except (TemporaryError, PermanentError) as error:
                # A managed server keeps some of these from everybody; and sizing waits for a table's lock,
                # which whoever rewrites it holds for long.
                failure = error
            else:
                found[name] = [_plain(row) for row in rows]
        if not found and failure is not None:
            raise failure
        return found

    async def may_signal(self, step: BackendStep) -> bool | None:
        """Whether the configured role may tell a backend of this user anything; None: cannot be asked."""
        operator = self._named(step.target.namespace).operator.user
        try:
            rows = await self._rows(step.target.namespace, sql.MAY, operator, list(step.users))
        except TemporaryError:
            return None
        return bool(rows and rows[0]["may"])

    async def signal(self, step: BackendStep) -> Answer:
        """One statement that tells this very backend, if it still does what it did."""
        import asyncpg

        name = step.target.namespace
        found = self._connections.get(name)
        condition = _condition(step)
        if found is None or found.database != step.database or not set(step.users) <= set(found.users):
            return Rejected(
                403, "Forbidden", (), f"connection {name} is not for these users; nothing was told"
            )
        if condition is None:
            return Rejected(400, "BadRequest", (), f"{step.target} cannot be told apart; nothing was told")
        statement = sql.TERMINATE if step.signal is Signal.TERMINATE else sql.CANCEL
        session: Session | None = None
        try:
            session = await _open(found, found.operator)
            rows = await session.fetch(statement, *condition, list(step.users), step.database)
        except asyncpg.InsufficientPrivilegeError:
            return Rejected(403, "Forbidden", (), f"{found.operator.user} may not {step.signal} this backend")
        except asyncpg.InvalidAuthorizationSpecificationError:
            return Rejected(401, "Unauthorized", (), f"connection {name} does not take {found.operator.user}")
        except PermanentError as error:
            return Rejected(403, "Forbidden", (), str(error))
        except _troubles() as error:
            return Unanswered(f"connection {name}: {_kind(error)}")
        finally:
            if session is not None:
                await _close(session)
        if not rows or not rows[0]["told"]:
            sentence = f"{step.target} is gone or does something else now; nothing was told"
            return Rejected(409, "Changed", (), sentence)
        uid, version = step.target.uid, step.version
        metadata = {"namespace": name, "name": step.target.name, "uid": uid, "resourceVersion": version}
        return Applied({"metadata": metadata})

    def _named(self, name: str) -> Connection:
        if name not in self._connections:
            known = ", ".join(sorted(self._connections)) or "none"
            raise PermanentError(
                f"there is no database connection {name!r} (STANCH_DATABASES_FILE has: {known})"
            )
        return self._connections[name]

    async def _looking(self, connection: str) -> datetime:
        """The server's time, where the monitor sees what sessions do. Raises PermanentError where not."""
        (row,) = await self._rows(connection, sql.SIGHT)
        if not row["sees"]:
            monitor = self._named(connection).monitor.user
            raise PermanentError(f"connection {connection}: {monitor} sees no sessions; grant it pg_monitor")
        at: datetime = row["at"]
        return at

    async def _rows(self, name: str, statement: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
        """Ask as the monitor role. A session that died while it was not used is replaced once."""
        found, kept = self._named(name), self._kept[name]
        async with kept.lock:
            while True:
                reused = kept.session is not None
                try:
                    return await self._ask(kept, found, statement, arguments)
                except _troubles() as error:
                    if not (reused and _lost(error)):
                        # Not chained: what the driver says stays here.
                        raise _failure(name, error) from None

    async def _ask(
        self, kept: _Kept, found: Connection, statement: str, arguments: Sequence[Any]
    ) -> Sequence[Mapping[str, Any]]:
        import asyncpg

        if kept.session is not None and kept.session.is_closed():
            kept.session = None
        if kept.session is None:
            kept.session = await _open(found, found.monitor)
        whole = False
        try:
            rows = await kept.session.fetch(statement, *arguments)
            whole = True
        except asyncpg.PostgresError as error:
            whole = not _lost(error)
            raise
        finally:
            # Half an answer may still be on its way, after a timeout or when the step was given up.
            if not whole and kept.session is not None:
                session, kept.session = kept.session, None
                await _close(session)
        return [dict(row) for row in rows]


async def _open(found: Connection, role: Role) -> Session:
    import asyncpg

    return await asyncpg.connect(
        host=found.host,
        port=found.port,
        database=found.database,
        user=role.user,
        password=role.password(),
        ssl=found.tls(),
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=ANSWER_TIMEOUT_SECONDS,
        server_settings=dict(_SETTINGS),
    )


async def _close(session: Session) -> None:
    # A statement that still runs is cancelled first; that too may not be waited for for ever.
    with suppress(*_troubles()):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await session.close()
    if not session.is_closed():
        session.terminate()


def _condition(step: BackendStep) -> tuple[int, datetime, str, datetime, datetime | None] | None:
    """What the statement compares: pid, when it began, its state and since when, when its query began."""
    parts = step.version.split("@")
    try:
        state, changed, queried = parts
        return (
            int(step.target.name),
            datetime.fromisoformat(step.target.uid),
            state,
            datetime.fromisoformat(changed),
            datetime.fromisoformat(queried) if queried else None,
        )
    except ValueError:
        return None


def _listing(
    connection: str, found: Connection, at: datetime, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "database": found.database,
        "users": sorted(found.users),
        # Before the look, so that no session is taken for older than it is.
        "at": at.isoformat(),
        "backends": [_shown(connection, row) for row in rows],
    }


def _shown(connection: str, row: Mapping[str, Any]) -> dict[str, Any]:
    began, changed, queried = row["backend_start"], row["state_change"], row["query_start"]
    spec = _plain(row)
    spec["query"] = redacted(row["query"] or "")
    return {
        "apiVersion": "postgresql",
        "kind": "Backend",
        "metadata": {
            "namespace": connection,
            "name": str(row["pid"]),
            "uid": began.isoformat(),
            "resourceVersion": version_of(row["state"], changed, queried),
        },
        "spec": spec,
    }


def version_of(state: str | None, changed: datetime | None, queried: datetime | None) -> str:
    """What a backend does, since when, and when its statement began: another one has another version."""
    moments = ("" if moment is None else moment.isoformat() for moment in (changed, queried))
    return "@".join((state or "", *moments))


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _troubles() -> tuple[type[Exception], ...]:
    """What the driver raises. `InternalClientError` is how it takes a session that was ended a moment ago."""
    import asyncpg

    return (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        TimeoutError,
    )


def _lost(error: Exception) -> bool:
    """Whether the session is over; class 57P is the server's farewell, an administrator's included."""
    code = getattr(error, "sqlstate", None)
    if code is not None:
        return str(code).startswith(("57P", "08"))
    # The driver's own errors have no code; a statement of ours that it would not send is not expected.
    return not isinstance(error, TimeoutError)


def _kind(error: Exception) -> str:
    """What went wrong in the names of the field; never what was said, which may quote anything."""
    code = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} ({code})" if code else type(error).__name__


# Lacking rights, a wrong password, no such database, role, table or function: a person must change something.
_FOR_A_PERSON = ("28", "3D", "3F", "42", "22")


def _failure(name: str, error: Exception) -> TemporaryError | PermanentError:
    code = str(getattr(error, "sqlstate", None) or "")
    sentence = f"connection {name}: {_kind(error)}"
    if code.startswith(_FOR_A_PERSON):
        return PermanentError(sentence)
    return TemporaryError(sentence)
