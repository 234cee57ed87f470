"""The service over HTTP: who may post, who may read, what is answered, and what is never shown."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from builders import alert, labels, notification
from exposed import exposed
from real_service import API_TOKEN, LEAD_TOKEN, OTHER_TOKEN, SENDER_TOKEN, write_credentials
from running_service import Running, running_service
from sqlalchemy import update
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from receiver import packaged
from receiver.app import Service, serving
from receiver.clients import cluster
from receiver.demo.clock import WorldClock
from receiver.demo.scenario import scenario
from receiver.demo.world import demo_world
from receiver.domain.errors import PermanentError, Unavailable
from receiver.domain.journal import read_line
from receiver.settings import Settings
from receiver.store.schema import incidents
from receiver.web.api import named_fields
from receiver.web.routes import document

USERS = "alertmanager:open sesame"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A healthy demo world with the service in it; its clock runs fast."""
    (tmp_path / "webhook-users").write_text(f"{USERS}\n", encoding="utf-8")
    settings: dict[str, Any] = {
        "webhook_users_file": tmp_path / "webhook-users",
        "evidence_dir": tmp_path / "evidence",
    }
    async with running_service(tmp_path, max_body_bytes=200_000, **settings) as found:
        yield found


def a_body(**changes: str) -> bytes:
    return notification(alert(starts_at=datetime.now(UTC), with_labels=labels(**changes)))


async def test_a_delivery_with_a_token_or_a_password_is_kept_and_without_is_refused_and_counted(
    running: Running,
) -> None:
    basic = base64.b64encode(USERS.encode()).decode()
    assert (await running.post(a_body(), Authorization=f"Bearer {SENDER_TOKEN}")).status == 200
    assert (await running.post(a_body(), Authorization=f"Basic {basic}")).status == 200
    wrong = base64.b64encode(b"alertmanager:guess").decode()
    for headers in (
        {},
        {"Authorization": "Bearer guess"},
        {"Authorization": f"Basic {wrong}"},
        {"Authorization": "x"},
    ):
        assert (await running.post(a_body(), **headers)).status == 401
    assert running.service.counters.unauthenticated == 4
    assert running.service.counters.deliveries_kept == 2


async def test_tokens_are_rotated_by_editing_their_file(running: Running) -> None:
    path = running.folder / "webhook-tokens"
    path.write_text("new-token\n" + SENDER_TOKEN + "\n", encoding="utf-8")
    assert (await running.post(a_body(), Authorization="Bearer new-token")).status == 200
    assert await running.send(a_body()) == 200
    path.write_text("new-token\n", encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert await running.send(a_body()) == 401
    path.write_text("", encoding="utf-8")
    assert (await running.post(a_body(), Authorization="Bearer new-token")).status == 200


async def test_what_cannot_be_read_is_taken_and_kept_as_a_dead_letter(running: Running) -> None:
    assert await running.send(b"this is no notification") == 200
    await running.until("/api/v1/alerts", lambda found: running.service.counters.dead_letters == 1)


async def test_a_body_over_the_limit_is_refused_with_413(running: Running) -> None:
    assert await running.send(b"x" * 200_001) == 413


async def test_a_body_of_unknown_length_is_bounded_too(running: Running) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    url = f"{running.service.url}/api/v1/alerts"
    headers = {"Authorization": f"Bearer {SENDER_TOKEN}"}
    async with running.session.post(url, data=endless(), headers=headers) as response:
        assert response.status == 413


async def test_when_the_store_is_away_the_answer_is_503_and_the_sender_tries_again(running: Running) -> None:
    store = running.service.world.store
    real = store.keep

    async def away(delivery: object) -> None:
        raise Unavailable("the disk is full")

    store.keep = away  # type: ignore[method-assign]
    response = await running.post(a_body(), Authorization=f"Bearer {SENDER_TOKEN}")
    assert response.status == 503
    assert response.headers["Retry-After"]
    store.keep = real  # type: ignore[method-assign]
    assert await running.send(a_body()) == 200


async def test_reading_needs_a_token_and_says_so(running: Running) -> None:
    for path in (
        "/api/v1/incidents",
        "/api/v1/plans/P-1",
        "/api/v1/audit",
        "/api/v1/events",
        "/api/v1/journal",
    ):
        status, answer = await running.get(path, token=None)
        assert status == 401
        assert "token" in answer["error"]
        assert (await running.get(path, token="guess"))[0] == 401


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/v1/incidents/17", {"incident": 17}),
        ("/api/v1/incidents/017/note", {"incident": 17}),
        ("/api/v1/plans/p-3/approve", {"plan": "P-3"}),
        ("/api/v1/incidents", {}),
        ("/api/v1/incidents/P-3", {}),
        ("/api/v1/incidents/17x", {}),
        ("/api/v1/incidents/" + "9" * 16, {}),
        ("/api/v1/incidents/\u0661", {}),
        ("/api/v1/plans/3", {}),
        ("/api/v1/isolations/S-1", {}),
    ],
)
def test_lines_about_a_request_name_what_its_address_names(path: str, fields: dict[str, Any]) -> None:
    assert named_fields(path) == fields


