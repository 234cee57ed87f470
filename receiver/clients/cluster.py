"""The door to the Kubernetes API: every read of the cluster and its one kind of write go through here.

Objects are plain JSON; models would cost a hundred times as much. A write is a JSON patch that *replaces*
resourceVersion and uid with the planned ones: a stale version answers with a clean 409 (a failing `test`
gives an opaque 422), and the marker travels in the same patch. What the API server says is cut before it
goes anywhere: a strict 422 carries the whole object, environment included.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
from kubernetes_asyncio import client, config

from receiver.clients.answers import Answer, Applied, Rejected, Unanswered
from receiver.clients.bodies import whole
from receiver.domain.errors import NotServed, PermanentError, TemporaryError
from receiver.domain.plans import MANAGER, MARKER, EvictStep, FieldChange, ObjectRef, PatchStep, Permission
from receiver.domain.pointers import escaped, pointed_at

READ_TIMEOUT_SECONDS = 5.0
# The server drops the write after this; the client waits a little longer for the answer.
WRITE_TIMEOUT_SECONDS = 12
WRITE_GRACE_SECONDS = 1.0
# Five hundred pods have a fifth of it; five hundred large Secrets, which anybody may make, have more.
MAX_ANSWER_BYTES = 32 * 1024 * 1024
# A log is read in blocks of this size at most, each within the time of a read.
LOG_BLOCK_BYTES = 64 * 1024

_PLURALS: Mapping[str, tuple[str, str]] = {
    "Deployment": ("apps", "deployments"),
    "ReplicaSet": ("apps", "replicasets"),
    "Pod": ("", "pods"),
    "Event": ("", "events"),
    "ConfigMap": ("", "configmaps"),
    "Secret": ("", "secrets"),
    "Node": ("", "nodes"),
    "Namespace": ("", "namespaces"),
    "HorizontalPodAutoscaler": ("autoscaling", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("policy", "poddisruptionbudgets"),
    "ResourceQuota": ("", "resourcequotas"),
    "NodeMetrics": ("metrics.k8s.io", "nodes"),
    "PodMetrics": ("metrics.k8s.io", "pods"),
    "PersistentVolumeClaim": ("", "persistentvolumeclaims"),
    "StorageClass": ("storage.k8s.io", "storageclasses"),
    "ServiceAccount": ("", "serviceaccounts"),
    "Role": ("rbac.authorization.k8s.io", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io", "rolebindings"),
    "NetworkPolicy": ("networking.k8s.io", "networkpolicies"),
    # Of KEDA.
    "ScaledObject": ("keda.sh", "scaledobjects"),
    # Of CloudNativePG.
    "Cluster": ("postgresql.cnpg.io", "clusters"),
}


class Cluster:
    """One API server, with one identity."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @property
    def api(self) -> client.ApiClient:
        """The connection, for another door over the same one."""
        return self._api

    async def close(self) -> None:
        """Let go of the connections."""
        await self._api.close()

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        """See `ClusterReader.get`. Raises TemporaryError and PermanentError."""
        status, body = await self._read("GET", _path(ref.api_version, ref.kind, ref.namespace, ref.name))
        return None if status == 404 else _read_object(status, body, f"reading {ref}")

    async def list_objects(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        limit: int = 500,
    ) -> list[dict[str, Any]]:
        """See `ClusterReader.list_objects`. Raises TemporaryError and PermanentError, of these NotServed."""
        query: list[tuple[str, str]] = [("limit", str(limit))]
        if labels:
            query.append(
                ("labelSelector", ",".join(f"{name}={value}" for name, value in sorted(labels.items())))
            )
        if fields:
            query.append(
                ("fieldSelector", ",".join(f"{name}={value}" for name, value in sorted(fields.items())))
            )
        status, body = await self._read("GET", _path(api_version, kind, namespace), query)
        if status == 404:
            # A namespace that is not there has an empty list; only a path that is not has none.
            raise NotServed(f"listing {kind} in {namespace}: the API server has no such kind")
        found = _read_object(status, body, f"listing {kind} in {namespace}")
        return [{"apiVersion": api_version, "kind": kind, **item} for item in found.get("items") or []]

    async def log(
        self, namespace: str, pod: str, *, container: str | None = None, since_seconds: int, limit_bytes: int
    ) -> str:
        """See `ClusterReader.log`."""
        query = [("sinceSeconds", str(since_seconds)), ("limitBytes", str(limit_bytes))]
        if container is not None:
            query.append(("container", container))
        status, body = await self._read("GET", _path("v1", "Pod", namespace, pod) + "/log", query)
        if status != 200:
            _read_object(status, body, f"reading the log of {namespace}/{pod}")
        return body[:limit_bytes].decode(errors="replace")

    async def log_blocks(
        self,
        namespace: str,
        pod: str,
        *,
        container: str,
        previous: bool,
        limit_bytes: int,
        tail_lines: int | None = None,
    ) -> AsyncGenerator[bytes]:
        """The log of one container from its start, or from its last lines, each line with its time.

        Block by block, so that its size costs no memory; the server is asked for ``limit_bytes`` and may
        send more. Close the generator to stop. Raises TemporaryError and PermanentError, also midway.
        """
        query = [
            ("container", container),
            ("limitBytes", str(limit_bytes)),
            ("previous", str(previous).lower()),
            ("timestamps", "true"),
        ]
        if tail_lines is not None:
            query.append(("tailLines", str(tail_lines)))
        path = _path("v1", "Pod", namespace, pod) + "/log"
        with _readable():
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                response = await self._request("GET", path, query, None, timeout=None)
        try:
            if response.status != 200:
                with _readable():
                    async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                        body = await response.content.read(LOG_BLOCK_BYTES)
                _read_object(response.status, body, f"reading the log of {namespace}/{pod}")
            while True:
                with _readable():
                    async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                        block = await response.content.read(LOG_BLOCK_BYTES)
                if not block:
                    return
                yield block
        finally:
            # Not `release`, which would read on to the end of a log that has none.
            response.close()

    async def may(self, permission: Permission, namespace: str, name: str) -> bool | None:
        """Whether the API server says that we may do exactly this; None where it cannot be asked."""
        attributes = {
            "group": permission.group,
            "resource": permission.resource,
            "verb": permission.verb,
            "namespace": namespace,
            "name": name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        try:
            status, body = await self._read("POST", path, [], review)
        except TemporaryError:
            return None
        if status not in (200, 201):
            return None
        return bool(json.loads(body).get("status", {}).get("allowed", False))

    async def ready(self) -> bool:
        """Whether the API server answers at all."""
        try:
            status, _ = await self._read("GET", "/version")
        except TemporaryError:
            return False
        return status == 200

    async def patch(
        self, step: PatchStep, *, current: Mapping[str, Any], marker: Mapping[str, str], dry_run: bool
    ) -> Answer:
        """The one write: this step on the object as just read, only if it is still that version.

        ``marker`` are annotations that travel in the write. With ``dry_run`` nothing is written.
        """
        query = [
            ("fieldManager", MANAGER),
            ("fieldValidation", "Strict"),
            ("timeout", f"{WRITE_TIMEOUT_SECONDS}s"),
        ]
        if dry_run:
            query.append(("dryRun", "All"))
        target = step.target
        operations = operations_of(step, current=current, marker=marker)
        path = _path(target.api_version, target.kind, target.namespace, target.name)
        return await self._write("PATCH", path, query, operations, "application/json-patch+json")

    async def evict(self, step: EvictStep, *, dry_run: bool) -> Answer:
        """Ask this very pod to go; disruption budgets may say no (429), and another pod of its name is a 409.

        The status of a sick pod moves all the time, so its version is no condition: asking twice for one uid
        is asking once.
        """
        target = step.target
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": target.name, "namespace": target.namespace},
            "deleteOptions": {"preconditions": {"uid": target.uid}},
        }
        path = _path(target.api_version, target.kind, target.namespace, target.name) + "/eviction"
        query = [("timeout", f"{WRITE_TIMEOUT_SECONDS}s"), ("fieldManager", MANAGER)]
        if dry_run:
            query.append(("dryRun", "All"))
        return await self._write("POST", path, query, body, "application/json")

    async def _write(
        self, method: str, path: str, query: list[tuple[str, str]], body: Any, content_type: str
    ) -> Answer:
        try:
            status, answer = await self._call(
                method,
                path,
                query,
                body,
                content_type=content_type,
                timeout=WRITE_TIMEOUT_SECONDS + WRITE_GRACE_SECONDS,
            )
        except TimeoutError:
            return Unanswered("the API server did not answer in time")
        except (aiohttp.ClientError, OSError) as error:
            return Unanswered(f"the connection broke: {type(error).__name__}")
        except TemporaryError as error:
            return Unanswered(str(error))
        if 200 <= status < 300:
            return Applied(json.loads(answer))
        if status >= 500:
            return Unanswered(f"the API server answered {status}, which does not tell whether it wrote")
        return rejection(status, answer)

    async def _read(
        self,
        method: Literal["GET", "POST"],
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: Any = None,
    ) -> tuple[int, bytes]:
        with _readable():
            return await self._call(method, path, query or [], body, timeout=READ_TIMEOUT_SECONDS)

    async def _call(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: Any,
        *,
        timeout: float,
        content_type: str = "application/json",
    ) -> tuple[int, bytes]:
        async with asyncio.timeout(timeout):
            response = await self._request(
                method, path, query, body, timeout=timeout, content_type=content_type
            )
            async with response:
                return response.status, await whole(response.content, most=MAX_ANSWER_BYTES)

    async def _request(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: Any,
        *,
        timeout: float | None,
        content_type: str = "application/json",
    ) -> aiohttp.ClientResponse:
        """The answer as it begins; without a ``timeout`` whoever reads it takes care of its time."""
        response: aiohttp.ClientResponse = await self._api.call_api(
            path,
            method,
            query_params=query,
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=aiohttp.ClientTimeout(total=timeout),
        )
        return response


