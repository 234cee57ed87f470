"""Sections that several policies share: taken whole where a policy lacks them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from receiver.domain.plans import Risk
from receiver.packaged import policies, read_files
from receiver.policy.loading import Loaded, load
from receiver.probes.catalogue import FACTS
from remediations.registry import catalogue

SHIPPED = read_files(policies())
NAME = next(name for name in SHIPPED if "inc-001" in name and "tests" not in name)
APPROVERS = next(text for name, text in SHIPPED.items() if "approvers" in name)

DEFAULTS = """\
apiVersion: stanch/v1
kind: Defaults
metadata: {name: careful}
spec:
  guard:
    minAvailable: 90%
  approve:
    disruptive: {from: [sre-lead], count: 2}
  monitor: 45m
"""
POLICY = """\
apiVersion: stanch/v1
kind: Policy
metadata: {name: NAME}
spec:
  mode: propose
  defaults: careful
  match: {alerts: ['alertname="Sick"', namespace=shop]}
  target: {kind: Deployment, namespace: shop, name: NAME}
  queries: {err: max(errors)}
  classify: {P1: {expr: err > 0.2}}
  propose: [{remediation: deployment.rollback}]
  verify: {success: {expr: err < 0.2, for: 5m}}
"""


def loaded(*, defaults: str = DEFAULTS, policy: str = POLICY, **more: str) -> Loaded:
    files = {
        "approvers.yaml": APPROVERS,
        "defaults.yaml": defaults,
        "one.yaml": policy.replace("NAME", "one"),
    }
    files |= {f"{name}.yaml": text for name, text in more.items()}
    return load(files, catalogue=catalogue(), probe_facts=FACTS)


def said(found: Loaded) -> list[str]:
    return [f"{one.file}:{one.line}:{one.column}: {one.message} ({one.hint})" for one in found.complaints]


def test_a_section_that_a_policy_lacks_is_that_of_its_defaults() -> None:
    found = loaded()
    assert said(found) == []
    assert found.policies is not None
    (policy,) = found.policies.policies
    assert policy.guards.min_available == 0.9
    assert policy.approve[Risk.DISRUPTIVE].count == 2
    assert policy.monitor == timedelta(minutes=45)


def test_what_a_policy_says_itself_is_its_own_and_whole() -> None:
    found = loaded(policy=POLICY + "  monitor: 1h\n  guard: {perTarget: {count: 1, per: 1d}}\n")
    assert found.policies is not None
    (policy,) = found.policies.policies
    assert policy.monitor == timedelta(hours=1)
    # The guard of the defaults does not shine through: a section is taken whole or not at all.
    assert policy.guards.min_available == 0.5


def test_two_policies_share_them_and_a_mistake_is_said_once_at_its_place() -> None:
    two = POLICY.replace("NAME", "two").replace('"Sick"', '"Ill"')
    found = loaded(defaults=DEFAULTS.replace("90%", "190%"), two=two)
    assert said(found) == ["defaults.yaml:6:19: spec.guard.minAvailable must lie between 0% and 100% ()"]


def test_a_change_of_the_defaults_changes_the_hash_of_who_uses_them_only() -> None:
    own = POLICY.replace("NAME", "two").replace('"Sick"', '"Ill"').replace("  defaults: careful\n", "")
    before = loaded(two=own).policies
    after = loaded(two=own, defaults=DEFAULTS.replace("45m", "46m")).policies
    assert before is not None and after is not None
    assert [one.hash == other.hash for one, other in zip(before.policies, after.policies, strict=True)] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("defaults", "policy", "complaint"),
    [
        pytest.param(
            DEFAULTS,
            POLICY.replace("careful", "carefull"),
            'one.yaml:6:13: there are no defaults "carefull" (did you mean "careful"?)',
            id="a name that is none",
        ),
        pytest.param(
            DEFAULTS + "  classify: {}\n",
            POLICY,
            'defaults.yaml:10:3: field "classify" in spec: each policy says this itself ()',
            id="a section that is no matter of care",
        ),
        pytest.param(
            DEFAULTS + "  montor: 1h\n",
            POLICY,
            'defaults.yaml:10:3: unknown field "montor" in spec (did you mean "monitor"?)',
            id="a section that is none",
        ),
        pytest.param(
            DEFAULTS.replace("count: 2", "count: two"),
            POLICY,
            "defaults.yaml:8:43: spec.approve.disruptive.count must be a whole number, this is 'two' ()",
            id="a wrong value",
        ),
    ],
)
def test_what_is_wrong_with_them_is_said(defaults: str, policy: str, complaint: str) -> None:
    assert complaint in said(loaded(defaults=defaults, policy=policy))


def test_one_name_stands_for_one_set_of_defaults() -> None:
    found = loaded(twice=DEFAULTS)
    assert said(found) == ['twice.yaml:3:18: defaults "careful" are in defaults.yaml too ()']