async def test_lines_about_a_request_name_nothing_of_the_one_before(running: Running) -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        for path in ("incidents/17", "plans/P-3", "audit"):
            assert (await running.get(f"/api/v1/{path}", token="guess"))[0] == 401
    found = [line for line in lines if line.get("event_code") == "caller_refused"]
    told = [(line.get("incident"), line.get("plan")) for line in found]
    assert told == [(17, None), (None, "P-3"), (None, None)]


async def test_health_metrics_and_the_api_document_are_open(running: Running) -> None:
    assert (await running.get("/healthz", token=None))[1] == {"status": "ok"}
    assert (await running.get("/readyz", token=None))[1] == {"status": "ready"}
    assert (await running.get("/openapi.json", token=None))[1] == document()
    async with running.session.get(f"{running.service.url}/metrics") as response:
        text = await response.text()
    for name in ("stanch_deliveries_kept_total", "stanch_unauthenticated_total", "stanch_dead_letters_total"):
        assert name in text


async def test_an_incident_that_a_newer_release_wrote_is_said_to_be_one(running: Running) -> None:
    for number in range(3):
        assert await running.send(a_body(app=f"app-{number}")) == 200
        await running.until("/api/v1/incidents", lambda found: len(found["items"]) > number)  # noqa: B023
    newer = update(incidents).where(incidents.c.id == 2).values(snapshot='{"id":2,"status":"sleeping"}')
    await running.service.world.store.write(lambda tx: tx.execute(newer) and None)
    status, answer = await running.get("/api/v1/incidents/2")
    assert (status, "a newer one wrote it" in answer["error"]) == (503, True)
    _, first = await running.get("/api/v1/incidents?limit=2")
    assert [item["id"] for item in first["items"]] == [3, 1]


async def test_lists_are_paged_by_a_cursor(running: Running) -> None:
    for number in range(5):
        assert await running.send(a_body(app=f"app-{number}")) == 200
        # What is read in one transaction has no order of its own.
        await running.until("/api/v1/incidents", lambda found: len(found["items"]) > number)  # noqa: B023
    _, first = await running.get("/api/v1/incidents?limit=2")
    _, second = await running.get(f"/api/v1/incidents?limit=2&cursor={first['next_cursor']}")
    _, third = await running.get(f"/api/v1/incidents?limit=2&cursor={second['next_cursor']}")
    ids = [item["id"] for page in (first, second, third) for item in page["items"]]
    assert ids == [5, 4, 3, 2, 1]
    assert third["next_cursor"] is None
    assert (await running.get("/api/v1/incidents?limit=x"))[0] == 400
    _, alerts = await running.get("/api/v1/alerts?limit=3")
    assert [item["id"] for item in alerts["items"]] == [5, 4, 3]


async def test_what_an_event_was_too_large_for_is_read_by_its_name(running: Running) -> None:
    entry = alert(starts_at=datetime.now(UTC), with_labels=labels())
    entry["annotations"] = {"summary": "s" * 100_000}
    assert await running.send(notification(entry)) == 200
    path = "/api/v1/incidents/1/timeline"
    shown = await running.until(path, lambda found: len(found["items"]) > 1)
    (fired,) = [item["event"] for item in shown["items"] if item["event"]["event"] == "AlertFired"]
    assert len(fired["annotations"]["summary"]) < 3000
    _, whole = await running.get(f"/api/v1/facts/{fired['whole']}")
    assert whole["annotations"] == entry["annotations"]
    for name in ("0" * 64, "%00"):
        assert (await running.get(f"/api/v1/facts/{name}"))[0] == 404
    assert (await running.get(f"/api/v1/facts/{fired['whole']}", token=None))[0] == 401


