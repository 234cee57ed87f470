"""Which right of the cluster a call takes, whether Roles grant it, and an API server that holds to them."""

from __future__ import annotations

import re
from typing import Any

from receiver.demo.kubernetes import ApiServer, Call, User
from receiver.policy.admission import ISOLATOR_ACCOUNT
from receiver.policy.rbac import EXECUTOR, ISOLATOR, READER, allowed

SERVICE = "system:serviceaccount:stanch:stanch"
READER_ACCOUNT, EXECUTOR_ACCOUNT = (f"system:serviceaccount:stanch:{name}" for name in (READER, EXECUTOR))
# The one token that there is: its account may do nothing but act as the other three.
TOKEN = "service"
ROLES = {READER_ACCOUNT: READER, EXECUTOR_ACCOUNT: EXECUTOR, ISOLATOR_ACCOUNT: ISOLATOR}


def bind(api: ApiServer, granted: list[dict[str, Any]]) -> None:
    """From now on each account may do what its role says, wherever, and nobody else anything."""
    api.access.tokens = {TOKEN: User(SERVICE, only=frozenset({("impersonate", "serviceaccounts")}))}
    for account, name in ROLES.items():
        rules = [rule for role in of_role(granted, name) for rule in role["rules"]]
        pairs = {(verb, each) for rule in rules for verb in rule["verbs"] for each in rule["resources"]}
        api.access.tokens[f"nobody has it: {name}"] = User(account, only=frozenset(pairs))


def of_role(granted: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """What one account is bound to."""
    return [role for role in granted if role["metadata"]["name"] == name]


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
