"""The rights of a capture: `stanch rbac` prints what covers each call but one, and nothing more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builders import policies, policy
from crime_scene import commit_crime, restarted
from rights import covered_by, right_of

from receiver.clients import cluster
from receiver.demo.kubernetes import ApiServer, Call, RealClock
from receiver.evidence.capture import Evidence
from receiver.evidence.selection import NOT_GRANTED, READS, Subject
from receiver.evidence.vault import Vault
from receiver.policy.model import SecuritySign, TargetTemplate
from receiver.policy.rbac import EXECUTOR, grants, roles
from receiver.probes import catalogue as probes
from remediations.registry import catalogue

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
SHOP = TargetTemplate("Deployment", "shop", "api", ("shop",), ())
SIGN = SecuritySign("a miner runs in it", 'labels.rule == "miner"')


def granted(*signs: SecuritySign) -> list[dict[str, Any]]:
    """The roles for one policy with these signs."""
    bare = replace(policy(target=SHOP, security=signs), probes=(), candidates=())
    return roles(grants(policies(bare), catalogue(), probes.READS, READS))


async def calls_of_a_capture(folder: Path) -> list[Call]:
    """Of one in which everything is looked at."""
    async with ApiServer(clock=RealClock()) as api:
        commit_crime(api)
        api.load([restarted("job")])
        door = await cluster.connect(url=api.url)
        scopes = ("namespace/shop", "node/node-0", "Deployment/shop/api", "Pod/shop/job", "cluster")
        labels = ({"namespace": "shop", "pod": "job"},)
        await Evidence(Vault(folder)).capture(
            Subject(1, NOW, scopes, labels, ("shop",)), door, now=lambda: NOW, on_progress=lambda: None
        )
        await door.close()
        return list(api.calls)


async def test_every_call_is_covered_and_no_right_is_for_nothing(tmp_path: Path) -> None:
    calls = await calls_of_a_capture(tmp_path / "vault")
    found = granted(SIGN)
    uncovered = {right_of(call) for call in calls if not covered_by(found, call)}
    assert uncovered == {(NOT_GRANTED.resource, NOT_GRANTED.verb)}
    assert {call.method for call in calls} == {"GET"}
    used = {right for call in calls if (right := right_of(call)) is not None}
    assert used == {(right.resource, right.verb) for right in (*READS, NOT_GRANTED)}


def test_only_a_policy_with_signs_needs_them() -> None:
    assert granted() == []
    assert "configmaps" in str(granted(SIGN))
    assert "secrets" not in str(granted(SIGN))
    assert EXECUTOR not in str(granted(SIGN))
