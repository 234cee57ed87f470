"""`stanch policy check --live`: whether the queries of policies mean something to a Prometheus.

A query that is no PromQL to it, or that gives several series, is an error; one that gave nothing for an hour
is a warning, since the metric may come with the first error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp

from receiver.clients.prometheus import Prometheus
from receiver.domain.durations import in_words
from receiver.domain.errors import PermanentError
from receiver.packaged import read_files
from receiver.policy.complaints import Complaint, Severity
from receiver.policy.document import Document, MapNode, ScalarNode, find, read

LOOK_BACK = timedelta(hours=1)
STEP = timedelta(minutes=5)
AT_ONCE = 8


async def live_complaints(path: Path, url: str, *, now: datetime) -> tuple[Complaint, ...]:
    """What this Prometheus has against the queries of a file or a folder, in the order of their places.

    Raises TemporaryError where it cannot be asked at all, OSError where a file cannot be read.
    """
    documents = [read(file, text) for file, text in sorted(read_files(path).items())]
    room = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession() as session:
        prometheus = Prometheus(session, url)

        async def ask(document: Document, name: str, node: ScalarNode) -> None:
            async with room:
                await _ask(prometheus, document, name, node, now)

        await asyncio.gather(
            *(ask(document, name, node) for document in documents for name, node in _queries(document))
        )
    found = [complaint for document in documents for complaint in document.complaints]
    return tuple(sorted(found, key=lambda one: (one.file, one.line, one.column)))


def _queries(document: Document) -> Iterator[tuple[str, ScalarNode]]:
    """The named queries of a file; what the file says otherwise is complained about elsewhere."""
    document.complaints.clear()
    queries = find(document.root, ("spec", "queries"))
    if queries is not None and isinstance(queries[1], MapNode):
        for key, node in queries[1].entries:
            if isinstance(node, ScalarNode):
                yield key.text, node


async def _ask(
    prometheus: Prometheus, document: Document, name: str, node: ScalarNode, now: datetime
) -> None:
    try:
        points = await prometheus.values(node.text, start=now - LOOK_BACK, end=now, step=STEP)
    except PermanentError as error:
        document.complain(node, f'query "{name}": {prometheus.url} says: {str(error)[:300]}')
        return
    if not points:
        document.complain(
            node,
            f'query "{name}" gave no series in the last {in_words(LOOK_BACK)} at {prometheus.url}',
            "is the metric named like this there?",
            severity=Severity.WARNING,
        )
