"""Whatever is asked, by whomever: an answer that the API's own document names, soon, and nothing breaks.

Requests are made from `/openapi.json`, half of them as it wants them and half as it does not; bodies of the
webhook are recorded ones that something happened to.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import schemathesis
from background_service import Background, background_service
from builders import alert, labels, notification
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from real_service import SENDER_TOKEN
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from structlog.testing import capture_logs
from structlog.typing import EventDict

from receiver.domain.alerts import Unreadable, read_notification
from receiver.policy.approval import Identity, KnownBy
from receiver.store.reading import figures
from receiver.trials.bench.children import memory_mb
from receiver.web.routes import ROUTES, document

# Long for one request on a machine that does something else as well; a hang is longer.
SOON_S = 10.0
MOST_BYTES = 200_000
ROUNDS = 15
# The bodies that are read come to 20 MiB; what the allocator keeps to itself is far less.
MOST_GROWN_MIB = 12.0
EVERYTHING = ("oncall", "sre", "sre-lead", "security-lead", "security-deputy")
PEOPLE = {
    "everything": Identity("lena", EVERYTHING),
    "no-groups": Identity("mallory", ()),
    "no-rights": Identity("oidc:mallory", EVERYTHING, KnownBy.CLUSTER),
}
CALLERS = (*PEOPLE, "nobody")
# Found again by every run: what breaks today breaks tomorrow as well.
ALIKE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
# It has no end: one test below asks for it by its head alone.
STREAM = "/api/v1/events"
SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS: list[Any] = [
    one.ok() for one in SCHEMA.get_all_operations() if isinstance(one, Ok) and one.ok().path != STREAM
]


class People:
    """Everybody's token is the name of what they may do."""

    async def who(self, token: str) -> Identity | None:
        """See `Authenticator.who`."""
        return PEOPLE.get(token)


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """Everything that is logged."""
    with capture_logs() as found:
        yield found


@pytest.fixture
def quiet_service(store_url: str, tmp_path: Path, logged: list[EventDict]) -> Iterator[Background]:
    """A service that has heard of nothing."""
    with background_service(tmp_path, store=store_url, people=People(), max_body_bytes=MOST_BYTES) as running:
        running.clock.run_at(1)
        yield running


@pytest.fixture
def service(quiet_service: Background) -> Background:
    """One with an incident, a plan and a security incident."""

    async def ill_for_a_while() -> None:
        # On its own loop: the world is changed by nobody beside it.
        quiet_service.clock.run_at(120)
        quiet_service.world.release_bad()
        await quiet_service.clock.sleep(timedelta(minutes=4))

    quiet_service.run(ill_for_a_while())
    deliver(quiet_service, notification(alert(starts_at=datetime.now(UTC), with_labels=labels())))
    until(quiet_service, "/api/v1/plans")
    # A world at that pace leaves no time for anything else.
    quiet_service.clock.run_at(1)
    opened = {"title": "t", "reason": "r", "scopes": ["namespace/elsewhere"]}
    headers = {"Authorization": "Bearer everything"}
    url = f"{quiet_service.url}/api/v1/incidents"
    assert requests.post(url, json=opened, headers=headers, timeout=SOON_S).status_code == 200
    return quiet_service


def deliver(running: Background, body: bytes) -> int:
    """Post to the webhook as Alertmanager does; the status."""
    headers = {"Authorization": f"Bearer {SENDER_TOKEN}"}
    return requests.post(
        f"{running.url}/api/v1/alerts", data=body, headers=headers, timeout=SOON_S
    ).status_code


def until(running: Background, path: str) -> None:
    """Wait until there is something in this list."""
    headers = {"Authorization": "Bearer everything"}
    for _ in range(400):
        found = requests.get(f"{running.url}{path}", headers=headers, timeout=SOON_S).json()
        if found["items"]:
            return
        time.sleep(0.05)
    raise AssertionError(f"there is nothing in {path}")


def broken(logged: list[EventDict]) -> list[EventDict]:
    """What no sender and no caller may bring about; that a body is too large is said as an error."""
    return [one for one in logged if "exc_info" in one or one["log_level"] in ("error", "critical")]


EXISTING = st.sampled_from(["1", "2", "3", "P-1", "p-1", "S-1", "999999999999999", "P-999999999999999"])
ODD = st.sampled_from(
    [
        "0",
        "-1",
        "1e3",
        "\u0661",
        "P-",
        "P--1",
        "\x00",
        "P-\x00",
        "a" * 5000,
        "..",
        "%",
        "\U0001f4a9",
        "'",
        "P-1 ",
    ]
)


def identifiers() -> st.SearchStrategy[str]:
    """What a path may name: often something that is there."""
    return EXISTING | EXISTING | ODD | st.text(min_size=1, max_size=20)


def ask(running: Background, session: requests.Session, case: Any, caller: str, named: str) -> None:
    """Send one made-up request and hold the answer to the document."""
    case.path_parameters = {name: quote(named, safe="") for name in case.path_parameters or {}}
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {caller}"}
    response = case.call(base_url=running.url, session=session, timeout=SOON_S, allow_redirects=False)
    if response.status_code >= 400:
        assert isinstance(response.json()["error"], str), (response.status_code, response.text)
    assert response.status_code < 500 or response.status_code == 503, response.text
    case.validate_response(response, checks=CHECKS)


def made_for(operation: Any) -> st.SearchStrategy[Any]:
    """Requests as the document wants them, and as it does not, where it wants anything."""
    right: st.SearchStrategy[Any] = operation.as_strategy()
    if not operation.body and not operation.query:
        return right
    wrong: st.SearchStrategy[Any] = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    return right | wrong


