"""A copy of a store that is written to meanwhile is one moment of it, whole."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from receiver.domain.errors import PermanentError, Unavailable
from receiver.store import copying, migrate
from receiver.store.copying import copy_sqlite
from receiver.store.engine import Delivery
from receiver.store.sqlite import SqliteStore, open_sqlite


def a_delivery(number: int) -> Delivery:
    return Delivery(float(number), "alertmanager", str(number), b"x" * 2000)


async def opened(tmp_path: Path, count: int = 300) -> tuple[SqliteStore, Path]:
    path = tmp_path / "stanch.sqlite3"
    migrate.upgrade(f"sqlite:///{path}")
    store = open_sqlite(path, durable=False)
    await asyncio.gather(*(store.keep(a_delivery(number)) for number in range(count)))
    return store, path


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("copy*"))


def kept(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM deliveries").fetchone()[0])


async def test_what_comes_while_it_is_copied_is_not_in_it_and_does_not_begin_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PAGES_AT_ONCE", 5)
    store, path = await opened(tmp_path)
    loop, steps = asyncio.get_running_loop(), []

    def copied(done: int, total: int) -> None:
        steps.append(done)
        if len(steps) < 20:
            asyncio.run_coroutine_threadsafe(store.keep(a_delivery(1000 + len(steps))), loop).result(10)

    found = await asyncio.to_thread(copy_sqlite, path, tmp_path / "copy", copied=copied)
    await store.close()
    assert steps == sorted(set(steps))
    assert kept(tmp_path / "copy") == 300
    assert kept(path) == 319
    assert found.revision == migrate.HEAD
    assert found.size_bytes == (tmp_path / "copy").stat().st_size
    assert left(tmp_path) == ["copy"]
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0


async def test_no_file_is_ever_written_over(tmp_path: Path) -> None:
    store, path = await opened(tmp_path, 1)
    await store.close()
    for name in ("copy", "other.part"):
        (tmp_path / name).write_text("dear")
    for name in ("copy", "other"):
        with pytest.raises(PermanentError, match=r"already|cut off"):
            copy_sqlite(path, tmp_path / name, copied=lambda done, total: None)
    assert [(tmp_path / name).read_text() for name in ("copy", "other.part")] == ["dear", "dear"]


async def test_a_file_that_comes_meanwhile_stays(tmp_path: Path) -> None:
    store, path = await opened(tmp_path, 1)
    await store.close()
    with pytest.raises(PermanentError, match="already"):
        copy_sqlite(path, tmp_path / "copy", copied=lambda done, total: (tmp_path / "copy").touch())
    assert (tmp_path / "copy").read_bytes() == b""
    assert not (tmp_path / "copy.part").exists()


def test_what_is_no_store_is_not_copied(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="no store"):
        copy_sqlite(tmp_path / "none", tmp_path / "copy", copied=lambda done, total: None)
    (tmp_path / "text").write_text("no store at all, only some words of text")
    with pytest.raises(Unavailable):
        copy_sqlite(tmp_path / "text", tmp_path / "copy", copied=lambda done, total: None)
    assert not list(tmp_path.glob("copy*"))
