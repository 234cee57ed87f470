"""A world that is attacked while it is healed: what happens then, and what the API server saw of it all.

Every write goes through one wire, which notes what was locked, begun and approved just before it is sent.
What may be sent under a lock is judged from these notes, not from what the service says of itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from any_order import LEAD, Story
from builders import CAROL, MALLORY, alert, labels, notification, policies, policy
from cures import APP, NAMESPACE
from exposed import ATTACKER, blocking, exposed
from harness import Harness
from sqlalchemy import Connection, literal, select
from stories import end_leases

from receiver.clients.answers import Answer
from receiver.clients.cluster import Cluster
from receiver.clients.isolator import Isolator
from receiver.clients.wire import Wire
from receiver.demo.kubernetes.faults import Fault
from receiver.domain import events as ev
from receiver.domain.errors import Conflict, NotAllowed
from receiver.domain.incidents import Incident
from receiver.domain.isolation import (
    BLOCK,
    BY_SIGNS,
    DENY_ALL,
    Act,
    IsolationState,
    Wanted,
    all_but,
    deny_all,
)
from receiver.domain.locks import covering
from receiver.domain.plans import ApprovalRule, ObjectRef, Risk
from receiver.domain.standing import Standing
from receiver.pipeline import people
from receiver.pipeline.containing import approve_isolation, deny_isolation, isolate
from receiver.pipeline.worker import Worker
from receiver.policy.approval import Identity
from receiver.policy.model import Budget, Candidate, Guards, IsolationWish, PolicySet, SecuritySign
from receiver.store import reading, timeline
from receiver.store.schema import intents
from remediations.isolation import registry as isolations

DEPUTY = Identity("dora", ("security-deputy",))
WISHES = tuple(IsolationWish(act, pod="{{ labels.pod }}") for act in BY_SIGNS)
MINER = SecuritySign("a miner runs in it", 'labels.rule == "miner"', isolate=WISHES)
_PATH = re.compile(r"/(?:api|apis/[^/]+)/v\d\w*(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?$")
_KINDS = {"pods": "Pod", "nodes": "Node", "networkpolicies": "NetworkPolicy", "deployments": "Deployment"}


@dataclass(frozen=True)
class Seen:
    """One write as it was sent, and what stood in the store then."""

    method: str
    path: str
    body: Any
    incidents: tuple[Incident, ...]
    begun: frozenset[str]

    @property
    def target(self) -> ObjectRef:
        """What it writes to."""
        found = _PATH.search(self.path)
        assert found is not None, f"{self.path} is no path of an object"
        namespace, plural, name, _ = found.groups()
        name = name or self.body["metadata"]["name"]
        return ObjectRef("", _KINDS[plural], namespace or "", name)

    @property
    def what(self) -> str:
        """The method, the resource and the subresource, in one word."""
        found = _PATH.search(self.path)
        assert found is not None
        return "/".join(filter(None, (self.method, found[2], found[4])))

    @property
    def blocks(self) -> bool:
        """Whether its name is that of a policy that shuts addresses out."""
        return self.what == "POST/networkpolicies" and self.target.name.startswith(BLOCK)

    @property
    def isolates(self) -> bool:
        """Whether it is one of the four writes that isolate, and writes nothing else."""
        match self.what:
            case "POST/networkpolicies" if self.blocks:
                return bool(self.body["spec"] == all_but({"app": APP}, [ATTACKER]))
            case "POST/networkpolicies":
                return bool(self.target.name == DENY_ALL and self.body["spec"] == deny_all())
            case "PATCH/pods":
                return self._only("/metadata/")
            case "PATCH/nodes":
                return self._only("/metadata/annotations", "/spec/unschedulable", "/spec/taints")
            case _:
                return False

    def _only(self, *below: str) -> bool:
        pinned = ("/metadata/resourceVersion", "/metadata/uid")
        return all(operation["path"].startswith((*below, *pinned)) for operation in self.body)


@dataclass
class Watched(Wire):
    """The wire to the API server; it notes every write before it is sent."""

    wire: Wire
    look: Callable[[str, str, Any], Any]

    async def write(
        self, method: str, path: str, query: list[tuple[str, str]], body: Any, content_type: str
    ) -> Answer:
        """See `Wire.write`."""
        if ("dryRun", "All") not in query:
            await self.look(method, path, body)
        return await self.wire.write(method, path, query, body, content_type)

    async def read(self, *args: Any, **more: Any) -> tuple[int, bytes]:
        """See `Wire.read`."""
        return await self.wire.read(*args, **more)

    async def request(self, *args: Any, **more: Any) -> Any:
        """See `Wire.request`."""
        return await self.wire.request(*args, **more)


def several(order: tuple[str, ...], cures: Mapping[str, Candidate]) -> PolicySet:
    """One policy that offers these cures in that order, and knows an attack by its sign."""
    rule = ApprovalRule(groups=("oncall", "sre"))
    return policies(
        policy(
            candidates=tuple(cures[name] for name in order),
            probes=(),
            approve=dict.fromkeys(Risk, rule),
            guards=Guards(per_target=Budget(9, policy().monitor), min_available=0.5),
            security=(MINER,),
        )
    )


@dataclass
class Attacked(Story):
    """The same world with an attacker in it, people who isolate, and workers that die."""

    seen: list[Seen] = field(default_factory=list)
    standing: Standing | str = "there is no standing approval"

    @classmethod
    def of(cls, h: Harness) -> Attacked:
        """That world, everything written to it noted."""
        story = cls(h, {})
        h.demo.api.load(exposed(NAMESPACE, APP))
        wire = Watched(h.world.cluster.wire, story.note)
        cluster = Cluster(wire)
        world = replace(
            h.world,
            cluster=cluster,
            isolations=isolations.build(cluster),
            isolator=Isolator(wire),
            standing=story.stands,
        )
        story.h = Harness(h.clock, h.demo, world, Worker(world, h.counters), h.counters, h.told)
        return story

    async def stands(self) -> Standing | str:
        return self.standing

    async def note(self, method: str, path: str, body: Any) -> None:
        def stored(tx: Connection) -> Seen:
            listed = reading.list_incidents(tx, before=None, limit=50, only_open=False)
            begun = tx.execute(select(intents.c.plan_id).where(intents.c.state == literal("started")))
            return Seen(method, path, body, tuple(listed), frozenset(row.plan_id for row in begun))

        self.seen.append(await self.h.world.store.read(stored))

    def happenings(self) -> dict[str, Callable[[], Any]]:
        h = self.h
        pause = partial(people.set_pause, h.world, CAROL, policy=None)
        return {
            **super().happenings(),
            "a miner is seen": lambda: self.mine(0),
            "a second miner is seen": lambda: self.mine(1),
            "secure a node": lambda: self.secure_also("node/node-0"),
            "secure everything": lambda: self.secure_also("cluster"),
            "open another one": lambda: people.open_security(
                h.world, LEAD, title="strange logins", reason="audit log", scopes=(f"namespace/{NAMESPACE}",)
            ),
            "ask": lambda: self.ask(CAROL, Wanted(Act.POD_QUARANTINE, NAMESPACE, self.a_pod())),
            "ask as lead": lambda: self.ask(LEAD, Wanted(Act.POD_QUARANTINE, NAMESPACE, self.a_pod())),
            "ask for a block": lambda: self.ask(LEAD, blocking(NAMESPACE, APP, h.clock.now())),
            "somebody allows": self.allow,
            "ask for a node": lambda: self.ask(LEAD, Wanted(Act.NODE_ISOLATE, node="node-1")),
            "the lead says yes": lambda: self.say(LEAD),
            "the deputy says yes": lambda: self.say(DEPUTY),
            "two say yes at once": lambda: asyncio.gather(self.say(LEAD), self.say(DEPUTY)),
            "others say yes": lambda: asyncio.gather(self.say(MALLORY), self.say(CAROL)),
            "the lead says no": self.refuse,
            "approved before": lambda: self.approve_before(frozenset(Act)),
            "approved before, pods only": lambda: self.approve_before(frozenset({Act.POD_QUARANTINE})),
            "no longer approved before": lambda: self.approve_before(frozenset()),
            "release and take back": lambda: self.release_both(undo=True),
            "the worker dies": self.die,
            "a lock beside a yes": lambda: asyncio.gather(
                self.say(LEAD), self.secure_also("node/node-1"), h.work()
            ),
            "a release beside the work": lambda: asyncio.gather(
                self.release_both(undo=True), h.work(), self.secure_also("cluster")
            ),
            "the API refuses": lambda: self.fault("refuse"),
            "an isolation is lost": lambda: self.fault_of_isolation("lose-answer"),
            "an isolation is dropped": lambda: self.fault_of_isolation("drop"),
            "an isolation lands late": lambda: self.fault_of_isolation("land-late"),
            "other policies": self.reload,
            "somebody relabels": self.relabel,
            "somebody taints": lambda: self.taint(),
            "pause while it is sent": lambda: asyncio.gather(pause(on=True, reason="wait"), h.work()),
        }

    async def mine(self, which: int) -> None:
        pods = sorted(str(pod["metadata"]["name"]) for pod in self.h.demo.api.find("pods", NAMESPACE))
        carried = labels(rule="miner", pod=pods[which % len(pods)], instance=f"miner-{which}")
        await self.h.deliver(notification(alert(starts_at=self.h.clock.now(), with_labels=carried)))

    async def secure_also(self, scope: str) -> None:
        for incident in await self.h.incidents():
            await people.secure(self.h.world, incident.id, CAROL, reason="and more", scopes=(scope,))

    async def ask(self, who: Identity, wanted: Wanted) -> None:
        for incident in await self.h.incidents():
            await isolate(self.h.world, incident.id, who, wanted, reason="cut it off")

    async def say(self, who: Identity) -> None:
        for incident in await self.h.incidents():
            for one in incident.isolations:
                with suppress(Conflict, NotAllowed):
                    await approve_isolation(self.h.world, one.id, who, digest=one.digest, reason="yes")

    async def refuse(self) -> None:
        for incident in await self.h.incidents():
            for one in incident.isolations:
                with suppress(Conflict):
                    await deny_isolation(self.h.world, one.id, LEAD, reason="no")

    async def approve_before(self, acts: frozenset[Act]) -> None:
        now = self.h.clock.now()
        scopes = frozenset({"cluster"})
        ends = now.replace(year=now.year + 1)
        self.standing = Standing("lena", acts, scopes, now, ends) if acts else "it was taken back"

    async def release_both(self, *, undo: bool) -> None:
        for incident in await self.h.incidents():
            for who in (CAROL, LEAD):
                with suppress(Conflict):
                    await people.release(self.h.world, incident.id, who, reason="clean", undo=undo)

    async def die(self) -> None:
        """In the midst of its next write, or of whatever it does."""
        h, sent = self.h, len(self.seen)
        working = asyncio.create_task(h.work())
        for _ in range(300):
            if working.done() or len(self.seen) > sent:
                break
            await asyncio.sleep(0)
        for task in list(h.worker._tasks):
            task.cancel()
        await asyncio.gather(working, *h.worker._tasks, return_exceptions=True)
        await end_leases(h)
        self.h = h.rival()

    async def fault_of_isolation(self, kind: Any) -> None:
        seconds = 5.0 if kind == "land-late" else 0.0
        path = r"networkpolicies$|/pods/[^/]+$|/nodes/"
        for method in ("PATCH", "POST"):
            self.h.demo.api.faults.add(Fault(kind=kind, seconds=seconds, method=method, path=path))

    async def reload(self) -> None:
        present = self.h.world.loaded.policies
        changed = tuple(replace(one, hash=f"{one.hash}+") for one in present.policies)
        self.h.reload(replace(present, policies=changed, hash=f"{present.hash}+"))

    async def relabel(self) -> None:
        self.h.demo.api.change("pods", NAMESPACE, self.a_pod(), {"metadata": {"labels": {"mine": "now"}}})

    async def taint(self) -> None:
        taint = {"key": "compromised", "value": "true", "effect": "NoSchedule"}
        self.h.demo.api.change("nodes", "", "node-1", {"spec": {"taints": [taint]}})

    async def allow(self) -> None:
        metadata = {"name": "allowed", "namespace": NAMESPACE}
        spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        self.h.demo.api.load([{**kind, "metadata": metadata, "spec": spec}])

    async def judge(self) -> None:
        """Raise AssertionError for the first write that should not have been."""
        named = await self._named()
        for seen in self.seen:
            why = objection(seen, named)
            assert why is None, f"{seen.what} of {seen.target}: {why}"

    async def _named(self) -> dict[int, frozenset[str]]:
        """The plans of which each incident's locks say that they were under way."""
        found: dict[int, frozenset[str]] = {}
        for incident in await self.h.incidents():
            recorded = await self.h.world.store.read(
                lambda tx, number=incident.id: timeline.timeline(tx, number)  # type: ignore[misc]
            )
            told = [one.event.in_flight for one in recorded if isinstance(one.event, ev.TurnedSecurity)]
            found[incident.id] = frozenset(plan for plans in told for plan in plans)
        return found


