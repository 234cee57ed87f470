"""What happens in a test: alerts, other people's changes, and people's words, read from the file's tree."""

from __future__ import annotations

from datetime import timedelta

from receiver.domain.endpoints import EndpointKind
from receiver.policy.complaints import did_you_mean
from receiver.policy.document import MapNode, value_of
from receiver.policy.fields import Fields, each, text
from receiver.trials.policy_test.model import (
    Answer,
    Change,
    Database,
    FiringAlert,
    JsonObject,
    Outside,
    Saying,
    Sessions,
    Slot,
    Spot,
)
from receiver.trials.policy_test.objects import kinds

ZERO = timedelta(0)
# What PostgreSQL says of a session.
STATES = ("active", "idle", "idle in transaction", "idle in transaction (aborted)")
# Those of which a status is all that there is to tell.
KINDS = (EndpointKind.WARM_UP.value, EndpointKind.HEALTH.value)
# A petabyte: more is a slip.
MOST_KEPT = 10**15


def alert(fields: Fields) -> FiringAlert:
    """One entry of ``alerts``."""
    fields.known(("at", "until", "labels", "annotations"))
    document = fields.document
    at = fields.duration("at", ZERO, needed=True)
    until = fields.duration("until", ZERO) if "until" in fields else None
    if until is not None and until <= at:
        document.complain(fields.key("until"), "it ends before it begins", "until comes after at")
    labels = _texts(fields, "labels", needed=True)
    if "labels" in fields and not labels:
        document.complain(fields.key("labels"), "an alert without labels is none")
    return FiringAlert(at, _spot(fields), labels, _texts(fields, "annotations"), until)


def change(fields: Fields) -> Change:
    """One entry of ``patch``."""
    fields.known(("at", "object", "merge", "by"))
    kind, namespace, name = _object(fields)
    return Change(
        at=fields.duration("at", ZERO, needed=True),
        spot=_spot(fields),
        kind=kind,
        namespace=namespace,
        name=name,
        merge=_merge(fields),
        by=fields.text("by") or "kubectl-edit",
    )


def answer(fields: Fields, saying: Saying) -> Answer:
    """One entry of ``approve``, ``deny`` and the like."""
    fields.known(("at", "by", "groups", "reason", "refused"))
    return Answer(
        at=fields.duration("at", ZERO, needed=True),
        spot=_spot(fields),
        saying=saying,
        by=fields.text("by", needed=True) or "",
        groups=tuple(said for _, said in fields.texts("groups", needed=True)),
        reason=fields.text("reason") or "",
        refused=fields.text("refused"),
    )


def database(fields: Fields) -> Database:
    """One connection of ``databases``."""
    fields.known(("users", "usable", "sessions", "slots", "away"))
    sessions: list[Sessions] = []
    slots: list[Slot] = []

    def read(entry: Fields) -> None:
        entry.known(("user", "application", "state", "for", "count"))
        state, node = entry.text("state", needed=True) or STATES[0], entry.node("state")
        if state not in STATES and node is not None:
            entry.document.complain(node, f"no session is {state[:40]!r}", did_you_mean(state, STATES))
        sessions.append(
            Sessions(
                user=entry.text("user", needed=True) or "",
                application=entry.text("application") or "",
                state=state,
                since=entry.duration("for", ZERO, needed=True),
                count=entry.whole("count", 1, most=1000),
            )
        )

    def read_slot(entry: Fields) -> None:
        entry.known(("name", "kept"))
        name = entry.text("name", needed=True) or ""
        slots.append(Slot(name, entry.whole("kept", 0, least=0, most=MOST_KEPT, needed=True)))

    each(fields.document, fields.items("sessions", needed=True), f"{fields.what}.sessions", read)
    each(fields.document, fields.items("slots"), f"{fields.what}.slots", read_slot)
    return Database(
        users=tuple(said for _, said in fields.texts("users", needed=True)),
        usable=fields.whole("usable", 100, needed=True),
        sessions=tuple(sessions),
        slots=tuple(slots) if "slots" in fields else None,
        away=fields.duration("away", ZERO) if "away" in fields else None,
    )


def outside(fields: Fields) -> Outside:
    """One entry of ``endpoints``."""
    fields.known(("kind", "status"))
    kind, node = fields.text("kind", needed=True) or KINDS[0], fields.node("kind")
    if kind not in KINDS and node is not None:
        fields.document.complain(
            node, f"no story has an endpoint of kind {kind[:40]!r}", did_you_mean(kind, KINDS)
        )
        kind = KINDS[0]
    return Outside(EndpointKind(kind), fields.whole("status", 200, least=100, most=599))


def _object(fields: Fields) -> tuple[str, str, str]:
    """``Deployment/greenlang/greenlang-api``."""
    said, node = fields.text("object", needed=True), fields.node("object")
    if said is None or node is None:
        return "", "", ""
    parts = said.split("/")
    if len(parts) != 3 or not all(parts):
        hint = "write Deployment/namespace/name"
        fields.document.complain(node, f"{said[:80]!r} names no object", hint)
        return "", "", ""
    known = [kind for _, kind in kinds()]
    if parts[0] not in known:
        hint = did_you_mean(parts[0], known)
        fields.document.complain(node, f"the small cluster has no {parts[0]}", hint)
    return parts[0], parts[1], parts[2]


def _merge(fields: Fields) -> JsonObject:
    node = fields.node("merge", needed=True)
    if node is None:
        return {}
    if not isinstance(node, MapNode):
        fields.wrong(node, "merge", "a mapping")
        return {}
    found: JsonObject = value_of(node)
    return found


def _texts(fields: Fields, key: str, *, needed: bool = False) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, node in fields.table(key, needed=needed).entries():
        said = text(fields.document, node, f"{key}.{name.text}")
        if said is not None:
            found[name.text] = said
    return found


def _spot(fields: Fields) -> Spot:
    return Spot(fields.document.file, *fields.document.place(fields.at))
