"""A workload whose pods see the addresses of clients, in a cluster that tells its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from receiver.demo.kubernetes import ApiServer
from receiver.demo.kubernetes.resources import NODES
from receiver.domain.isolation import Act, Wanted

ATTACKER = "203.0.113.7/32"


def expose(api: ApiServer, namespace: str, app: str, **spec: Any) -> None:
    """Put it behind a load balancer that keeps them, and give nodes and the API server their addresses."""
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
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["198.51.100.20"]}],
    }
    api.load([service, slice_])
    for number, node in enumerate(api.find("nodes")):
        addresses = [{"type": "InternalIP", "address": f"10.0.0.{number + 1}"}]
        api.registry.write_status(NODES, node, {**node["status"], "addresses": addresses}, "kubelet")


def blocking(namespace: str, app: str, now: datetime, *blocked: str, hours: int = 24) -> Wanted:
    """Networks that are to be shut out of it for so many hours."""
    until = now + timedelta(hours=hours)
    return Wanted(Act.IP_BLOCK, namespace, deployment=app, blocked=blocked or (ATTACKER,), until=until)
