"""Pod logs: text that a test or the demo sets, a few honest lines otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from receiver.demo.kubernetes import pods
from receiver.demo.kubernetes.resources import JsonObject
from receiver.demo.kubernetes.status import bad_request

DEFAULT_LINES = 5


@dataclass
class Logs:
    """What containers say, most particular first: by pod, then by image."""

    by_pod: dict[tuple[str, str], str] = field(default_factory=dict)
    """(namespace, pod name) to text."""
    by_image: dict[str, str] = field(default_factory=dict)
    """Image to text; pods' names are not known beforehand, images are."""

    def read(self, pod: JsonObject, query: Mapping[str, str], now: str) -> str:
        """The log of one container as the query wants it; raises 400 as the real server does."""
        metadata = pod["metadata"]
        container = self._container(pod, query.get("container", ""))
        if not pods.is_ready(pod):
            why = "trying and failing to pull image"
            if pods.template_health(pod["spec"]) != "broken":
                why = "ContainerCreating"
            name = container["name"]
            raise bad_request(f'container "{name}" in pod "{metadata["name"]}" is waiting to start: {why}')
        text = self.by_pod.get((metadata["namespace"], metadata["name"]))
        if text is None:
            text = self.by_image.get(container["image"])
        if text is None:
            label = f"{metadata['name']}/{container['name']}"
            text = "".join(f"{now} {label} line {number}\n" for number in range(DEFAULT_LINES))
        lines = text.splitlines(keepends=True)
        if "tailLines" in query:
            tail = int(query["tailLines"])
            lines = lines[-tail:] if tail else []
        limit = int(query.get("limitBytes", "0"))
        text = "".join(lines)
        return text.encode()[:limit].decode(errors="ignore") if limit else text

    @staticmethod
    def _container(pod: JsonObject, wanted: str) -> JsonObject:
        containers: list[JsonObject] = pod["spec"]["containers"]
        name = pod["metadata"]["name"]
        if not wanted and len(containers) > 1:
            choices = " ".join(each["name"] for each in containers)
            raise bad_request(
                f"a container name must be specified for pod {name}, choose one of: [{choices}]"
            )
        for each in containers:
            if wanted in ("", each["name"]):
                return each
        raise bad_request(f"container {wanted} is not valid for pod {name}")
