"""The HTTP API answers in the shapes of Prometheus, and fails in the ways it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from hand_clock import NOON, HandClock
from real_prometheus import Metrics, PrometheusSettings, RealPrometheus

from receiver.demo.prometheus import Alert, AlertingRule, Faults, PrometheusServer, Sample, Target

API = Target(job="api", instance="api:80", collect=lambda at: [Sample("healthy", {"pod": "a"}, 0.5)])
RULE = AlertingRule(
    name="Unhealthy",
    expr="healthy < 1",
    for_=timedelta(seconds=0),
    labels={"severity": "critical"},
    annotations={"summary": "it is"},
)


@dataclass
class World:
    clock: HandClock
    prom: PrometheusServer
    session: aiohttp.ClientSession

    async def get(self, path: str, expect: int = 200, /, **parameters: Any) -> Any:
        async with self.session.get(self.prom.url + path, params=parameters) as response:
            assert response.status == expect, await response.text()
            return await response.json()

    async def post(self, path: str, **form: str) -> Any:
        async with self.session.post(self.prom.url + path, data=form) as response:
            return await response.json()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    clock = HandClock()
    async with (
        PrometheusServer(
            clock=clock, targets=[API], rules=[RULE], external_labels={"cluster": "eu-1"}
        ) as prom,
        aiohttp.ClientSession() as session,
    ):
        await clock.advance(timedelta(0))  # the first round happens as soon as the server is up
        yield World(clock, prom, session)


async def test_an_instant_query_answers_as_prometheus_does(world: World) -> None:
    answer = await world.get("/api/v1/query", query='healthy{pod="a"}')
    labels = {"__name__": "healthy", "instance": "api:80", "job": "api", "pod": "a"}
    assert answer == {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [{"metric": labels, "value": [NOON.timestamp(), "0.5"]}],
        },
    }


async def test_a_form_asks_as_well_as_a_query_string(world: World) -> None:
    posted = await world.post("/api/v1/query", query="1 / 0", time="2026-03-02T12:00:00Z")
    assert posted["data"] == {"resultType": "scalar", "result": [int(NOON.timestamp()), "+Inf"]}


async def test_a_range_has_a_value_at_each_step(world: World) -> None:
    await world.clock.advance(timedelta(minutes=1))
    start, end = NOON.timestamp(), (NOON + timedelta(minutes=1)).timestamp()
    answer = await world.get(
        "/api/v1/query_range", query="sum(healthy)", start=str(start), end=str(end), step="30s"
    )
    [series] = answer["data"]["result"]
    assert series == {"metric": {}, "values": [[start, "0.5"], [start + 30, "0.5"], [end, "0.5"]]}


async def test_a_range_vector_can_be_looked_at(world: World) -> None:
    answer = await world.get("/api/v1/query", query="healthy[1m]")
    assert answer["data"]["resultType"] == "matrix"
    assert answer["data"]["result"][0]["values"] == [[NOON.timestamp(), "0.5"]]


@pytest.mark.parametrize(
    ("path", "parameters", "sentence"),
    [
        ("/api/v1/query", {}, 'invalid parameter "query": parse error'),
        ("/api/v1/query", {"query": "sum("}, 'invalid parameter "query": parse error'),
        ("/api/v1/query", {"query": "1", "time": "noon"}, 'cannot parse "noon" to a valid timestamp'),
        ("/api/v1/query_range", {"query": "1", "start": "2", "end": "1", "step": "1"}, "must not be before"),
        ("/api/v1/query_range", {"query": "1", "start": "1", "end": "2", "step": "0"}, "zero or negative"),
        ("/api/v1/query_range", {"query": "1", "start": "1", "end": "2", "step": "x"}, "a valid duration"),
        ("/api/v1/query_range", {"query": "1", "start": "0", "end": "11001", "step": "1"}, "11,000 points"),
        ("/api/v1/query_range", {"query": "a[5m]", "start": "0", "end": "1", "step": "1"}, "range vector"),
        ("/api/v1/series", {}, "no match[] parameter provided"),
    ],
)
async def test_a_wrong_parameter_is_bad_data(
    world: World, path: str, parameters: dict[str, str], sentence: str
) -> None:
    answer = await world.get(path, 400, **parameters)
    assert (answer["status"], answer["errorType"]) == ("error", "bad_data")
    assert sentence in answer["error"]


@pytest.mark.parametrize(
    "query", ["stddev(up)", 'count_values("v", up)', "up @ 5", "day_of_week()", 'up{a="1" or b="2"}']
)
async def test_what_the_demo_cannot_do_it_refuses_by_name(world: World, query: str) -> None:
    answer = await world.get("/api/v1/query", 422, query=query)
    assert answer["error"].startswith("unsupported by the demo Prometheus: ")


async def test_series_are_listed_by_selector(world: World) -> None:
    answer = await world.get("/api/v1/series", 200, **{"match[]": 'up{job="api"}'})
    assert answer["data"] == [{"__name__": "up", "instance": "api:80", "job": "api"}]


async def test_rules_alerts_and_targets_show_the_last_round(world: World) -> None:
    rules = await world.get("/api/v1/rules", type="alert")
    [rule] = rules["data"]["groups"][0]["rules"]
    assert (rule["state"], rule["health"], rule["lastEvaluation"]) == ("firing", "ok", "2026-03-02T12:00:00Z")
    [alert] = (await world.get("/api/v1/alerts"))["data"]["alerts"]
    assert alert == {
        "labels": {
            "alertname": "Unhealthy",
            "instance": "api:80",
            "job": "api",
            "pod": "a",
            "severity": "critical",
        },
        "annotations": {"summary": "it is"},
        "state": "firing",
        "activeAt": "2026-03-02T12:00:00Z",
        "value": "5e-01",
    }
    [target] = (await world.get("/api/v1/targets"))["data"]["activeTargets"]
    assert (target["health"], target["scrapePool"]) == ("up", "api")


async def test_it_says_that_it_is_alive(world: World) -> None:
    for path in ("/-/ready", "/-/healthy"):
        async with world.session.get(world.prom.url + path) as response:
            assert response.status == 200
    assert (await world.get("/api/v1/status/buildinfo"))["data"]["version"].startswith("2.42")


async def test_it_scrapes_every_fifteen_seconds_and_makes_up_for_a_jump(world: World) -> None:
    await world.clock.advance(timedelta(seconds=14))
    count = "sum(count_over_time(up[1h]))"
    assert (await world.get("/api/v1/query", query=count))["data"]["result"][0]["value"][1] == "1"
    await world.clock.advance(timedelta(minutes=5, seconds=1))
    assert (await world.get("/api/v1/query", query=count))["data"]["result"][0]["value"][1] == "22"


async def test_listeners_hear_each_evaluation(world: World) -> None:
    heard: list[tuple[Alert, ...]] = []
    world.prom.on_alerts(heard.append)
    await world.clock.advance(timedelta(seconds=15))
    [[alert]] = heard
    assert (alert.labels["alertname"], alert.labels["cluster"]) == ("Unhealthy", "eu-1")


async def test_when_down_it_drops_the_connection(world: World) -> None:
    world.prom.faults.down = True
    with pytest.raises(aiohttp.ClientError):
        await world.get("/api/v1/query", query="up")
    world.prom.faults = Faults()
    await world.get("/api/v1/query", query="up")


async def test_it_can_answer_with_an_error_or_with_nothing(world: World) -> None:
    world.prom.faults = Faults(status=503)
    async with world.session.get(f"{world.prom.url}/api/v1/rules") as response:
        assert response.status == 503
    world.prom.faults = Faults(empty=True)
    assert (await world.get("/api/v1/query", query="up"))["data"]["result"] == []


async def test_a_slow_answer_takes_its_time_on_the_demos_clock(world: World) -> None:
    world.prom.faults.delay = timedelta(seconds=5)
    asking = asyncio.create_task(world.get("/api/v1/query", query="up"))
    while not world.prom.calls:  # noqa: ASYNC110 - the request is on its way through a real socket
        await asyncio.sleep(0)
    await world.clock.advance(timedelta(seconds=4))
    assert not asking.done()
    await world.clock.advance(timedelta(seconds=1))
    assert (await asking)["status"] == "success"


async def test_frozen_rules_stand_still_while_metrics_go_on(world: World) -> None:
    world.prom.faults.rules_frozen = True
    await world.clock.advance(timedelta(minutes=6))
    [group] = (await world.get("/api/v1/rules"))["data"]["groups"]
    assert group["lastEvaluation"] == "2026-03-02T12:00:00Z"
    assert (await world.get("/api/v1/query", query="up"))["data"]["result"]
    assert (await world.get("/api/v1/query", query="ALERTS"))["data"]["result"] == [], "five minutes are over"


async def test_every_call_is_on_record(world: World) -> None:
    await world.post("/api/v1/query", query="up")
    [call] = world.prom.calls
    assert (call.method, call.path, call.parameters) == ("POST", "/api/v1/query", {"query": "up"})


def shape(value: Any) -> Any:
    """The keys and kinds of a JSON value, of lists the first item's."""
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list():
            return [shape(item) for item in value[:1]]
        case bool() | str():
            return type(value).__name__
        case _:
            return "number"


