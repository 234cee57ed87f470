"""The commands that ask a running service: what they send, what they print, how they end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from receiver.terminal.screen import clean

if TYPE_CHECKING:
    from tests.cli.conftest import FakeService, Stanch

READS = [
    ("incidents", "list"),
    ("incidents", "show", "17"),
    ("incidents", "show", "17", "--timeline"),
    ("plans", "list"),
    ("plans", "show", "P-1"),
    ("security", "owed", "17"),
    ("why", "P-1"),
    ("why-not", "17"),
    ("alerts", "list"),
    ("policy", "stats"),
]
WRITES = [
    ("incidents", "ack", "17"),
    ("incidents", "note", "17", "looking"),
    ("incidents", "close", "17", "--reason", "fixed"),
    ("plans", "settle", "P-1", "--done", "--reason", "seen", "--yes-i-looked"),
    ("plans", "undo", "P-1", "--reason", "worse"),
    ("plans", "keep", "P-1", "--reason", "other fault"),
    ("approve", "P-1", "--no-prompt", "--reason", "right"),
    ("deny", "P-1", "--reason", "wrong"),
    ("incidents", "create", "--security", "logins", "--scope", "namespace/shop", "--reason", "audit log"),
    ("incidents", "secure", "17", "--reason", "a miner"),
    ("incidents", "release", "17", "--reason", "rebuilt"),
    ("incidents", "isolate", "17", "--pod", "greenlang/api-x", "--reason", "a miner"),
    ("incidents", "isolate", "17", "--node", "node-1", "--reason", "a miner"),
    (
        "incidents",
        "isolate",
        "17",
        "--block",
        "203.0.113.7",
        "--deployment",
        "shop/api",
        "--expires",
        "1h",
        "--reason",
        "x",
    ),
    ("approve", "S-3", "--no-prompt", "--reason", "cut it off"),
    ("deny", "S-3", "--reason", "our own test"),
    ("security", "aware", "17", "--since", "2026-03-01T02:10:00Z", "--reason", "a mail"),
    ("security", "authority", "17", "--filed", "--reason", "case 4711"),
    ("security", "assess", "17", "--data", "none", "--inside", "no"),
    ("security", "renewed", "17", "secret/shop/db", "--owner", "data", "--proof", "rotated"),
    ("security", "attest", "17", "patched", "rebuilt", "--proof", "today"),
    ("pause", "--reason", "move"),
    ("resume",),
]
EVERY = pytest.mark.parametrize("words", READS + WRITES, ids=" ".join)


@EVERY
def test_text_of_strangers_is_shown_harmlessly(stanch: Stanch, words: tuple[str, ...]) -> None:
    result = stanch(*words)
    assert result.exit_code == 0, result.output
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", result.output)


@EVERY
def test_json_is_all_there_is_on_standard_output(stanch: Stanch, words: tuple[str, ...]) -> None:
    result = stanch(*words, "--output", "json")
    assert isinstance(json.loads(result.stdout), dict)
    assert result.stdout.isascii()


@EVERY
def test_without_a_token_the_sentence_says_what_to_set(
    stanch: Stanch, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STANCH_TOKEN")
    result = stanch(*words)
    assert result.exit_code == 4
    assert "STANCH_TOKEN" in result.stderr
    assert "Traceback" not in result.output


@EVERY
def test_a_service_that_is_not_there_is_said_in_one_sentence(nowhere: Stanch, words: tuple[str, ...]) -> None:
    result = nowhere(*words, "--url", "http://127.0.0.1:1")
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1
    assert "nothing answers at http://127.0.0.1:1" in result.stderr
    assert "stanch serve" in result.stderr


@EVERY
def test_a_service_without_its_store_is_exit_code_three(
    stanch: Stanch, service: FakeService, words: tuple[str, ...]
) -> None:
    service.away = True
    result = stanch(*words)
    assert result.exit_code == 3
    assert "the store cannot take it now" in result.stderr


def test_a_refusal_shows_the_services_own_sentence(stanch: Stanch, service: FakeService) -> None:
    service.forbid = "ada may not: it takes one of sre \x1b[2J"
    result = stanch("deny", "P-1", "--reason", "no")
    assert result.exit_code == 4
    assert "ada may not: it takes one of sre \ufffd[2J" in result.stderr


def test_what_does_not_exist_is_exit_code_four(stanch: Stanch) -> None:
    result = stanch("incidents", "show", "99")
    assert (result.exit_code, "there is no" in result.stderr) == (4, True)


@pytest.mark.parametrize(
    "words",
    [
        ("plans", "show", "17"),
        ("incidents", "show", "x"),
        ("incidents", "list", "--severity", "P9"),
        ("incidents", "close", "17", "--reason", "  "),
        ("deny", "P-1"),
        ("incidents", "list", "--url", "ftp://x"),
        ("incidents", "list", "--url", "http://ada:pw@localhost"),
        ("incidents", "list", "--token-file", "/nowhere"),
        ("plans", "settle", "P-1", "--reason", "neither done nor not"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_two_and_reaches_nobody(
    stanch: Stanch, service: FakeService, words: tuple[str, ...]
) -> None:
    result = stanch(*words)
    assert result.exit_code == 2
    assert service.seen == []
    assert "Traceback" not in result.output


def test_something_else_that_listens_there_is_not_taken_for_stanch(
    stanch: Stanch, service: FakeService
) -> None:
    result = stanch("incidents", "list", "--url", f"{service.url}/elsewhere")
    assert result.exit_code == 4
    assert "Not Found" in result.stderr


def test_lists_are_followed_page_by_page_up_to_the_limit(stanch: Stanch, service: FakeService) -> None:
    found = json.loads(stanch("incidents", "list", "-o", "json", "--open", "--severity", "p1").stdout)
    assert [one["id"] for one in found["items"]] == [19, 18, 17]
    assert all("open=true" in path and "severity=P1" in path for path in service.seen)
    assert len(json.loads(stanch("incidents", "list", "-n", "1", "-o", "json").stdout)["items"]) == 1


def test_the_named_file_comes_before_the_token_of_the_environment(
    stanch: Stanch, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("good-token\n")
    monkeypatch.setenv("STANCH_TOKEN", "old")
    assert stanch("incidents", "ack", "17", "--token-file", str(tmp_path / "token")).exit_code == 0
    assert stanch("incidents", "ack", "17").exit_code == 4


def test_a_token_that_fits_no_header_is_not_printed(stanch: Stanch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANCH_TOKEN", "se cret\r\nX: y")
    result = stanch("incidents", "ack", "17")
    assert (result.exit_code, "se cret" in result.output) == (2, False)


def test_a_proxy_never_sees_the_token(stanch: Stanch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert stanch("incidents", "ack", "17").exit_code == 0


def test_reasons_and_notes_are_sent_as_they_were_given(stanch: Stanch, service: FakeService) -> None:
    stanch("incidents", "note", "17", "looking [here]")
    stanch("pause", "--policy", "p", "--reason", "move")
    stanch("plans", "settle", "P-1", "--not-done", "--reason", "seen", "--yes-i-looked")
    assert service.posted == [
        ("incidents/17/note", {"reason": "looking [here]"}),
        ("pause", {"policy": "p", "reason": "move"}),
        ("plans/P-1/settle", {"done": False, "reason": "seen"}),
    ]


def test_nobody_settles_without_having_looked(stanch: Stanch, service: FakeService) -> None:
    result = stanch("plans", "settle", "P-1", "--done", "--reason", "guess")
    assert (result.exit_code, service.posted) == (2, [])
    assert "--yes-i-looked" in result.stderr


@pytest.mark.parametrize(("typed", "sent"), [("y\n", 1), ("n\n", 0), ("\n", 0), ("", 0)])
def test_settling_shows_the_object_and_asks(
    stanch: Stanch, service: FakeService, terminal: None, typed: str, sent: int
) -> None:
    result = stanch("plans", "settle", "P-1", "--done", "--reason", "seen", input=typed)
    assert "as it is now" in result.stdout
    assert (len(service.posted), result.exit_code) == (sent, 0 if sent else 1)


def test_cleaning_keeps_words_and_lines_where_they_are_meant() -> None:
    assert clean("grün 日本 a\tb\n\x1b[1m\u2028") == "grün 日本 a b\ufffd\ufffd[1m\ufffd"
    assert clean("a\nb", lines=True) == "a\nb"


@pytest.mark.parametrize(("variable", "coloured"), [("", True), ("NO_COLOR", False)])
def test_colours_are_for_terminals_that_want_them(
    stanch: Stanch, monkeypatch: pytest.MonkeyPatch, variable: str, coloured: bool
) -> None:
    assert "\x1b[" not in stanch("plans", "show", "P-1").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    if variable:
        monkeypatch.setenv(variable, "1")
    green = "\x1b[32m+image: greenlang/api:1.8.1" in stanch("plans", "show", "P-1").stdout
    assert green is coloured


def test_an_interrupted_command_ends_quietly(stanch: Stanch, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("receiver.cli.client.connect", interrupt)
    result = stanch("incidents", "watch")
    assert (result.exit_code, result.output) == (130, "")


def test_a_wrongful_share_is_told_with_its_bounds(stanch: Stanch, service: FakeService) -> None:
    result = stanch("policy", "stats", "--days", "30")
    assert "25% (5% to 70% of 4)" in result.stdout
    assert service.seen == ["/api/v1/policies/stats?days=30"]
