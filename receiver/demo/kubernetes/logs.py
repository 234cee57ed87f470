"""Pod logs: text that a test or the demo sets, a few honest lines otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from receiver.demo.kubernetes import pods
from receiver.demo.kubernetes.resources import JsonObject
from receiver.demo.kubernetes.selectors import truth
from receiver.demo.kubernetes.status import bad_request

DEFAULT_LINES = 5
_BLOCK_LINES = 1000


@dataclass
class Logs:
    """What containers say, most particular first: by pod, then by image."""

    by_pod: dict[tuple[str, str], str] = field(default_factory=dict)
    """(namespace, pod name) to text."""
    by_image: dict[str, str] = field(default_factory=dict)
    """Image to text; pods' names are not known beforehand, images are."""
    previous: dict[tuple[str, str], str] = field(default_factory=dict)
    """The same as by_pod, of the container that ran before."""
    endless: set[tuple[str, str]] = field(default_factory=set)
    """Pods whose log is as long as anybody reads it."""

    def read(self, pod: JsonObject, query: Mapping[str, str], now: str) -> str | Iterator[bytes]:
        """The log of one container as the query wants it; raises 400 as the real server does."""
        metadata = pod["metadata"]
        place = (metadata["namespace"], metadata["name"])
        container, initial = self._container(pod, query.get("container", ""))
        name = container["name"]
        if truth(query.get("previous")):
            if place not in self.previous:
                raise bad_request(
                    f'previous terminated container "{name}" in pod "{metadata["name"]}" not found'
                )
            return _asked(self.previous[place], query, now)
        if not initial and not pods.is_ready(pod):
            why = "trying and failing to pull image"
            if pods.template_health(pod["spec"]) != "broken":
                why = "ContainerCreating"
            raise bad_request(f'container "{name}" in pod "{metadata["name"]}" is waiting to start: {why}')
        limit = int(query.get("limitBytes", "0"))
        if place in self.endless and "tailLines" not in query:
            return _cut(_without_end(name), limit)
        text = self.by_pod.get(place)
        if text is None:
            text = self.by_image.get(container["image"])
        if text is None:
            label = f"{metadata['name']}/{name}"
            text = "".join(f"{now} {label} line {number}\n" for number in range(DEFAULT_LINES))
        return _asked(text, query, now)

    @staticmethod
    def _container(pod: JsonObject, wanted: str) -> tuple[JsonObject, bool]:
        """The container of that name, and whether it is an init container."""
        containers: list[JsonObject] = pod["spec"]["containers"]
        initial: list[JsonObject] = pod["spec"].get("initContainers", [])
        name = pod["metadata"]["name"]
        if not wanted and len(containers) > 1:
            choices = " ".join(each["name"] for each in containers)
            others = f" or one of the init containers: [{' '.join(each['name'] for each in initial)}]"
            raise bad_request(
                f"a container name must be specified for pod {name}, choose one of: [{choices}]"
                + others * bool(initial)
            )
        for each in containers:
            if wanted in ("", each["name"]):
                return each, False
        for each in initial:
            if wanted == each["name"]:
                return each, True
        raise bad_request(f"container {wanted} is not valid for pod {name}")


def _asked(text: str, query: Mapping[str, str], now: str) -> str:
    """The part of a text that was asked for: its last lines, with times, up to a size from their start."""
    lines = text.splitlines(keepends=True)
    if "tailLines" in query:
        tail = int(query["tailLines"])
        lines = lines[-tail:] if tail else []
    if truth(query.get("timestamps")):
        lines = [f"{now} {line}" for line in lines]
    limit = int(query.get("limitBytes", "0"))
    text = "".join(lines)
    return text.encode()[:limit].decode(errors="ignore") if limit else text


def _without_end(name: str) -> Iterator[bytes]:
    number = 0
    while True:
        lines = range(number, number + _BLOCK_LINES)
        yield "".join(f"{name} says line {line}\n" for line in lines).encode()
        number += _BLOCK_LINES


def _cut(blocks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """So many bytes of it; all of it without a limit."""
    left = limit
    for block in blocks:
        yield block[:left] if limit else block
        left -= len(block)
        if limit and left <= 0:
            return
