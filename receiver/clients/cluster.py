"""The door to the Kubernetes API: every read of the cluster and its one kind of write go through here.

Objects are plain JSON; models would cost a hundred times as much. A write is a JSON patch that *replaces*
resourceVersion and uid with the planned ones: a stale version answers with a clean 409 (a failing `test`
gives an opaque 422), and the marker travels in the same patch. What the API server says is cut before it
goes anywhere: a strict 422 carries the whole object, environment included.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal

from kubernetes_asyncio import client, config

from receiver.clients.answers import Answer
from receiver.clients.wire import (
    PLURALS,
    READ_TIMEOUT_SECONDS,
    WRITE_TIMEOUT_SECONDS,
    Wire,
    path_of,
    readable,
    rejection,
)
from receiver.domain.errors import NotServed, PermanentError, TemporaryError
from receiver.domain.plans import MANAGER, MARKER, EvictStep, FieldChange, ObjectRef, PatchStep, Permission
from receiver.domain.pointers import escaped, pointed_at

# A log is read in blocks of this size at most, each within the time of a read.
LOG_BLOCK_BYTES = 64 * 1024


class Cluster:
    """One API server: read as one account and written as another, where there are two."""

    def __init__(self, wire: Wire, *, writing: Wire | None = None) -> None:
        self._wire = wire
        self._writing = writing or wire

    @property
    def wire(self) -> Wire:
        """The connection, for another door over the same one."""
        return self._wire

    @property
    def writing(self) -> Wire:
        """The same for what writes."""
        return self._writing

    async def close(self) -> None:
        """Let go of the connections."""
        await self._wire.close()

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        """See `ClusterReader.get`. Raises TemporaryError and PermanentError."""
        status, body = await self._wire.read(
            "GET", path_of(ref.api_version, ref.kind, ref.namespace, ref.name)
        )
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
        status, body = await self._wire.read("GET", path_of(api_version, kind, namespace), query)
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
        status, body = await self._wire.read("GET", path_of("v1", "Pod", namespace, pod) + "/log", query)
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
        path = path_of("v1", "Pod", namespace, pod) + "/log"
        with readable():
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                response = await self._wire.request("GET", path, query, None, timeout=None)
        try:
            if response.status != 200:
                with readable():
                    async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                        body = await response.content.read(LOG_BLOCK_BYTES)
                _read_object(response.status, body, f"reading the log of {namespace}/{pod}")
            while True:
                with readable():
                    async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                        block = await response.content.read(LOG_BLOCK_BYTES)
                if not block:
                    return
                yield block
        finally:
            # Not `release`, which would read on to the end of a log that has none.
            response.close()

    async def may(self, permission: Permission, namespace: str, name: str) -> bool | None:
        """Whether the API server says that we may write exactly this; None where it cannot be asked."""
        # About the account that writes, so it is that account's question.
        try:
            return await self._writing.may(permission, namespace, name)
        except (TemporaryError, PermanentError):
            return None

    async def ready(self) -> bool:
        """Whether the API server answers at all."""
        try:
            status, _ = await self._wire.read("GET", "/version")
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
        path = path_of(target.api_version, target.kind, target.namespace, target.name)
        return await self._writing.write("PATCH", path, query, operations, "application/json-patch+json")

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
        path = path_of(target.api_version, target.kind, target.namespace, target.name) + "/eviction"
        query = [("timeout", f"{WRITE_TIMEOUT_SECONDS}s"), ("fieldManager", MANAGER)]
        if dry_run:
            query.append(("dryRun", "All"))
        return await self._writing.write("POST", path, query, body, "application/json")


async def connect(
    *,
    url: str | None = None,
    token: str | None = None,
    context: str | None = None,
    act_as: str | None = None,
    write_as: str | None = None,
) -> Cluster:
    """A door to the cluster named explicitly: by address (the demo's), by kubeconfig context, or in-cluster.

    ``act_as`` is the account that we ask to be taken for, ``write_as`` the one for writing; that takes the
    right to impersonate them.

    ``context`` may be "in-cluster". Raises PermanentError where there are no such credentials. Nothing is
    ever taken from a default place without being named.
    """
    configuration = client.Configuration()
    # Python 3.13 and later refuse certificates without key identifiers, and those of many clusters have none
    # (EKS). Their authority is the one that is named; names and dates are checked as ever.
    configuration.disable_strict_ssl_verification = True
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
    api = client.ApiClient(configuration)
    writing = None if write_as is None else Wire(api, act_as=write_as)
    return Cluster(Wire(api, act_as=act_as), writing=writing)


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
    return PLURALS[kind]


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


def _read_object(status: int, body: bytes, doing: str) -> dict[str, Any]:
    if status == 200:
        found: dict[str, Any] = json.loads(body)
        return found
    sentence = rejection(status, body).sentence
    if status == 429 or status >= 500:
        raise TemporaryError(f"{doing}: {sentence}")
    raise PermanentError(f"{doing}: {sentence}")
