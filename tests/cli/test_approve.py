"""Saying yes: to what was shown, after it was shown, and to nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import FakeService, Stanch


def test_the_digest_that_was_shown_is_sent(stanch: Stanch, service: FakeService, terminal: None) -> None:
    result = stanch("approve", "p-1", "--reason", "right", input="y\n")
    assert result.exit_code == 0
    assert service.digest in result.stdout
    assert service.posted == [("plans/P-1/approve", {"digest": service.digest, "reason": "right"})]


@pytest.mark.parametrize("typed", ["n\n", "\n", "", "yess\n"])
def test_anything_but_yes_sends_nothing(
    stanch: Stanch, service: FakeService, terminal: None, typed: str
) -> None:
    result = stanch("approve", "P-1", "--reason", "right", input=typed)
    assert (result.exit_code, service.posted) == (1, [])
    assert "nothing was sent" in result.stderr


def test_the_card_holds_what_an_approver_must_see(stanch: Stanch, terminal: None) -> None:
    shown = stanch("approve", "P-1", "--reason", "right", input="n\n").stdout
    for part in (
        "put greenlang-api back to revision 7",
        "the errors began 40 s after revision 8",
        "-image: greenlang/api:1.8.2-bad",
        "+image: greenlang/api:1.8.1",
        "4 of 4 pods",
        "reversible",
        "revision 8 comes back",
        "errors < 0.01 for 2 min, within 10 min",
        "sre or oncall (0 of 1 so far); a reason is required",
        "2026-03-01 03:15:00 UTC",
        "Deployment greenlang/greenlang-api",
    ):
        assert part in shown


def test_a_plan_that_changed_while_it_was_looked_at_is_not_approved(
    stanch: Stanch, service: FakeService
) -> None:
    service.digest_now = "f" * 64
    result = stanch("approve", "P-1", "--no-prompt")
    assert result.exit_code == 4
    assert "another plan now" in result.stderr


def test_another_digest_than_the_shown_one_sends_nothing(stanch: Stanch, service: FakeService) -> None:
    result = stanch("approve", "P-1", "--no-prompt", "--digest", "0" * 12)
    assert (result.exit_code, service.posted) == (4, [])


def test_a_digest_is_enough_by_its_beginning_but_not_by_a_few_characters(
    stanch: Stanch, service: FakeService
) -> None:
    assert stanch("approve", "P-1", "--no-prompt", "--digest", service.digest[:12]).exit_code == 0
    assert stanch("approve", "P-1", "--no-prompt", "--digest", service.digest[:4]).exit_code == 2
    assert [body["digest"] for _, body in service.posted] == [service.digest]


def test_a_reason_that_is_required_is_asked_for(stanch: Stanch, service: FakeService, terminal: None) -> None:
    stanch("approve", "P-1", input="the diff is right\ny\n")
    assert service.posted[0][1]["reason"] == "the diff is right"


def test_with_no_prompt_nobody_is_asked(stanch: Stanch, service: FakeService, terminal: None) -> None:
    assert stanch("approve", "P-1", "--no-prompt", input="").exit_code == 0
    assert len(service.posted) == 1


def test_for_programs_the_card_goes_to_standard_error(stanch: Stanch, service: FakeService) -> None:
    result = stanch("approve", "P-1", "--no-prompt", "--output", "json")
    assert json.loads(result.stdout)["state"] == "approved"
    assert service.digest in result.stderr


def test_where_nobody_can_be_asked_it_wants_the_flag_and_sends_nothing(
    stanch: Stanch, service: FakeService
) -> None:
    result = stanch("approve", "P-1", "--reason", "right", input="y\n")
    assert (result.exit_code, service.posted) == (2, [])
    assert "--no-prompt" in result.stderr


def test_an_isolation_is_shown_and_approved_by_the_same_command(
    stanch: Stanch, service: FakeService, terminal: None
) -> None:
    result = stanch("approve", "s-3", input="y\n")
    assert result.exit_code == 0
    for part in (
        "cut Pod greenlang/api-x off",
        "it is on the host's network",
        "- label app=",
        "+ label stanch.dev/quarantine=17",
        "its labels come back",
    ):
        assert part in result.stdout
    ((path, body),) = service.posted
    assert path == "isolations/S-3/approve" and len(body["digest"]) == 64


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("--pod", "shop/api-x"), {"act": "pod.quarantine", "namespace": "shop", "pod": "api-x"}),
        (("--node", "node-1"), {"act": "node.isolate", "node": "node-1"}),
        (("--node-of", "shop/api-x"), {"act": "node.isolate", "namespace": "shop", "pod": "api-x"}),
        (
            (
                "--block",
                "203.0.113.7",
                "--block",
                "2001:db8::/64",
                "--deployment",
                "shop/api",
                "--expires",
                "1d",
            ),
            {
                "act": "ip.block",
                "namespace": "shop",
                "deployment": "api",
                "block": ["203.0.113.7", "2001:db8::/64"],
                "expires": "1d",
            },
        ),
    ],
)
def test_what_is_to_be_isolated_is_named_in_one_way(
    stanch: Stanch, service: FakeService, words: tuple[str, ...], body: dict[str, object]
) -> None:
    assert stanch("incidents", "isolate", "17", *words, "--reason", "a miner").exit_code == 0
    assert service.posted == [("incidents/17/isolate", {"reason": "a miner", **body})]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--pod", "api-x"),
        ("--pod", "/api-x"),
        ("--pod", "shop/x", "--node", "node-1"),
        ("--block", "203.0.113.7"),
        ("--block", "203.0.113.7", "--deployment", "shop/api"),
        ("--block", "203.0.113.7", "--deployment", "api", "--expires", "1h"),
        ("--block", "203.0.113.7", "--deployment", "shop/api", "--expires", "1h", "--node", "node-1"),
        ("--node", "node-1", "--expires", "1h"),
    ],
)
def test_what_names_nothing_to_isolate_sends_nothing(
    stanch: Stanch, service: FakeService, words: tuple[str, ...]
) -> None:
    assert stanch("incidents", "isolate", "17", *words, "--reason", "a miner").exit_code == 2
    assert service.posted == []


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 1)])
def test_the_glass_is_broken_for_the_plan_that_was_shown_after_a_yes(
    stanch: Stanch, service: FakeService, terminal: None, typed: str, code: int
) -> None:
    why = "both leads are on a plane, checkout is down"
    result = stanch("breakglass", "P-1", "--reason", why, input=typed)
    assert result.exit_code == code
    assert "put greenlang-api back to revision 7" in result.stdout
    sent = ("plans/P-1/breakglass", {"digest": service.digest, "reason": why})
    assert service.posted == ([sent] if code == 0 else [])


def test_there_is_no_glass_over_an_isolation_and_none_is_broken_unasked(
    stanch: Stanch, service: FakeService
) -> None:
    assert stanch("breakglass", "S-1", "--reason", "x" * 20).exit_code == 2
    assert stanch("breakglass", "P-1", "--reason", "x" * 20).exit_code == 2
    assert service.posted == []
