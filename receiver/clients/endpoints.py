"""The door to the few HTTP endpoints that may be read, or warmed up by reading: those that a file names.

A policy names an endpoint by its name; nothing that an alert says ever becomes part of an address. What an
endpoint answers is hostile: it is short, in time, of the right type and JSON, or it is no answer. Neither
its text nor its address nor the token is part of an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from receiver.clients.addresses import Guarded, refused_host
from receiver.clients.answers import Answer, Applied, Rejected
from receiver.clients.bodies import whole
from receiver.clients.files import read_named, read_secret
from receiver.domain.endpoints import HTTP, REQUESTS_A_SECOND, Answered, EndpointKind
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import WarmUpStep

CONNECT_TIMEOUT_SECONDS = 3.0
ANSWER_TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024
# Many incidents at once must not hammer whoever is in trouble already; failures are kept as well.
KEPT_SECONDS = 30.0
# No request of a step begins later than this: whoever was frozen meanwhile sends no more of them.
WARM_UP_SECONDS = 5.0
# A warm-up that stopped. It is no status that the endpoint gave: those say something of objects elsewhere.
_STOPPED = 502
_ASKING = {"User-Agent": "stanch"}
# Told apart in what a service counts, and for whichever pod is next: a connection would keep to one.
_WARMING = {"User-Agent": "stanch-warm-up", "Connection": "close"}

# One grammar, and a strict one: what two parsers read differently is read as no address at all.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(:(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[/?][\w!$%&'()*+,./:;=?@~-]*)?",
    re.ASCII,
)
_JSON = re.compile(r"application/([\w.-]+\+)?json", re.ASCII)
_IN_CLUSTER = (".svc", ".svc.cluster.local")
_TOKEN = re.compile(r"[!-~]{1,4096}")


class Endpoint(BaseModel):
    """One address that may be read. ``insecure`` allows plain HTTP; certificates are verified in any case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: EndpointKind
    url: str
    token_file: Path | None = None
    insecure: bool = False

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        found = _URL.fullmatch(url)
        if found is None or int(found["port"] or 443) not in range(1, 65536):
            raise ValueError("must be https://HOST[:PORT]/PATH, without a user, a password or a fragment")
        if (why := refused_host(_host(found))) is not None:
            raise ValueError(f"names a host that is never asked: {why}")
        return url

    @model_validator(mode="after")
    def _together(self) -> Endpoint:
        found = _URL.fullmatch(self.url)
        assert found is not None
        plain = found["scheme"] == "http"
        if plain and not self.insecure and not _host(found).endswith(_IN_CLUSTER):
            raise ValueError("url must begin with https://, unless its host ends in .svc or insecure is true")
        if self.insecure and not plain:
            raise ValueError("insecure allows http:// and nothing else: certificates are always verified")
        if self.kind is EndpointKind.STATUS_PAGE and self.token_file is not None:
            raise ValueError("token_file is not for a status page, which is public")
        return self

    def headers(self) -> dict[str, str]:
        """What a request says, with the token as the file has it now. Raises PermanentError without one."""
        # What comes packed is not unpacked: a small body could become a large one.
        said = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self.token_file is None:
            return said
        token = read_secret(self.token_file, "token")
        if not _TOKEN.fullmatch(token):
            raise PermanentError(f"the token file {self.token_file} holds no token: one word is expected")
        return {**said, "Authorization": f"Bearer {token}"}


def read_endpoints(path: Path) -> dict[str, Endpoint]:
    """The endpoints of this file, by name. Raises PermanentError with every complaint, a line each."""
    return read_named(path, Endpoint, must="endpoints: NAME: {kind, url}")


def open_session() -> aiohttp.ClientSession:
    """A session for endpoints alone; whoever opens it closes it. Call it where an event loop runs.

    No cookies, no proxy of the environment, nothing unpacked, and no name that leads to a refused address.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=20, resolver=Guarded(aiohttp.ThreadedResolver())),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


@dataclass
class _Kept:
    """The last answer, or the reason why there was none; who holds the lock may ask anew."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    found: Answered | str | None = None
    at: float = 0.0


