"""What the kubelets count of each pod's traffic, and a network that enforces network policies."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from receiver.demo.kubernetes import ApiServer
from receiver.demo.kubernetes.selectors import LabelSelector
from receiver.demo.prometheus import Sample

USUAL = 2000.0


class Kubelets:
    """The bytes that every pod of a namespace has sent; one that is cut off sends nothing more."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._sent: dict[str, float] = {}
        self._last: datetime | None = None
        # Bytes a second of pods that do not send as usual; what a miner would.
        self.sending: dict[str, float] = {}
        # Some networks take network policies and do not enforce them.
        self.enforces = True
        self.measures = True

    def collect(self, at: datetime) -> Iterable[Sample]:
        """One sample for each pod."""
        passed = max((at - self._last).total_seconds(), 0.0) if self._last is not None else 0.0
        self._last = at
        found = [] if not self.measures else self._api.find("pods", self._namespace)
        # In a backfill the pods of today are those of the past, too.
        for pod in found:
            name = pod["metadata"]["name"]
            rate = 0.0 if self._is_cut_off(pod) else self.sending.get(name, USUAL)
            self._sent[name] = self._sent.get(name, 0.0) + rate * passed
            labels = {"namespace": self._namespace, "pod": name}
            yield Sample("container_network_transmit_bytes_total", labels, self._sent[name])

    def _is_cut_off(self, pod: dict[str, Any]) -> bool:
        """Whether some policy selects it for what leaves, and none of them lets anything out."""
        if not self.enforces or pod["spec"].get("hostNetwork"):
            return False
        labels = pod["metadata"].get("labels", {})
        selecting = [
            policy["spec"]
            for policy in self._api.find("networkpolicies", self._namespace)
            if "Egress" in policy["spec"].get("policyTypes", ())
            and LabelSelector.of_object(policy["spec"].get("podSelector")).matches(labels)
        ]
        return bool(selecting) and not any(spec.get("egress") for spec in selecting)
