"""The Pod Security Standard *restricted*, as far as it can be told from a pod's spec. Pure.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and what it takes over from
*baseline*. Written here because the API server's own check is not to be had without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = frozenset(
    (
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )
)
SECCOMP = ("RuntimeDefault", "Localhost")


def violations(spec: Mapping[str, Any]) -> list[str]:
    """What of a pod's spec the standard refuses, a sentence each; none where it passes."""
    return [*_of_pod(spec), *(each for one in _containers(spec) for each in _of_container(one, spec))]


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind) or ()


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name} is set"
    for volume in spec.get("volumes") or ():
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {', '.join(sorted(kinds))}"
    if (spec.get("securityContext") or {}).get("sysctls"):
        yield "sysctls are set"


def _of_container(one: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    name, pod, own = one["name"], spec.get("securityContext") or {}, one.get("securityContext") or {}
    both = {**pod, **own}
    capabilities = own.get("capabilities") or {}
    if own.get("privileged"):
        yield f"{name} is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may escalate its privileges"
    if "ALL" not in capabilities.get("drop", ()):
        yield f"{name} does not drop all capabilities"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"{name} adds capabilities"
    if both.get("runAsNonRoot") is not True:
        yield f"{name} may run as root"
    if both.get("runAsUser") == 0:
        yield f"{name} runs as root"
    if (both.get("seccompProfile") or {}).get("type") not in SECCOMP:
        yield f"{name} has no seccomp profile"
    if own.get("procMount") not in (None, "Default"):
        yield f"{name} has another /proc"
    if any(port.get("hostPort") for port in one.get("ports") or ()):
        yield f"{name} takes a port of the host"
