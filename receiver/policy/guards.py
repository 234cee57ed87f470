"""May we? Each guard looks at facts and answers with an objection or with what it observed.

All of them run when a plan is proposed and again inside the claim, before every send. They are
three-valued: what a guard cannot know is an objection. A guard that does not apply passes as "n/a" and is
shown. Nobody overrides one; people change the policy instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from receiver.domain.durations import in_words
from receiver.domain.plans import BackendStep, EvictStep, Objection, Passed, PatchStep, Plan, Step
from receiver.policy.expressions import Truth, evaluate
from receiver.policy.model import Budget, Guards

# Outside facts older than this are looked up again before they are used (design: acting exactly once).
MAX_AGE = timedelta(seconds=10)
# A cluster in which this much is unhealthy has another problem than the one we cure.
FAILED_RUNS_ALLOWED = 2


@dataclass(frozen=True)
class Ownership:
    """Somebody else who manages the target, the fields they own, and how we know."""

    owner: str
    fields: frozenset[str]
    evidence: str


@dataclass(frozen=True)
class Availability:
    """The workload's pods now: wanted, ready, and how many the change may take away at once."""

    wanted: int
    ready: int
    max_unavailable: int


@dataclass(frozen=True)
class OutsideFacts:
    """What was asked of the world for one plan; None or missing means it could not be told.

    ``age`` is how old the oldest of them is, on a clock that only runs forward.
    """

    age: timedelta
    cluster_wanted: str | None = None
    cluster_found: str | None = None
    alert_active: bool | None = None
    trigger_holds: bool | None = None
    suppressed: bool | None = None
    manual: bool = False
    target_seen: bool = False
    target_uid: str | None = None
    target_changed: tuple[str, ...] = ()
    owners: tuple[Ownership, ...] | None = None
    availability: Availability | None = None
    dry_run: str | None = None
    dry_run_ok: bool | None = None
    rights: Mapping[str, bool | None] = field(default_factory=dict)
    sources: Mapping[str, bool] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InsideFacts:
    """What the store says, read in the transaction that would act."""

    paused: tuple[str, ...]
    security_locks: tuple[str, ...]
    runs_on_target: int
    runs_of_policy: int
    runs_in_cluster: int
    failed_runs: int
    target_held_by: str | None
    pre_image_stored: bool


@dataclass(frozen=True)
class Case:
    """One plan before the guards."""

    plan: Plan
    limits: Guards
    cluster_budget: Budget
    outside: OutsideFacts
    inside: InsideFacts
    undoing: bool
    now: datetime
    freezes: tuple[str, ...] = ()

    @property
    def step(self) -> Step:
        """The step that would be taken next: the first one of the plan as it is handed in."""
        return self.plan.steps[0]


def disturbs(step: Step) -> bool:
    """Whether a step takes pods away: one by eviction, all in turn by a change of their template."""
    if isinstance(step, PatchStep):
        return any(change.pointer.startswith("/spec/template") for change in step.changes)
    return isinstance(step, EvictStep)


Verdict = Objection | Passed
Guard = Callable[[Case], Verdict]


def ask_all(case: Case) -> tuple[tuple[Objection, ...], tuple[Passed, ...]]:
    """Every guard's answer: all objections, and all that passed with what they saw."""
    verdicts = [guard(case) for guard in ALWAYS_ON] + [
        _added(case, index) for index in range(len(case.limits.rules))
    ]
    return (
        tuple(verdict for verdict in verdicts if isinstance(verdict, Objection)),
        tuple(verdict for verdict in verdicts if isinstance(verdict, Passed)),
    )


def right_place(case: Case) -> Verdict:
    """G0: the alert is about the cluster this service acts in."""
    wanted, found = case.outside.cluster_wanted, case.outside.cluster_found
    if wanted is None:
        return Passed("G0", "n/a: no cluster name is configured")
    if found == wanted:
        return Passed("G0", f"cluster {found}")
    said = "no cluster label" if found is None else f"cluster {found}"
    return Objection("G0", "not_ours", f"the alert says {said}; this service acts in {wanted}")


