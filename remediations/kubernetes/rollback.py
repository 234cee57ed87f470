"""Put a Deployment back to the revision that is known to have been good.

The playbook says `kubectl rollout undo`; run twice, that returns to the bad release, and after any other
change of the template "previous" is the bad release itself. So this names one ReplicaSet by uid and
template hash, and only one that served healthy before it was replaced (playbook INC-001, fix 1; row 001.1):
for at least 30 minutes, with the policy's success condition true throughout, right before a later one
replaced it.

It does not apply where the rollout is paused, `revisionHistoryLimit` is 0, the running release is older
than two hours or younger than the first bad sample, the release is annotated
`stanch.dev/irreversible-migration: "true"`, an earlier revision was brought back at an unknown time, or the
good revision needs a ConfigMap or Secret that is gone. That the image can still be pulled is not checked;
the old pods stay until new ones are ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from receiver.domain import plans
from receiver.domain.durations import in_words
from receiver.domain.plans import (
    ApprovalDefault,
    Draft,
    FieldChange,
    NotApplicable,
    ObjectRef,
    Permission,
    Receipt,
    Risk,
    Spec,
    Step,
)
from receiver.domain.remediation import ClusterReader, Evidence, Placement
from receiver.domain.rollouts import (
    Revision,
    Rollout,
    first_bad_sample,
    known_good,
    read_rollout,
    references,
    same_template,
)
from receiver.domain.workloads import deployment_reference, in_place, patch_of
from remediations.kubernetes.reading import with_replica_sets

TEMPLATE = "/spec/template"
IRREVERSIBLE_MIGRATION = "stanch.dev/irreversible-migration"
# Row 001.1: the release must be young enough to be the cause, and the good one proven long enough.
YOUNGER_THAN = timedelta(hours=2)
READY_FOR = timedelta(minutes=30)
# A sample is taken every so often: a release may precede its first bad sample's time by this much.
SAMPLE_SLACK = timedelta(seconds=30)


class Parameters(plans.Parameters):
    """What a policy may say below ``with``."""

    to: Literal["known-good"] = Field(
        "known-good", description="The revision is found by its uid and template hash."
    )


SPEC = Spec(
    name="deployment.rollback",
    version=1,
    sentence="Puts the Deployment's pod template back to the last revision that served healthy.",
    risk=Risk.DISRUPTIVE,
    approval_default=ApprovalDefault.A1,
    target_kinds=frozenset({"Deployment"}),
    parameters=Parameters,
    needs_labels=frozenset(),
    reads=(
        Permission("apps", "deployments", "get"),
        Permission("apps", "replicasets", "list"),
        Permission("", "configmaps", "get"),
        Permission("", "secrets", "get"),
    ),
    writes=(Permission("apps", "deployments", "patch"),),
    settle=timedelta(minutes=5),
    about=__doc__,
    example="""\
- remediation: deployment.rollback
  why: The release is younger than two hours
  when: rollout.hasEarlier
  with: {to: known-good}
