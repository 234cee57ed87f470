"""What people say after an attack: since when they knew, what was reached, what is new, that it is over.

Each is one transaction. Raises Conflict, NotAllowed and NotFound with words that say what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Connection

from receiver.domain import events as ev
from receiver.domain.errors import Conflict, NotAllowed
from receiver.domain.incidents import Incident
from receiver.domain.security import Attestation, Question, SecurityRecord
from receiver.pipeline.entitling import must
from receiver.pipeline.people import security_leads, security_readers
from receiver.pipeline.recording import record
from receiver.pipeline.world import World
from receiver.policy.approval import Identity
from receiver.policy.rights import Verb
from receiver.store import timeline
from receiver.store.engine import pass_gate

Owed = Callable[[SecurityRecord], tuple[ev.Event, ...]]


async def set_awareness(
    world: World, incident_id: int, who: Identity, *, since: datetime, reason: str
) -> Incident:
    """Since when somebody knew of the breach; the 72 hours count from there."""

    def events(owed: SecurityRecord) -> tuple[ev.Event, ...]:
        locked_at = owed.locked_at or owed.aware_at
        _needs(reason, "setting the moment of awareness")
        _must_lead(world, who)
        if since > locked_at:
            raise Conflict("it was known at the latest when it was locked")
        return (ev.AwarenessSet(since, who.name, reason[:2000]),)

    return await _say(world, incident_id, who, events)


async def tell_authority(
    world: World, incident_id: int, who: Identity, *, filed: bool, reason: str
) -> Incident:
    """The authority was told, or that is not required; either ends the clock."""

    def events(_: SecurityRecord) -> tuple[ev.Event, ...]:
        _needs(reason, "saying so")
        _must_lead(world, who)
        return (ev.AuthorityTold(filed, who.name, reason[:2000]),)

    return await _say(world, incident_id, who, events)


async def assess(world: World, incident_id: int, who: Identity, answers: Mapping[Question, str]) -> Incident:
    """Answer some of the four questions, or answer them anew."""

    def events(_: SecurityRecord) -> tuple[ev.Event, ...]:
        if not answers:
            raise Conflict(f"answer at least one of {', '.join(Question)}")
        for question, answer in answers.items():
            _needs(answer, f"the answer to {question}", "words")
        return tuple(ev.Assessed(question, answer[:2000], who.name) for question, answer in answers.items())

    return await _say(world, incident_id, who, events)


async def renewed(
    world: World, incident_id: int, who: Identity, *, credentials: tuple[str, ...], owner: str, proof: str
) -> Incident:
    """Show that these credentials are new; none named means all that are left."""

    def events(owed: SecurityRecord) -> tuple[ev.Event, ...]:
        _needs(proof, "a credential that is new", "proof")
        _needs(owner, "a credential", "an owner")
        known = {str(one) for one in owed.credentials}
        if unknown := sorted(set(credentials) - known):
            raise Conflict(f"{unknown[0]} is none of its credentials: {', '.join(sorted(known)) or 'none'}")
        named = credentials or tuple(str(one) for one in owed.not_renewed)
        if not named:
            raise Conflict("all its credentials are new already")
        return tuple(
            ev.CredentialRenewed(one, owner[:200], proof[:2000], who.name) for one in dict.fromkeys(named)
        )

    return await _say(world, incident_id, who, events)


async def attest(
    world: World, incident_id: int, who: Identity, *, what: tuple[Attestation, ...], proof: str
) -> Incident:
    """Stand up by name for what must be so before it is closed."""

    def events(owed: SecurityRecord) -> tuple[ev.Event, ...]:
        _needs(proof, "an attestation", "proof")
        if Attestation.ROTATED in what and not owed.listed:
            raise Conflict("which credentials were in its scope is not listed yet")
        if Attestation.ROTATED in what and owed.not_renewed:
            left = ", ".join(str(one) for one in owed.not_renewed)
            raise Conflict(f"nobody has shown that these are new: {left}")
        return tuple(ev.Attested(one, proof[:2000], who.name) for one in dict.fromkeys(what))

    return await _say(world, incident_id, who, events)


def _needs(text: str, doing: str, what: str = "a reason") -> None:
    if not text.strip():
        raise Conflict(f"{doing} needs {what}")


def _must_lead(world: World, who: Identity) -> None:
    if not security_leads(world) & set(who.groups):
        raise NotAllowed("this is a security lead's to say")


async def _say(world: World, incident_id: int, who: Identity, events: Owed) -> Incident:
    await must(world, who, Verb.RESPOND)

    def body(tx: Connection) -> Incident:
        pass_gate(tx)
        held = timeline.lock(tx, incident_id)
        # Whoever may not read it must not learn from refusals what it is about.
        if not security_readers(world) & set(who.groups):
            raise NotAllowed(f"{who.name} may not say so: it takes the right to read security incidents")
        if held.incident.security is None or not held.incident.open:
            raise Conflict(f"incident {incident_id} is no open security incident")
        said = events(held.incident.security)
        return record(world, tx, held, said, actor=who.name, due_at=world.clock.now()).incident

    return await world.store.write(body)
