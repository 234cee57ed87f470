"""Every call of the API takes a right of the cluster from those whom the cluster knows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from builders import CAROL
from hand_clock import HandSteady
from harness import Harness, harness
from stories import noticed

from receiver.app import build_application
from receiver.demo.kubernetes.access import Grant
from receiver.domain.security import Attestation, Question
from receiver.pipeline import people
from receiver.pipeline.duties import Duties, Retention
from receiver.policy.approval import Identity, KnownBy
from receiver.policy.rights import GROUP, RESOURCE, Verb
from receiver.settings import Settings
from receiver.store.engine import Store
from receiver.web import stream
from receiver.web.authentication import SenderCredentials
from receiver.web.cluster_access import REMEMBERED_SECONDS, ClusterAccess
from receiver.web.keys import PEOPLE, Health
from receiver.web.routes import ROUTES

# In every group that there is: what is missing is the cluster's word.
ANYBODY = Identity(
    "oidc:anybody@greenlang.io",
    ("oncall", "sre", "sre-lead", "security-lead", "security-deputy", "system:authenticated"),
    KnownBy.CLUSTER,
)
WHY: dict[str, Any] = {"reason": "because"}
SAID: dict[str, tuple[dict[str, Any], Verb]] = {
    "/api/v1/incidents": ({**WHY, "title": "odd", "scopes": ["namespace/greenlang"]}, Verb.RESPOND),
    "/api/v1/incidents/{id}/ack": ({}, Verb.RESPOND),
    "/api/v1/incidents/{id}/note": (WHY, Verb.RESPOND),
    "/api/v1/incidents/{id}/secure": (WHY, Verb.RESPOND),
    "/api/v1/incidents/{id}/release": (WHY, Verb.APPROVE_SECURITY),
    "/api/v1/incidents/{id}/isolate": ({**WHY, "act": "node.isolate", "node": "node-1"}, Verb.RESPOND),
    "/api/v1/incidents/{id}/awareness": ({**WHY, "since": "2026-01-01T00:00:00Z"}, Verb.RESPOND),
    "/api/v1/incidents/{id}/authority": ({**WHY, "filed": True}, Verb.RESPOND),
    "/api/v1/incidents/{id}/assess": ({"answers": {next(iter(Question)).value: "no"}}, Verb.RESPOND),
    "/api/v1/incidents/{id}/renewed": ({"owner": "us", "proof": "seen"}, Verb.RESPOND),
    "/api/v1/incidents/{id}/attest": (
        {"what": [next(iter(Attestation)).value], "proof": "seen"},
        Verb.RESPOND,
    ),
    "/api/v1/incidents/{id}/close": (WHY, Verb.RESOLVE),
    "/api/v1/incidents/{id}/severity": ({**WHY, "severity": "P2"}, Verb.RESPOND),
    "/api/v1/isolations/{id}/approve": ({}, Verb.APPROVE_SECURITY),
    "/api/v1/isolations/{id}/deny": (WHY, Verb.DENY),
    "/api/v1/plans/{id}/approve": ({}, Verb.APPROVE_DISRUPTIVE),
    "/api/v1/plans/{id}/breakglass": ({**WHY, "digest": "0" * 64}, Verb.BREAKGLASS),
    "/api/v1/plans/{id}/deny": (WHY, Verb.DENY),
    "/api/v1/plans/{id}/settle": ({**WHY, "done": True}, Verb.APPROVE_DISRUPTIVE),
    "/api/v1/plans/{id}/undo": (WHY, Verb.APPROVE_DISRUPTIVE),
    "/api/v1/plans/{id}/keep": (WHY, Verb.APPROVE_DISRUPTIVE),
    "/api/v1/pause": (WHY, Verb.PAUSE),
    "/api/v1/resume": (WHY, Verb.RESUME),
}


class Known:
    """Everybody is one person."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def who(self, token: str) -> Identity | None:
        """See `Authenticator.who`."""
        return self._identity


def client_of(h: Harness, who: Identity, steady: HandSteady | None = None) -> TestClient[Any, Any]:
    duties = Duties(h.world, h.counters, on_joined=lambda: None, retention=Retention())
    application = build_application(
        replace(h.world, access=ClusterAccess(h.world.cluster.wire, steady=steady or HandSteady())),
        h.counters,
        SenderCredentials(),
        duties,
        Health(),
        Settings(),
    )
    application[PEOPLE] = Known(who)
    return TestClient(TestServer(application), headers={"Authorization": "Bearer one"})


