"""The endpoints loop: for each Service with a selector one EndpointSlice, with the pods that serve."""

from __future__ import annotations

from receiver.demo.kubernetes import pods
from receiver.demo.kubernetes.hand import AS_CONTROLLER, Hand, owner_reference
from receiver.demo.kubernetes.resources import ENDPOINTSLICES, PODS, SERVICES, JsonObject
from receiver.demo.kubernetes.selectors import LabelSelector


def sync(hand: Hand, service: JsonObject) -> None:
    """Write the Service's slice anew where its pods changed."""
    selector = service["spec"].get("selector")
    if not selector:
        return
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    chosen = LabelSelector.of_object({"matchLabels": selector})
    endpoints = [
        _endpoint(pod)
        for pod in hand.store.objects(PODS, namespace)
        if pod.get("status", {}).get("podIP") and chosen.matches(pod["metadata"].get("labels", {}))
    ]
    ports = [
        {"name": port.get("name", ""), "port": port.get("targetPort", port["port"]), "protocol": "TCP"}
        for port in service["spec"].get("ports", [])
    ]
    wanted: JsonObject = {"addressType": "IPv4", "endpoints": endpoints, "ports": ports}
    there = hand.store.get(ENDPOINTSLICES, namespace, name)
    if there is None:
        labels = {"kubernetes.io/service-name": name}
        metadata = {"name": name, "labels": labels, "ownerReferences": [owner_reference(SERVICES, service)]}
        hand.registry.create(ENDPOINTSLICES, namespace, {"metadata": metadata, **wanted}, AS_CONTROLLER)
    elif there.get("endpoints", []) != endpoints:
        body = {**there, **wanted, "metadata": {**there["metadata"], "resourceVersion": ""}}
        hand.registry.replace(ENDPOINTSLICES, namespace, name, body, AS_CONTROLLER)


def _endpoint(pod: JsonObject) -> JsonObject:
    metadata = pod["metadata"]
    about = {
        "kind": "Pod",
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
    }
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": pods.is_ready(pod), "serving": pods.is_ready(pod)},
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": about,
    }