async def test_a_plan_is_seen_and_approved_over_http_and_only_by_who_may(running: Running) -> None:
    running.world.release_bad()
    await asyncio.sleep(0)
    await running.service.world.clock.sleep(timedelta(minutes=4))
    assert await running.send(a_body()) == 200
    plan = await running.until("/api/v1/plans", lambda found: bool(found["items"]))
    assert (await running.call("plans/P-1/approve", {"digest": "0" * 64}))[0] == 409
    assert (await running.call("plans/P-1/approve", {"surprise": 1}))[0] == 400
    assert (await running.call("plans/P-77/approve", {}))[0] == 404
    assert (await running.call("plans/P-1/deny", {"reason": ""}))[0] in (400, 409)
    shown = plan["items"][0]
    assert "greenlang/api:1.8.1" in shown["what"]
    assert "steps" not in shown
    status, answer = await running.call(
        "plans/P-1/approve", {"digest": shown["digest"], "reason": "bad release"}
    )
    assert (status, answer["state"]) == (200, "approved")
    assert (await running.call("plans/P-1/approve", {}, token=OTHER_TOKEN))[0] == 409
    await running.until(
        "/api/v1/plans/P-1", lambda found: found["state"] in ("executed", "watched", "verified")
    )
    assert running.world.real_writes == 1


async def test_every_event_is_streamed_and_a_reader_resumes_where_it_was(running: Running) -> None:
    assert await running.send(a_body()) == 200
    await running.until("/api/v1/incidents", lambda found: len(found["items"]) == 1)
    headers = {"Authorization": f"Bearer {API_TOKEN}", "Last-Event-ID": "1"}
    url = f"{running.service.url}/api/v1/events"
    async with running.session.get(url, headers=headers) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        lines: list[str] = []
        async for line in response.content:
            lines.append(line.decode().strip())
            if line.startswith(b"data: "):
                break
    assert lines[0] == "id: 2"
    told = json.loads(lines[2].removeprefix("data: "))
    assert told["event"]["event"] == "AlertFired"


async def test_unknown_paths_and_methods_answer_in_json(running: Running) -> None:
    assert (await running.get("/nothing/here"))[0] == 404
    assert (await running.call("policies", {}))[0] == 405


async def test_what_became_of_plans_is_told_by_policy(running: Running) -> None:
    assert await running.get("/api/v1/policies/stats") == (200, {"items": []})
    assert await running.get("/api/v1/policies/stats?days=7") == (200, {"items": []})
    assert (await running.get("/api/v1/policies/stats?days=0"))[0] == 400


SECRETS = ("planted-app", "planted-title", "planted-reason", "planted-note")


async def locked(running: Running) -> int:
    """A security incident, turned from an alert's, with secrets in all that is told of it."""
    await running.send(a_body(app="planted-app", alertname="Planted"))
    found = await running.until("/api/v1/incidents", lambda found: len(found["items"]) == 1)
    number = int(found["items"][0]["id"])
    body = {"reason": "planted-reason"}
    assert (await running.call(f"incidents/{number}/secure", body, token=LEAD_TOKEN))[0] == 200
    assert (await running.call(f"incidents/{number}/note", {"reason": "planted-note"}, token=LEAD_TOKEN))[
        0
    ] == 200
    return number


