"""Following the stream: every event once, over interruptions, shown harmlessly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest

from receiver.cli import following
from receiver.domain import events as ev
from receiver.terminal.sentences import _WORDS, sentence

if TYPE_CHECKING:
    from tests.cli.conftest import FakeService, Stanch


def told(number: int, event: str, incident: int = 17, **fields: Any) -> bytes:
    data = {
        "incident": incident,
        "seq": number,
        "at": 1.0,
        "actor": "ada",
        "event": {"event": event, **fields},
    }
    return f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY_SECONDS", 0.0)


def test_one_incident_is_followed_to_its_end(stanch: Stanch, service: FakeService) -> None:
    service.streams = [
        [
            told(1, "Noted", text="a"),
            told(2, "Resolved", incident=18),
            b": still here\n\n",
            told(3, "Resolved"),
        ]
    ]
    result = stanch("incidents", "watch", "--incident", "17", "-o", "json")
    assert result.exit_code == 0
    assert [json.loads(line)["seq"] for line in result.stdout.splitlines()] == [1, 3]


def test_an_interrupted_stream_is_taken_up_where_it_broke_off(stanch: Stanch, service: FakeService) -> None:
    whole = told(8, "Noted", text="b")
    service.streams = [
        [told(7, "Noted", text="a"), whole[:20]],
        [whole[:30], whole[30:], told(9, "Resolved")],
    ]
    result = stanch("incidents", "watch", "--incident", "17", "-o", "json")
    assert [json.loads(line)["seq"] for line in result.stdout.splitlines()] == [7, 8, 9]
    assert service.headers[1]["Last-Event-ID"] == "7"
    assert "trying again" in result.stderr


def test_what_strangers_wrote_is_shown_harmlessly(stanch: Stanch, service: FakeService) -> None:
    service.streams = [[told(1, "Noted", by="ada", text="[bold]x[/] \x1b[2J"), told(2, "Resolved")]]
    shown = stanch("incidents", "watch", "--incident", "17").stdout
    assert "ada: [bold]x[/] \ufffd[2J" in shown
    assert "\x1b" not in shown


def test_a_service_that_refuses_the_stream_ends_the_watch(stanch: Stanch, service: FakeService) -> None:
    service.forbid = "no"
    assert stanch("incidents", "watch").exit_code == 4


def test_every_event_has_words() -> None:
    assert {kind.__name__ for kind in get_args(ev.Event)} == set(_WORDS)


@pytest.mark.parametrize("kind", sorted(_WORDS))
@pytest.mark.parametrize("value", [None, 7, "x", [], {"a": 1}, [{"a": None}]], ids=str)
def test_an_event_of_another_release_is_shown_whatever_its_fields_hold(kind: str, value: Any) -> None:
    names = (
        "plan_id",
        "labels",
        "target",
        "receipt",
        "facts",
        "missing",
        "groups",
        "round",
        "until",
        "by",
        "value",
    )
    assert isinstance(sentence({"event": kind, **dict.fromkeys(names, value)}), str)


def test_an_event_of_a_later_release_is_shown_by_its_fields() -> None:
    assert sentence({"event": "Sung", "by": "ada"}) == "by=ada"
