"""The check of the Pod Security Standard refuses what the standard refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from restricted import violations

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "a",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}


def test_a_pod_that_keeps_to_it_passes() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("hostNetwork", True, "hostNetwork"),
        ("hostPID", True, "hostPID"),
        ("volumes.0", {"name": "root", "hostPath": {"path": "/"}}, "hostPath"),
        ("securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}], "sysctls"),
        ("securityContext.runAsNonRoot", None, "may run as root"),
        ("securityContext.runAsUser", 0, "runs as root"),
        ("securityContext.seccompProfile", {"type": "Unconfined"}, "seccomp"),
        ("containers.0.securityContext.privileged", True, "privileged"),
        ("containers.0.securityContext.allowPrivilegeEscalation", None, "escalate"),
        ("containers.0.securityContext.capabilities", {"drop": ["NET_RAW"]}, "drop all"),
        ("containers.0.securityContext.capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "adds"),
        ("containers.0.securityContext.runAsNonRoot", False, "may run as root"),
        ("containers.0.securityContext.procMount", "Unmasked", "/proc"),
        ("containers.0.ports", [{"hostPort": 80}], "port of the host"),
        ("initContainers", [{"name": "b"}], "b does not drop"),
    ],
)
def test_what_the_standard_refuses_is_found(where: str, value: Any, said: str) -> None:
    spec = copy.deepcopy(GOOD)
    *path, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    place: Any = spec
    for part in path:
        place = place[part]
    place[last] = value
    assert any(said in sentence for sentence in violations(spec)), violations(spec)
