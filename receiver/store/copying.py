"""Copies an SQLite store that may be in use: one moment of it, whole, or nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from receiver.domain.errors import PermanentError, Unavailable
from receiver.store.looking import read_only

PAGES_AT_ONCE = 2048


@dataclass(frozen=True)
class Copied:
    """A finished copy: its size, and of which schema it is."""

    size_bytes: int
    revision: str


def copy_sqlite(store: Path, to: Path, *, copied: Callable[[int, int], None]) -> Copied:
    """Copy the store to a new file; ``copied`` is told how many pages of how many are done.

    Never over a file: raises PermanentError where there is one, where there is no store, or where the copy is
    not sound; Unavailable where the store cannot be read or the copy not written.
    """
    if not store.is_file():
        raise PermanentError(f"there is no store {store} (STANCH_STORE)")
    if to.exists():
        raise PermanentError(f"{to} is there already; a backup is never written over another file")
    part = to.with_name(f"{to.name}.part")
    try:
        # For us alone, and never over what is left of a copy that was cut off.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise PermanentError(f"{part} is left of a copy that was cut off; remove it") from error
    except OSError as error:
        raise PermanentError(f"{part} cannot be written: {error.strerror}") from error
    try:
        revision = _copy(store, part, copied)
        _sync(part)
        # A link, since a rename would replace what somebody put there meanwhile.
        os.link(part, to)
        _sync(to.parent)
        return Copied(to.stat().st_size, revision)
    except FileExistsError as error:
        raise PermanentError(f"{to} is there already; a backup is never written over another file") from error
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(f"{store} cannot be copied to {to}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _copy(store: Path, part: Path, copied: Callable[[int, int], None]) -> str:
    with closing(read_only(store, long=True)) as source, closing(sqlite3.connect(part)) as target:
        # One view for all of it: otherwise every write of the service would begin the copy anew.
        source.execute("BEGIN")
        found = source.execute("SELECT version_num FROM alembic_version").fetchone()
        source.backup(
            target, pages=PAGES_AT_ONCE, progress=lambda _, left, total: copied(total - left, total)
        )
        source.execute("ROLLBACK")
        # A copy stands alone: no write-ahead log beside it that somebody could forget.
        target.execute("PRAGMA journal_mode=DELETE")
        (sound,) = target.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise PermanentError(f"the copy is not sound: {sound}; is the disk of {store} well?")
    return str(found[0])


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
