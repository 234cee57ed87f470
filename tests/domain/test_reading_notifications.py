"""From hostile bytes to alerts: one bad alert harms no other, and nothing that cannot be read is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import alert, notification
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.alerts import Notification, Unreadable, identity_of, parse_time, read_notification

RECORDED = Path(__file__).parent.parent / "data" / "alertmanager"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def read(body: bytes) -> Notification:
    found = read_notification(body, received_at=NOW)
    assert isinstance(found, Notification), found
    return found


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_every_recorded_body_is_read_whole(path: Path) -> None:
    document = json.loads(path.read_text())
    found = read(path.read_bytes())
    assert [dict(one.labels) for one in found.alerts] == [entry["labels"] for entry in document["alerts"]]
    assert [one.status for one in found.alerts] == [entry["status"] for entry in document["alerts"]]
    assert found.bad == ()
    assert found.truncated_alerts == document["truncatedAlerts"]


def test_a_firing_alert_has_no_end_and_a_resolved_one_has_its_own() -> None:
    found = read((RECORDED / "prometheus-grouped-mixed-firing-resolved.json").read_bytes())
    assert [one.ends_at for one in found.alerts] == [
        None,
        datetime(2026, 11, 23, 8, 52, 15, 745000, UTC),
        None,
    ]


def test_one_bad_alert_among_fifty_leaves_forty_nine() -> None:
    entries = [alert(starts_at=NOW, with_labels={"alertname": "A", "n": str(number)}) for number in range(50)]
    entries[17]["startsAt"] = "yesterday"
    found = read(notification(*entries))
    assert len(found.alerts) == 49
    assert [bad.index for bad in found.bad] == [17]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "maybe"}, "neither"),
        ({"labels": {}}, "no identity"),
        ({"labels": {"a": 1}}, "not a text"),
        ({"labels": ["a"]}, "not an object"),
        ({"startsAt": None}, "expected a time"),
        ({"startsAt": "2026-11-23T12:00:00"}, "no offset"),
    ],
)
def test_what_is_wrong_with_an_alert_is_said(change: dict[str, object], reason: str) -> None:
    found = read(notification({**alert(starts_at=NOW), **change}))
    assert found.alerts == ()
    assert reason in found.bad[0].reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "expected a JSON object"),
        (b"{}", "version None"),
        (json.dumps({"version": "5", "alerts": []}).encode(), "version '5'"),
        (json.dumps({"version": "4", "alerts": {}}).encode(), "not a list"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 200_000, "not JSON"),
    ],
    ids=["empty", "list", "no version", "another version", "alerts no list", "no text", "too deep"],
)
def test_a_body_that_is_no_notification_is_named_as_such(body: bytes, reason: str) -> None:
    found = read_notification(body, received_at=NOW)
    assert isinstance(found, Unreadable)
    assert reason in found.reason


def test_fields_of_newer_alertmanagers_are_ignored() -> None:
    found = read(
        notification(alert(starts_at=NOW), notification_reason="first notification", routeLabels={"a": "b"})
    )
    assert len(found.alerts) == 1


def test_a_start_in_the_future_is_a_skewed_clock() -> None:
    found = read(notification(alert(starts_at=NOW + timedelta(hours=3))))
    assert found.alerts[0].starts_at == NOW


def test_what_no_database_takes_is_replaced_and_flagged() -> None:
    body = notification(alert(starts_at=NOW)).replace(b'"greenlang-api"', b'"a\\u0000b\\ud800c"')
    one = read(body).alerts[0]
    assert one.labels["app"] == "a�b�c"
    assert one.cleaned


def test_copies_of_highly_available_peers_are_the_same_alert_and_another_source_is_not() -> None:
    labels = {"alertname": "A", "app": "api"}
    assert identity_of("main", labels) == identity_of("main", dict(reversed(labels.items())))
    assert identity_of("main", labels) != identity_of("other", labels)


def test_go_writes_nine_digits_of_a_second() -> None:
    assert parse_time("2026-11-23T12:00:00.123456789Z") == datetime(2026, 11, 23, 12, 0, 0, 123456, UTC)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_named_and_never_raise(body: bytes) -> None:
    assert isinstance(read_notification(body, received_at=NOW), Notification | Unreadable)


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.lists(
        st.one_of(hostile, st.fixed_dictionaries({"status": hostile, "labels": hostile, "startsAt": hostile}))
    )
)
def test_any_entries_are_read_or_named_one_by_one(entries: list[object]) -> None:
    body = json.dumps({"version": "4", "alerts": entries}).encode()
    found = read(body)
    assert len(found.alerts) + len(found.bad) == len(entries)