""",
)


class Rollback:
    """`deployment.rollback`."""

    spec = SPEC

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, target: ObjectRef, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Deployment, its ReplicaSets, and which of the names they refer to are gone."""
        state = await with_replica_sets(self._cluster, target)
        if state["deployment"] is None:
            return {**state, "missing": []}
        missing = await self._missing(state["deployment"], state["replicaSets"], target.namespace)
        return {**state, "missing": missing}

    def plan(
        self, state: Mapping[str, Any], parameters: Mapping[str, Any], evidence: Evidence, *, now: datetime
    ) -> Draft | NotApplicable:
        """One replacement of the template, or the first reason why a rollback is not the cure."""
        deployment = state["deployment"]
        if deployment is None:
            return NotApplicable("there is no such Deployment")
        rollout = read_rollout(deployment, state["replicaSets"])
        bad_since = first_bad_sample(evidence.healthy) or evidence.first_bad_at
        suspect = _suspected(deployment, rollout, bad_since, now)
        if isinstance(suspect, NotApplicable):
            return suspect
        good, proof = known_good(rollout, evidence.healthy, ready_for=READY_FOR)
        if good is None:
            return NotApplicable(f"no known-good revision: {proof}")
        gone = [name for name in state["missing"] if name.startswith(f"{good.uid} ")]
        if gone:
            names = ", ".join(name.split(" ", 1)[1] for name in gone)
            return NotApplicable(f"{good.name} needs what is no longer there: {names}")
        assert bad_since is not None
        return _draft(deployment, suspect, good, proof, bad_since, now)

    def undo_plan(
        self, receipts: tuple[Receipt, ...], state: Mapping[str, Any]
    ) -> tuple[Step, ...] | NotApplicable:
        """The captured template, if what we wrote still stands; replicas are never among its fields."""
        deployment = state["deployment"]
        if deployment is None:
            return NotApplicable("the Deployment is gone")
        if not receipts:
            return NotApplicable("there is no receipt to undo")
        written = receipts[-1]
        change = written.changes[0]
        if deployment["metadata"]["uid"] != written.target.uid:
            return NotApplicable("it is another Deployment of that name now")
        present = deployment["spec"]["template"]
        if not same_template(present, change.after):
            return NotApplicable("somebody changed the template since; it is left as it is")
        back = FieldChange(TEMPLATE, present, change.before)
        return (patch_of(deployment, written.target, back),)

    async def verify(self, receipt: Receipt) -> tuple[Placement, str]:
        """The rollout is complete: every replica runs the template and is available."""
        return in_place(await self._cluster.get(receipt.target), receipt)

    async def _missing(
        self, deployment: Mapping[str, Any], replica_sets: list[dict[str, Any]], namespace: str
    ) -> list[str]:
        """``<ReplicaSet uid> <kind> <name>`` for what a revision needs and nobody finds any more.

        A Secret that the running template needs too is not asked for: its pods started with it, and
        reading Secrets is a right worth not having.
        """
        running_maps, running_secrets = references(deployment["spec"]["template"])
        missing: list[str] = []
        for revision in read_rollout(deployment, replica_sets).revisions:
            maps, secrets = references(revision.template)
            wanted = [("ConfigMap", name) for name in sorted(maps - running_maps)]
            wanted += [("Secret", name) for name in sorted(secrets - running_secrets)]
            for kind, name in wanted:
                if await self._cluster.get(ObjectRef("v1", kind, namespace, name)) is None:
                    missing.append(f"{revision.uid} {kind} {name}")
        return missing


def _suspected(
    deployment: Mapping[str, Any], rollout: Rollout, bad_since: datetime | None, now: datetime
) -> Revision | NotApplicable:
    """The release in trouble, or the first reason why a rollback is not the cure."""
    current = rollout.current
    if rollout.paused:
        return NotApplicable("the rollout is paused; somebody is working on it")
    if deployment["spec"].get("revisionHistoryLimit", 10) == 0:
        return NotApplicable("revisionHistoryLimit is 0: no earlier revision is kept")
    if current is None:
        return NotApplicable("no ReplicaSet has the Deployment's template yet")
    annotations = current.template.get("metadata", {}).get("annotations", {})
    if annotations.get(IRREVERSIBLE_MIGRATION) == "true":
        return NotApplicable("the release is marked as an irreversible migration")
    if bad_since is None:
        return NotApplicable("when it went bad is not known")
    suspect = _release_before(rollout, current, bad_since)
    if suspect is None:
        return NotApplicable(f"it was bad before {current.name} was released")
    age = now - suspect.created_at
    if age > YOUNGER_THAN:
        return NotApplicable(
            f"{suspect.name} runs since {in_words(age)}; a release older than 2 h is not the likely cause"
        )
    return suspect


def _release_before(rollout: Rollout, current: Revision, bad_since: datetime) -> Revision | None:
    """The release that may have made it bad: the present one, or the one of the same images that a variable
    or a limit was changed of since. After such a change "previous" is the bad release itself.
    """
    by_number = sorted(rollout.revisions, key=lambda revision: revision.number, reverse=True)
    return next(
        (
            revision
            for revision in by_number
            if revision.image == current.image and revision.created_at <= bad_since + SAMPLE_SLACK
        ),
        None,
    )


def _draft(
    deployment: Mapping[str, Any],
    current: Revision,
    good: Revision,
    proof: str,
    bad_since: datetime,
    now: datetime,
) -> Draft:
    target = deployment_reference(deployment)
    change = FieldChange(TEMPLATE, deployment["spec"]["template"], dict(good.template))
    wanted = int(deployment["spec"].get("replicas", 1))
    ready = int(deployment.get("status", {}).get("readyReplicas", 0))
    before_bad = f", {in_words(bad_since - current.created_at)} before the first bad sample"
    notes = ["that the image can still be pulled is not checked; pods that run stay until new ones are ready"]
    return Draft(
        target=target,
        steps=(patch_of(deployment, target, change),),
        summary=f"roll {target} back to {good.image} ({good.name}, revision {good.number})",
        why=f"{current.image} was released {in_words(now - current.created_at)} ago{before_bad}; {proof}",
        blast_radius=f"all {wanted} pods restart ({ready} are ready now), by rolling update",
        notes=tuple(notes),
        undo_sentence="undone by putting the present template back",
    )
