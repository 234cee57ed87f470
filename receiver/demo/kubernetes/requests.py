"""What a request says, read once: which object it names, by which verb, under which options.

Between the web edge, which knows sockets, and the handlers, which know objects. What cannot be read is
refused here with the real server's words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from receiver.demo.kubernetes.calls import Applied
from receiver.demo.kubernetes.registry import FieldValidation, WriteOptions
from receiver.demo.kubernetes.resources import NAMESPACES, JsonObject, Resource, by_path
from receiver.demo.kubernetes.selectors import truth
from receiver.demo.kubernetes.status import bad_request, method_not_allowed, unsupported_media_type

PATH = re.compile(r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))/(?P<rest>.+)$")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, kw_only=True)
class ApiRequest:
    """What the rules need to know of an HTTP request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    host: str

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip()

    @property
    def dry_run(self) -> bool:
        return bool(self.query.get("dryRun"))

    @property
    def watching(self) -> bool:
        return self.method == "GET" and truth(self.query.get("watch"))

    def parsed(self) -> Any:
        """The body as JSON; None if there is none."""
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error


@dataclass(frozen=True)
class Reply:
    """What to answer, and what was written; a body without a known end is sent as it comes."""

    status: int
    body: JsonObject | str | Iterator[bytes]
    warnings: tuple[str, ...] = ()
    applied: Applied | None = None


@dataclass(frozen=True)
class Target:
    """What a path names."""

    resource: Resource
    namespace: str | None
    """None: all namespaces, or the resource has none."""
    name: str = ""
    subresource: str = ""

    @property
    def full(self) -> str:
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural


def find_target(path: str) -> Target | None:
    """Read a resource path; None if it names nothing that is served."""
    found = PATH.match(path.rstrip("/"))
    if not found:
        return None
    group, version = found["group"] or "", found["version"] or found["core"]
    steps = found["rest"].split("/")
    namespace = None
    if steps[0] == "namespaces" and len(steps) > 2 and steps[2] not in NAMESPACES.subresources:
        namespace, steps = steps[1], steps[2:]
    resource = by_path(group, version, steps[0])
    if resource is None or len(steps) > 3:
        return None
    name, subresource = [*steps[1:], "", ""][:2]
    if subresource and subresource not in resource.subresources:
        return None
    return Target(resource, namespace, name, subresource)


def verb_of(method: str, target: Target) -> str:
    if method == "GET":
        return "get" if target.name else "list"
    if method == "DELETE" and not target.name:
        return "deletecollection"
    if method not in _VERBS or (method in ("PUT", "PATCH") and not target.name):
        raise method_not_allowed()
    if target.subresource in ("log", "eviction") and method != "POST":
        raise method_not_allowed()
    return _VERBS[method]


def object_of(request: ApiRequest) -> JsonObject:
    if request.content_type not in ("", "application/json"):
        raise unsupported_media_type(request.content_type, ["application/json"])
    body = request.parsed()
    if not isinstance(body, dict):
        raise bad_request("the body of the request was empty or no object")
    return body


def options_of(request: ApiRequest, target: Target) -> WriteOptions:
    dry_run = request.query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise bad_request(f'invalid dryRun value "{dry_run}": supported values: "All"')
    validation: FieldValidation = "Warn"
    for value in get_args(FieldValidation):
        if request.query.get("fieldValidation") == value:
            validation = value
    agent = request.headers.get("User-Agent", "").partition("/")[0]
    return WriteOptions(
        manager=request.query.get("fieldManager") or agent or "unknown",
        dry_run=bool(dry_run),
        field_validation=validation,
        subresource=target.subresource,
    )
