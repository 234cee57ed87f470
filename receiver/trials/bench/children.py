"""The programs that a measure starts: each ends with it, and with us, whatever becomes of us."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

READY_SECONDS = 30.0
STOP_SECONDS = 15.0

# Runs between us and the program: asks the kernel to end it when we die, drops to another user where one
# is named, and becomes the program.
_GUARD = """
import os, signal, sys
parent, user = int(sys.argv[1]), sys.argv[2]
if sys.platform == "linux":
    import ctypes
    libc = ctypes.CDLL(None)
if user:
    import pwd
    entry = pwd.getpwnam(user)
    os.setgroups([]); os.setgid(entry.pw_gid); os.setuid(entry.pw_uid)
    os.environ.update(HOME="/", USER=user)
if sys.platform == "linux":
    libc.prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("whoever started this is gone")
os.execv(sys.argv[3], sys.argv[3:])
"""


class ChildError(Exception):
    """A program that was started did not do what it should; carries the end of its log."""


class Child:
    """One program of ours, with its output in a file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: str = "",
    ) -> None:
        self._log = log
        guard = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), user]
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                [*guard, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=dict(os.environ if environment is None else environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def said(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def failure(self, what: str) -> ChildError:
        """An error with the end of the log."""
        return ChildError(f"{what}:\n{self.said()[-2000:]}")

    async def line(self, *, within: float = READY_SECONDS) -> dict[str, Any]:
        """The first JSON object that it writes on a line of its own."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            # Asked first: what it said just before it ended counts.
            running = self.running
            for line in self.said().splitlines():
                if line.startswith("{") and line.endswith("}"):
                    found: dict[str, Any] = json.loads(line)
                    return found
            if not running:
                break
            await asyncio.sleep(0.05)
        raise self.failure("a program of the bench did not answer")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it in order, and by force if it takes too long."""
        if self.running:
            self._process.send_signal(number)
        deadline = time.monotonic() + STOP_SECONDS
        try:
            while self.running and time.monotonic() < deadline:  # noqa: ASYNC110 - the kernel sets no Event
                await asyncio.sleep(0.02)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and its children at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()
        self._process.wait()


@asynccontextmanager
async def started(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    user: str = "",
    stop: signal.Signals = signal.SIGTERM,
) -> AsyncIterator[Child]:
    """The program, running until the context ends."""
    child = Child(command, log=log, environment=environment, user=user)
    try:
        yield child
    finally:
        await child.stop(stop)


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module of this package."""
    return [sys.executable, "-m", f"{__package__}.{name}", *map(str, arguments)]


async def told_by(command: Sequence[str], *, log: Path, within: float) -> dict[str, Any]:
    """Run a program that measures something, and return the JSON object it prints."""
    async with started(command, log=log) as child:
        return await child.line(within=within)


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def memory_mb(pid: int | str = "self", *, peak: bool = False) -> float | None:
    """Resident memory of a process, or the most it ever had; None where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    field = "VmHWM:" if peak else "VmRSS:"
    found = next((line for line in text.splitlines() if line.startswith(field)), None)
    return None if found is None else int(found.split()[1]) / 1024