def objection(seen: Seen, named: Mapping[int, frozenset[str]]) -> str | None:
    """Why this write should not have been sent; None where it may."""
    if seen.what.startswith("DELETE"):
        return "the service deletes nothing, ever"
    # The one that lets nothing through selects by the mark alone, so it is in nobody's way.
    founded = seen.what == "POST/networkpolicies" and not seen.blocks
    if seen.isolates and not founded and (why := _unfounded(seen)) is not None:
        return why
    for incident in seen.incidents:
        lockdown = incident.lockdown
        if lockdown is None or not covering(seen.target) & set(lockdown.scopes) or seen.isolates:
            continue
        if lockdown.in_force_at is not None:
            return f"the lock of incident {incident.id} is in force"
        if not seen.begun & named[incident.id]:
            return f"incident {incident.id} is locked, and does not tell that this was under way"
    return None


def _unfounded(seen: Seen) -> str | None:
    """An isolation is written once somebody with the right said yes to it and evidence was kept."""
    under_way = (IsolationState.STARTED, IsolationState.LIFTING)
    for incident in seen.incidents:
        for one in incident.isolations:
            name = APP if seen.blocks else seen.target.name
            if one.state not in under_way or one.target.name != name:
                continue
            if (one.act is Act.IP_BLOCK) is not seen.blocks:
                continue
            if incident.lockdown is None:
                return "its incident is no security incident"
            if one.state is IsolationState.LIFTING:
                # Where more was locked since, it was under way then.
                begun_before = incident.lockdown.in_force_at is None
                return None if incident.lockdown.may_undo or begun_before else "nobody wants it back"
            if one.approved_by not in (LEAD.name, DEPUTY.name):
                return f"{one.approved_by or 'nobody'} said yes"
            return None if incident.lockdown.captured else "no evidence was kept before"
    return "no isolation of it is under way"
