"""From a request to a reply, without any I/O: routing, permission, verbs.

The web edge hands in what it read and sends what comes out; a refusal comes out as a reply, too. Everything
happens between two awaits, so two requests never interleave here, whatever the network does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from receiver.demo.kubernetes import admission, budgets, discovery
from receiver.demo.kubernetes.access import Access, Question, User
from receiver.demo.kubernetes.calls import Applied
from receiver.demo.kubernetes.logs import Logs
from receiver.demo.kubernetes.metrics import GROUP, Metrics
from receiver.demo.kubernetes.registry import Outcome, Registry, WriteOptions
from receiver.demo.kubernetes.requests import (
    PATH,
    ApiRequest,
    Reply,
    Target,
    find_target,
    object_of,
    options_of,
    verb_of,
)
from receiver.demo.kubernetes.resources import NAMESPACES, PODS, REVIEWS, JsonObject, group_versions
from receiver.demo.kubernetes.rules import scale_of
from receiver.demo.kubernetes.selectors import Selection, page
from receiver.demo.kubernetes.status import ApiError, bad_request, method_not_allowed, no_such_path
from receiver.demo.kubernetes.storage import timestamp


@dataclass
class Handlers:
    """All verbs over one registry."""

    registry: Registry
    access: Access
    logs: Logs = field(default_factory=Logs)
    metrics: Metrics = field(default_factory=Metrics)

    def handle(self, request: ApiRequest) -> Reply:
        """Answer ``request``; never raises `ApiError`."""
        try:
            user = self.access.who(request.headers)
            return self._answer(request, user)
        except ApiError as error:
            return Reply(error.code, error.body)

    def watch_target(self, request: ApiRequest) -> Target:
        """What a watch request is about, once it is allowed; raises `ApiError`."""
        user = self.access.who(request.headers)
        target = find_target(request.path)
        if target is None:
            raise no_such_path()
        self._require(user, "watch", target)
        Selection.parse(request.query)
        version = request.query.get("resourceVersion", "")
        if version and not version.isdigit():
            raise bad_request(
                f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: invalid syntax'
            )
        return target

    def _answer(self, request: ApiRequest, user: User) -> Reply:
        if request.method == "GET":
            found = discovery.answer(request.path.rstrip("/"), request.host)
            if found is not None:
                return Reply(200, found)
            if request.path in ("/healthz", "/livez", "/readyz"):
                return Reply(200, "ok")
            if (measured := self._measured(request, user)) is not None:
                return Reply(200, measured)
        if kind := _review_kind(request):
            body = self.access.review(kind, object_of(request), user)
            return Reply(201, body)
        target = find_target(request.path)
        if target is None:
            return _unknown_path(request.path)
        verb = verb_of(request.method, target)
        self._require(user, verb, target)
        if verb in ("get", "list"):
            return self._get(request, target) if verb == "get" else self._list(request, target)
        return self._write_of(verb)(request, target, self._options(request, target, user))

    def _measured(self, request: ApiRequest, user: User) -> JsonObject | None:
        """The answer of the metrics API, if it is asked and there is one."""
        asked = self.metrics.asked(request.path)
        if asked is None:
            return None
        question = Question(
            verb=asked.verb,
            group=GROUP,
            resource=asked.resource.plural,
            namespace=asked.namespace or "",
            name=asked.name,
        )
        self.access.require(user, question)
        return self.metrics.answer(asked, self.registry.store, Selection.parse(request.query))

    def _require(self, user: User, verb: str, target: Target) -> None:
        question = Question(
            verb=verb,
            group=target.resource.group,
            resource=target.full,
            namespace=target.namespace or "",
            name=target.name,
        )
        self.access.require(user, question)

    def _options(self, request: ApiRequest, target: Target, user: User) -> WriteOptions:
        options = options_of(request, target)

        def admit(new: JsonObject | None, old: JsonObject | None) -> None:
            write = admission.Write(user=user, target=target, new=new, old=old, dry_run=options.dry_run)
            admission.enforce(self.registry.store, write)

        return replace(options, admit=admit)

    def _write_of(self, verb: str) -> Callable[[ApiRequest, Target, WriteOptions], Reply]:
        return {
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }[verb]

    def _get(self, request: ApiRequest, target: Target) -> Reply:
        obj = self.registry.read(target.resource, target.namespace or "", target.name)
        if target.subresource == "log":
            now = timestamp(self.registry.store.now())
            return Reply(200, self.logs.read(obj, request.query, now))
        return Reply(200, scale_of(obj) if target.subresource == "scale" else obj)

    def _list(self, request: ApiRequest, target: Target) -> Reply:
        store, resource = self.registry.store, target.resource
        stored = store.objects(resource, target.namespace)
        cut = page(stored, request.query, version=store.version, oldest=store.oldest_version)
        # Items of a list do not repeat what the list's own kind says.
        items = [{k: v for k, v in obj.items() if k not in ("apiVersion", "kind")} for obj in cut.items]
        body = {"kind": f"{resource.kind}List", "apiVersion": resource.group_version}
        return Reply(200, {**body, "metadata": cut.metadata, "items": items})

    def _create(self, request: ApiRequest, target: Target, options: WriteOptions) -> Reply:
        body = object_of(request)
        namespace = target.namespace or ""
        if target.subresource == "eviction":
            options.admit(body, None)
            pod = budgets.evict(self.registry, namespace, target.name, body, dry_run=options.dry_run)
            success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
            return Reply(201, success, applied=self._removal("evict", target, pod, request))
        if target.name:
            raise method_not_allowed()
        outcome = self.registry.create(target.resource, namespace, body, options)
        return _reply(201, "create", target, outcome)

    def _update(self, request: ApiRequest, target: Target, options: WriteOptions) -> Reply:
        outcome = self.registry.replace(
            target.resource, target.namespace or "", target.name, object_of(request), options
        )
        return _reply(200, "update", target, outcome)

    def _patch(self, request: ApiRequest, target: Target, options: WriteOptions) -> Reply:
        patch = (request.content_type, request.parsed())
        namespace = target.namespace or ""
        outcome = self.registry.patch(target.resource, namespace, target.name, patch, options)
        return _reply(200, "patch", target, outcome)

    def _delete(self, request: ApiRequest, target: Target, options: WriteOptions) -> Reply:
        body = request.parsed() or {}
        dry_run = options.dry_run or bool(body.get("dryRun"))
        obj = self.registry.delete(
            target.resource,
            target.namespace or "",
            target.name,
            body,
            dry_run=dry_run,
            admit=options.admit,
        )
        applied = None if dry_run else self._removal("delete", target, obj, request)
        if target.resource in (PODS, NAMESPACES):
            # Those go through a grace period on the real server, so it answers with the object.
            return Reply(200, obj, applied=applied)
        details = {"name": target.name, "group": target.resource.group, "kind": target.resource.plural}
        details = {**{k: v for k, v in details.items() if v}, "uid": obj["metadata"]["uid"]}
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return Reply(200, {**success, "details": details}, applied=applied)

    def _delete_collection(self, request: ApiRequest, target: Target, options: WriteOptions) -> Reply:
        reply = self._list(request, target)
        assert isinstance(reply.body, dict)
        applied = None
        for item in reply.body["items"]:
            metadata = item["metadata"]
            namespace, name = metadata.get("namespace", ""), metadata["name"]
            obj = self.registry.delete(
                target.resource, namespace, name, {}, dry_run=options.dry_run, admit=options.admit
            )
            applied = self._removal("deletecollection", target, obj, request)
        return Reply(200, reply.body, applied=applied)

    def _removal(self, verb: str, target: Target, obj: JsonObject, request: ApiRequest) -> Applied | None:
        if request.dry_run:
            return None
        gone = {**obj["metadata"], "resourceVersion": str(self.registry.store.version)}
        return _applied(verb, target, {**obj, "metadata": gone})


def _unknown_path(path: str) -> Reply:
    """A group nobody serves gets plain text, as from an aggregator without the metrics server."""
    found = PATH.match(path)
    if found and (found["group"] or "", found["version"] or found["core"]) in group_versions():
        error = no_such_path()
        return Reply(error.code, error.body)
    return Reply(404, "404 page not found\n")


def _review_kind(request: ApiRequest) -> str:
    if request.method != "POST":
        return ""
    for (group, version), kinds in REVIEWS.items():
        for plural, kind in kinds:
            if request.path == f"/apis/{group}/{version}/{plural}":
                return kind
    return ""


def _reply(status: int, verb: str, target: Target, outcome: Outcome) -> Reply:
    applied = _applied(verb, target, outcome.obj) if outcome.changed else None
    return Reply(status, outcome.obj, outcome.warnings, applied)


def _applied(verb: str, target: Target, obj: JsonObject) -> Applied:
    metadata = obj["metadata"]
    return Applied(
        verb=verb,
        resource=target.full,
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
    )