class Endpoints:
    """The configured endpoints, by name.

    ``steady`` is a clock in seconds that only runs forward, ``pause`` waits for so many of them.
    """

    def __init__(
        self,
        configured: Mapping[str, Endpoint] | None = None,
        session: aiohttp.ClientSession | None = None,
        *,
        steady: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._configured = dict(configured or {})
        self._session = session
        self._steady = steady
        self._pause = pause
        self._kept: dict[str, _Kept] = {}

    async def ask(self, name: str, kind: EndpointKind) -> Answered:
        """See `EndpointReader.ask`. What was answered within the last 30 seconds is answered again."""
        endpoint = self._endpoint(name, kind)
        kept = self._kept.setdefault(name, _Kept())
        # Whoever waits here finds the answer of whoever was first.
        async with kept.lock:
            if kept.found is None or self._steady() - kept.at >= KEPT_SECONDS:
                kept.found = await self._ask(endpoint, _ASKING)
                kept.at = self._steady()
            found = kept.found
        if isinstance(found, str):
            raise TemporaryError(f"endpoint {name}: {found}")
        return found

    def warmable(self, name: str) -> dict[str, Any] | None:
        """See `EndpointReader.warmable`. An approval holds for this address and no other."""
        endpoint = self._configured.get(name)
        if endpoint is None or endpoint.kind is not EndpointKind.WARM_UP:
            return None
        address = hashlib.sha256(endpoint.url.encode()).hexdigest()[:16]
        return {
            "apiVersion": HTTP,
            "kind": "Endpoint",
            "metadata": {"namespace": "", "name": name, "uid": address, "resourceVersion": address},
        }

    async def warm(self, step: WarmUpStep) -> Answer:
        """The requests of a step, one after another and no more than five a second.

        None is sent after the first that is not answered with 2xx in time: whoever fails gets no more load.
        """
        name = step.target.name
        found = self.warmable(name)
        if found is None:
            return Rejected(_STOPPED, "Stopped", (), f"there is no endpoint {name} that may be warmed up")
        endpoint, began, slowest, sent = self._configured[name], self._steady(), 0.0, 0
        while sent < step.requests and self._steady() - began < WARM_UP_SECONDS:
            try:
                answered = await self._ask(endpoint, _WARMING)
            except PermanentError as error:
                answered = str(error)
            sent += 1
            if isinstance(answered, str) or not answered.well:
                said = answered if isinstance(answered, str) else f"it answered {answered.status}"
                stopped = f"endpoint {name}: {said} (request {sent} of {step.requests}); no more were sent"
                return Rejected(_STOPPED, "Stopped", (), stopped)
            slowest = max(slowest, answered.milliseconds)
            await self._pause(max(0.0, began + sent / REQUESTS_A_SECOND - self._steady()))
        told = f"{sent} of {step.requests} requests, all answered with 2xx, the slowest in {slowest:.0f} ms"
        return Applied(found, told)

    def _endpoint(self, name: str, kind: EndpointKind) -> Endpoint:
        endpoint = self._configured.get(name)
        if endpoint is None:
            known = ", ".join(sorted(self._configured)) or "none"
            raise PermanentError(f"there is no endpoint {name!r} (STANCH_ENDPOINTS_FILE has: {known})")
        if endpoint.kind is not kind:
            raise PermanentError(f"endpoint {name} is of kind {endpoint.kind}; this takes one of kind {kind}")
        return endpoint

    async def _ask(self, endpoint: Endpoint, saying: Mapping[str, str]) -> Answered | str:
        """One request; a sentence where it has no answer. Raises PermanentError without a token."""
        assert self._session is not None, "endpoints are configured, and nobody opened a session for them"
        headers = {**endpoint.headers(), **saying}
        began = self._steady()
        try:
            async with self._session.get(
                endpoint.url,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
                allow_redirects=False,
            ) as response:
                milliseconds = (self._steady() - began) * 1000.0
                if endpoint.kind in (EndpointKind.HEALTH, EndpointKind.WARM_UP):
                    return Answered(response.status, milliseconds)
                if response.status != 200:
                    where = ", and redirects are not followed" if 300 <= response.status < 400 else ""
                    return f"it answered {response.status}{where}"
                if not _JSON.fullmatch(response.content_type):
                    return "it answered with something else than JSON"
                body = await whole(response.content, most=MAX_ANSWER_BYTES)
        except TemporaryError as error:
            return str(error)
        except TimeoutError:
            return "it did not answer in time"
        except (aiohttp.ClientError, OSError) as error:
            return f"it cannot be reached: {type(error).__name__}"
        try:
            return Answered(200, milliseconds, json.loads(body))
        except (ValueError, RecursionError):
            return "its answer is no JSON"


def _host(found: re.Match[str]) -> str:
    return found["host"].strip("[]").lower().rstrip(".")
