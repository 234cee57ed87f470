"""Calls a running service's API: the one door of the commands, plain HTTP with a bearer token.

No redirect is followed and no proxy is used, so that the token goes to the named address and nowhere else.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from receiver.cli.failures import REFUSED, UNREACHABLE, USAGE, Failure
from receiver.terminal.screen import clean

Document = dict[str, Any]

TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
PAGE = 200
TIMELINE_PAGES = 100

_HINTS = {
    401: "set STANCH_TOKEN or STANCH_TOKEN_FILE to a token that the service knows",
    403: "use the token of somebody who may: STANCH_TOKEN or STANCH_TOKEN_FILE",
}


class Service:
    """One service by its address, and who we are to it."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise Failure(f"STANCH_URL: {url!r} is no address like http://127.0.0.1:8080", code=USAGE)
        if parts.username is not None or parts.query or parts.fragment:
            raise Failure("STANCH_URL: only scheme, host, port and path; no credentials", code=USAGE)
        self.url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._base = parts.hostname, port, parts.path.rstrip("/")
        self._token = token

    def get(self, path: str, **query: str | int | None) -> Document:
        """The document at this path."""
        with self._answer("GET", path, query=query) as answer:
            return self._document(answer)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Document:
        """What the service answers to this body."""
        with self._answer("POST", path, body=body or {}) as answer:
            return self._document(answer)

    def items(self, path: str, *, limit: int, **query: str | int | None) -> list[Document]:
        """At most ``limit`` items of a list, page by page."""
        found: list[Document] = []
        cursor: str | None = None
        while len(found) < limit:
            page = self.get(path, limit=min(PAGE, limit - len(found)), cursor=cursor, **query)
            found += [item for item in page.get("items", []) if isinstance(item, dict)]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return found[:limit]

    def timeline(self, incident: int) -> list[Document]:
        """Everything that happened to one incident, oldest first; at most a hundred pages."""
        events: list[Document] = []
        after: str | None = None
        for _ in range(TIMELINE_PAGES):
            page = self.get(f"/incidents/{incident}/timeline", after=after)
            events += page.get("items", [])
            if (after := page.get("next_cursor")) is None:
                break
        return events

    @contextmanager
    def lines(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | int | None] | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Iterator[Iterator[bytes]]:
        """The lines of a long answer as they come. Raises Failure where it breaks off."""
        with self._answer("GET", path, query=query, headers=headers, timeout=timeout) as answer:
            yield self._lines(answer, timeout)

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Iterator[http.client.HTTPResponse]:
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"{self._base}/api/v1{path}" + (f"?{urlencode(asked)}" if asked else "")
        sent = {"Accept": "application/json", **(headers or {})}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            sent["Content-Type"] = "application/json"
        connection = self._connection(timeout)
        try:
            with self._said(timeout):
                connection.request(method, target, content, sent)
                answer = connection.getresponse()
                if answer.status != http.client.OK:
                    raise self._refusal(answer)
            yield answer
        finally:
            connection.close()

    @contextmanager
    def _said(self, timeout: float) -> Iterator[None]:
        """Around every use of the connection, and nothing else: what failed, and what to set."""
        try:
            yield
        except ssl.SSLError as error:
            raise Failure(
                f"{self.url} offers no TLS that can be trusted ({error.reason or error}); "
                "SSL_CERT_FILE names the authority's file",
                code=UNREACHABLE,
            ) from error
        except TimeoutError as error:
            raise Failure(f"{self.url} does not answer in {timeout:g} s", code=UNREACHABLE) from error
        except http.client.HTTPException as error:
            raise Failure(f"the answer of {self.url} broke off or is not HTTP", code=UNREACHABLE) from error
        except OSError as error:
            raise Failure(
                f"nothing answers at {self.url} ({error.strerror or error}); "
                "is `stanch serve` running? STANCH_URL or --url names its address",
                code=UNREACHABLE,
            ) from error

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def _document(self, answer: http.client.HTTPResponse) -> Document:
        with self._said(TIMEOUT_SECONDS):
            content = answer.read(MAX_ANSWER_BYTES)
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Failure(f"{self.url} does not answer as Stanch does; see STANCH_URL", code=UNREACHABLE)
        return document

    def _lines(self, answer: http.client.HTTPResponse, timeout: float) -> Iterator[bytes]:
        # The response's own readline hides a chunked answer that ends too early.
        held = b""
        while True:
            with self._said(timeout):
                block = answer.read1(64 * 1024)
            if not block:
                break
            *whole, held = (held + block).split(b"\n")
            yield from whole
        if held:
            yield held

    def _refusal(self, answer: http.client.HTTPResponse) -> Failure:
        try:
            document = json.loads(answer.read(64 * 1024))
        except ValueError:
            document = None
        told = document.get("error") if isinstance(document, dict) else None
        # The sentence may quote alert text.
        sentence = clean(str(told)) if told else f"{self.url} answers {answer.status}"
        if (hint := _HINTS.get(answer.status)) is not None:
            sentence += f"; {hint}"
        if answer.status in (401, 403, 404, 409):
            return Failure(sentence, code=REFUSED)
        return Failure(sentence, code=USAGE if 400 <= answer.status < 500 else UNREACHABLE)


def connect(url: str, token_file: Path | None) -> Service:
    """The service at this address. The token: from the file, else STANCH_TOKEN, else STANCH_TOKEN_FILE.

    Raises Failure where they cannot be used.
    """
    token = os.environ.get("STANCH_TOKEN") or None
    if token_file is None and token is None and (named := os.environ.get("STANCH_TOKEN_FILE")):
        token_file = Path(named)
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise Failure(f"STANCH_TOKEN_FILE: {token_file} cannot be read: {reason}", code=USAGE) from error
    return Service(url, None if token is None else _checked(token.strip()))


def _checked(token: str) -> str:
    # Anything else could not stand in a header.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Failure("the token is empty or no token; see STANCH_TOKEN and STANCH_TOKEN_FILE", code=USAGE)
    return token