def test_every_answer_is_one_that_the_document_names(service: Background, logged: list[EventDict]) -> None:
    with requests.Session() as session:
        for operation in OPERATIONS:

            @settings(ALIKE, max_examples=8)
            @given(made_for(operation), st.sampled_from(CALLERS), identifiers())
            def one(case: Any, caller: str, named: str) -> None:
                ask(service, session, case, caller, named)

            one()
    assert len(OPERATIONS) == len(ROUTES) - 1
    assert broken(logged) == []


@pytest.mark.parametrize("asked", ["", "?after=7", "?after=-1", "?after=%00", "?after=" + "9" * 500])
def test_the_stream_begins_whatever_it_is_asked_for(quiet_service: Background, asked: str) -> None:
    for caller, status in (("everything", 200), ("no-groups", 200), ("no-rights", 403), ("nobody", 401)):
        headers = {"Authorization": f"Bearer {caller}", "Last-Event-ID": asked[7:100]}
        url = f"{quiet_service.url}{STREAM}{asked}"
        with requests.get(url, headers=headers, timeout=SOON_S, stream=True) as response:
            assert response.status_code == status
            wanted = "text/event-stream" if status == 200 else "application/json; charset=utf-8"
            assert response.headers["Content-Type"] == wanted


def test_thousands_of_requests_leave_nothing_behind(quiet_service: Background) -> None:
    """Refused ones and large bodies above all: what nobody may do must cost nothing that lasts."""
    large = json.dumps({"reason": "x" * 60_000})
    odd = quote("\u0661" * 500)

    def some(session: requests.Session, rounds: int) -> None:
        for number in range(rounds):
            caller = CALLERS[number % len(CALLERS)]
            token = caller if number % 8 < 4 else f"{caller}{number}"
            headers = {"Authorization": f"Bearer {token}"}
            for route in ROUTES:
                if route.path == STREAM:
                    continue
                path = route.path.replace("{id}", odd).replace("{hash}", odd)
                body = large if route.method == "POST" else None
                answer = session.request(
                    route.method, quiet_service.url + path, data=body, headers=headers, timeout=SOON_S
                )
                assert answer.status_code < 500, answer.text

    with requests.Session() as session:
        some(session, 10)
        before = resident_mib()
        some(session, ROUNDS)
        grown = resident_mib() - before
    assert grown < MOST_GROWN_MIB, f"{grown:.1f} MiB more after {ROUNDS * (len(ROUTES) - 1)} requests"


def resident_mib() -> float:
    """What this process holds now, the service within it."""
    gc.collect()
    found = memory_mb()
    if found is None:
        pytest.skip("this system does not tell what a process holds")
    return found


RECORDED = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent.parent / "data" / "alertmanager").glob("*.json"))
]
WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        -1,
        10**400,
        1e308,
        float("inf"),
        float("nan"),
        "",
        "\x00",
        "\ud800",
        "\u202e\U0001f4a9",
        "x" * 70_000,
        [],
        {},
        [[]],
        {"": ""},
        {"\x00": "\ud800"},
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "2026-02-30T25:61:61+99:99",
        "firing",
        "resolved",
        "4",
    ]
) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, itself included."""
    yield path
    inside = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in inside:
        yield from places(value, (*path, key))


def with_wrong(found: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    """The document with something else at this place."""
    if not path:
        return wrong
    copy = dict(found) if isinstance(found, dict) else list(found)
    copy[path[0]] = with_wrong(found[path[0]], path[1:], wrong)
    return copy


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A recorded body that something happened to: a wrong value, a cut, a key twice, a deep nest."""
    found: Any = draw(st.sampled_from(RECORDED))
    for _ in range(draw(st.integers(0, 3))):
        found = with_wrong(found, draw(st.sampled_from(list(places(found)))), draw(WRONG))
    text = json.dumps(found, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    at = draw(st.integers(0, len(text)))
    match draw(st.sampled_from(["whole", "whole", "whole", "cut", "twice", "deep", "bytes"])):
        case "cut":
            return text[:at]
        case "twice":
            return text.replace(b'"status"', b'"status": 1, "status"').replace(b"{", b'{"version": "4", ', 1)
        case "deep":
            depth = draw(st.sampled_from([50, 60_000]))
            return text[:1] + b'"x": ' + b"[" * depth + b"]" * depth + b", " + text[1:]
        case "bytes":
            return text[:at] + draw(st.binary(max_size=20)) + text[at:]
        case _:
            return text


def test_whatever_is_delivered_is_joined_or_kept_as_a_dead_letter(
    quiet_service: Background, logged: list[EventDict]
) -> None:
    counters = quiet_service.service.counters
    taken: list[bytes] = []

    @settings(ALIKE, max_examples=100)
    @given(bodies())
    def one(body: bytes) -> None:
        status = deliver(quiet_service, body)
        assert status in (200, 413, 503), status
        assert (status == 413) is (len(body) > MOST_BYTES)
        taken.extend([body] if status == 200 else [])

    one()
    now = datetime.now(UTC)
    read = [read_notification(body, received_at=now) for body in taken]
    dead = sum(1 if isinstance(each, Unreadable) else len(each.bad) for each in read)
    joined = sum(0 if isinstance(each, Unreadable) else len(each.alerts) for each in read)
    assert dead > 50 and joined > 50
    for _ in range(400):
        if quiet_service.run(quiet_service.service.world.store.read(figures))["deliveries_waiting"] == 0:
            break
        time.sleep(0.05)
    assert [one for one in broken(logged) if one.get("event_code") != "too_large"] == []
    assert (counters.deliveries_kept, counters.alerts_joined, counters.dead_letters) == (
        len(taken),
        joined,
        dead,
    )
