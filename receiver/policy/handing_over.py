"""Which things are a person's to do, with what was found about them. Pure; asked after the probes.

Facts and labels are written by strangers: they become short text here, and nothing reads them as more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from receiver.domain.cutting import excerpt
from receiver.domain.events import HandedOver, HandoverItem
from receiver.policy.expressions import Truth, evaluate
from receiver.policy.matching import matches
from receiver.policy.model import Handover, Policy

# More than this is no checklist; and so much text of each fact, and of what is not known.
MAX_ITEMS = 20
MAX_SHOWN = 300


def handed_over(
    policies: Iterable[Policy], facts: Mapping[str, Any], firing: Iterable[Mapping[str, str]]
) -> HandedOver | None:
    """What these policies hand over, as far as it is called for or nobody can rule it out; None for nothing.

    ``firing`` are the labels of the alerts that fire; one of a policy's own is enough for its item.
    """
    alerts = list(firing)
    items: list[HandoverItem] = []
    for policy in policies:
        values = [{**facts, "labels": dict(labels)} for labels in alerts if matches(policy, labels)]
        found = (_item(policy.name, entry, values) for entry in policy.handover)
        items += [item for item in found if item is not None]
    if not items:
        return None
    return HandedOver(tuple(items[:MAX_ITEMS]), left_out=max(0, len(items) - MAX_ITEMS))


def _item(policy: str, entry: Handover, alerts: list[dict[str, Any]]) -> HandoverItem | None:
    answers = [evaluate(entry.when, values) if entry.when else (Truth.TRUE, "") for values in alerts]
    order = (Truth.TRUE, Truth.UNKNOWN)
    listed = next((index for truth in order for index, each in enumerate(answers) if each[0] is truth), None)
    if listed is None:
        return None
    truth, reason = answers[listed]
    unknown = f"{entry.when} is not known: {reason}" if truth is Truth.UNKNOWN else ""
    return HandoverItem(
        policy=policy,
        item=entry.item,
        next=entry.next,
        why=entry.why,
        found={path: _told(alerts[listed], path) for path in entry.shows},
        unknown=excerpt(unknown, characters=MAX_SHOWN, items=1),
    )


def _told(values: Mapping[str, Any], path: str) -> str:
    """What stands at this path, as text; that it is not known, where nothing does."""
    found: Any = values
    for name in path.split("."):
        if not isinstance(found, Mapping) or found.get(name) is None:
            return "not known"
        found = found[name]
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, sort_keys=True)
    return excerpt(text, characters=MAX_SHOWN, items=1)
