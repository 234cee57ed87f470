"""HorizontalPodAutoscalers, as far as nobody measures anything: they keep the replicas within bounds.

A real one does the same where its metrics say nothing else. A workload that is scaled to zero is left alone.
"""

from __future__ import annotations

from receiver.demo.kubernetes.hand import Hand
from receiver.demo.kubernetes.resources import DEPLOYMENTS, HPAS


def sync(hand: Hand) -> None:
    """Bring every Deployment that an autoscaler names between its bounds."""
    for scaler in hand.store.objects(HPAS):
        aim = scaler["spec"]["scaleTargetRef"]
        target = hand.store.get(DEPLOYMENTS, scaler["metadata"]["namespace"], aim["name"])
        if aim["kind"] != "Deployment" or target is None or target["spec"].get("replicas", 1) == 0:
            continue
        present = target["spec"].get("replicas", 1)
        wanted = min(max(present, scaler["spec"].get("minReplicas", 1)), scaler["spec"]["maxReplicas"])
        if wanted != present:
            hand.write(DEPLOYMENTS, target, {}, {"replicas": wanted})