@contextmanager
def _readable() -> Iterator[None]:
    """Around a read: what ails the connection is an error after which trying again may help."""
    try:
        yield
    except TimeoutError as error:
        raise TemporaryError("the API server did not answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise TemporaryError(f"the API server cannot be reached: {type(error).__name__}") from error


async def connect(*, url: str | None = None, token: str | None = None, context: str | None = None) -> Cluster:
    """A door to the cluster named explicitly: by address (the demo's), by kubeconfig context, or in-cluster.

    ``context`` may be "in-cluster". Raises PermanentError where there are no such credentials. Nothing is
    ever taken from a default place without being named.
    """
    configuration = client.Configuration()
    try:
        if url is not None:
            configuration.host = url
            if token is not None:
                configuration.api_key = {"BearerToken": f"Bearer {token}"}
        elif context == "in-cluster":
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        elif context is not None:
            await config.load_kube_config(context=context, client_configuration=configuration)
        else:
            raise PermanentError(
                "no cluster is named: set STANCH_KUBE_CONTEXT to a context, or to in-cluster"
            )
    except config.ConfigException as error:
        raise PermanentError(f"the cluster's credentials cannot be used: {error}") from error
    return Cluster(client.ApiClient(configuration))


def operations_of(
    step: PatchStep, *, current: Mapping[str, Any], marker: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The JSON patch of a step on this very version of the object."""
    metadata = current["metadata"]
    operations: list[dict[str, Any]] = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/metadata/uid", "value": step.target.uid},
    ]
    if metadata.get("annotations") is None:
        # `add` below an absent map is a 422; the whole map is safe, since the version is pinned.
        operations.append({"op": "add", "path": "/metadata/annotations", "value": dict(marker)})
    else:
        for name, value in marker.items():
            operations.append({"op": "add", "path": f"/metadata/annotations/{escaped(name)}", "value": value})
    return operations + [_operation(change) for change in step.changes]


def _operation(change: FieldChange) -> dict[str, Any]:
    if change.after is None:
        return {"op": "remove", "path": change.pointer}
    # `replace` of a field that is not there is a 422, as is `remove`; `add` makes it.
    return {
        "op": "add" if change.before is None else "replace",
        "path": change.pointer,
        "value": change.after,
    }


def resource_of(kind: str) -> tuple[str, str]:
    """The API group and the plural of a kind, as rights name them."""
    return _PLURALS[kind]


def marker_of(found: Mapping[str, Any]) -> str | None:
    """The intent whose write this object carries."""
    value = found["metadata"].get("annotations", {}).get(MARKER)
    return value if isinstance(value, str) else None


def differing(
    found: Mapping[str, Any], changes: tuple[FieldChange, ...], which: Literal["before", "after"]
) -> list[str]:
    """The pointers at which the object is not as the plan's ``before`` or ``after`` says."""
    return [
        change.pointer for change in changes if pointed_at(found, change.pointer) != getattr(change, which)
    ]


def rejection(status: int, body: bytes) -> Rejected:
    """A Status body as a rejection, without the object it may quote."""
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    details = document.get("details") or {}
    causes = details.get("causes") or []
    fields = tuple(str(cause.get("field", "")) for cause in causes if cause.get("field"))
    reason = str(document.get("reason") or "")
    return Rejected(
        status, reason, fields, _sentence(status, reason, fields, str(document.get("message") or ""))
    )


def _sentence(status: int, reason: str, fields: tuple[str, ...], message: str) -> str:
    named = f" ({', '.join(fields)})" if fields else ""
    if status == 422:
        # The message of an invalid object quotes the object.
        return f"{status} {reason}{named}"
    return f"{status} {reason}{named}: {' '.join(message.split())[:240]}"


def _read_object(status: int, body: bytes, doing: str) -> dict[str, Any]:
    if status == 200:
        found: dict[str, Any] = json.loads(body)
        return found
    sentence = rejection(status, body).sentence
    if status == 429 or status >= 500:
        raise TemporaryError(f"{doing}: {sentence}")
    raise PermanentError(f"{doing}: {sentence}")


def _path(api_version: str, kind: str, namespace: str, name: str | None = None) -> str:
    for given in (namespace, name or ""):
        if given in (".", "..") or "/" in given or "%" in given:
            # The server reads a quoted slash as one: pod `a/log` would be the log of pod a, which is no
            # object.
            raise PermanentError(f"{given[:80]!r} is not a valid object name")
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    plural = _PLURALS[kind][1]
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{root}{inside}/{plural}" + (f"/{quote(name, safe='')}" if name else "")
