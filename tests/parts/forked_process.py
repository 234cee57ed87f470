"""A process that begins where everything is imported already: it is there in milliseconds, not in seconds.

What runs in it is what would run in a new interpreter. It has its own session, environment and log, and dies
with the test run, like any other `RealProcess`.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

from real_process import RealProcess

_FORKING = multiprocessing.get_context("forkserver")
_PR_SET_PDEATHSIG = 1


def begin_with(module: str) -> None:
    """What every forked process finds imported; to be said before the first of them starts."""
    _FORKING.set_forkserver_preload([module])
    # Python 3.11 does not tell the parent of them where our modules are.
    with mock.patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent)):
        forkserver.ensure_running()


class ForkedProcess(RealProcess):
    """``target`` in a process of its own; it must be a function that can be imported by its name."""

    def __init__(self, target: Callable[[], None], *, log: Path, environment: Mapping[str, str]) -> None:
        self._log_path = log
        self._log = log.open("ab")
        self._process = _Child(target, log, environment)


class _Child:
    """In the words of `subprocess.Popen`."""

    def __init__(self, target: Callable[[], None], log: Path, environment: Mapping[str, str]) -> None:
        self._process = _FORKING.Process(target=_become, args=(target, log, dict(environment)))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return None if self._process.is_alive() else self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int, /) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _become(target: Callable[[], None], log: Path, environment: Mapping[str, str]) -> None:
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir("/")
    target()
