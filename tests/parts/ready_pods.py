"""Pods that are ready from the start, for whoever reads their logs and manifests."""

from __future__ import annotations

from typing import Any

READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z"}


def ready_pod(name: str, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    """A bare pod with one container `api` behind an init container `first`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "initContainers": [{"name": "first", "image": "shop/init:1"}],
            "containers": [{"name": "api", "image": "shop/api:1"}],
            **spec,
        },
        "status": {"conditions": [READY]},
    }
