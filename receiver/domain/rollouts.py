"""A Deployment's revisions, read from the objects as the API server gives them.

A revision is told by its ReplicaSet's uid and template hash: numbers move (a rollback gives the old
ReplicaSet a new number), so they are shown to people only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from receiver.domain.alerts import parse_time
from receiver.domain.durations import in_words
from receiver.domain.errors import PermanentError

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
HASH_LABEL = "pod-template-hash"
# More than this many beside one Deployment are not looked through.
MOST_REPLICA_SETS = 2000


@dataclass(frozen=True)
class Revision:
    """One ReplicaSet of a Deployment; ``template`` is without the hash label that the controller adds.

    ``reused`` says that an earlier rollback brought it back: nothing in the cluster tells when that was.
    """

    name: str
    uid: str
    template_hash: str
    number: int
    created_at: datetime
    template: Mapping[str, Any]
    replicas: int
    ready: int
    reused: bool = False

    @property
    def image(self) -> str:
        """The images of its containers, for people."""
        containers = self.template.get("spec", {}).get("containers", [])
        return ", ".join(str(container.get("image", "?")) for container in containers)


@dataclass(frozen=True)
class Rollout:
    """The Deployment with its revisions, newest number first; ``current`` is the one being rolled out."""

    uid: str
    revisions: tuple[Revision, ...]
    current: Revision | None
    paused: bool


def labels_to_list_by(deployment: Mapping[str, Any]) -> Mapping[str, str]:
    """Labels that every ReplicaSet of this Deployment has; none where it selects by expressions alone.

    Others may have them as well: `read_rollout` chooses among what they find.
    """
    labels: Mapping[str, str] = deployment["spec"]["selector"].get("matchLabels") or {}
    return labels


def uncut(deployment: Mapping[str, Any], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ReplicaSets that were listed, where `MOST_REPLICA_SETS` left none of them out.

    Raises PermanentError where it may have: without a revision between them, one that was never good would
    seem to have served until the next one that is known.
    """
    if len(found) < MOST_REPLICA_SETS:
        return found
    name = deployment["metadata"]["name"]
    raise PermanentError(
        f"beside Deployment {name} there are {MOST_REPLICA_SETS} ReplicaSets or more: its own are not known"
    )


def read_rollout(deployment: Mapping[str, Any], replica_sets: Sequence[Mapping[str, Any]]) -> Rollout:
    """The revisions of this Deployment among these ReplicaSets (others' are left out)."""
    uid = deployment["metadata"]["uid"]
    owned = [found for found in replica_sets if _controlled_by(found, uid)]
    revisions = sorted((_revision(found) for found in owned), key=lambda revision: -revision.number)
    template = deployment["spec"]["template"]
    current = next((found for found in revisions if same_template(found.template, template)), None)
    return Rollout(
        uid=uid,
        revisions=tuple(revisions),
        current=current,
        paused=deployment["spec"].get("paused", False) is True,
    )


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two pod templates are the same but for what the controller and the clock add."""
    return without_hash(one) == without_hash(other)


def first_bad_sample(healthy: Sequence[tuple[datetime, bool | None]]) -> datetime | None:
    """When the unhealthy run that lasts until now began; None where the newest known sample is healthy."""
    first: datetime | None = None
    for at, good in reversed(healthy):
        if good is True:
            break
        if good is False:
            first = at
    return first


def known_good(
    rollout: Rollout, healthy: Sequence[tuple[datetime, bool | None]], *, ready_for: timedelta
) -> tuple[Revision | None, str]:
    """The revision that was serving, healthy, for at least ``ready_for`` before a later one replaced it.

    A revision served from its creation to the creation of the next number. Every sample of that window's
    last ``ready_for`` must be known to be healthy, but for one lost scrape. One that was brought back in
    between has no known beginning and is not proven. Playbook 001.1: never "previous".
    """
    by_number = sorted(rollout.revisions, key=lambda revision: revision.number)
    reasons: list[str] = []
    for index in range(len(by_number) - 2, -1, -1):
        revision, successor = by_number[index], by_number[index + 1]
        if rollout.current is not None and revision.uid == rollout.current.uid:
            continue
        if revision.reused or successor.reused:
            reasons.append(f"{revision.name} was brought back before; since when it served cannot be told")
            continue
        served = successor.created_at - revision.created_at
        if served < ready_for:
            reasons.append(f"{revision.name} served for {in_words(served)} only")
            continue
        start = successor.created_at - ready_for
        window = [good for at, good in healthy if start <= at <= successor.created_at]
        if not window or window.count(True) < len(window) - 1 or window.count(False):
            reasons.append(f"{revision.name} is not known to have been healthy before it was replaced")
            continue
        return revision, f"{revision.name} served healthy for {in_words(ready_for)} before it was replaced"
    return None, "; ".join(reasons) or "there is no earlier revision"


def references(template: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """The ConfigMaps and the Secrets that the template cannot do without, by name."""
    maps: set[str] = set()
    secrets: set[str] = set()
    spec = template.get("spec", {})
    for volume in spec.get("volumes", []):
        _add(maps, volume.get("configMap"), "name")
        _add(secrets, volume.get("secret"), "secretName")
        for source in volume.get("projected", {}).get("sources", []):
            _add(maps, source.get("configMap"), "name")
            _add(secrets, source.get("secret"), "name")
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        for source in container.get("envFrom", []):
            _add(maps, source.get("configMapRef"), "name")
            _add(secrets, source.get("secretRef"), "name")
        for variable in container.get("env", []):
            came_from = variable.get("valueFrom", {})
            _add(maps, came_from.get("configMapKeyRef"), "name")
            _add(secrets, came_from.get("secretKeyRef"), "name")
    for pull_secret in spec.get("imagePullSecrets", []):
        _add(secrets, {**pull_secret, "optional": True}, "name")
    return frozenset(maps), frozenset(secrets)


def _add(names: set[str], source: Mapping[str, Any] | None, field: str) -> None:
    if source and source.get(field) and not source.get("optional"):
        names.add(str(source[field]))


def _controlled_by(found: Mapping[str, Any], uid: str) -> bool:
    """One owner of an object is its controller; the others only keep it from being collected."""
    owners = found["metadata"].get("ownerReferences", [])
    return any(owner.get("uid") == uid and owner.get("controller") is True for owner in owners)


def _revision(found: Mapping[str, Any]) -> Revision:
    metadata = found["metadata"]
    status = found.get("status", {})
    return Revision(
        name=metadata["name"],
        uid=metadata["uid"],
        template_hash=metadata.get("labels", {}).get(HASH_LABEL, ""),
        number=_number(metadata.get("annotations", {}).get(REVISION, "0")),
        created_at=parse_time(metadata["creationTimestamp"]),
        template=without_hash(found["spec"]["template"]),
        replicas=int(found["spec"].get("replicas", 0)),
        ready=int(status.get("readyReplicas", 0)),
        reused=REVISION_HISTORY in metadata.get("annotations", {}),
    )


def without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template as it stood in the Deployment, without the controller's hash label."""
    metadata = dict(template.get("metadata", {}))
    labels = {name: value for name, value in metadata.get("labels", {}).items() if name != HASH_LABEL}
    metadata["labels"] = labels
    metadata.pop("creationTimestamp", None)
    return {**template, "metadata": metadata}


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
