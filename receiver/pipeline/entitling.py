"""Whether somebody may do something, as the cluster says it about those whom it knows.

People of the token file go by their groups alone, which the transaction checks. Where the cluster cannot be
asked nobody is let in: TemporaryError and PermanentError go on.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.domain.errors import NotAllowed
from receiver.domain.isolation import Isolating
from receiver.domain.plans import Plan
from receiver.pipeline.world import World
from receiver.policy.approval import ACCOUNT, BREAK_GLASS, Answer, Identity, KnownBy
from receiver.policy.rights import Right, Verb, of_the_change, to_approve, to_break_glass
from receiver.store import effects

# Of votes that an older release wrote: it did not tell people of the file from those of the cluster.
UNKNOWN = ""


@dataclass(frozen=True)
class Entitled:
    """By which right somebody may approve, and what of the change they could not do themselves."""

    right: str = ""
    waived: tuple[str, ...] = ()


async def must(world: World, who: Identity, verb: Verb, name: str = "") -> None:
    """Raises NotAllowed where the cluster knows them and does not let them."""
    await must_have(world, who, Right(verb, name=name))


async def must_have(world: World, who: Identity, right: Right) -> None:
    """The same for any right."""
    if (why := await why_not_have(world, who, right)) is not None:
        raise NotAllowed(why)


async def why_not_have(world: World, who: Identity, right: Right) -> str | None:
    """Why the cluster does not let them; None where it does, or has no say."""
    return None if who.known_by is KnownBy.FILE else await world.access.why_not(who, right)


async def must_approve(world: World, who: Identity, plan: Plan) -> Entitled:
    """That they may approve this plan. Raises NotAllowed.

    What they may not do by hand is no obstacle unless the policy wants it, but it is said.
    """
    binding = plan.approval.own_rights
    if who.known_by is KnownBy.FILE:
        if binding:
            raise NotAllowed(
                f"{who.name} is in the token file only, and this policy takes approvers who may make the"
                " change by hand, as the cluster says it"
            )
        return Entitled()
    right = to_approve(plan)
    await must_have(world, who, right)
    missing = await _not_by_hand(world, who, plan)
    if missing and binding:
        raise NotAllowed(f"{who.name} may not do this by hand, which this policy wants: {missing[0]}")
    return Entitled(str(right), missing)


async def must_break_glass(world: World, who: Identity, plan: Plan) -> Entitled:
    """That they may have it carried out on their own word. Raises NotAllowed."""
    if who.known_by is KnownBy.FILE:
        groups = world.loaded.policies.groups.get(BREAK_GLASS, ())
        if not set(groups) & set(who.groups):
            allowed = ", ".join(groups) or f"nobody: no Approvers file names {BREAK_GLASS}"
            raise NotAllowed(f"{who.name} may not break the glass; it takes one of {allowed}")
        return Entitled()
    right = to_break_glass(plan)
    await must_have(world, who, right)
    if who.name.startswith(ACCOUNT):
        raise NotAllowed(f"{who.name} is no person; a person breaks the glass")
    return Entitled(str(right), await _not_by_hand(world, who, plan))


async def why_not_isolate(world: World, one: Isolating) -> str | None:
    """Why the yes to it no longer counts, asked right before it is written; None where it does."""
    known = one.approver
    if known.known_by == UNKNOWN:
        return f"who vouched for {one.approved_by} is not known"
    who = Identity(one.approved_by, known.groups, KnownBy(known.known_by), known.uid)
    return await why_not_have(world, who, Right(Verb.APPROVE_SECURITY))


async def _not_by_hand(world: World, who: Identity, plan: Plan) -> tuple[str, ...]:
    spec = world.catalogue.get(plan.remediation)
    wanted = () if spec is None else of_the_change(plan, spec.writes)
    return tuple([str(one) for one in wanted if await world.access.why_not(who, one) is not None])


async def no_longer(world: World, plan_id: str, plan: Plan, *, round_: int) -> tuple[str, ...]:
    """Why too few of those who said yes to it still may, asked right before it is carried out."""
    votes = await world.store.read(lambda tx: effects.votes(tx, plan_id, round_=round_))
    found: list[str] = []
    left: set[str] = set()
    needed = plan.approval.count
    for vote in votes:
        if vote.decision == "deny":
            continue
        if vote.decision == BREAK_GLASS:
            needed = 1
        if vote.known_by == UNKNOWN:
            found.append(f"who vouched for {vote.subject} is not known")
            continue
        who = Identity(vote.subject, vote.groups, KnownBy(vote.known_by), vote.uid)
        try:
            if who.known_by is not KnownBy.FILE:
                ask = must_break_glass if vote.decision == BREAK_GLASS else must_approve
                await ask(world, who, plan)
            left.add(Answer(vote.subject, vote.groups, vote.decision, vote.uid).person)
        except NotAllowed as refusal:
            found.append(str(refusal))
    return tuple(found) if found and len(left) < needed else ()
