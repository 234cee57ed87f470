"""A workload whose pods see the addresses of clients, in a cluster that tells its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from receiver.domain.isolation import Act, Wanted

ATTACKER = "203.0.113.7/32"


def exposed(namespace: str, app: str, **spec: Any) -> list[dict[str, Any]]:
    """The load balancer before it, which keeps them, and where the API server is."""
    usual = {
        "selector": {"app": app},
        "ports": [{"port": 443}],
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "clusterIP": "10.96.0.9",
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "outside", "namespace": namespace},
        "spec": usual | spec,
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}},
    }
    api_server = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["198.51.100.20"]}],
    }
    return [service, api_server]


def blocking(namespace: str, app: str, now: datetime, *blocked: str, hours: int = 24) -> Wanted:
    """Networks that are to be shut out of it for so many hours."""
    until = now + timedelta(hours=hours)
    return Wanted(Act.IP_BLOCK, namespace, deployment=app, blocked=blocked or (ATTACKER,), until=until)
