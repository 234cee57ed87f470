"""The embedded store: one file on a volume, one thread that writes.

Everything that wants to write queues here; the thread takes what is waiting, runs each body under a
savepoint, commits once and answers all of them. That is what makes an fsync per acknowledged alert
affordable. The incident tool must not depend on the database it heals, so this is the default.
"""

from __future__ import annotations

import asyncio
import fcntl
import queue
import sqlite3
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from receiver.domain.errors import Unavailable
from receiver.store import schema
from receiver.store.engine import Body, Delivery, packed

T = TypeVar("T")

# More than this in one commit makes the first of them wait too long for its answer.
BATCH = 400
SWITCH_SECONDS = 0.0005

_Job = tuple[Body[Any] | Delivery, "asyncio.Future[Any]"]


class SqliteStore:
    """One open SQLite file. Make it with `open_sqlite`."""

    name = "sqlite"

    def __init__(self, path: Path, lock: IO[bytes], *, durable: bool = True) -> None:
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._engine = _engine(path, writable=True, durable=durable)
        self._readers = _engine(path, writable=False)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._writer = threading.Thread(target=self._write_for_ever, name="store-writer", daemon=True)
        self._closed = False
        self._writer.start()

    async def write(self, body: Body[T]) -> T:
        """See `Store.write`."""
        result: T = await self._submit(body)
        return result

    async def keep(self, delivery: Delivery) -> None:
        """See `Store.keep`."""
        await self._submit(delivery)

    async def read(self, body: Body[T]) -> T:
        """See `Store.read`; runs beside the writer, on a connection of its own."""

        def run() -> T:
            with self._readers.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                try:
                    return body(connection)
                finally:
                    connection.exec_driver_sql("ROLLBACK")

        try:
            return await self._loop.run_in_executor(self._reading, run)
        except DBAPIError as error:
            raise Unavailable(f"the store cannot be read: {error.orig}") from error

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        self._reading.shutdown()
        self._engine.dispose()
        self._readers.dispose()
        self._lock.close()

    async def _submit(self, work: Body[Any] | Delivery) -> Any:
        if self._closed:
            raise Unavailable("the store is closed")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((work, answer))
        return await answer

    def _write_for_ever(self) -> None:
        # A request releases the interpreter at every system call, and the writer gives it back only after
        # this long: at the default of 5 ms, joining makes every sender wait several times over.
        sys.setswitchinterval(SWITCH_SECONDS)
        with self._engine.connect() as connection:
            stopping = False
            while not stopping:
                batch: list[_Job] = []
                job = self._jobs.get()
                while True:
                    if job is None:
                        stopping = True
                        break
                    batch.append(job)
                    if len(batch) >= BATCH:
                        break
                    try:
                        job = self._jobs.get_nowait()
                    except queue.Empty:
                        break
                if batch:
                    self._commit(connection, batch)

    def _commit(self, connection: Connection, batch: list[_Job]) -> None:
        # Deliveries first, in a commit of their own: a sender must not wait for what others work out.
        kept = [job for job in batch if isinstance(job[0], Delivery)]
        for jobs in (kept, [job for job in batch if not isinstance(job[0], Delivery)]):
            if jobs:
                self._commit_together(connection, jobs)

    def _commit_together(self, connection: Connection, batch: list[_Job]) -> None:
        answers: list[Callable[[], None]] = []
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            kept = [(work, answer) for work, answer in batch if isinstance(work, Delivery)]
            if kept:
                _insert_deliveries(connection, [work for work, _ in kept])
                answers += [_answering(answer, None) for _, answer in kept]
            for work, answer in batch:
                if not isinstance(work, Delivery):
                    answers.append(_run(connection, work, answer))
            connection.exec_driver_sql("COMMIT")
        except Exception as error:  # noqa: BLE001 - every waiting caller must learn that nothing was kept
            _roll_back(connection)
            unavailable = Unavailable(f"the store cannot be written: {getattr(error, 'orig', error)}")
            answers = [_failing(answer, unavailable) for _, answer in batch]
        self._loop.call_soon_threadsafe(_answer_all, answers)