def still_true(case: Case) -> Verdict:
    """G1: what called for the cure still holds, by the sources, not by the webhook's body."""
    if case.undoing:
        return Passed("G1", "n/a: an undo does not wait for the alert")
    outside = case.outside
    if outside.age > MAX_AGE:
        return Objection(
            "G1", "facts_old", f"the facts are {outside.age.total_seconds():.0f} s old; 10 s are allowed"
        )
    if outside.trigger_holds is True or (outside.alert_active is True and not outside.manual):
        said = "the trigger holds" if outside.trigger_holds else "the alert fires at its source"
        return Passed("G1", said)
    if outside.trigger_holds is False and outside.alert_active is not True:
        return Objection("G1", "no_longer_true", "neither the alert nor the trigger holds any more")
    return Objection("G1", "unknown", "no source could say whether the alert still fires")


def same_object(case: Case) -> Verdict:
    """G2: the target is the object that was planned on, with the planned fields as they were."""
    target = case.step.target
    if case.outside.target_uid is None:
        return Objection("G2", "target_unseen", f"{target} could not be read")
    if case.outside.target_uid != target.uid:
        return Objection("G2", "other_object", f"{target} is another object of that name now")
    if case.outside.target_changed:
        changed = ", ".join(case.outside.target_changed)
        return Objection("G2", "fields_changed", f"changed since the plan was made: {changed}")
    return Passed("G2", f"uid {target.uid}")


def not_owned(case: Case) -> Verdict:
    """G3: no other owner manages the fields that would be written."""
    owners = case.outside.owners
    if owners is None:
        return Objection("G3", "unknown", "who manages the target could not be told")
    written = [change.pointer for step in case.plan.steps for change in step.changes]
    for owner in owners:
        for pointer in written:
            if any(pointer == own or pointer.startswith(own + "/") or own == "*" for own in owner.fields):
                return Objection(
                    "G3",
                    "owned",
                    f"{pointer} is managed by {owner.owner} ({owner.evidence}): change it there",
                )
    noted = ", ".join(owner.owner for owner in owners)
    return Passed("G3", f"managed by {noted}, none of them these fields" if noted else "no other owner")


def not_stopped(case: Case) -> Verdict:
    """G4: no kill switch, no change freeze, and a mode that acts."""
    if case.inside.paused:
        return Objection("G4", "paused", f"paused: {'; '.join(case.inside.paused)}")
    if case.freezes and not case.undoing:
        return Objection("G4", "freeze", f"a change freeze holds: {'; '.join(case.freezes)}")
    # A shadowed plan is recorded and never asked about, so nobody can approve it.
    if case.plan.mode not in ("shadow", "propose", "auto"):
        return Objection("G4", "mode", f"policy {case.plan.policy} is in mode {case.plan.mode}")
    return Passed("G4", f"not paused, mode {case.plan.mode}")


def not_security(case: Case) -> Verdict:
    """G5: no security lock covers the target; nothing and nobody gets past this one."""
    if case.inside.security_locks:
        return Objection(
            "G5", "security_lock", f"a security lock covers it: {'; '.join(case.inside.security_locks)}"
        )
    return Passed("G5", "no security lock")


def within_budget(case: Case) -> Verdict:
    """G6: not too often, one change at a time, and not after failures."""
    inside, limits = case.inside, case.limits
    if inside.target_held_by is not None:
        return Objection("G6", "target_busy", f"{inside.target_held_by} is changing {case.plan.target}")
    if case.undoing:
        return Passed("G6", "n/a: run limits do not hold back an undo")
    if inside.failed_runs >= FAILED_RUNS_ALLOWED:
        return Objection(
            "G6",
            "failures",
            f"{inside.failed_runs} runs of this cure failed or were undone: a person must look",
        )
    for code, runs, budget, what in (
        ("per_target", inside.runs_on_target, limits.per_target, f"on {case.plan.target}"),
        ("per_policy", inside.runs_of_policy, limits.per_policy, f"of policy {case.plan.policy}"),
        ("per_cluster", inside.runs_in_cluster, case.cluster_budget, "in this cluster"),
    ):
        if runs >= budget.count:
            return Objection(
                "G6", code, f"{runs} runs {what} within {in_words(budget.per)}; {budget.count} are allowed"
            )
    return Passed("G6", f"{inside.runs_on_target} of {limits.per_target.count} runs on the target")


