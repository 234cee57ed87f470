"""A namespace in which something happened: everything that a capture looks at is there, once at least."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

from ready_pods import READY, ready_pod

from receiver.demo.kubernetes import ApiServer

RBAC = "rbac.authorization.k8s.io"
SECRET_VALUE = "hunter2-hunter2"


def commit_crime(api: ApiServer, namespace: str = "shop") -> list[str]:
    """Load it all; the names of the Deployment's pods."""
    env = [{"name": "DB_PASSWORD", "value": SECRET_VALUE}, {"name": "MODE", "value": "mine"}]
    container = {"name": "api", "image": "shop/api:1", "env": env}
    spec = {"serviceAccountName": "api", "containers": [container]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "api"}},
            "template": {"metadata": {"labels": {"app": "api"}}, "spec": spec},
        },
    }
    api.rollout(deployment, ago=timedelta(hours=1))
    bound = {"kind": "ServiceAccount", "name": "api", "namespace": namespace}
    api.load(
        [
            _named("v1", "ServiceAccount", "api", namespace),
            _named("v1", "Secret", "keys", namespace, data={"password": _encoded(SECRET_VALUE)}),
            _named("v1", "ConfigMap", "settings", namespace, data={"hidden": SECRET_VALUE}),
            _named("networking.k8s.io/v1", "NetworkPolicy", "deny", namespace, spec={"podSelector": {}}),
            _named(f"{RBAC}/v1", "Role", "reader", namespace, rules=[_rule("secrets")]),
            _bound("reads", "Role", "reader", bound, namespace),
            _bound("rules", "ClusterRole", "cluster-admin", bound, namespace),
        ]
    )
    return [pod["metadata"]["name"] for pod in api.find("pods", namespace)]


def restarted(name: str, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    """A pod whose container `api` died once."""
    died = {"name": "api", "image": "shop/api:1", "imageID": "shop/api@sha256:0", "restartCount": 1}
    pod = ready_pod(name, namespace, **spec)
    return {**pod, "status": {"conditions": [READY], "containerStatuses": [died]}}


def _named(api_version: str, kind: str, name: str, namespace: str, **rest: Any) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        **rest,
    }


def _bound(name: str, kind: str, role: str, subject: dict[str, str], namespace: str) -> dict[str, Any]:
    reference = {"apiGroup": RBAC, "kind": kind, "name": role}
    return _named(f"{RBAC}/v1", "RoleBinding", name, namespace, subjects=[subject], roleRef=reference)


def _rule(resource: str) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": [resource], "verbs": ["get"]}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
