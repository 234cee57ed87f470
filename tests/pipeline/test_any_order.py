"""Whatever happens in whatever order: no two writes at once, none over budget, to zero, or too late."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from typing import Any

from any_order import Story, in_flight
from cures import APP, CURES, NAMESPACE
from harness import Harness, harness
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.domain import events as ev
from receiver.domain.incidents import Incident, apply
from receiver.domain.plans import ApprovalRule, Risk
from receiver.policy.model import Budget, Candidate, Guards
from receiver.store import migrate, timeline
from receiver.store.sqlite import open_sqlite

BUDGET = Budget(2, timedelta(hours=2))
LEAST_READY = 2
PDB = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "api", "namespace": NAMESPACE},
    "spec": {"minAvailable": LEAST_READY, "selector": {"matchLabels": {"app": APP}}},
}
OFFERED = ("deployment.scale", "pod.evict", "deployment.set-env", "deployment.restart", "deployment.rollback")
HAPPENINGS = (
    "fire", "fire", "fire another", "resolve", "resolve another", "approve", "approve", "approve", "deny",
    "a minute", "a minute", "five minutes", "twenty minutes", "pause", "resume", "undo", "keep",
    "lose an answer", "drop a request", "land late", "a status moves", "somebody scales",
)  # fmt: skip
LOCKED = (*HAPPENINGS, "secure", "secure as somebody approves", "secure while it is sent", "release")


async def began_while_it_fired(h: Harness) -> None:
    """Every cure began while some alert of its incident had not ended."""
    for found in await h.incidents():
        recorded = await h.world.store.read(lambda tx, found=found: timeline.timeline(tx, found.id))  # type: ignore[misc]
        incident = Incident(id=found.id)
        for one in recorded:
            if isinstance(one.event, ev.ExecutionStarted) and one.event.kind == "execute":
                assert incident.firing, "a cure began after all alerts had ended"
            incident = apply(incident, one)


async def cures_begun(h: Harness) -> list[Any]:
    """When each plan's cure began."""
    found = []
    for incident in await h.incidents():
        recorded = await h.world.store.read(lambda tx, one=incident: timeline.timeline(tx, one.id))  # type: ignore[misc]
        found += [
            one.at
            for one in recorded
            if isinstance(one.event, ev.ExecutionStarted) and one.event.kind == "execute"
        ]
    return sorted(found)


def sent(h: Harness) -> int:
    """How many writes the cluster was sent, dry runs left out."""
    return sum(1 for call in h.demo.api.calls if call.method != "GET" and not call.dry_run)


async def is_locked(h: Harness) -> bool:
    """Whether a lock over the patient's namespace is in force."""
    found = [one.lockdown for one in await h.incidents() if one.lockdown is not None]
    return any(one.in_force_at is not None for one in found)


async def tell(story: list[str], offered: str) -> tuple[int, int]:
    """Let the story happen; how many cures were begun, and how often a lock raced with one."""
    cure = next(
        cure for cure in CURES if cure.remediation == offered and cure.resource in ("deployments", "pods")
    )
    candidates = (Candidate(cure.remediation, "", None, cure.parameters, expires=cure.expires),)
    rule = ApprovalRule(groups=("oncall", "sre"))
    found = cure.policies(
        candidates=candidates,
        approve={Risk.DISRUPTIVE: rule, Risk.REVERSIBLE: rule},
        guards=Guards(per_target=BUDGET, min_available=0.5),
    )
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/stanch.sqlite3"
        migrate.upgrade(url)
        store = open_sqlite(migrate.sqlite_path(url))
        async with harness(store, policies=found) as h:
            h.demo.api.load([PDB])
            await h.fall_ill()
            told = Story(h, {})
            for what in (*story, "five minutes"):
                before = sent(h) if await is_locked(h) else None
                await told.happen(what)
                await h.work()
                if before is not None and what != "release":
                    assert sent(h) == before, "something was written under a lock in force"
                assert all(count <= 1 for count in (await in_flight(store)).values())
                spec = h.demo.api.get("deployments", NAMESPACE, APP)["spec"]
                assert spec["replicas"] >= 1
                ready = sum(h.demo.api.ready_pods(NAMESPACE, f"app={APP}").values())
                assert ready >= LEAST_READY, f"{ready} pods are ready"
            await began_while_it_fired(h)
            begun = await cures_begun(h)
            for index, moment in enumerate(begun):
                within = [other for other in begun[index:] if other - moment < BUDGET.per]
                assert len(within) <= BUDGET.count
        await store.close()
        return len(begun), told.raced


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(story=st.lists(st.sampled_from(HAPPENINGS), min_size=4, max_size=14), offered=st.sampled_from(OFFERED))
def no_order_breaks_what_was_promised(begun: list[int], story: list[str], offered: str) -> None:
    begun.append(asyncio.run(tell(["fire", story[0], "approve", *story[1:]], offered))[0])


def test_no_order_breaks_what_was_promised() -> None:
    begun: list[int] = []
    no_order_breaks_what_was_promised(begun)
    # Stories in which nothing was ever done would prove little.
    assert sum(1 for count in begun if count) * 3 >= len(begun)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    story=st.lists(st.sampled_from(LOCKED), min_size=3, max_size=10),
    offered=st.sampled_from(OFFERED),
    lock=st.sampled_from(LOCKED[-4:-1]),
)
def no_order_writes_under_a_lock(raced: list[int], story: list[str], offered: str, lock: str) -> None:
    raced.append(asyncio.run(tell(["fire", lock, *story], offered))[1])


def test_no_order_writes_under_a_lock_in_force() -> None:
    raced: list[int] = []
    no_order_writes_under_a_lock(raced)
    # Locks that never met an approval or a write would prove little.
    assert sum(1 for count in raced if count) * 10 >= 3 * len(raced)
