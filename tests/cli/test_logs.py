"""Logs: one line a fact, the same form for ours and the libraries', and never a secret."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog

from receiver.cli.logs import configure, hide
from receiver.domain.errors import PermanentError


class Terminal(io.StringIO):
    """A stream that a person reads."""

    def isatty(self) -> bool:
        return True


def said(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> io.StringIO:
    """JSON logs from here on."""
    stream = io.StringIO()
    configure(level="info", form="auto", stream=stream)
    return stream


def test_the_sentence_is_the_message_and_the_machines_word_the_event(lines: io.StringIO) -> None:
    structlog.get_logger("x").info("the lease passed on", event_code="fenced", incident=17)
    (fact,) = said(lines)
    assert (fact["message"], fact["event"], fact["incident"]) == ("the lease passed on", "fenced", 17)
    assert fact["level"] == "info"
    assert fact["timestamp"].endswith("Z")


def test_an_exception_is_one_line_and_shows_no_local_variables(lines: io.StringIO) -> None:
    def fail() -> None:
        hidden = "hunter" + "2"
        raise ValueError(f"at http://ada:{hidden}@db/x")

    try:
        fail()
    except ValueError:
        structlog.get_logger("x").exception("a step failed", event_code="step_failed")
    (fact,) = said(lines)
    assert "ValueError: at http://***@db/x" in fact["exception"]
    assert "hunter2" not in lines.getvalue()


def test_libraries_speak_the_same_way(lines: io.StringIO) -> None:
    logging.getLogger("aiohttp.server").error("Error handling %s", "request")
    logging.getLogger("kubernetes_asyncio").info("Bearer abcdefgh")
    (fact,) = said(lines)
    assert (fact["message"], fact["event"], fact["logger"]) == (
        "Error handling request",
        "library",
        "aiohttp.server",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "hunter2"},
        {"api_token": "hunter2"},
        {"why": "Authorization: Bearer hunter2hunter2"},
        {"why": "password=hunter2, rest"},
        {"store": "postgresql://ada:hunter2@db/x"},
        {"why": {"headers": [{"Authorization": "hunter2"}]}},
        {"error": ValueError("postgres://u:hunter2@db")},
    ],
    ids=str,
)
def test_secrets_are_hidden_wherever_they_stand(lines: io.StringIO, fields: dict[str, Any]) -> None:
    structlog.get_logger("x").warning("something", event_code="x", **fields)
    assert "hunter2" not in lines.getvalue()
    assert "***" in lines.getvalue()


def test_on_a_terminal_hostile_text_is_harmless_and_stays_on_its_line() -> None:
    stream = Terminal()
    configure(level="info", form="console", stream=stream)
    structlog.get_logger("x").info(
        "a delivery was refused", event_code="refused", why="a\n\x1b]0;x\x07b\u202e"
    )
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b]" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()


def test_without_colours_nothing_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    configure(level="info", form="auto", stream=stream)
    structlog.get_logger("x").info("serving", event_code="serving")
    assert "\x1b" not in stream.getvalue()


def test_what_is_below_the_level_is_not_said() -> None:
    stream = io.StringIO()
    configure(level="error", form="json", stream=stream)
    structlog.get_logger("x").info("nothing to see")
    assert stream.getvalue() == ""


def test_both_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(PermanentError, match=r"LOG_LEVEL[^~]*LOG_FORMAT"):
        configure(level="loud", form="xml")


def test_hiding_leaves_other_text_alone() -> None:
    text = "http://prometheus:9090/api?x=a@b token of ada basically"
    assert hide(text) == text
