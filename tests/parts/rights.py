"""Which right of the cluster a call takes, and whether Roles grant it."""

from __future__ import annotations

import re
from typing import Any

from receiver.demo.kubernetes import Call
from receiver.policy.rbac import allowed


def covered_by(granted: list[dict[str, Any]], call: Call) -> bool:
    """Whether the Roles that are derived from the policy allow this call."""
    asked = right_of(call)
    if asked is None:
        return True
    resource, verb = asked
    where = re.search(r"/namespaces/([^/]+)/[a-z]+(?:/([^/]+))?", call.path)
    group = re.match(r"/apis/([^/]+)/", call.path)
    return allowed(
        granted,
        group=group[1] if group else "",
        resource=resource,
        verb=verb,
        namespace=where[1] if where else "",
        name=(where[2] or "") if where else "",
    )


def right_of(call: Call) -> tuple[str, str] | None:
    """The resource and the verb that a Role must grant for this call."""
    if "selfsubjectaccessreviews" in call.path or call.path == "/version":
        return None
    group = r"/(?:api|apis/[^/]+)/v[0-9][0-9a-z]*(?:/namespaces/[^/]+)?"
    found = re.search(rf"^{group}/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?$", call.path)
    assert found is not None, call.path
    resource = f"{found[1]}/{found[3]}" if found[3] else found[1]
    verb = {"PATCH": "patch", "POST": "create"}.get(call.method, "get" if found[2] else "list")
    return resource, verb
