"""Who is asking and whether they may: bearer tokens, a set of forbidden pairs, and the reviews about both.

Deliberately no RBAC engine. Whatever the cluster serves is allowed unless forbidden, or unless the user may
do named things only; whatever it does not serve (the made-up `actions.stanch.dev`, say) is denied unless
granted, as RBAC would answer for it. Who may impersonate somebody is taken for them where they ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from receiver.demo.kubernetes.resources import JsonObject, group_versions
from receiver.demo.kubernetes.status import ApiError, unauthorized

_ACCOUNT = re.compile(r"system:serviceaccount:(?P<namespace>[^:]+):(?P<name>[^:]+)")

Pair = tuple[str, str]
"""(verb, resource) such as ("patch", "deployments"), ("get", "pods/log") or ("*", "secrets")."""


@dataclass(frozen=True)
class User:
    """Somebody with a token."""

    name: str
    groups: tuple[str, ...] = ()
    forbidden: frozenset[Pair] = frozenset()
    audiences: tuple[str, ...] = ()
    uid: str = ""
    only: frozenset[Pair] | None = None
    """All that is allowed; None: everything that is not forbidden."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """May somebody do ``verb`` to that?"""

    verb: str
    group: str
    resource: str
    """With the subresource, if any: `deployments/scale`."""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One permission for a group nobody serves; an empty field means any."""

    subject: str
    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""
    reason: str = ""

    def covers(self, subjects: set[str], question: Question) -> bool:
        return self.subject in subjects and all(
            mine in ("", "*", asked)
            for mine, asked in (
                (self.verb, question.verb),
                (self.group, question.group),
                (self.resource, question.resource),
                (self.namespace, question.namespace),
                (self.name, question.name),
            )
        )


@dataclass
class Access:
    """The cluster's permissions; change them at any time."""

    tokens: dict[str, User] = field(default_factory=dict)
    """With none at all, everybody is the administrator."""
    forbidden: set[Pair] = field(default_factory=set)
    """Forbidden to everybody; a user's own come on top."""
    grants: list[Grant] = field(default_factory=list)

    def who(self, headers: Mapping[str, str]) -> User:
        """The user of a request, or whom they ask to be taken for; raises 401, and 403 where they may not."""
        user = self._authenticated(headers)
        name = headers.get("Impersonate-User", "")
        if not name:
            return user
        account = _ACCOUNT.fullmatch(name)
        if account is None:
            self.require(user, Question(verb="impersonate", group="", resource="users", name=name))
            return self._named(name, ("system:authenticated",))
        namespace = account["namespace"]
        self.require(
            user,
            Question(
                verb="impersonate",
                group="",
                resource="serviceaccounts",
                namespace=namespace,
                name=account["name"],
            ),
        )
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return self._named(name, groups)

    def _authenticated(self, headers: Mapping[str, str]) -> User:
        if not self.tokens:
            return User("kubernetes-admin", ("system:masters",))
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        user = self.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise unauthorized()
        return user

    def allows(self, user: User, question: Question) -> bool:
        pairs = {(v, r) for v in (question.verb, "*") for r in (question.resource, "*")}
        if pairs & (self.forbidden | user.forbidden):
            return False
        return user.only is None or bool(pairs & user.only)

    def require(self, user: User, question: Question) -> None:
        """Raise 403, naming user, verb, resource and place, unless allowed."""
        if self.allows(user, question):
            return
        plural = question.resource.partition("/")[0]
        qualified = f"{plural}.{question.group}" if question.group else plural
        subject = f'{qualified} "{question.name}"' if question.name else qualified
        place = f'in the namespace "{question.namespace}"' if question.namespace else "at the cluster scope"
        message = (
            f'{subject} is forbidden: User "{user.name}" cannot {question.verb} resource '
            f'"{question.resource}" in API group "{question.group}" {place}'
        )
        details = {"name": question.name, "group": question.group, "kind": plural}
        raise ApiError(403, "Forbidden", message, {k: v for k, v in details.items() if v})

    def review(self, kind: str, body: JsonObject, asking: User) -> JsonObject:
        """Answer one of the three kinds of review."""
        spec = body.get("spec", {})
        if kind == "TokenReview":
            status = self._token_status(spec)
        else:
            user = asking
            if kind == "SubjectAccessReview":
                user = self._named(spec.get("user", ""), tuple(spec.get("groups", ())))
            status = self._access_status(user, spec.get("resourceAttributes") or {})
        group = "authentication.k8s.io" if kind == "TokenReview" else "authorization.k8s.io"
        return {"kind": kind, "apiVersion": f"{group}/v1", "metadata": {}, "spec": spec, "status": status}

    def _named(self, name: str, groups: tuple[str, ...]) -> User:
        known = next((user for user in self.tokens.values() if user.name == name), User(name))
        return replace(known, groups=groups)

    def _access_status(self, user: User, attributes: JsonObject) -> JsonObject:
        resource = attributes.get("resource", "")
        if sub := attributes.get("subresource"):
            resource = f"{resource}/{sub}"
        question = Question(
            verb=attributes.get("verb", ""),
            group=attributes.get("group", ""),
            resource=resource,
            namespace=attributes.get("namespace", ""),
            name=attributes.get("name", ""),
        )
        subjects = {user.name, *user.groups}
        for grant in self.grants:
            if grant.covers(subjects, question):
                return {"allowed": True, **({"reason": grant.reason} if grant.reason else {})}
        served = {group for group, _ in group_versions()}
        return {"allowed": question.group in served and self.allows(user, question)}

    def _token_status(self, spec: JsonObject) -> JsonObject:
        user = self.tokens.get(spec.get("token", ""))
        if user is None:
            return {"user": {}, "error": "invalid bearer token"}
        wanted: list[str] = spec.get("audiences", [])
        shared = [audience for audience in wanted if audience in user.audiences]
        if wanted and not shared:
            has = " ".join(f'"{each}"' for each in user.audiences)
            needs = " ".join(f'"{each}"' for each in wanted)
            why = f"token audiences [{has}] is invalid for the target audiences [{needs}]"
            return {"user": {}, "error": f"[invalid bearer token, {why}]"}
        person: JsonObject = {"username": user.name, "groups": [*user.groups]}
        if user.uid:
            person["uid"] = user.uid
        return {"authenticated": True, "user": person, **({"audiences": shared} if shared else {})}
