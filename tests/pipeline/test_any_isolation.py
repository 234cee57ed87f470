"""From the moment a lock is in force until it is lifted, nothing is written there but what isolates.

A network policy in one of two forms, the metadata of a pod, whether a node takes pods: nothing else is seen
by the API server in the scope, except what was under way when the lock was set and is named by it.
There is no delete and no eviction. Evidence is kept, or its gap said, before the first write that isolates.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attacked import Attacked, several
from cures import CURES
from harness import harness
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from receiver.evidence.capture import Evidence
from receiver.evidence.vault import Vault
from receiver.policy.model import Candidate
from receiver.store import migrate
from receiver.store.engine import Store
from receiver.store.postgres import open_postgres
from receiver.store.sqlite import open_sqlite

CANDIDATES = {
    cure.remediation: Candidate(cure.remediation, "", None, cure.parameters, expires=cure.expires)
    for cure in CURES
    if cure.remediation in ("pod.evict", "deployment.rollback", "deployment.scale")
}
HEALING = ("fire", "approve", "approve", "undo", "resolve", "a minute", "five minutes", "somebody scales")
TURNING = (
    "a miner is seen", "a second miner is seen", "secure", "secure a node", "secure everything",
    "open another one", "secure as somebody approves", "secure while it is sent",
)  # fmt: skip
ISOLATING = (
    "the lead says yes", "the lead says yes", "the deputy says yes", "two say yes at once", "others say yes",
    "the lead says no", "ask", "ask as lead", "ask for a node", "ask for a block", "approved before",
    "approved before, pods only", "no longer approved before",
)  # fmt: skip
RELEASING = ("release", "release and take back", "a release beside the work")
MISHAPS = (
    "the worker dies", "the worker dies", "lose an answer", "drop a request", "land late", "the API refuses",
    "an isolation is lost", "an isolation is dropped", "an isolation lands late", "other policies",
    "pause", "resume", "pause while it is sent", "somebody relabels", "somebody taints", "somebody allows",
    "a lock beside a yes", "a minute",
)  # fmt: skip
HAPPENINGS = st.one_of(*map(st.sampled_from, (HEALING, TURNING, ISOLATING, ISOLATING, RELEASING, MISHAPS)))
STORIES = {
    "story": st.lists(HAPPENINGS, min_size=4, max_size=14),
    "order": st.permutations(sorted(CANDIDATES)),
    "before": st.sampled_from(("approve", "a minute", "approved before", "the worker dies")),
    "turned": st.sampled_from(TURNING),
    "kept": st.booleans(),
}
# Whatever is drawn besides: a pod and its node are isolated, answers get lost, and it is taken back.
ISOLATED: dict[str, Any] = {
    "story": [
        "an isolation is lost",
        "two say yes at once",
        "the worker dies",
        "a minute",
        "release and take back",
    ],
    "order": sorted(CANDIDATES),
    "before": "approve",
    "turned": "a miner is seen",
    "kept": True,
}
# The same of a block, which nobody takes back for us.
BLOCKED: dict[str, Any] = {
    **ISOLATED,
    "story": [
        "ask for a block",
        "an isolation is lost",
        "two say yes at once",
        "a minute",
        "release and take back",
    ],
}
Told = Counter[str]


async def tell(url: str, folder: Path, told: Told, *, story: list[str], order: list[str], kept: bool) -> None:
    """Let the story happen, then judge everything that was sent in it."""
    opened: Store = open_sqlite(migrate.sqlite_path(url)) if url.startswith("sqlite") else open_postgres(url)
    evidence = Evidence(Vault(folder / "vault")) if kept else Evidence()
    async with harness(opened, policies=several(tuple(order), CANDIDATES), evidence=evidence) as h:
        attacked = Attacked.of(h)
        await attacked.h.fall_ill()
        for what in (*story, "a minute"):
            await attacked.happen(what)
            await attacked.h.work()
        await attacked.judge()
        sent = [call for call in h.demo.api.calls if call.method != "GET" and not call.dry_run]
        asked = [call for call in sent if not call.path.endswith("selfsubjectaccessreviews")]
        assert len(asked) == len(attacked.seen), "something was written past the one wire"
        told.update(seen.what for seen in attacked.seen)
        told["blocked"] += any(seen.blocks for seen in attacked.seen)
        told["locked"] += any(one.security is not None for one in await attacked.h.incidents())
        told["told"] += 1
    await opened.close()


def no_order_does_more_than_isolate(examples: int, told: Told, new_url: Callable[[Path], str]) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(**STORIES)
    @example(**ISOLATED)
    @example(**BLOCKED)
    def check(story: list[str], order: list[str], before: str, turned: str, kept: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            url = new_url(place)
            migrate.upgrade(url)
            whole = ["fire", before, turned, *story]
            asyncio.run(tell(url, place, told, story=whole, order=order, kept=kept))

    check()


def in_a_file(folder: Path) -> str:
    return f"sqlite:///{folder / 'stanch.sqlite3'}"


def test_under_a_lock_nothing_is_written_but_what_isolates() -> None:
    told: Told = Counter()
    no_order_does_more_than_isolate(6, told, in_a_file)
    # Stories in which nothing was locked or isolated would prove little.
    assert told["locked"] * 2 >= told["told"]
    assert told["PATCH/pods"] and told["PATCH/nodes"] and told["POST/networkpolicies"]
    assert told["blocked"]


@pytest.mark.long
def test_the_same_over_postgresql(fresh_database: Callable[[], str]) -> None:
    no_order_does_more_than_isolate(2, Counter(), lambda _: fresh_database())


@pytest.mark.long
def test_of_hundreds_of_stories_none_does_more_than_isolate() -> None:
    told: Told = Counter()
    no_order_does_more_than_isolate(300, told, in_a_file)
    # Healing was under way in some of them, and isolating in many.
    assert told["PATCH/deployments"] and told["POST/pods/eviction"]
    assert told["PATCH/pods"] > told["told"] // 4