async def test_a_restricted_incident_tells_those_without_the_right_nothing(running: Running) -> None:
    number = await locked(running)
    opened = {"title": "planted-title", "reason": "planted-reason", "scopes": ["namespace/planted-app"]}
    status, by_hand = await running.call("incidents", opened, token=LEAD_TOKEN)
    assert status == 200
    reads = [
        "/api/v1/incidents",
        f"/api/v1/incidents/{number}",
        f"/api/v1/incidents/{number}/timeline",
        f"/api/v1/incidents/{by_hand['id']}",
        "/api/v1/alerts",
        "/api/v1/plans",
        "/api/v1/audit",
        "/api/v1/journal",
    ]
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    for path in [*reads, "/metrics"]:
        async with running.session.get(f"{running.service.url}{path}", headers=headers) as response:
            text = await response.text()
        assert not [secret for secret in SECRETS if secret in text], path
        assert response.status in (200, 403)
    status, answer = await running.call(f"incidents/{number}/ack", {})
    assert status == 200 and not [secret for secret in SECRETS if secret in str(answer)]
    _, shown = await running.get(f"/api/v1/incidents/{number}")
    assert (shown["title"], shown["severity"]) == ("restricted incident", "P0")
    _, seen = await running.get(f"/api/v1/incidents/{number}", token=LEAD_TOKEN)
    assert seen["labels"]["app"] == "planted-app"
    assert seen["lockdown"]["scopes"] == ["namespace/greenlang"]


async def test_only_those_with_the_right_see_what_evidence_there_is(running: Running) -> None:
    number = await locked(running)
    for _ in range(400):
        _, seen = await running.get(f"/api/v1/incidents/{number}", token=LEAD_TOKEN)
        if seen["evidence"]:
            break
        await asyncio.sleep(0.05)
    (sealed,) = seen["evidence"]
    assert sealed["files"] > 5 and len(sealed["manifest"]) == 64
    _, shown = await running.get(f"/api/v1/incidents/{number}")
    assert shown["evidence"] == []
    status, refused = await running.get(f"/api/v1/incidents/{number}/timeline")
    assert status == 403 and sealed["manifest"] not in str(refused)


async def test_the_stream_leaves_a_restricted_incident_out(running: Running) -> None:
    await locked(running)
    await running.send(a_body(app="harmless", alertname="Other"))
    await running.until("/api/v1/incidents", lambda found: len(found["items"]) == 2)
    for token, seen in ((API_TOKEN, False), (LEAD_TOKEN, True)):
        headers = {"Authorization": f"Bearer {token}", "Last-Event-ID": "0"}
        text = ""
        async with running.session.get(f"{running.service.url}/api/v1/events", headers=headers) as response:
            async for line in response.content:
                text += line.decode()
                if "harmless" in text:
                    break
        assert ("planted-app" in text) is seen


async def test_a_pod_is_isolated_over_http_and_only_those_with_the_right_see_it(running: Running) -> None:
    number = await locked(running)
    name = running.world.api.find("pods", "greenlang")[0]["metadata"]["name"]
    ask = f"incidents/{number}/isolate"
    about = {"act": "pod.quarantine", "namespace": "greenlang", "pod": name, "reason": "planted-reason"}
    status, answer = await running.call(ask, about)
    assert status == 200 and name not in str(answer)
    for path in (f"/api/v1/incidents/{number}", "/api/v1/isolations/S-1"):
        _, shown = await running.get(path)
        assert name not in str(shown) and "planted" not in str(shown)
    status, refused = await running.call("isolations/S-1/approve", {})
    assert status == 403 and name not in str(refused)
    _, seen = await running.get("/api/v1/isolations/S-1", token=LEAD_TOKEN)
    assert (seen["state"], seen["why"]) == ("awaiting-approval", "planted-reason")
    assert seen["change"][0].startswith("+ NetworkPolicy greenlang/stanch-quarantine")
    stale = {"digest": "0" * 64}
    assert (await running.call("isolations/S-1/approve", stale, token=LEAD_TOKEN))[0] == 409
    yes = {"digest": seen["digest"]}
    assert (await running.call("isolations/S-1/approve", yes, token=LEAD_TOKEN))[0] == 200
    assert (await running.call("isolations/S-1/approve", yes, token=LEAD_TOKEN))[0] == 409
    for _ in range(400):
        labels = running.world.api.get("pods", "greenlang", name)["metadata"]["labels"]
        if labels == {"stanch.dev/quarantine": str(number)}:
            break
        await asyncio.sleep(0.05)
    assert labels == {"stanch.dev/quarantine": str(number)}


