"""Asks the cluster whether somebody may do something: one SubjectAccessReview a question.

An answer is remembered for seconds, so that a right that was taken away is gone as soon as that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cachetools import TTLCache

from receiver.clients.wire import Wire
from receiver.policy.approval import Identity, KnownBy
from receiver.policy.rights import Right

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 2000


class ClusterAccess:
    """The cluster's own authorisation, asked about others."""

    def __init__(self, wire: Wire, *, steady: Callable[[], float] = time.monotonic) -> None:
        self._wire = wire
        self._known: TTLCache[tuple[Identity, Right], str | None] = TTLCache(
            MOST_REMEMBERED, ttl=REMEMBERED_SECONDS, timer=steady
        )

    async def why_not(self, who: Identity, right: Right) -> str | None:
        """Why they may not; None where they may. Raises TemporaryError and PermanentError unanswered."""
        key = who, right
        try:
            return self._known[key]
        except KeyError:
            found = self._known[key] = await self._ask(who, right)
            return found

    async def _ask(self, who: Identity, right: Right) -> str | None:
        resource, _, subresource = right.resource.partition("/")
        attributes = {
            "verb": str(right.verb),
            "group": right.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": right.namespace,
            "name": right.name,
        }
        spec: dict[str, Any] = {
            "user": who.name,
            "groups": list(who.groups),
            "resourceAttributes": {name: said for name, said in attributes.items() if said},
        }
        if who.uid and who.known_by is KnownBy.CLUSTER:
            spec["uid"] = who.uid
        verdict = await self._wire.review(
            PATH,
            "SubjectAccessReview",
            spec,
            unsaid=lambda refused: (
                f"the cluster does not say who may {right}: {refused.reason or refused.status}"
            ),
        )
        # An authoriser may say "denied" over another's "allowed", and then denied it is.
        if verdict.get("allowed") is True and verdict.get("denied") is not True:
            return None
        told = " ".join(str(verdict.get("reason") or "").split())[:240]
        return f"{who.name} may not {right}" + (f": {told}" if told else "")
