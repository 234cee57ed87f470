"""What two sets of policies say differently, in the words of the files, and what of it loosens a rule.

For the pull request: comments and order of files do not show, a quieter approval does. Whether history would
have gone otherwise is told by a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from receiver.domain.plans import ApprovalRule, Risk
from receiver.policy.fields import as_written
from receiver.policy.model import Budget, Mode, Policy, PolicySet


class Weight(StrEnum):
    """Whether a difference lets more happen, less, or something else."""

    LOOSER = "looser"
    STRICTER = "stricter"
    OTHER = ""


@dataclass(frozen=True)
class Difference:
    """One thing that is said otherwise. ``policy`` is empty where it holds for the whole cluster; ``before``
    or ``after`` is None where there was or is nothing.
    """

    policy: str
    what: str
    before: str | None
    after: str | None
    weight: Weight = Weight.OTHER

    def as_json(self) -> dict[str, str | None]:
        """The same for machines."""
        return {
            "policy": self.policy,
            "what": self.what,
            "before": self.before,
            "after": self.after,
            "weight": self.weight.value,
        }


def differences(before: PolicySet, after: PolicySet) -> tuple[Difference, ...]:
    """Policy by policy in the order of their names, what holds for the whole cluster last."""
    old = {policy.name: policy for policy in before.policies}
    new = {policy.name: policy for policy in after.policies}
    found: list[Difference] = []
    for name in sorted({*old, *new}):
        if name not in old:
            found.append(Difference(name, "the policy", None, _in_short(new[name]), _by_mode(new[name].mode)))
        elif name not in new:
            found.append(Difference(name, "the policy", _in_short(old[name]), None))
        else:
            found += _of_policy(old[name], new[name])
    return (*found, *_of_cluster(before, after))


def _in_short(policy: Policy) -> str:
    does = ", ".join(candidate.remediation for candidate in policy.candidates) or "proposes nothing"
    return f"mode {policy.mode}: {does}"


def _by_mode(mode: Mode) -> Weight:
    return Weight.LOOSER if mode in (Mode.PROPOSE, Mode.AUTO) else Weight.OTHER


def _of_policy(old: Policy, new: Policy) -> Iterator[Difference]:
    for what, read, weigh in _FACETS:
        yield from _facet(old.name, what, read(old), read(new), weigh)
    for risk in Risk:
        was, now = old.approve.get(risk), new.approve.get(risk)
        if was is not None and now is not None and was != now:
            yield from _of_approval(old.name, risk, was, now)


def _of_approval(name: str, risk: Risk, was: ApprovalRule, now: ApprovalRule) -> Iterator[Difference]:
    for what, read, weigh in _APPROVAL_FACETS:
        yield from _facet(name, f"approve.{risk}.{what}", read(was), read(now), weigh)


def _of_cluster(before: PolicySet, after: PolicySet) -> Iterator[Difference]:
    facets: tuple[tuple[str, Any, Any, Weigh], ...] = (
        ("limits.clusterBudget", before.cluster_budget, after.cluster_budget, _more_often),
        ("limits.storm", before.storm, after.storm, _more_often),
        ("limits.freezes", _frozen(before), _frozen(after), _less_is_looser),
        ("limits.heartbeats", before.heartbeats, after.heartbeats, _more_is_looser),
        ("correlation.rules", _correlation(before), _correlation(after), _other),
    )
    for what, was, now, weigh in facets:
        yield from _facet("", what, was, now, weigh)
    for group in sorted({*before.groups, *after.groups}):
        was = frozenset(before.groups.get(group, ()))
        now = frozenset(after.groups.get(group, ()))
        yield from _facet("", f"approvers.{group}", was, now, _more_is_looser)


def _frozen(loaded: PolicySet) -> tuple[str, ...]:
    return tuple(f"{freeze.why} ({freeze.zone})" for freeze in loaded.freezes)


def _correlation(loaded: PolicySet) -> tuple[str, ...]:
    """Each rule in a line; their order counts, since the first that selects an alert decides."""
    return tuple(
        f"{' '.join(str(matcher) for matcher in rule.matchers)} by "
        f"{', '.join('|'.join(labels) for labels in rule.by)}, reopen {as_written(rule.reopen)}"
        for rule in loaded.correlation
    )


def _facet(name: str, what: str, was: Any, now: Any, weigh: Weigh) -> Iterator[Difference]:
    if was == now:
        return
    if isinstance(was, frozenset) and isinstance(now, frozenset):
        for gone in sorted(was - now, key=str):
            yield Difference(name, what, str(gone), None, weigh(frozenset({gone}), frozenset()))
        for come in sorted(now - was, key=str):
            yield Difference(name, what, None, str(come), weigh(frozenset(), frozenset({come})))
        return
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in sorted({*was, *now}):
            yield from _facet(name, f"{what}.{key}", was.get(key), now.get(key), weigh)
        return
    yield Difference(name, what, _words(was), _words(now), weigh(was, now))


Weigh = Callable[[Any, Any], Weight]


def _other(_was: Any, _now: Any) -> Weight:
    return Weight.OTHER


def _more_is_looser(was: Any, now: Any) -> Weight:
    """For numbers, durations and sets: what may happen, for how long, by whom."""
    return Weight.LOOSER if _size(now) > _size(was) else Weight.STRICTER


def _less_is_looser(was: Any, now: Any) -> Weight:
    """For what must hold: people who say yes, share that is available, guards."""
    return Weight.STRICTER if _size(now) > _size(was) else Weight.LOOSER


def _more_often(was: Budget, now: Budget) -> Weight:
    return Weight.LOOSER if now.count * was.per > was.count * now.per else Weight.STRICTER


def _mode(was: Mode, now: Mode) -> Weight:
    order = tuple(Mode)
    return Weight.LOOSER if order.index(now) > order.index(was) else Weight.STRICTER


def _size(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return len(value) if isinstance(value, frozenset) else value


def _words(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        return as_written(value)
    if isinstance(value, Budget):
        return f"{value.count} in {as_written(value.per)}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "; ".join(str(_words(entry)) for entry in value)
    return str(value)


def _levels(policy: Policy) -> Mapping[str, str]:
    return {
        level.value: " or ".join(
            f"{rule.expr} for {as_written(rule.for_)}" + (f" where {rule.requires}" if rule.requires else "")
            for rule in rules
        )
        for level, rules in policy.classify.levels.items()
    }


def _candidates(policy: Policy) -> tuple[str, ...]:
    return tuple(
        candidate.remediation
        + (f" {dict(candidate.parameters)}" if candidate.parameters else "")
        + (f" when {candidate.when}" if candidate.when else "")
        + (f" until {as_written(candidate.expires)} later" if candidate.expires is not None else "")
        + (f" or once {candidate.ends}" if candidate.ends is not None else "")
        + (" (disabled)" if candidate.disabled else "")
        for candidate in policy.candidates
    )


def _signs(policy: Policy) -> tuple[str, ...]:
    return tuple(
        sign.sign + (f" when {sign.when}" if sign.when else "") + f" ({sign.scope})"
        for sign in policy.security
    )


_FACETS: tuple[tuple[str, Callable[[Policy], Any], Weigh], ...] = (
    ("mode", lambda policy: policy.mode, _mode),
    ("match.alerts", lambda policy: frozenset(str(one) for one in policy.match.matchers), _other),
    ("match.for", lambda policy: policy.match.for_, _other),
    (
        "target",
        lambda policy: f"{policy.target.kind} {policy.target.namespace}/{policy.target.name}",
        _other,
    ),
    ("target.namespaces", lambda policy: frozenset(policy.target.namespaces), _more_is_looser),
    # No list means any name: that more names are listed is stricter only from none on.
    ("target.names", lambda policy: policy.target.names or ("any",), _other),
    ("queries", lambda policy: policy.queries, _other),
    ("classify", _levels, _other),
    ("classify.every", lambda policy: policy.classify.every, _other),
    ("classify.severityLabel", lambda policy: policy.classify.severity_label, _other),
    (
        "diagnose",
        lambda policy: {use.name: " ".join((use.probe, *use.parameters.values())) for use in policy.probes},
        _other,
    ),
    ("diagnose.deadline", lambda policy: policy.probe_deadline, _other),
    ("propose", _candidates, _other),
    ("security", _signs, _other),
    ("handover", lambda policy: tuple(one.item for one in policy.handover), _other),
    ("guard.perTarget", lambda policy: policy.guards.per_target, _more_often),
    ("guard.perPolicy", lambda policy: policy.guards.per_policy, _more_often),
    ("guard.minAvailable", lambda policy: policy.guards.min_available, _less_is_looser),
    ("guard.rules", lambda policy: frozenset(rule.expr for rule in policy.guards.rules), _less_is_looser),
    (
        "guard.dryRunUnsupported",
        lambda policy: frozenset(policy.guards.dry_run_unsupported),
        _more_is_looser,
    ),
    ("verify.success", lambda policy: policy.verification.success, _other),
    ("verify.success.for", lambda policy: policy.verification.success_for, _less_is_looser),
    ("verify.success.every", lambda policy: policy.verification.every, _other),
    ("verify.success.minSamples", lambda policy: policy.verification.min_samples, _less_is_looser),
    ("verify.settle", lambda policy: policy.verification.settle, _other),
    ("verify.within", lambda policy: policy.verification.within, _other),
    ("verify.baseline", lambda policy: policy.verification.baseline, _other),
    ("verify.regression", lambda policy: policy.verification.regression, _other),
    ("verify.regression.for", lambda policy: policy.verification.regression_for, _other),
    ("monitor", lambda policy: policy.monitor, _less_is_looser),
    ("undo.when", lambda policy: frozenset(one.value for one in policy.undo.automatic), _other),
    ("undo.ask", lambda policy: frozenset(one.value for one in policy.undo.ask), _other),
    ("owner", lambda policy: policy.owner, _other),
    ("runbook", lambda policy: policy.runbook, _other),
)
_APPROVAL_FACETS: tuple[tuple[str, Callable[[ApprovalRule], Any], Weigh], ...] = (
    ("groups", lambda rule: frozenset(rule.groups), _more_is_looser),
    ("asked in turn", lambda rule: ", then ".join("+".join(turn) for turn in rule.in_turn), _other),
    ("count", lambda rule: rule.count, _less_is_looser),
    ("notRequester", lambda rule: rule.not_requester, _less_is_looser),
    ("ownRights", lambda rule: rule.own_rights, _less_is_looser),
    ("reason required", lambda rule: rule.reason_required, _less_is_looser),
    ("expires", lambda rule: rule.expires, _more_is_looser),
    ("executeWithin", lambda rule: rule.execute_within, _more_is_looser),
)


def as_markdown(found: tuple[Difference, ...]) -> str:
    """A table for a pull request; what loosens a rule stands out."""
    if not found:
        return "The policies say the same.\n"
    lines = ["| policy | what | before | after | |", "|---|---|---|---|---|"]
    for one in found:
        weight = f"**{one.weight}**" if one.weight is Weight.LOOSER else one.weight.value
        cells = (one.policy or "_cluster_", f"`{one.what}`", _cell(one.before), _cell(one.after), weight)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str | None) -> str:
    if text is None:
        return "-"
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
