"""The journal of deliveries over HTTP: a long answer, written page by page, so that nothing large is held."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from receiver.domain.journal import Kept, line_of, moment_of
from receiver.store import journal
from receiver.web.keys import WORLD
from receiver.web.restricted import must_see_all


async def export_journal(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/journal`, with ``from=`` and ``to=``: the deliveries that are kept, as JSON lines."""
    since, until = _moment(request, "from"), _moment(request, "to")
    await must_see_all(request)
    store = request.app[WORLD].store
    # Asked before the answer begins, so that a store that is away is a 503 and not a short journal.
    page = await store.read(_page(0, since, until))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    while page:
        for _, kept in page:
            await response.write(line_of(kept))
        page = await store.read(_page(page[-1][0], since, until))
    await response.write_eof()
    return response


def _page(
    after: int, since: datetime | None, until: datetime | None
) -> Callable[[Any], list[tuple[int, Kept]]]:
    return lambda tx: journal.kept_after(tx, after, since=since, until=until)


def _moment(request: web.Request, name: str) -> datetime | None:
    text = request.query.get(name, "")
    if not text:
        return None
    try:
        return moment_of(text)
    except (ValueError, OverflowError):
        raise web.HTTPBadRequest(reason=f"{name} is neither a date nor an RFC 3339 time") from None
