"""Starts real programs for tests and never leaves one behind.

The fixtures for Prometheus, Alertmanager and PostgreSQL are built on this: where a program is found, on which
port it may listen, how it is started so that it dies with the test run even after kill -9, how it is stopped.
Anything about a program's own configuration is left to them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBIAN_PARTS = ROOT / ".deps" / "bin"

# Debian's package renames the program; upstream's archives do not.
_ALSO_CALLED = {"alertmanager": "prometheus-alertmanager", "prometheus-alertmanager": "alertmanager"}

# Runs between us and the program: drops to another user, asks the kernel for a signal when we die (after the
# change of user, which would clear that wish), and becomes the program. A `preexec_fn` would warn about
# threads on Python 3.12+; this costs 15 ms and does not.
_GUARD = """
import os, signal, sys
parent, death, user = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if sys.platform == "linux":
    import ctypes  # loaded first: another user may not read this Python
    libc = ctypes.CDLL(None)
if user:
    import pwd
    entry = pwd.getpwnam(user)
    os.setgroups([]); os.setgid(entry.pw_gid); os.setuid(entry.pw_uid)
    os.environ.update(HOME="/", USER=user)
if sys.platform == "linux":
    libc.prctl(1, death)
    if os.getppid() != parent:
        sys.exit("whoever started this is gone")
os.execv(sys.argv[4], sys.argv[4:])
"""


class NotReadyError(Exception):
    """A program that was started did not become ready; the message carries the end of its log."""


def find_binary(name: str) -> Path | None:
    """The program ``name`` below .deps or along PATH, or None."""
    for candidate in (name, _ALSO_CALLED.get(name)):
        if candidate is None:
            continue
        unpacked = DEBIAN_PARTS / candidate
        if os.access(unpacked, os.X_OK):
            return unpacked
        if on_path := shutil.which(candidate):
            return Path(on_path)
    return None


def need_binary(name: str) -> Path:
    """The program ``name``; without it the test that asks is skipped with a sentence."""
    if (binary := find_binary(name)) is None:
        pytest.skip(f"{name} is not installed: run `make deps`")
    return binary


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Started(Protocol):
    """What is asked of a process that was started, in the words of `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def kill(self) -> None: ...


class RealProcess:
    """One program, from start to certain end. Its output goes to a file, shown when it does not get ready."""

    _process: Started

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        user: str = "",
        on_our_death: signal.Signals = signal.SIGKILL,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log_path = log
        self._log: IO[bytes] = log.open("ab")
        guard = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), str(int(on_our_death)), user]
        try:
            self._process = subprocess.Popen(
                [*guard, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**os.environ, **(environment or {})},
                # A session of its own: Ctrl-C reaches pytest, which stops us in order.
                start_new_session=True,
            )
        except BaseException:
            self._log.close()
            raise

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return self._process.poll() is None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the program wrote."""
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-lines:])

    def send(self, number: signal.Signals) -> None:
        """Send one signal to the program; nothing happens if it has ended."""
        if self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the program and its children at once, as a power cut would."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError:  # macOS answers so for a group whose leader is a zombie
            self._process.kill()
        self._process.wait()
        self._log.close()

    def wait(self, patience_s: float) -> int:
        """The exit code of a program that ends by itself; it is ended after ``patience_s``."""
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self.kill()

    def stop(self, patience_s: float = 5.0, *, politely: signal.Signals = signal.SIGTERM) -> None:
        """End the program in order, and by force if it takes longer than ``patience_s``."""
        self.send(politely)
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    async def stop_soon(self, patience_s: float = 5.0) -> None:
        """As ``stop``, while the event loop goes on (the program may be waiting for an answer of ours)."""
        self.send(signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        try:
            while self.running and time.monotonic() < deadline:  # noqa: ASYNC110 - the kernel sets no Event
                await asyncio.sleep(0.01)
        finally:
            self.kill()