async def test_addresses_are_shut_out_over_http_with_their_networks_on_the_card(running: Running) -> None:
    number = await locked(running)
    running.world.api.load(exposed("greenlang", "greenlang-api"))
    about = {"act": "ip.block", "namespace": "greenlang", "deployment": "greenlang-api", "reason": "logins"}
    given = {"block": ["203.0.113.7", "2001:db8::/64"], "expires": "24h"}
    status, answer = await running.call(f"incidents/{number}/isolate", {**about, **given}, token=LEAD_TOKEN)
    assert status == 200, answer
    _, card = await running.get("/api/v1/isolations/S-1", token=LEAD_TOKEN)
    assert card["change"][0].startswith("+ NetworkPolicy greenlang/stanch-block-")
    assert card["change"][1:] == ["- 203.0.113.7/32", "- 2001:db8::/64"]
    assert any(
        "Service outside (LoadBalancer) has externalTrafficPolicy: Local" in one for one in card["notes"]
    )
    assert "kubectl --namespace greenlang delete networkpolicy stanch-block-" in card["undo"]
    wide = {**about, **given, "block": ["203.0.0.0/8"]}
    status, refused = await running.call(f"incidents/{number}/isolate", wide, token=LEAD_TOKEN)
    assert status == 409 and "wider than /24" in str(refused)


BLOCKING = {
    "act": "ip.block",
    "namespace": "s",
    "deployment": "d",
    "block": ["203.0.113.7"],
    "expires": "1h",
}
WRONG: tuple[dict[str, Any], ...] = (
    {"namespace": ""},
    {"deployment": ""},
    {"deployment": "../d"},
    {"block": []},
    {"block": ["203.0.113.7"] * 101},
    {"block": ["7" * 61]},
    {"block": "203.0.113.7"},
    {"expires": None},
    {"expires": "0s"},
    {"expires": "31d"},
    {"expires": "soon"},
    {"pod": "p"},
    {"node": "n"},
)


@pytest.mark.parametrize(
    "about",
    [
        {"act": "pod.quarantine", "node": "node-1"},
        {"act": "pod.quarantine", "pod": "api-x"},
        {"act": "node.isolate"},
        {"act": "node.isolate", "node": "n", "pod": "p", "namespace": "s"},
        {"act": "pod.delete", "namespace": "s", "pod": "p"},
        {"act": "pod.quarantine", "namespace": "s", "pod": "../secrets"},
        {"act": "pod.quarantine", "namespace": "s", "pod": "p", "block": ["203.0.113.7"]},
        {"act": "node.isolate", "node": "n", "expires": "1h"},
        *({**BLOCKING, **wrong} for wrong in WRONG),
    ],
)
async def test_what_cannot_be_isolated_is_refused(running: Running, about: dict[str, Any]) -> None:
    number = await locked(running)
    body = {"reason": "r", **about}
    assert (await running.call(f"incidents/{number}/isolate", body, token=LEAD_TOKEN))[0] == 400


async def test_an_isolation_that_is_not_there_is_404(running: Running) -> None:
    assert (await running.get("/api/v1/isolations/S-9", token=LEAD_TOKEN))[0] == 404
    assert (await running.get("/api/v1/isolations/P-1", token=LEAD_TOKEN))[0] == 404


async def test_two_people_release_it_over_http(running: Running) -> None:
    number = await locked(running)
    release = f"incidents/{number}/release"
    assert (await running.call(release, {"reason": "clean"}))[0] == 200
    assert (await running.call(release, {"reason": "clean"}))[0] == 409
    assert (await running.call(release, {"reason": "clean"}, token=OTHER_TOKEN))[0] == 403
    assert (await running.call(release, {"reason": "clean"}, token=LEAD_TOKEN))[0] == 200
    path = f"/api/v1/incidents/{number}"
    shown = await running.until(path, lambda found: found["title"] != "restricted incident")
    assert shown["lockdown"] is None


@pytest.mark.parametrize("scope", ["", "namespace/", "everything", "namespace/../x", "Deployment/shop"])
async def test_a_scope_that_names_nothing_is_refused(running: Running, scope: str) -> None:
    body = {"title": "t", "reason": "r", "scopes": [scope]}
    assert (await running.call("incidents", body, token=LEAD_TOKEN))[0] == 400


async def test_the_kill_switch_and_back(running: Running) -> None:
    assert (await running.call("pause", {"reason": "stop"}))[1] == {"paused": ["pause by carol: stop"]}
    assert (await running.call("pause", {"reason": ""}))[0] == 409
    assert (await running.call("resume", {"reason": "fine"}))[1] == {"paused": []}


