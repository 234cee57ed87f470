"""Which things are handed over: those that are called for, and those that nobody can rule out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from builders import labels, policy

from receiver.domain.events import MAX_BODY_BYTES, HandoverItem, event_text
from receiver.policy.handing_over import MAX_ITEMS, handed_over
from receiver.policy.model import Handover


def entry(**changes: Any) -> Handover:
    usual = {"item": "Drain the node", "next": "cordon it first", "why": "pods are lost"}
    return Handover(**{**usual, **changes})


def listed(
    *entries: Handover, facts: Mapping[str, Any] | None = None, alerts: Any = None
) -> tuple[HandoverItem, ...]:
    found = handed_over([policy(handover=entries)], facts or {}, alerts or [labels()])
    return () if found is None else found.items


def test_an_entry_without_a_condition_is_always_listed() -> None:
    (item,) = listed(entry())
    assert item == HandoverItem("inc-001", "Drain the node", "cordon it first", "pods are lost", {})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        pytest.param({"disk": {"full": True}}, "", id="it holds"),
        pytest.param({"disk": {"full": False}}, None, id="it does not hold"),
        pytest.param({}, "disk.full is not known: there is no value for disk", id="the probe did not answer"),
    ],
)
def test_a_condition_that_is_not_known_rules_nothing_out(facts: Mapping[str, Any], said: str | None) -> None:
    items = listed(entry(when="disk.full"), facts=facts)
    assert [item.unknown for item in items] == ([] if said is None else [said])


def test_one_alert_of_several_is_enough_and_its_labels_are_shown() -> None:
    alerts = [labels(pod="a"), labels(pod="b")]
    (item,) = listed(entry(when='labels.pod == "b"', shows=("labels.pod",)), alerts=alerts)
    assert item.found == {"labels.pod": "b"}


def test_an_alert_of_another_policy_calls_for_nothing() -> None:
    assert listed(entry(), alerts=[labels(alertname="Other")]) == ()


def test_what_was_found_is_shown_and_what_was_not_is_said() -> None:
    facts = {"disk": {"slots": 2, "names": ["a", "b"], "none": None}}
    shows = ("disk.slots", "disk.names", "disk.none", "disk.gone", "node.name")
    (item,) = listed(entry(shows=shows), facts=facts)
    assert list(item.found.values()) == ["2", '["a", "b"]', "not known", "not known", "not known"]


def test_what_strangers_wrote_is_cut_and_read_by_nobody() -> None:
    hostile = "{{ labels.x }} \x1b[31m" + "x" * 5000
    (item,) = listed(entry(shows=("labels.pod",)), alerts=[labels(pod=hostile)])
    assert item.found["labels.pod"].startswith("{{ labels.x }} \x1b[31m")
    assert item.found["labels.pod"].endswith("characters more)")
    assert len(item.found["labels.pod"]) < 350


def test_a_checklist_ends_and_says_how_much_it_leaves_out() -> None:
    many = [policy(name=f"p{number}", handover=(entry(),) * 15) for number in range(2)]
    found = handed_over(many, {}, [labels()])
    assert found is not None
    assert (len(found.items), found.left_out) == (MAX_ITEMS, 10)
    assert len(event_text(found).encode()) < MAX_BODY_BYTES
