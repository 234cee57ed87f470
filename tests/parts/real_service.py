"""The service as people run it: `stanch serve` in a process of its own, with a cluster in another.

A test starts it, kills it as a power cut would, freezes it, and starts it again over the same store.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from real_process import RealProcess, free_port
from ruamel.yaml import YAML

API_TOKEN = "token-of-carol"
OTHER_TOKEN = "token-of-dave"
LEAD_TOKEN = "token-of-lena"
SENDER_TOKEN = "token-of-alertmanager"
READY_SECONDS = 20.0


class ClusterProcess:
    """The demo world's API server in a process of its own; its calls survive whatever dies around it."""

    def __init__(
        self, folder: Path, manifests: Sequence[Mapping[str, Any]], *, ready_after: float = 0.2
    ) -> None:
        self._folder = folder
        self.port = free_port()
        self.calls_file = folder / "calls.jsonl"
        self._manifests = folder / "manifests.yaml"
        documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        self._manifests.write_text(documents, encoding="utf-8")
        self._ready_after = ready_after
        self._process: RealProcess | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        command = [sys.executable, "-m", "receiver.demo.kubernetes", "--port", str(self.port)]
        command += ["--manifests", str(self._manifests), "--calls", str(self.calls_file)]
        command += ["--ready-after", str(self._ready_after)]
        self._process = RealProcess(command, log=self._folder / "cluster.log")
        # Many Deployments take the small cluster a while to live through.
        await _answers(f"{self.url}/version", within=180.0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.stop)

    def writes(self) -> list[dict[str, Any]]:
        """The patches and evictions that were no dry runs, as they were settled."""
        if not self.calls_file.exists():
            return []
        lines = self.calls_file.read_text(encoding="utf-8").splitlines()
        # Reads are many times as many; to parse them all takes longer with every one.
        calls = [json.loads(line) for line in lines if "PATCH" in line or "/eviction" in line]
        sent = [call for call in calls if call["method"] == "PATCH" or call["path"].endswith("/eviction")]
        return [call for call in sent if "dryRun" not in str(call["query"])]

    async def fault(self, **order: Any) -> None:
        """Order trouble; see the API server's faults."""
        await self._post("/_stanch/faults", order)

    async def touch(self, **order: Any) -> None:
        """A foreign write; see the API server's back door."""
        await self._post("/_stanch/touch", order)

    async def get(self, path: str) -> dict[str, Any]:
        """An object, by its API path."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}{path}") as response:
            found: dict[str, Any] = await response.json()
            return found

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}{path}", json=body) as response,
        ):
            if response.status >= 300:
                raise AssertionError(f"{path}: {response.status} {await response.text()}")


def stanch_serve(log: Path, environment: Mapping[str, str]) -> RealProcess:
    """The program as people start it."""
    return RealProcess([sys.executable, "-m", "receiver.cli.main", "serve"], log=log, environment=environment)


class ServiceProcess:
    """One `stanch serve`; several may share a store that can be shared."""

    def __init__(
        self,
        folder: Path,
        *,
        store: str,
        cluster_url: str,
        prometheus_url: str,
        policies: Path,
        settings: Mapping[str, str] | None = None,
        program: Callable[[Path, Mapping[str, str]], RealProcess] = stanch_serve,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.log = folder / "service.log"
        self._program = program
        self._process: RealProcess | None = None
        write_credentials(folder)
        self.settings = {
            name: value for name, value in os.environ.items() if not name.startswith(("STANCH_", "KUBE"))
        } | {
            "STANCH_LISTEN": f"127.0.0.1:{self.port}",
            "STANCH_STORE": store,
            "STANCH_PROMETHEUS_URL": prometheus_url,
            "STANCH_POLICIES": str(policies),
            "STANCH_KUBE_CONTEXT": "test",
            "STANCH_WEBHOOK_TOKEN_FILE": str(folder / "webhook-tokens"),
            "STANCH_API_TOKENS_FILE": str(folder / "api-tokens.yaml"),
            "STANCH_LOG_FORMAT": "json",
            "KUBECONFIG": str(kubeconfig(folder, cluster_url)),
            **(settings or {}),
        }

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.running

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it is ready."""
        self.launch(environment=environment)
        await _answers(f"{self.url}/readyz", said=self.log_tail)

    def launch(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Start it and do not wait."""
        if self._process is not None:
            # The one before is dead; this lets go of its log.
            self._process.stop()
        self._process = self._program(self.log, {**self.settings, **(environment or {})})

    async def stop(self) -> None:
        """SIGTERM, and wait until it drained."""
        if self._process is not None:
            await asyncio.to_thread(self._process.stop)

    def send(self, number: signal.Signals) -> None:
        """A signal to the process."""
        assert self._process is not None
        self._process.send(number)

    def wait(self, patience_s: float) -> int:
        """Its exit code, once it ended."""
        assert self._process is not None
        return self._process.wait(patience_s)

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP: it holds its connections and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:] if self.log.exists() else ""

    async def post_alerts(self, body: bytes, session: aiohttp.ClientSession) -> int:
        """Deliver a notification; the answer's status."""
        headers = {"Authorization": f"Bearer {SENDER_TOKEN}", "Content-Type": "application/json"}
        async with session.post(f"{self.url}/api/v1/alerts", data=body, headers=headers) as response:
            await response.read()
            return response.status

    async def api(
        self, method: str, path: str, body: Any = None, *, token: str = API_TOKEN
    ) -> tuple[int, Any]:
        """Call the API; status and document."""
        headers = {"Authorization": f"Bearer {token}"}
        timeout = aiohttp.ClientTimeout(total=15)
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
            session.request(method, f"{self.url}/api/v1/{path}", json=body) as response,
        ):
            return response.status, await response.json()

    async def incidents(self) -> list[dict[str, Any]]:
        """All incidents, newest first."""
        _, document = await self.api("GET", "incidents?limit=200")
        items: list[dict[str, Any]] = document["items"]
        return items

    async def timeline(self, incident: int) -> list[str]:
        """The kinds of an incident's events."""
        _, document = await self.api("GET", f"incidents/{incident}/timeline")
        return [item["event"]["event"] for item in document["items"]]

    async def metrics(self) -> dict[str, float]:
        """The metrics without labels, and with them as they are written."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
        return {name: float(value) for name, value in pairs}


def write_credentials(folder: Path) -> None:
    """A sender's token, and two people with theirs."""
    (folder / "webhook-tokens").write_text(f"{SENDER_TOKEN}\n", encoding="utf-8")
    people = [
        {"token": API_TOKEN, "name": "carol", "groups": ["oncall", "sre"]},
        {"token": OTHER_TOKEN, "name": "dave", "groups": ["sre"]},
        {"token": LEAD_TOKEN, "name": "lena", "groups": ["security-lead"]},
    ]
    with (folder / "api-tokens.yaml").open("w", encoding="utf-8") as stream:
        YAML().dump(people, stream)


def kubeconfig(folder: Path, url: str) -> Path:
    """Credentials for the fake cluster, under the context ``test``."""
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(document, stream)
    return path


async def _answers(url: str, *, said: Any = None, within: float = READY_SECONDS) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(int(within / 0.05)):
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise AssertionError(f"{url} is not ready after {within} s\n{said() if said is not None else ''}")
