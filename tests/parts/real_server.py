"""What a real Prometheus and a real Alertmanager share: a folder, a port, a configuration, a life."""

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from real_process import NotReadyError, RealProcess, free_port

START_PATIENCE_S = 15.0


class RealServer(ABC):
    """One process with its own data directory; ``start`` again continues from that data."""

    name: str

    def __init__(self, folder: Path, binary: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: RealProcess | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The base address of its API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.running

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start on the same port and data as before, and return when it is ready."""
        assert not self.running, "it runs already"
        self._write_config()
        command = [
            str(self._binary),
            f"--config.file={self._config_file}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--web.external-url={self.url}",
            "--web.route-prefix=/",
            *self._flags(),
        ]
        self._process = RealProcess(command, log=self._folder / f"{self.name}.log")
        try:
            await _until_ready(self._process, f"{self.url}/-/ready")
        except BaseException:
            self._process.kill()
            raise

    async def stop(self) -> None:
        """SIGTERM: what it keeps in memory is written before it ends; SIGKILL if that does not help."""
        if self._process is not None:
            await self._process.stop_soon()
            self._process = None

    def kill(self) -> None:
        """SIGKILL: what was not yet on disk is forgotten."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def log_tail(self) -> str:
        """The end of its log, for a failing test's message."""
        return "" if self._process is None else self._process.log_tail()

    async def request(
        self, method: str, path: str, body: object = None, *, parameters: Mapping[str, str] | None = None
    ) -> Any:
        """Its answer, which must be 200; None where that is no JSON."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.request(method, self.url + path, json=body, params=parameters) as response,
        ):
            text = await response.text()
            if response.status != 200:
                raise AssertionError(f"{method} {path}: {response.status} {text}")
            return json.loads(text) if text.startswith(("{", "[")) else None

    async def _reload(self) -> None:
        self._write_config()
        await self.request("POST", "/-/reload")

    @property
    def _config_file(self) -> Path:
        return self._folder / f"{self.name}.yml"

    def _write_config(self) -> None:
        self._config_file.write_text(json.dumps(self._config(), indent=1))  # YAML reads JSON

    @abstractmethod
    def _config(self) -> Mapping[str, Any]:
        """The configuration file's content; other files that it names are written here."""

    @abstractmethod
    def _flags(self) -> list[str]:
        """What is said on the command line beside the usual."""


def go_duration(duration: timedelta) -> str:
    """A duration in the notation of Prometheus and Alertmanager."""
    return f"{round(duration.total_seconds() * 1000)}ms"


async def _until_ready(process: RealProcess, url: str) -> None:
    """Return when ``url`` answers 200; raises ``NotReadyError`` with the log when it never does."""
    deadline = time.monotonic() + START_PATIENCE_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while process.running and time.monotonic() < deadline:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.03)
    raise NotReadyError(f"{url} was not ready within {START_PATIENCE_S} s:\n{process.log_tail()}")