def small_enough(case: Case) -> Verdict:
    """G7: enough stays ready while it happens."""
    there = case.outside.availability
    if not disturbs(case.step):
        return Passed("G7", "n/a: no pod is taken away")
    if there is None:
        return Objection("G7", "unknown", "how many replicas are ready could not be told")
    if there.wanted == 0:
        return Objection("G7", "scaled_to_zero", "the workload is scaled to zero")
    # A broken rollout is what a rollback heals, so what is not ready now is not held against it; what the
    # change itself may take away is.
    # An eviction takes one of those that serve.
    before = there.ready if isinstance(case.step, EvictStep) else there.wanted
    left = before - there.max_unavailable
    share = left / there.wanted
    if share < case.limits.min_available:
        return Objection(
            "G7",
            "blast_radius",
            f"{left} of {there.wanted} may stay ready; the policy wants {case.limits.min_available:.0%}",
        )
    return Passed(
        "G7", f"{there.ready} of {there.wanted} ready, at most {there.max_unavailable} fewer meanwhile"
    )


def dry_run_agrees(case: Case) -> Verdict:
    """G8: the server took the same write as a dry run, and it would change just the planned fields."""
    if case.outside.dry_run_ok is True:
        return Passed("G8", "the server's dry run agrees")
    said = case.outside.dry_run or ""
    excused = next((name for name in case.limits.dry_run_unsupported if f'"{name}"' in said), None)
    if excused is not None and "does not support dry run" in said:
        # Kubernetes refuses every dry run where an admission webhook has side effects it does not declare.
        return Passed("G8", f"no dry run: webhook {excused} does not support it, and the policy says so")
    return Objection("G8", "dry_run", case.outside.dry_run or "the dry run was not answered")


def rights_held(case: Case) -> Verdict:
    """G9: the API server says that we may."""
    if not case.outside.rights:
        return Objection("G9", "unknown", "our rights could not be asked")
    for what, allowed in case.outside.rights.items():
        if allowed is None:
            return Objection("G9", "unknown", f"whether we may {what} could not be asked")
        if not allowed:
            lacking = (
                "the operator's role may not"
                if isinstance(case.step, BackendStep)
                else "the chart's Role lacks"
            )
            return Objection("G9", "forbidden", f"{lacking} {what}")
    return Passed("G9", ", ".join(case.outside.rights))


def pre_image_kept(case: Case) -> Verdict:
    """G10: what would be overwritten is stored durably in the same commit."""
    if not case.inside.pre_image_stored:
        return Objection("G10", "no_pre_image", "what would be overwritten is not stored")
    return Passed("G10", "the fields before are in the intent")


def eyes_open(case: Case) -> Verdict:
    """G11: every source that this plan used answers."""
    blind = [source for source, answered in case.outside.sources.items() if not answered]
    if blind:
        return Objection("G11", "blind", f"no answer from {', '.join(sorted(blind))}")
    if not case.outside.sources:
        return Objection("G11", "blind", "no source was asked")
    return Passed("G11", f"{', '.join(sorted(case.outside.sources))} answered")


def not_silenced(case: Case) -> Verdict:
    """G12: nobody silenced or inhibited the alert."""
    if case.undoing:
        return Passed("G12", "n/a: an undo does not wait for the alert")
    if case.outside.suppressed is True:
        return Objection("G12", "suppressed", "the alert is silenced or inhibited now")
    if case.outside.suppressed is None:
        return Passed("G12", "n/a: no Alertmanager is configured or it does not list the alert")
    return Passed("G12", "neither silenced nor inhibited")


def _added(case: Case, index: int) -> Verdict:
    rule = case.limits.rules[index]
    name = f"policy[{index}]"
    truth, reason = evaluate(rule.expr, case.outside.values)
    if truth is Truth.TRUE:
        return Passed(name, rule.expr)
    if truth is Truth.FALSE:
        return Objection(name, "policy_guard", rule.message)
    return Objection(name, "unknown", f"{rule.message} ({rule.expr} is not known: {reason})")


ALWAYS_ON: tuple[Guard, ...] = (
    right_place,
    still_true,
    same_object,
    not_owned,
    not_stopped,
    not_security,
    within_budget,
    small_enough,
    dry_run_agrees,
    rights_held,
    pre_image_kept,
    eyes_open,
    not_silenced,
)
