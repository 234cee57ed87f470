"""HorizontalPodAutoscalers, as far as nobody measures anything: they keep the replicas within bounds.

A real one does the same where its metrics say nothing else. A workload that is scaled to zero is left alone.
KEDA makes such an autoscaler of each ScaledObject and gives it its bounds; while it is paused, there is none:
https://keda.sh/docs/latest/concepts/scaling-deployments/
"""

from __future__ import annotations

from receiver.demo.kubernetes.hand import AS_CONTROLLER, Hand, owner_reference
from receiver.demo.kubernetes.resources import DEPLOYMENTS, HPAS, SCALED_OBJECTS, JsonObject


def sync(hand: Hand) -> None:
    """Bring every Deployment that an autoscaler names between its bounds."""
    for scaled in hand.store.objects(SCALED_OBJECTS):
        _keep(hand, scaled)
    for scaler in hand.store.objects(HPAS):
        aim = scaler["spec"]["scaleTargetRef"]
        target = hand.store.get(DEPLOYMENTS, scaler["metadata"]["namespace"], aim["name"])
        if aim["kind"] != "Deployment" or target is None or target["spec"].get("replicas", 1) == 0:
            continue
        present = target["spec"].get("replicas", 1)
        wanted = min(max(present, scaler["spec"].get("minReplicas", 1)), scaler["spec"]["maxReplicas"])
        if wanted != present:
            hand.write(DEPLOYMENTS, target, {}, {"replicas": wanted})


def _keep(hand: Hand, scaled: JsonObject) -> None:
    """The autoscaler of one ScaledObject, with its bounds; a floor of 0 is KEDA's own affair, and 1 there."""
    metadata, spec = scaled["metadata"], scaled["spec"]
    name = f"keda-hpa-{metadata['name']}"
    present = hand.store.get(HPAS, metadata["namespace"], name)
    said = metadata.get("annotations", {})
    if said.get("autoscaling.keda.sh/paused") == "true" or "autoscaling.keda.sh/paused-replicas" in said:
        if present is not None:
            hand.store.remove(HPAS, present)
        return
    aim = {"apiVersion": "apps/v1", "kind": "Deployment", **spec["scaleTargetRef"]}
    bounds = {
        "scaleTargetRef": aim,
        "minReplicas": max(1, spec.get("minReplicaCount", 0)),
        "maxReplicas": spec.get("maxReplicaCount", 100),
    }
    if present is not None:
        hand.write(HPAS, present, {}, bounds)
        return
    labels = {"scaledobject.keda.sh/name": metadata["name"], "app.kubernetes.io/managed-by": "keda-operator"}
    owners = [owner_reference(SCALED_OBJECTS, scaled)]
    made = {"metadata": {"name": name, "labels": labels, "ownerReferences": owners}, "spec": bounds}
    hand.registry.create(HPAS, metadata["namespace"], made, AS_CONTROLLER)
