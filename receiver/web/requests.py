"""What handlers take out of a request, checked; and the bodies that several of them share."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from receiver.domain.errors import NotFound

MAX_BODY_BYTES = 64 * 1024


class Decision(BaseModel):
    """Body of an approval."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=2000)
    digest: str | None = Field(
        None, max_length=64, description="approve exactly this plan; 409 if it is another now"
    )


class BreakGlass(BaseModel):
    """Body of having a plan carried out on one's own word: exactly the plan that was shown."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(max_length=2000)
    digest: str = Field(max_length=64)


class Reason(BaseModel):
    """Body of everything that needs a reason."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(max_length=4000)


async def json_body(request: web.Request) -> Any:
    """The body as JSON, an empty one as an empty object. Raises 400 and 413."""
    body = bytearray()
    async for chunk in request.content.iter_chunked(MAX_BODY_BYTES):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, len(body))
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(reason="the body is not JSON") from None


def incident_number(request: web.Request) -> int:
    """The incident that the path names. Raises NotFound."""
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise NotFound(f"there is no incident {text!r}")
    return int(text)
