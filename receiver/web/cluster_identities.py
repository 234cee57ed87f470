"""People and accounts that the cluster knows: whoever has a token for us is asked about at its API server.

A TokenReview names the audience. A token that is meant for the API server itself is refused, since whoever
takes those could use them there: an API server that knows no audiences names none, and that is no yes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from cachetools import TTLCache

from receiver.clients.wire import Wire
from receiver.policy.approval import Identity, KnownBy

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
# A right that was taken away holds so long at most.
REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 1000
# What an API server takes in a header; longer is no token.
LONGEST_TOKEN = 16_384


class ClusterIdentities:
    """Asks the API server who a token belongs to, and remembers the answer for seconds."""

    def __init__(self, wire: Wire, *, audience: str, steady: Callable[[], float] = time.monotonic) -> None:
        self._wire = wire
        self._audience = audience
        # By the hash of the token: tokens themselves are not kept.
        self._known: TTLCache[bytes, Identity | None] = TTLCache(
            MOST_REMEMBERED, ttl=REMEMBERED_SECONDS, timer=steady
        )

    async def who(self, token: str) -> Identity | None:
        """See `Authenticator.who`. Raises TemporaryError and PermanentError where it cannot be asked."""
        if not token or len(token) > LONGEST_TOKEN:
            return None
        key = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        try:
            return self._known[key]
        except KeyError:
            found = self._known[key] = await self._ask(token)
            return found

    async def _ask(self, token: str) -> Identity | None:
        found = await self._wire.review(
            PATH,
            "TokenReview",
            {"token": token, "audiences": [self._audience]},
            # The message of a refusal may quote what was sent.
            unsaid=lambda refused: (
                f"the cluster does not say whose token it is: {refused.reason or refused.status}"
            ),
        )
        if found.get("authenticated") is not True or self._audience not in (found.get("audiences") or ()):
            return None
        user = found.get("user") or {}
        name = user.get("username")
        if not name:
            return None
        groups = tuple(map(str, user.get("groups") or ()))
        return Identity(str(name), groups, KnownBy.CLUSTER, str(user.get("uid") or ""))
