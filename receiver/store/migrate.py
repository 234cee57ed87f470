"""Brings a store to this release's schema. Run at start under a lock, and by `stanch migrate`.

In a process of its own (`STANCH_STORE=... python -m receiver.store.migrate`), so that Alembic is not
resident in the service.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.domain.errors import PermanentError, Unavailable

# What upgrades is imported where it upgrades: whoever only starts that process need not wait for it.
if TYPE_CHECKING:
    from sqlalchemy import Connection

HEAD = "0007"
_LOCK = 7241002
UPGRADE_SECONDS = 300.0


def sqlite_path(url: str) -> Path:
    """The file of ``sqlite:///relative`` or ``sqlite:////absolute``."""
    return Path(url.removeprefix("sqlite:///"))


class Preparing:
    """An upgrade under way in a process of its own, or one that was not needed."""

    def __init__(self, child: subprocess.Popen[str] | None) -> None:
        self._child = child

    def finish(self) -> None:
        """Wait for it. Raises PermanentError with the reason where it fails."""
        if self._child is None:
            return
        try:
            _, told = self._child.communicate(timeout=UPGRADE_SECONDS)
        except subprocess.TimeoutExpired:
            self.stop()
            raise PermanentError(
                f"the store cannot be prepared: no end within {UPGRADE_SECONDS:.0f} s"
            ) from None
        if self._child.returncode != 0:
            last = (told.strip().splitlines() or ["no reason given"])[-1]
            raise PermanentError(f"the store cannot be prepared: {last}")

    def stop(self) -> None:
        """End it where it still runs; its transaction is rolled back."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.communicate()


def begin(url: str) -> Preparing:
    """Start the upgrade in a process of its own, where one is needed."""
    if url.startswith("sqlite:///") and _is_current(sqlite_path(url)):
        return Preparing(None)
    return Preparing(
        subprocess.Popen(
            [sys.executable, "-m", "receiver.store.migrate"],
            env={**os.environ, "STANCH_STORE": url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    )


def prepare(url: str) -> None:
    """Upgrade in a process of its own. Raises PermanentError with the reason where that fails."""
    begin(url).finish()


def _is_current(path: Path) -> bool:
    """Whether the file is there with this release's schema: then nothing has to be started for it."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return False
    return found is not None and found[0] == HEAD


def upgrade(url: str) -> None:
    """Apply what is missing, alone: another that starts meanwhile waits."""
    if url.startswith("sqlite:///"):
        _upgrade_sqlite(sqlite_path(url))
    else:
        asyncio.run(_upgrade_postgres(url))


def _upgrade_sqlite(path: Path) -> None:
    from sqlalchemy import create_engine

    path.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(f"{path} is in use by another process") from error
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            _run(connection)
        engine.dispose()


async def _upgrade_postgres(url: str) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    from receiver.store.postgres import async_url

    engine = create_async_engine(async_url(url))
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        await connection.run_sync(_run)
    await engine.dispose()


def _run(connection: Connection, to: str = HEAD) -> None:
    found = _revision(connection)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise PermanentError(
            f"it has the schema of a newer release ({found}), and this one knows {HEAD} at most:"
            " start that release, or restore what was saved before it"
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _revision(connection: Connection) -> str | None:
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


if __name__ == "__main__":
    try:
        upgrade(os.environ["STANCH_STORE"])
    except Exception as error:  # noqa: BLE001 - the sentence is for whoever started us
        sys.exit(f"{type(error).__name__}: {error}")
