"""Who sent a request, by whichever way they are known; and why it is not believed."""

from __future__ import annotations

from aiohttp import web

from receiver.policy.approval import Identity, KnownBy
from receiver.web.keys import PEOPLE, PROXY
from receiver.web.proxy import peer_of, who_it_says

# What a browser says of a request that a page of another site made.
_OWN = ("same-origin", "none")


async def identify(request: web.Request) -> Identity | str:
    """The identity, or a sentence about why nobody is taken for it. Raises what the authenticators raise."""
    said = _by_proxy(request)
    if said is None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return "no token"
        return await request.app[PEOPLE].who(token.strip()) or "unknown token"
    if isinstance(said, Identity) and (why := of_another_site(request, said)) is not None:
        return why
    return said


def of_another_site(request: web.BaseRequest, who: Identity) -> str | None:
    """Why a browser that is logged in at the proxy may have been led to send this by another site's page.

    A form sends no JSON without the browser's asking us first, which we do not answer.
    """
    if who.known_by is not KnownBy.PROXY or request.method in ("GET", "HEAD"):
        return None
    if request.content_type != "application/json":
        return "a call through the proxy that is not JSON"
    if request.headers.get("Sec-Fetch-Site", "none") not in _OWN:
        return "a call through the proxy from a page of another site"
    return None


def _by_proxy(request: web.Request) -> Identity | str | None:
    proxy = request.app[PROXY]
    if proxy is None:
        return None
    transport = request.transport
    if transport is None:
        return "the connection is gone"
    peer = peer_of(transport.get_extra_info("peername"), transport.get_extra_info("peercert"))
    return who_it_says(proxy, request.headers, peer)
