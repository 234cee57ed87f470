"""Whether the alerts that policies wait for exist at a Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.clients.prometheus import RuleLabels
from receiver.policy.model import Matcher, Mode, Policy
from receiver.trials.doctor.findings import Area, Finding, doubt, well


def judge(policies: Sequence[Policy], rules: Sequence[RuleLabels]) -> list[Finding]:
    """Each policy that waits for an alert that no rule makes, and each rule of ours that is not evaluated."""
    awake = [policy for policy in policies if policy.mode is not Mode.DISABLED]
    found = [_unmatched(policy) for policy in awake if not _some(policy, rules)]
    ailing = {rule.name for rule in rules for policy in awake if not rule.healthy and may_match(policy, rule)}
    found += [
        doubt(
            Area.PROMETHEUS,
            f"the alerting rule {name!r} fails when it is evaluated, so its alert never fires",
            "Prometheus says why, on its page /rules",
        )
        for name in sorted(ailing)
    ]
    if not found and awake:
        found.append(well(Area.PROMETHEUS, f"there is an alerting rule for each policy ({len(awake)})"))
    return found


def may_match(policy: Policy, rule: RuleLabels) -> bool:
    """Whether an alert of this rule could match: no matcher is against what is known of its labels."""
    return all(_may_hold(matcher, rule) for matcher in policy.match.matchers)


def _some(policy: Policy, rules: Sequence[RuleLabels]) -> bool:
    return any(may_match(policy, rule) for rule in rules)


def _may_hold(matcher: Matcher, rule: RuleLabels) -> bool:
    known = {**rule.labels, "alertname": rule.name}
    value = known.get(matcher.label)
    # A template, and what comes with the series, show only in the alert.
    return value is None or "{{" in value or matcher.holds(known)


def _unmatched(policy: Policy) -> Finding:
    wanted = " ".join(map(str, policy.match.matchers))
    return doubt(
        Area.PROMETHEUS,
        f"policy {policy.name} waits for {wanted}, which no alerting rule there makes",
        "add the rule, correct `match` of the policy, or set its mode: disabled;"
        " an alert of another Prometheus is fine",
    )
