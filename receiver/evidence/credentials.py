"""What whoever was in a pod may have read: its Secrets and its account, by name. Pure.

Playbook row 007.6: all of it is made new, by people. Values are never looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from receiver.domain.security import Credential
from receiver.evidence.selection import account_of

_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def credentials_of(pods: Iterable[Mapping[str, Any]]) -> tuple[Credential, ...]:
    """The Secrets that these pods mount, take variables from or pull images with, and who they run as."""
    found: dict[Credential, None] = {}
    for pod in pods:
        namespace = str(pod["metadata"].get("namespace", ""))
        spec = pod.get("spec", {})
        for name in _secrets(spec):
            found[Credential("secret", namespace, name)] = None
        if spec.get("automountServiceAccountToken") is not False:
            found[Credential("serviceaccount", namespace, account_of(pod))] = None
    return tuple(sorted(found, key=str))


def _secrets(spec: Mapping[str, Any]) -> Iterable[str]:
    named: list[Any] = [one.get("name") for one in spec.get("imagePullSecrets") or []]
    for volume in spec.get("volumes") or []:
        named.append((volume.get("secret") or {}).get("secretName"))
        sources = (volume.get("projected") or {}).get("sources") or []
        named += [(source.get("secret") or {}).get("name") for source in sources]
    for container in (one for kind in _CONTAINERS for one in spec.get(kind) or []):
        named += [(one.get("secretRef") or {}).get("name") for one in container.get("envFrom") or []]
        for variable in container.get("env") or []:
            named.append(((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name"))
    return [str(name) for name in named if name]