def open_sqlite(path: Path, *, durable: bool = True) -> SqliteStore:
    """Open the file for this process alone. Not ``durable`` is for files that are thrown away.

    Raises `Unavailable` where another process has it, or the folder cannot lock files (some network
    volumes): two writers would corrupt it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{path}.lock").open("wb")  # noqa: SIM115 - held for the life of the store
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise Unavailable(f"{path} is in use by another process, or its volume cannot lock files") from error
    return SqliteStore(path, lock, durable=durable)


def release_dead_leases(tx: Connection) -> None:
    """At start every lease belongs to a process that is gone: what it held is due again."""
    tx.execute(
        update(schema.incidents)
        .where(schema.incidents.c.lease_owner.is_not(None))
        .values(lease_owner=None, lease_until=None)
    )
    tx.execute(update(schema.outbox).values(lease_owner=None, lease_until=None))
    tx.execute(update(schema.duties).values(lease_owner=None, lease_until=None))


def _engine(path: Path, *, writable: bool, durable: bool = True) -> Engine:
    mode = "rwc" if writable else "ro"
    engine = create_engine(
        f"sqlite:///file:{path}?mode={mode}&uri=true",
        poolclass=StaticPool,
        # Python's own transaction handling would break savepoints: BEGIN and COMMIT are ours.
        connect_args={
            "check_same_thread": False,
            "isolation_level": None,
            "timeout": 5,
            "cached_statements": 512,
        },
        isolation_level="AUTOCOMMIT",
        query_cache_size=2000,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # KiB. What a storm writes stays in it, most of what the process grows by; four times as much made
        # nothing faster.
        cache = 16_384 if writable else 8_192
        pragmas = ["busy_timeout=5000", f"cache_size=-{cache}", "temp_store=MEMORY"]
        if writable:
            # FULL: an answered delivery survives the loss of the node. The checkpoint interval was measured:
            # 8,000 pages take two to three times the rows of the default 1,000.
            synchronous = "FULL" if durable else "OFF"
            pragmas = [
                "journal_mode=WAL",
                f"synchronous={synchronous}",
                "wal_autocheckpoint=8000",
                *pragmas,
            ]
        else:
            pragmas.append("query_only=1")
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    return engine


def _insert_deliveries(connection: Connection, batch: list[Delivery]) -> None:
    # One statement a batch takes and drops the interpreter lock once, not once a row.
    values: list[Any] = []
    for delivery in batch:
        body, compressed = packed(delivery.body)
        values += (delivery.received_at, delivery.source, delivery.sha256, body, compressed)
    rows = ",".join(["(?,?,?,?,?)"] * len(batch))
    connection.exec_driver_sql(
        f"INSERT INTO deliveries (received_at, source, sha256, body, compressed) VALUES {rows}",  # noqa: S608
        tuple(values),
    )


def _run(connection: Connection, body: Body[Any], answer: asyncio.Future[Any]) -> Callable[[], None]:
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute("SAVEPOINT body").close()
    try:
        result = body(connection)
    except Exception as error:  # noqa: BLE001 - goes to the caller; its neighbours commit
        driver.execute("ROLLBACK TO body").close()
        driver.execute("RELEASE body").close()
        return _failing(answer, error)
    driver.execute("RELEASE body").close()
    return _answering(answer, result)


def _roll_back(connection: Connection) -> None:
    try:
        connection.exec_driver_sql("ROLLBACK")
    except DBAPIError:
        # Nothing was begun: BEGIN itself failed.
        return


def _answer_all(answers: list[Callable[[], None]]) -> None:
    for answer in answers:
        answer()


def _answering(future: asyncio.Future[Any], result: Any) -> Callable[[], None]:
    def answer() -> None:
        if not future.done():
            future.set_result(result)

    return answer


def _failing(future: asyncio.Future[Any], error: Exception) -> Callable[[], None]:
    def answer() -> None:
        if not future.done():
            future.set_exception(error)

    return answer