async def test_the_shapes_are_those_of_a_real_prometheus(world: World, tmp_path: Path) -> None:
    rules = (
        "groups: [{name: demo, rules: [{alert: Unhealthy, expr: healthy < 1, labels: {severity: critical}, "
        "annotations: {summary: it is}}]}]"
    )
    async with Metrics('healthy{pod="a"} 0.5\n') as metrics:
        settings = PrometheusSettings(targets=(metrics.url,), job="api", rules=rules)
        async with RealPrometheus(tmp_path, settings) as real:
            async with asyncio.timeout(20):
                while not await real.query('ALERTS{alertstate="firing"}'):  # noqa: ASYNC110 - polls a process
                    await asyncio.sleep(0.1)
            for path, parameters in (
                ("/api/v1/query", {"query": "healthy"}),
                ("/api/v1/query", {"query": "healthy[1m]"}),
                ("/api/v1/query", {"query": "ALERTS"}),
                ("/api/v1/query", {"query": "1"}),
                ("/api/v1/query", {"query": '"text"'}),
                ("/api/v1/rules", {"type": "alert"}),
                ("/api/v1/alerts", {}),
                ("/api/v1/series", {"match[]": "healthy"}),
                ("/api/v1/status/buildinfo", {}),
            ):
                theirs = shape(await real.get(path, **parameters))
                ours = shape((await world.get(path, 200, **parameters))["data"])
                assert ours == theirs, path
            theirs = (await real.get("/api/v1/targets"))["activeTargets"][0]
            ours = (await world.get("/api/v1/targets"))["data"]["activeTargets"][0]
            assert ours.keys() == theirs.keys()
