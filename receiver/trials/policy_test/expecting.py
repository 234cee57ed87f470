"""The entries of ``expect``: read from the file's tree, with a complaint for whatever cannot be expected."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from receiver.domain.incidents import PlanState, Status
from receiver.domain.plans import Risk
from receiver.domain.severity import Severity
from receiver.policy.complaints import did_you_mean
from receiver.policy.document import ListNode, MapNode, Node, value_of
from receiver.policy.fields import Fields, text, word
from receiver.trials.policy_test.model import NOTHING, Expectation, Spot, Verdict

Word = TypeVar("Word", bound=StrEnum)

KEYS = (
    "at",
    "incident",
    "incidents",
    "noIncident",
    "severity",
    "because",
    "status",
    "proposed",
    "with",
    "change",
    "risk",
    "state",
    "rejected",
    "handover",
    "noHandover",
    "refused",
    "verdict",
    "executed",
    "executedCount",
    "undone",
    "security",
    "isolates",
    "paged",
    "told",
)
# These say which moment and which incident is meant, and expect nothing of it.
ONLY_WHERE = frozenset({"at", "incident"})
_MEANS = {"noIncident": "incidents"}


def expectation(fields: Fields, remediations: Collection[str]) -> Expectation:
    """One entry; what is wrong in it is complained about and left out."""
    fields.known(
        KEYS, instead={"objections": 'write "rejected" (not offered) or "refused" (not carried out)'}
    )
    document = fields.document
    if fields.readable and not any(key.text not in ONLY_WHERE for key, _ in fields.entries()):
        document.complain(fields.at, "this expects nothing", "add severity: P1, state: ..., executed: [...]")
    spots = {
        _MEANS.get(key.text, key.text): Spot(document.file, *document.place(key))
        for key, _ in fields.entries()
    }
    return Expectation(
        at=fields.duration("at", timedelta(0), needed=True),
        spot=Spot(document.file, *document.place(fields.at)),
        spots=spots,
        incident=fields.whole("incident", 1) if "incident" in fields else None,
        incidents=_incidents(fields),
        severity=_word(fields, "severity", Severity),
        because=texts(fields, "because"),
        status=_word(fields, "status", Status),
        proposed=_proposed(fields, remediations),
        parameters=_parameters(fields),
        change=texts(fields, "change"),
        risk=_word(fields, "risk", Risk),
        state=_word(fields, "state", PlanState),
        rejected=texts(fields, "rejected"),
        handover=texts(fields, "handover"),
        no_handover=texts(fields, "noHandover"),
        refused=texts(fields, "refused"),
        verdict=_word(fields, "verdict", Verdict),
        executed=_remediations(fields, "executed", remediations),
        executed_count=fields.whole("executedCount", 0, least=0) if "executedCount" in fields else None,
        undone=_remediations(fields, "undone", remediations),
        security=texts(fields, "security"),
        isolates=texts(fields, "isolates"),
        paged=fields.yes("paged", False) if "paged" in fields else None,
        told=texts(fields, "told"),
    )


def texts(fields: Fields, key: str) -> tuple[str, ...]:
    """One text or a list of them, each of which must be found."""
    node = fields.node(key)
    if node is None:
        return ()
    items: list[Node] = list(node.items) if isinstance(node, ListNode) else [node]
    found = [text(fields.document, item, f"{fields.what}.{key}") for item in items]
    if not found or "" in found:
        fields.document.complain(node, f"{fields.what}.{key} is empty: it would always be so")
    return tuple(one for one in found if one)


def _word(fields: Fields, key: str, kind: type[Word]) -> Word | None:
    node = fields.node(key)
    return None if node is None else word(fields.document, node, f"{fields.what}.{key}", kind)


def _incidents(fields: Fields) -> int | None:
    if fields.yes("noIncident", False):
        return 0
    return fields.whole("incidents", 0, least=0) if "incidents" in fields else None


def _proposed(fields: Fields, remediations: Collection[str]) -> str | None:
    said, node = fields.text("proposed"), fields.node("proposed")
    if said is not None and node is not None:
        _must_be_known(fields, node, said, {*remediations, NOTHING})
    return said


def _remediations(fields: Fields, key: str, remediations: Collection[str]) -> tuple[str, ...] | None:
    if key not in fields:
        return None
    found = fields.texts(key)
    for node, said in found:
        _must_be_known(fields, node, said, remediations)
    return tuple(said for _, said in found)


def _must_be_known(fields: Fields, node: Node, said: str, known: Collection[str]) -> None:
    if said not in known:
        fields.document.complain(node, f'there is no remediation "{said}"', did_you_mean(said, known))


def _parameters(fields: Fields) -> dict[str, Any] | None:
    node = fields.node("with")
    if node is None:
        return None
    if not isinstance(node, MapNode):
        fields.wrong(node, "with", "a mapping")
        return None
    found: dict[str, Any] = value_of(node)
    return found
