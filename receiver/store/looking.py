"""A look at a store from outside, which leaves it as it is: reachable, of which schema, with how much room.

For whoever asks how an installation is; the service itself opens its store by other ways.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from receiver.domain.errors import Unavailable

_VERSIONED = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"


@dataclass(frozen=True)
class Sessions:
    """How many sessions a PostgreSQL server has: at most for us, taken now, and of these taken by us."""

    most: int
    taken: int
    ours: int


@dataclass(frozen=True)
class Looked:
    """What was seen. ``revision`` is None before the first start; ``at`` is the store's own clock, where it
    has one of its own; ``writable`` is false on a standby.
    """

    revision: str | None
    at: datetime | None = None
    writable: bool = True
    sessions: Sessions | None = None


def read_only(path: Path, *, long: bool = False) -> sqlite3.Connection:
    """A connection that reads an SQLite store and leaves even its side files alone. Raises sqlite3.Error.

    Without a write-ahead log nobody writes, and a look must not make one. What is read for ``long`` takes
    part in the locking, since a service may be started meanwhile.
    """
    how = "mode=ro" if long or Path(f"{path}-wal").exists() else "immutable=1"
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{quoted}?{how}", uri=True, timeout=5, isolation_level=None)


def look_at_sqlite(path: Path) -> Looked | None:
    """None where there is no file yet. Raises Unavailable where it cannot be read."""
    if not path.exists():
        return None
    try:
        with closing(read_only(path)) as connection:
            known = connection.execute(_VERSIONED).fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    except sqlite3.Error as error:
        raise Unavailable(f"the store cannot be read: {error}") from error
    return Looked(None if row is None else str(row[0]))


def look_at_postgres(tx: Connection) -> Looked:
    """The same of a PostgreSQL database, in a transaction of the caller's."""
    known = inspect(tx).has_table("alembic_version")
    revision = tx.execute(text("SELECT version_num FROM alembic_version")).scalar() if known else None
    row = tx.execute(
        text(
            """SELECT extract(epoch FROM clock_timestamp())::float8 AS at, pg_is_in_recovery() AS standby,
              least(
                current_setting('max_connections')::int
                  - current_setting('superuser_reserved_connections')::int,
                nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1),
                nullif((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1)
              ) AS most,
              (SELECT coalesce(sum(numbackends), 0)::int FROM pg_stat_database) AS taken,
              (SELECT count(*)::int FROM pg_stat_activity
                WHERE application_name = 'stanch' AND usename = current_user) AS ours"""
        )
    ).one()
    return Looked(
        revision,
        datetime.fromtimestamp(row.at, UTC),
        writable=not row.standby,
        sessions=Sessions(row.most, row.taken, row.ours),
    )