@pytest.fixture
async def h(store: Store) -> Any:
    """Incident 1 waits for a yes to P-1."""
    async with harness(store) as found:
        await noticed(found)
        yield found


async def test_every_call_is_refused_to_whom_the_cluster_grants_nothing(h: Harness) -> None:
    secured = [route for route in ROUTES if route.secured and route.path != "/api/v1/alerts"]
    posts = {route.path for route in secured if route.method == "POST"}
    assert posts == set(SAID), "a call that no right is named for"
    async with client_of(h, ANYBODY) as client:
        for route in secured:
            number = "P-1" if "/plans/" in route.path else "S-1" if "/isolations/" in route.path else "1"
            path = route.path.replace("{id}", number).replace("{hash}", "0" * 64)
            body, verb = SAID[route.path] if route.method == "POST" else ({}, Verb.GET)
            asked = client.get(path) if route.method == "GET" else client.post(path, json=body)
            async with asked as response:
                told = (await response.json())["error"]
                assert (response.status, f"may not {verb} " in told) == (403, True), (route.path, told)
    assert set(await h.kinds()) & {"Acknowledged", "Noted", "SeveritySet", "ApprovalGiven", "Denied"} == set()


async def test_the_right_lets_them(h: Harness) -> None:
    granted = Grant(subject=ANYBODY.name, verb=Verb.RESPOND, group=GROUP, resource=RESOURCE)
    h.demo.api.access.grants += [granted, replace(granted, verb=Verb.GET)]
    stranger = replace(ANYBODY, groups=("oidc:sre",))
    async with client_of(h, stranger) as client:
        async with client.post("/api/v1/incidents/1/ack", json={}) as response:
            assert response.status == 200
        async with client.get("/api/v1/incidents/1") as response:
            assert (await response.json())["acknowledged_by"] == ANYBODY.name
        async with client.post("/api/v1/pause", json=WHY) as response:
            assert response.status == 403


async def test_whoever_may_not_read_is_told_that_it_was_heard_and_no_more(h: Harness) -> None:
    granted = Grant(subject=ANYBODY.name, verb=Verb.RESPOND, group=GROUP, resource=RESOURCE)
    h.demo.api.access.grants.append(granted)
    async with client_of(h, ANYBODY) as client, client.post("/api/v1/incidents/1/note", json=WHY) as response:
        assert response.status == 200
        assert (await response.json()).keys() == {"id", "status"}


@pytest.mark.parametrize("call", ["approve", "deny", "breakglass", "settle", "undo", "keep"])
async def test_a_refusal_does_not_tell_what_a_security_incident_s_plan_is(h: Harness, call: str) -> None:
    await people.secure(h.world, 1, CAROL, reason="a miner", scopes=("namespace/greenlang",))
    stranger = replace(ANYBODY, groups=("system:authenticated",))
    async with client_of(h, stranger) as client:
        body, _ = SAID[f"/api/v1/plans/{{id}}/{call}"]
        async with client.post(f"/api/v1/plans/P-1/{call}", json=body) as response:
            told = await response.text()
            assert response.status == 403
            assert "restricted incident" in told
            assert "rollback" not in told and "greenlang" not in told


async def test_the_event_stream_ends_with_the_right_to_read(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ASKED_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(stream, "POLL_SECONDS", 0.01)
    granted = Grant(subject=ANYBODY.name, verb=Verb.GET, group=GROUP, resource=RESOURCE)
    h.demo.api.access.grants.append(granted)
    steady = HandSteady()
    async with client_of(h, ANYBODY, steady) as client, client.get("/api/v1/events") as response:
        assert response.status == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await response.content.read()
        h.demo.api.access.grants.clear()
        steady.seconds += REMEMBERED_SECONDS
        async with asyncio.timeout(5):
            await response.content.read()
        assert response.content.at_eof()


async def test_those_of_the_token_file_go_by_their_groups_alone(h: Harness) -> None:
    async with client_of(h, CAROL) as client, client.post("/api/v1/incidents/1/ack", json={}) as response:
        assert response.status == 200
