"""Whether somebody may do something, as the cluster says it about those whom it knows.

People of the token file go by their groups alone, which the transaction checks. Where the cluster cannot be
asked nobody is let in: TemporaryError and PermanentError go on.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.domain.errors import NotAllowed
from receiver.domain.plans import Plan
from receiver.pipeline.world import World
from receiver.policy.approval import ACCOUNT, BREAK_GLASS, Identity, KnownBy
from receiver.policy.rbac import ELSEWHERE
from receiver.policy.rights import Right, Verb, of_the_change, to_approve, to_break_glass
from receiver.store import effects


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
    if who.known_by is not KnownBy.FILE and (why := await world.access.why_not(who, right)) is not None:
        raise NotAllowed(why)


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


async def _not_by_hand(world: World, who: Identity, plan: Plan) -> tuple[str, ...]:
    spec = world.catalogue.get(plan.remediation)
    wanted = () if spec is None else of_the_change(plan, spec.writes, frozenset(ELSEWHERE))
    return tuple([str(one) for one in wanted if await world.access.why_not(who, one) is not None])


async def no_longer(world: World, plan_id: str, plan: Plan, *, round_: int) -> tuple[str, ...]:
    """Why those who said yes to it may not any more, asked right before it is carried out."""
    votes = await world.store.read(lambda tx: effects.votes(tx, plan_id, round_=round_))
    found = []
    for vote in votes:
        who = Identity(vote.subject, vote.groups, KnownBy(vote.known_by), vote.uid)
        if vote.decision == "deny" or who.known_by is KnownBy.FILE:
            continue
        try:
            if vote.decision == BREAK_GLASS:
                await must_break_glass(world, who, plan)
            else:
                await must_approve(world, who, plan)
        except NotAllowed as refusal:
            found.append(str(refusal))
    return tuple(found)