def test_every_operation_is_described_once() -> None:
    found = document()
    operations = [one["operationId"] for path in found["paths"].values() for one in path.values()]
    assert len(operations) == len(set(operations)) == 42
    for path, methods in found["paths"].items():
        for method, one in methods.items():
            assert one["summary"], f"{method} {path}"


def test_the_document_names_every_schema_that_it_refers_to() -> None:
    found = document()
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(found)))
    assert named == set(found["components"]["schemas"])
    assert "$defs" not in json.dumps(found)


async def test_nothing_starts_without_credentials_and_all_complaints_come_at_once() -> None:
    with pytest.raises(PermanentError) as refused:
        async with serving(Settings(store="sqlite:////nonexistent/x.sqlite3")):
            pass
    text = str(refused.value)
    for name in ("PROMETHEUS_URL", "KUBE_CONTEXT", "WEBHOOK_TOKEN_FILE", "API_TOKENS_FILE"):
        assert f"STANCH_{name}" in text


async def test_policies_are_followed_and_a_broken_set_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    shutil.copytree(packaged.policies(), folder)
    write_credentials(tmp_path)
    clock = WorldClock()
    async with demo_world(scenario("inc-001"), clock) as world:
        settings = Settings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            policies=folder,
            prometheus_url=world.prometheus.url,
            webhook_token_file=tmp_path / "webhook-tokens",
            api_tokens_file=tmp_path / "api-tokens.yaml",
        )
        door = await cluster.connect(url=world.api.url)
        async with serving(settings, clock=clock, door=door) as service:
            before = service.world.loaded.policies
            path = folder / "inc-001-high-error-rate.yaml"
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("mode: propose", "mode: proposed"), encoding="utf-8")
            await counted(service, "refused")
            assert service.world.loaded.policies is before
            shown = await policies_shown(service)
            assert shown["hash"] == before.hash
            assert shown["newest"]["in_force"] is False
            assert "proposed" in shown["newest"]["why"][0]
            path.write_text(text.replace("mode: propose", "mode: shadow"), encoding="utf-8")
            await counted(service, "taken")
            assert service.world.loaded.policies.policies[0].mode.value == "shadow"
            shown = await policies_shown(service)
            assert (shown["newest"]["in_force"], shown["items"][0]["mode"]) == (True, "shadow")
        await door.close()


async def policies_shown(service: Service) -> Any:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{service.url}/api/v1/policies") as response,
    ):
        return await response.json()


async def counted(service: Service, outcome: str) -> None:
    for _ in range(100):
        if service.counters.policy_reloads[outcome]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"policies were never {outcome}")


async def journal(running: Running, query: str = "") -> list[Any]:
    """The deliveries of the journal."""
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    async with running.session.get(f"{running.service.url}/api/v1/journal{query}", headers=headers) as answer:
        assert answer.status == 200
        return [read_line(line) async for line in answer.content]


async def test_the_journal_is_every_delivery_as_it_came(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One a page, so that pages have to be followed.
    monkeypatch.setattr("receiver.store.journal.READ_AT_ONCE_BYTES", 1)
    bodies = [a_body(), a_body(), b"no notification", b"\xff\x00 not even text", a_body(app="other")]
    for body in bodies:
        assert await running.send(body) == 200
    found = await journal(running)
    assert [kept.body for kept in found] == bodies
    assert {kept.source for kept in found} == {"alertmanager"}


async def test_the_journal_is_cut_to_the_time_that_is_asked_for(running: Running) -> None:
    assert await running.send(a_body()) == 200
    (kept,) = await journal(running)
    at, later = kept.received_at, kept.received_at + timedelta(seconds=1)

    def between(since: datetime, until: datetime) -> str:
        return "?" + urlencode({"from": since.isoformat(), "to": until.isoformat()})

    assert await journal(running, between(at, later)) == [kept]
    assert await journal(running, between(later, later)) == []
    assert await journal(running, between(at - timedelta(days=1), at)) == []
    status, answer = await running.get("/api/v1/journal?from=yesterday")
    assert (status, answer["error"]) == (400, "from is neither a date nor an RFC 3339 time")
