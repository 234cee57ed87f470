"""`pods`: how the pods of a workload are; `log-fingerprints`: what they complain of, and what took how long.

Both look at no more than a few pods and bytes. What a program writes into its log is hostile text, and may
hold secrets: a line is kept for its shape only, without numbers and without what looks like a secret.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from receiver.domain.alerts import parse_time
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.plans import ObjectRef
from receiver.domain.redaction import without_secrets
from receiver.domain.remediation import ClusterReader
from receiver.domain.workloads import is_ready, selector_of

PODS: Mapping[str, Any] = {
    "count": 3,
    "ready": 2,
    "restarts": 5,
    "oomKilled": 1,
    "waiting": ["CrashLoopBackOff"],
    "youngestSeconds": 60.0,
    "youngShare": 0.5,
    "nodes": ["node-1"],
    "imageIds": ["shop/api@sha256:0"],
}
LOGS: Mapping[str, Any] = {
    "pods": 3,
    "lines": 120,
    "errors": 12,
    "topShare": 0.8,
    "top": [{"line": "ERROR no connection to db-#", "count": 10}],
    "timed": 90,
    "longestMilliseconds": 5210.0,
    "medianMilliseconds": 130.0,
}
YOUNG_SECONDS = 300.0
MOST_PODS = 200
LOOKED_INTO = 10
SINCE_SECONDS = 300
LOG_BYTES = 256 * 1024
SHOWN = 5
LINE = 200

_ERROR = re.compile(r"\b(error|fatal|panic|critical|exception|traceback)\b", re.IGNORECASE)
# A field whose name says milliseconds, in JSON or as key=value. The number is a plain one of less than twelve
# days: what is negative, has an exponent, or is no number is no duration either.
_DURATION = re.compile(
    r"(?<![a-z0-9])(?:duration|latency|elapsed|took|response_?time|request_?time)_?(?:ms|millis|milliseconds)"
    r"\"?\s?[:=]\s?\"?(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?)(?![\w.+-])",
    re.IGNORECASE | re.ASCII,
)
_STAMP = re.compile(r"^\s*\d{4}-\d\d-\d\d[T ]\S+\s*")
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\d+(?:[.:]\d+)*")


async def states(cluster: ClusterReader, target: ObjectRef, *, now: datetime) -> Any:
    """The facts of `pods`; None where there is no such workload."""
    found = await selected(cluster, target)
    return None if found is None else facts_of(found.pods, now=now)


def facts_of(found: list[dict[str, Any]], *, now: datetime) -> dict[str, Any]:
    """The same from the pods as they were read; pure."""
    statuses = [status for pod in found for status in pod.get("status", {}).get("containerStatuses", [])]
    ages = [(now - parse_time(pod["metadata"]["creationTimestamp"])).total_seconds() for pod in found]
    waiting = (status.get("state", {}).get("waiting", {}).get("reason") for status in statuses)
    facts: dict[str, Any] = {
        "count": len(found),
        "ready": sum(is_ready(pod) for pod in found),
        "restarts": sum(int(status.get("restartCount", 0)) for status in statuses),
        "oomKilled": sum(
            status.get("lastState", {}).get("terminated", {}).get("reason") == "OOMKilled"
            for status in statuses
        ),
        "waiting": sorted({reason for reason in waiting if reason}),
        "nodes": sorted({pod["spec"]["nodeName"] for pod in found if pod["spec"].get("nodeName")}),
        "imageIds": sorted({status["imageID"] for status in statuses if status.get("imageID")}),
    }
    if ages:
        facts["youngestSeconds"] = min(ages)
        facts["youngShare"] = sum(age < YOUNG_SECONDS for age in ages) / len(ages)
    return facts


async def fingerprints(cluster: ClusterReader, target: ObjectRef) -> Any:
    """The facts of `log-fingerprints`, over the newest pods; None where there is no such workload.

    A pod whose log cannot be had is left out; none at all raises what the last one raised.
    """
    found = await selected(cluster, target)
    if found is None:
        return None
    newest = sorted(found.pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)[
        :LOOKED_INTO
    ]
    answers = await asyncio.gather(*(_log(cluster, pod) for pod in newest), return_exceptions=True)
    read = [answer for answer in answers if isinstance(answer, str)]
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    for error in failed:
        if not isinstance(error, TemporaryError | PermanentError):
            raise error
    if failed and not read:
        raise failed[-1]
    return complaints_of(read)


def complaints_of(logs: list[str]) -> dict[str, Any]:
    """What the lines that name an error have in common; pure."""
    lines = [line for text in logs for line in text.splitlines() if line.strip()]
    shapes = Counter(shape(line) for line in lines if _ERROR.search(line))
    errors = shapes.total()
    facts: dict[str, Any] = {
        "pods": len(logs),
        "lines": len(lines),
        "errors": errors,
        "top": [{"line": line, "count": count} for line, count in shapes.most_common(SHOWN)],
    }
    if errors:
        facts["topShare"] = shapes.most_common(1)[0][1] / errors
    return facts | durations_of(lines)


def durations_of(lines: Iterable[str]) -> dict[str, Any]:
    """How many lines say how long something took, the longest and the median; pure.

    The playbook sorts text by `duration_ms` (row 002.T2). A line is one duration, the first that it names;
    without any there is no longest.
    """
    found = list(_durations(lines))
    if not found:
        return {"timed": 0}
    return {"timed": len(found), "longestMilliseconds": max(found), "medianMilliseconds": median(found)}


def _durations(lines: Iterable[str]) -> Iterator[float]:
    for line in lines:
        if (named := _DURATION.search(line)) is not None:
            yield float(named["number"])


def shape(line: str) -> str:
    """A line without its time, its numbers, and what looks like a secret."""
    kept = without_secrets(_STAMP.sub("", line))
    kept = "".join(letter if letter.isprintable() else " " for letter in _NUMBERS.sub("#", kept))
    return " ".join(kept.split())[:LINE]


@dataclass(frozen=True)
class Selected:
    """The pods of a workload, and the labels that it selects them by."""

    labels: Mapping[str, str]
    pods: list[dict[str, Any]]


async def selected(cluster: ClusterReader, target: ObjectRef) -> Selected | None:
    """The pods of a workload, two hundred at most; None where there is no such workload.

    Raises PermanentError where it selects them by more than labels, and what the door raises.
    """
    workload = await cluster.get(target)
    if workload is None:
        return None
    labels = selector_of(workload)
    if labels is None:
        raise PermanentError(f"{target} selects its pods by expressions: which are its own is not known")
    found = await cluster.list_objects("v1", "Pod", target.namespace, labels=labels, limit=MOST_PODS)
    return Selected(labels, found)


async def _log(cluster: ClusterReader, pod: Mapping[str, Any]) -> str:
    metadata = pod["metadata"]
    container = pod["spec"]["containers"][0]["name"]
    return await cluster.log(
        metadata["namespace"],
        metadata["name"],
        container=container,
        since_seconds=SINCE_SECONDS,
        limit_bytes=LOG_BYTES,
    )
