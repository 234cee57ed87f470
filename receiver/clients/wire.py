"""The wire to the Kubernetes API: one connection with one identity, in plain JSON, bounded in time and size.

What is asked and written is the doors' matter: `receiver.clients.cluster` and `receiver.clients.isolator`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
from kubernetes_asyncio import client

from receiver.clients.answers import Answer, Applied, Rejected, Unanswered
from receiver.clients.bodies import whole
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import Permission

READ_TIMEOUT_SECONDS = 5.0
# The server drops the write after this; the client waits a little longer for the answer.
WRITE_TIMEOUT_SECONDS = 12
WRITE_GRACE_SECONDS = 1.0
# Five hundred pods have a fifth of it; five hundred large Secrets, which anybody may make, have more.
MAX_ANSWER_BYTES = 32 * 1024 * 1024
SELF_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

PLURALS: Mapping[str, tuple[str, str]] = {
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
    "Service": ("", "services"),
    "NetworkPolicy": ("networking.k8s.io", "networkpolicies"),
    "EndpointSlice": ("discovery.k8s.io", "endpointslices"),
    # Of KEDA.
    "ScaledObject": ("keda.sh", "scaledobjects"),
    # Of CloudNativePG.
    "Cluster": ("postgresql.cnpg.io", "clusters"),
}


class Wire:
    """One API server, with one identity; ``act_as`` is the account that it is asked to take us for."""

    def __init__(self, api: client.ApiClient, *, act_as: str | None = None) -> None:
        self._api = api
        self._headers = {} if act_as is None else {"Impersonate-User": act_as}

    @property
    def api(self) -> client.ApiClient:
        """The connection, for another door over the same one."""
        return self._api

    async def close(self) -> None:
        """Let go of the connections."""
        await self._api.close()

    async def write(
        self, method: str, path: str, query: list[tuple[str, str]], body: Any, content_type: str
    ) -> Answer:
        """One write, and what is known of it then."""
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

    async def read(
        self,
        method: Literal["GET", "POST"],
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: Any = None,
    ) -> tuple[int, bytes]:
        """One read; raises TemporaryError where the connection ails."""
        with readable():
            return await self._call(method, path, query or [], body, timeout=READ_TIMEOUT_SECONDS)

    async def may(self, permission: Permission, namespace: str, name: str = "") -> bool:
        """Whether the API server says that this identity may do exactly this; no namespace is everywhere.

        Raises TemporaryError and PermanentError where it does not say, as where we may not act as it.
        """
        attributes = {
            "group": permission.group,
            "resource": permission.resource,
            "verb": permission.verb,
            "namespace": namespace,
            "name": name,
        }
        spec = {"resourceAttributes": attributes}
        verdict = await self.review(
            SELF_REVIEW, "SelfSubjectAccessReview", spec, unsaid=lambda refused: refused.sentence
        )
        return bool(verdict.get("allowed", False))

    async def review(
        self, path: str, kind: str, spec: Mapping[str, Any], *, unsaid: Callable[[Rejected], str]
    ) -> Mapping[str, Any]:
        """The ``status`` of a review, which asks and writes nothing.

        Raises TemporaryError and PermanentError where there is no answer, with the words of ``unsaid``.
        """
        version = path.removeprefix("/apis/").rpartition("/")[0]
        status, body = await self.read(
            "POST", path, [], {"apiVersion": version, "kind": kind, "spec": dict(spec)}
        )
        if status in (200, 201):
            return json.loads(body).get("status") or {}
        words = unsaid(rejection(status, body))
        raise TemporaryError(words) if status >= 500 or status == 429 else PermanentError(words)

    async def clock(self) -> datetime | None:
        """The API server's time, to the second; None where it does not tell. Raises TemporaryError."""
        with readable():
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                response = await self.request("GET", "/version", [], None, timeout=READ_TIMEOUT_SECONDS)
                async with response:
                    told = response.headers.get("Date", "")
        try:
            return parsedate_to_datetime(told)
        except ValueError:
            return None

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
            response = await self.request(
                method, path, query, body, timeout=timeout, content_type=content_type
            )
            async with response:
                return response.status, await whole(response.content, most=MAX_ANSWER_BYTES)

    async def request(
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
            header_params={"Accept": "application/json", "Content-Type": content_type, **self._headers},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=aiohttp.ClientTimeout(total=timeout),
        )
        return response


@contextmanager
def readable() -> Iterator[None]:
    """Around a read: what ails the connection is an error after which trying again may help."""
    try:
        yield
    except TimeoutError as error:
        raise TemporaryError("the API server did not answer in time") from error
    except aiohttp.ClientConnectorCertificateError as error:
        # OpenSSL's own words about the certificate, which quote nothing of ours.
        why = getattr(error.certificate_error, "verify_message", "") or type(error).__name__
        raise TemporaryError(f"the API server's certificate is not taken: {why}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise TemporaryError(f"the API server cannot be reached: {type(error).__name__}") from error


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


def path_of(api_version: str, kind: str, namespace: str, name: str | None = None) -> str:
    """The path of an object or, without a name, of a list. Raises PermanentError for odd names."""
    for given in (namespace, name or ""):
        if given in (".", "..") or "/" in given or "%" in given:
            # The server reads a quoted slash as one: pod `a/log` would be the log of pod a, which is no
            # object.
            raise PermanentError(f"{given[:80]!r} is not a valid object name")
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    plural = PLURALS[kind][1]
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{root}{inside}/{plural}" + (f"/{quote(name, safe='')}" if name else "")
