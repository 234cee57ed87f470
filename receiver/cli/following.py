"""Follows the service's event stream, and takes it up again where it broke off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from receiver.cli.client import Document, Service
from receiver.cli.failures import UNREACHABLE, Failure

# The service says something every 15 s; three times that is a dead line.
SILENCE_SECONDS = 45.0
RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 15.0


def follow(service: Service, *, say: Callable[[str], None]) -> Iterator[Document]:
    """Every event from now on. Raises Failure where the first call fails or the service refuses.

    Once it ran, an interruption is said and tried again until the service is back. Each event has a number
    that the next call names, so none is lost between the first one seen and the last.
    """
    last: str | None = None
    connected = False
    wait = RETRY_SECONDS
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last is not None else {})
        reason = "the service ended the stream"
        try:
            with service.lines("/events", headers=headers, timeout=SILENCE_SECONDS) as lines:
                connected = True
                for number, document in _read(lines):
                    wait = RETRY_SECONDS
                    last = number or last
                    yield document
        except Failure as failure:
            if not connected or failure.code != UNREACHABLE:
                raise
            reason = str(failure)
        say(f"{reason}; trying again in {wait:g} s")
        time.sleep(wait)
        wait = min(wait * 2, MAX_RETRY_SECONDS)


def _read(lines: Iterator[bytes]) -> Iterator[tuple[str, Document]]:
    number = ""
    data: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", errors="replace").rstrip("\r")
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and value.isdigit():
            number = value
        elif name == "data":
            data.append(value)
        elif not line and data:
            try:
                document = json.loads("\n".join(data))
            except ValueError:
                document = None
            data = []
            if isinstance(document, dict):
                yield number, document
