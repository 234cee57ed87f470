"""What named endpoints outside the cluster say: read as what it is, or left missing."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest
from builders import policies, policy
from endpoint_server import asking, endpoint_server
from harness import harness
from hypothesis import given
from hypothesis import strategies as st
from stories import noticed

from receiver.domain.endpoints import EndpointKind
from receiver.domain.errors import TemporaryError
from receiver.domain.events import Diagnosed, NothingApplies
from receiver.policy.model import Candidate, ProbeUse, told_where
from receiver.probes import catalogue, endpoints
from receiver.probes.endpoints import breakers_of, page_of
from receiver.store.engine import Store

NONE = {"indicator": "none"}
ALL_WELL = {"name": "API", "status": "operational"}


@pytest.mark.parametrize(
    ("document", "facts"),
    [
        ({"status": {"indicator": "none", "description": "All"}}, {"indicator": "none", "level": 0}),
        ({"status": {"indicator": "major"}}, {"indicator": "major", "level": 2}),
        ({"status": {"indicator": "critical"}, "components": None}, {"indicator": "critical", "level": 3}),
        (
            {"status": NONE, "components": []},
            {"indicator": "none", "level": 0, "affected": 0, "components": []},
        ),
        (
            {
                "status": {"indicator": "minor"},
                "components": [
                    ALL_WELL,
                    {"name": "Chat\x1b[2J\n", "status": "partial_outage"},
                    {"name": "All of it", "status": "partial_outage", "group": True},
                ],
            },
            {
                "indicator": "minor",
                "level": 1,
                "affected": 1,
                "components": [{"name": "Chat [2J", "status": "partial_outage"}, ALL_WELL],
            },
        ),
    ],
    ids=["none", "major", "critical", "no components", "components"],
)
def test_a_status_page_is_read(document: Any, facts: dict[str, Any]) -> None:
    assert page_of(document) == facts


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "none",
        {},
        {"status": "none"},
        {"status": {"indicator": "maintenance"}},
        {"status": {"indicator": ["none"]}},
        {"status": NONE, "components": {}},
        {"status": NONE, "components": ["API"]},
        {"status": NONE, "components": [{"name": "API"}]},
        {"status": NONE, "components": [{"name": 1, "status": "operational"}]},
    ],
    ids=str,
)
def test_what_is_no_status_page_says_nothing(document: Any) -> None:
    assert isinstance(page_of(document), str)


OPEN = {"name": "openai", "state": "open"}
CLOSED = {"name": "db", "state": "closed"}


@pytest.mark.parametrize(
    "document",
    [
        [{"name": "db", "state": "CLOSED"}, {"name": "openai", "state": "OPEN"}],
        {"db": "closed", "openai": "Forced_Open"},
        {"db": {"state": "CLOSED", "failureRate": "0%"}, "openai": {"state": "OPEN"}},
        {"circuitBreakers": {"db": {"state": "CLOSED"}, "openai": {"state": "OPEN"}}},
        {"breakers": [{"name": "db", "state": "closed"}, {"name": "openai", "state": "open"}]},
    ],
    ids=["list", "map", "map of tables", "Spring", "wrapped"],
)
def test_breakers_are_read_in_every_shape(document: Any) -> None:
    assert breakers_of(document) == {
        "count": 2,
        "open": 1,
        "halfOpen": 0,
        "off": 0,
        "breakers": [OPEN, CLOSED],
    }


def test_breakers_are_counted_by_their_state_and_open_ones_come_first() -> None:
    facts = breakers_of({"a": "closed", "b": "DISABLED", "c": "half-open", "d": "HALF_OPEN", "e": "open"})
    assert isinstance(facts, dict)
    assert (facts["count"], facts["open"], facts["halfOpen"], facts["off"]) == (5, 1, 2, 1)
    assert [each["name"] for each in facts["breakers"]] == ["e", "c", "d", "a", "b"]


def test_a_breaker_may_be_called_breakers() -> None:
    facts = breakers_of({"breakers": {"state": "open"}})
    assert isinstance(facts, dict)
    assert facts["breakers"] == [{"name": "breakers", "state": "open"}]


@pytest.mark.parametrize(
    "document",
    [
        None,
        1,
        "open",
        {},
        [],
        {"breakers": []},
        ["open"],
        [{"state": "open"}],
        {"a": 1},
        {"a": {}},
        {"a": None},
    ],
    ids=str,
)
def test_what_names_no_breakers_says_nothing(document: Any) -> None:
    assert isinstance(breakers_of(document), str)


def test_one_state_that_is_not_known_makes_all_of_it_unknown() -> None:
    why = breakers_of({"a": "closed", "b": "ajar\x1b[2J"})
    assert why == "breaker b has a state that is not known: ajar [2J"


KEYS = st.text() | st.sampled_from(["status", "indicator", "components", "breakers", "name", "state"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["none", "open"]),
    lambda each: st.lists(each) | st.dictionaries(KEYS, each),
)


@given(JSON)
def test_any_json_is_facts_or_a_reason(document: Any) -> None:
    document = json.loads(json.dumps(document))
    for read in (page_of, breakers_of):
        facts = read(document)
        assert isinstance(facts, str) or facts


async def test_the_probes_ask_real_endpoints() -> None:
    async with (
        endpoint_server() as server,
        asking(**{kind.value: server.endpoint(kind) for kind in EndpointKind}) as (door, _),
    ):
        server.says({"status": {"indicator": "major"}})
        assert (await endpoints.status_page(door, "statusPage"))["level"] == 2
        server.says({"openai": "open"})
        assert (await endpoints.circuit_breakers(door, "circuitBreakers"))["open"] == 1
        server.status = 503
        found = await endpoints.health(door, "health")
        assert found == {"status": 503, "ok": False, "milliseconds": 0.0}


async def test_an_answer_of_another_kind_leaves_the_facts_missing() -> None:
    async with endpoint_server() as server, asking(page=server.endpoint()) as (door, _):
        server.says({"page": "hello"})
        with pytest.raises(TemporaryError, match="endpoint page: its status"):
            await endpoints.status_page(door, "page")


def test_every_probe_is_told_where_to_look_in_the_way_it_needs() -> None:
    told: dict[str, Collection[str]] = {
        "connection": catalogue._OF_DATABASES,
        "endpoint": catalogue._OF_ENDPOINTS,
    }
    for probe in catalogue.FACTS:
        setting = told_where(probe)
        assert [name for name, looks in told.items() if probe in looks] == (
            [] if setting is None else [setting]
        )


def _looking(when: str) -> Any:
    return policies(
        policy(
            probes=(ProbeUse("provider", "status-page", {"endpoint": "openai"}),),
            candidates=(Candidate("deployment.rollback", "because", when, {"to": "known-good"}),),
        )
    )


async def test_what_a_page_says_stands_beside_the_rest(store: Store) -> None:
    async with endpoint_server() as server, asking(openai=server.endpoint()) as (door, _):
        server.says({"status": {"indicator": "major"}})
        async with harness(store, policies=_looking("provider.level >= 2"), endpoints=door) as h:
            await noticed(h)
            (found,) = [event for event in await h.events() if isinstance(event, Diagnosed)]
            assert found.facts["provider"] == {"indicator": "major", "level": 2}
            assert "Planned" in await h.kinds()


@pytest.mark.parametrize("configured", [True, False], ids=["no answer", "not configured"])
async def test_a_page_that_says_nothing_decides_nothing(store: Store, configured: bool) -> None:
    async with endpoint_server() as server:
        server.status = 500
        page = {"openai": server.endpoint()} if configured else {}
        async with asking(**page) as (door, _):
            looking = _looking("provider.level < 2")
            async with harness(store, policies=looking, endpoints=door) as h:
                await noticed(h)
                events = await h.events()
                (found,) = [event for event in events if isinstance(event, Diagnosed)]
                why = "endpoint openai: it answered 500" if configured else "there is no endpoint 'openai'"
                assert why in found.missing["provider"]
                (nothing,) = [event for event in events if isinstance(event, NothingApplies)]
                assert "is not known" in str(nothing)
